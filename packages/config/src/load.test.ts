// What a good file becomes, from YAML and from plain objects, and that any file has a result or an error that points into it.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ConfigError, formatDiagnostic } from './diagnostics.js'
import { loadConfig, parseDns, parseTun } from './load.js'
import { FULL, OPTIONS, said } from './load.test-kit.js'

/** Keys of `tun:` whose defaults these files leave alone. */
const rest = { 'udp-filter': 'endpoint-independent', multicast: false }

describe('a good file', () => {
  test('becomes typed options and says nothing', () => {
    const { tun, dns, sections, warnings } = loadConfig(FULL, OPTIONS)
    expect(warnings).toEqual([])
    expect(tun).toEqual({
      enable: true,
      'device-url': 'dev://tun0',
      'dns-listen': '0.0.0.0:53',
      'dns-hijack': [],
      mtu: 1500,
      gso: false,
      'udp-timeout': 300,
      ...rest,
    })
    expect(dns).toEqual({
      enable: true,
      ipv6: true,
      listen: '0.0.0.0:1053',
      'enhanced-mode': 'fake-ip',
      'fake-ip-range': '198.18.0.1/16',
      'fake-ip-range6': 'fc00::/18',
      'fake-ip-filter': ['+.real.test', '*.lan'],
      'fake-ip-ttl': 1,
      'fake-ip-filter-mode': 'blacklist',
      nameserver: ['10.0.0.1', 'tcp://[2001:db8::1]:53'],
      'default-nameserver': ['10.0.0.1'],
      fallback: [],
      'nameserver-policy': {},
      'proxy-server-nameserver': [],
      'proxy-server-nameserver-policy': {},
      'direct-nameserver': [],
      'direct-nameserver-follow-policy': false,
      'respect-rules': false,
      'use-hosts': true,
      'cache-max-size': 4096,
      'serve-stale': 0,
      'drop-alpn': [],
    })
    expect(sections).toEqual({
      proxies: [{ name: 's5', type: 'socks5', server: '10.0.0.1', port: 1080, password: 'hunter2' }],
      rules: ['MATCH,s5'],
    })
  })

  test('has defaults for everything, and keys without values are as good as absent', () => {
    const { tun, dns, warnings } = loadConfig('tun:\ndns:\n  nameserver:\n  fake-ip-filter:\n')
    expect(warnings).toEqual([])
    expect(tun).toEqual({ enable: false, 'dns-hijack': [], gso: true, 'udp-timeout': 300, ...rest })
    expect(dns).toMatchObject({ enable: false, ipv6: false, 'fake-ip-range': '198.18.0.1/16', nameserver: [] })
  })

  test('may use anchors and merges, hundreds of them', () => {
    const items = Array.from({ length: 500 }, (_, i) => `  - {<<: *p, name: n${i}}\n`)
    const text = `p: &p {type: socks5, server: a, port: 1}\nproxies:\n${items.join('')}`
    expect(loadConfig(text, OPTIONS).sections.proxies).toHaveLength(500)
    expect(loadConfig(text, OPTIONS).warnings).toEqual([])
  })

  test('places are found for every value, through merges, and for what is missing the nearest above', () => {
    const { locate, written } = loadConfig('a: &a {x: 1}\nb:\n  - c\n  - {<<: *a, y: [2, 033]}\nc:\n', { known: ['a', 'b', 'c'] })
    const places = [['b', 0], ['b', 1, 'y', 1], ['b', 1, 'x'], ['c'], ['b', 7, 'z'], ['nowhere']].map(path => {
      const { line, column } = locate(path)
      return `${line}:${column}`
    })
    expect(places).toEqual(['3:5', '4:21', '1:11', '5:1', '3:3', '1:1'])
    expect([['b', 1, 'y', 1], ['b', 1, 'x'], ['b', 1], ['nowhere']].map(written)).toEqual(['033', '1', undefined, undefined])
  })
})

test("Clash's endpoint-independent-nat chooses the filter; our own key goes before it, and a contradiction is told", () => {
  const filterOf = (tun: object) => {
    const warnings: string[] = []
    const parsed = parseTun({ 'device-url': 'fd://3', ...tun }, { onWarning: warning => warnings.push(formatDiagnostic(warning)) })
    return [parsed['udp-filter'], ...warnings]
  }
  expect(filterOf({})).toEqual(['endpoint-independent'])
  expect(filterOf({ 'endpoint-independent-nat': true })).toEqual(['endpoint-independent'])
  expect(filterOf({ 'endpoint-independent-nat': 'off' })).toEqual(['address-and-port-dependent'])
  expect(filterOf({ 'endpoint-independent-nat': false, 'udp-filter': 'address-dependent' })).toEqual(['address-dependent'])
  expect(filterOf({ 'endpoint-independent-nat': true, 'udp-filter': 'address-dependent' })).toEqual([
    'address-dependent',
    "warning: tun.endpoint-independent-nat: 'udp-filter: address-dependent' is there as well and is taken: remove one of them",
  ])
  expect(() => filterOf({ 'endpoint-independent-nat': 1 })).toThrow('tun.endpoint-independent-nat: expected true or false, got 1')
  expect(() => filterOf({ 'udp-filter': 'symmetric' })).toThrow('tun.udp-filter')
})

describe("mihomo's names for the device", () => {
  test.each([
    ['device: utun9', 'dev://utun9'],
    ['device: fd://5', 'fd://5'],
    ['file-descriptor: 7', 'fd://7'],
    ['file-descriptor: 0\n  device: tun0', 'dev://tun0'],
    ['device: tun0\n  device-url: dev://tun1', 'dev://tun1'],
    ["device: ''", undefined],
  ])('%j', (keys, url) => {
    expect(loadConfig(`tun:\n  ${keys}`, { platform: 'linux' }).tun['device-url']).toBe(url)
  })

  test('a bad one is an error of its own key, once', () => {
    expect(said('tun:\n  enable: true\n  device: averyverylongtunname')).toEqual([
      "c:3:11: tun.device: interface name 'averyverylongtunname' has 20 bytes, at most 15 are possible",
    ])
  })
})

describe('plain objects', () => {
  test('are validated alike, without places', () => {
    const warnings: string[] = []
    const onWarning = (warning: Parameters<typeof formatDiagnostic>[0]): void => void warnings.push(formatDiagnostic(warning))
    expect(parseTun({ 'device-url': 'fd://3', mtu: undefined, stak: 1, 'udp-timeout': 5 }, { onWarning })).toEqual({
      enable: false,
      'dns-hijack': [],
      'device-url': 'fd://3',
      gso: true,
      'udp-timeout': 5,
      ...rest,
    })
    expect(warnings[0]).toBe("warning: tun.stak: unknown key: did you mean 'stack'?")
    expect(() => parseTun({ mtu: '1500', gso: 2 })).toThrow(
      "tun.mtu: expected a number, got the string '1500': remove the quotes\ntun.gso: expected true or false, got 2",
    )
    expect(parseDns({ enable: true, nameserver: ['1.1.1.1'] })).toMatchObject({ enable: true, nameserver: ['1.1.1.1'] })
    expect(() => parseDns([])).toThrow(expect.objectContaining({ code: 'ERR_TUN_CONFIG' }))
  })
})

test('whatever happens to a file, there is a result or an error that points into it', () => {
  const pieces = fc.constantFrom(
    '[',
    ']',
    '{',
    '}',
    '"',
    "'",
    ':',
    ': ',
    '\n',
    '  ',
    '\t',
    '- ',
    '&a ',
    '*a',
    '<<: *a\n',
    '---\n',
    '!!x ',
    '#',
    '? ',
    '|\n',
    '\0',
    'null',
    '1e99',
    '0x10',
    '%',
    '@',
  )
  const edit = fc.tuple(fc.nat(FULL.length), fc.nat(12), fc.oneof(pieces, fc.string({ maxLength: 3 })))
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 5 }), edits => {
      const text = edits.reduce((text, [at, cut, piece]) => text.slice(0, at) + piece + text.slice(at + cut), FULL)
      try {
        for (const { line, column } of loadConfig(text, OPTIONS).warnings) expect(line > 0 && column > 0).toBe(true)
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error
        expect(error.diagnostics.length).toBeGreaterThan(0)
        const lines = text.split('\n').length
        for (const { line, column, message } of error.diagnostics)
          expect([line >= 1 && line <= lines && column >= 1, message]).toEqual([true, message])
      }
    }),
    { numRuns: 800 },
  )
}, 120_000) // two seconds, but not on a machine that is busy with other things

test('dns-hijack: one list for UDP and TCP, as mihomo reads it; what is no address has its line', () => {
  const { tun, warnings } = loadConfig('tun:\n  dns-hijack: [any:53, "tcp://any:53", 8.8.8.8:5353, "udp://1.1.1.1", "[2001:db8::1]:53"]')
  expect([tun['dns-hijack'], warnings]).toEqual([['0.0.0.0:53', '0.0.0.0:53', '8.8.8.8:5353', '1.1.1.1:53', '[2001:db8::1]:53'], []])
  expect(said('tun:\n  dns-hijack: [any:0, foo:53, tls://any:53]')).toEqual([
    'c:2:16: tun.dns-hijack[0]: a port is 1 to 65535, got 0',
    "c:2:23: tun.dns-hijack[1]: 'foo' is no IP address",
    "c:2:31: tun.dns-hijack[2]: unknown scheme 'tls://': use any:53, tcp://any:53 or ADDRESS:PORT",
  ])
})
