import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { ConfigError, formatDiagnostic } from './diagnostics.js'
import { type LoadOptions, loadConfig, parseDns, parseTun } from './load.js'

/** Keys of `tun:` whose defaults these files leave alone. */
const rest = { 'udp-filter': 'endpoint-independent', multicast: false }

const FULL = `mode: rule
mixed-port: 7890
tun:
  enable: true
  device-url: dev://tun0
  dns-listen: 0.0.0.0:53
  mtu: 1500
  gso: off
  udp-timeout: 300
dns:
  enable: yes
  ipv6: true
  listen: :1053
  enhanced-mode: fake-ip
  fake-ip-range: 198.18.0.1/16
  fake-ip-range6: fc00::/18
  fake-ip-filter: ['+.real.test', "*.lan"]
  nameserver: [10.0.0.1, 'tcp://[2001:db8::1]:53']
  default-nameserver:
    - 10.0.0.1
proxies:
  - {name: s5, type: socks5, server: 10.0.0.1, port: 1080, password: hunter2}
rules:
  - MATCH,s5
`

const proxies = z.array(
  z.strictObject({
    name: z.string(),
    type: z.enum(['socks5', 'http']),
    server: z.string(),
    port: z.int().min(1).max(65535),
    password: z.string().optional(),
  }),
)
const OPTIONS: LoadOptions = {
  file: 'config.yaml',
  platform: 'linux',
  sections: { proxies, rules: z.array(z.string()).default([]) },
  known: ['mode', 'mixed-port', 'dns.listen'],
}

/** Everything that is said about a text, a line a finding. */
function said(text: string, options: LoadOptions = { file: 'c', platform: 'linux' }): string[] {
  try {
    return loadConfig(text, options).warnings.map(warning => formatDiagnostic(warning, options.file))
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError)
    return (error as ConfigError).message.split('\n')
  }
}

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

describe('errors', () => {
  test('are all reported at once, each at the value at fault', () => {
    expect(
      said(
        `mixed-port: 99999999
tun:
  enable: maybe
  device-url: tap://x
  dns-listen: 0.0.0.0
  mtu: "1500"
  gso: 1
  udp-timeout: 0
dns:
  listen: any:53
  enhanced-mode: fakeip
  fake-ip-range: fc00::/18
  fake-ip-range6: fc00::/127
  fake-ip-ttl: 1.5
  nameserver: 1.1.1.1
  default-nameserver: [udp://1.1.1.1:99999, 1.1.1, 'ftp://x']
  fake-ip-filter:
    - a b
    - 5
proxies:
  - {name: s5, type: sock5, server: a}
  - {name: 5, type: http, server: a, port: 0, password: 123456, tls: true}
rules: MATCH,s5
`,
        { ...OPTIONS, file: 'config.yaml' },
      ),
    ).toEqual([
      'config.yaml:1:13: mixed-port: must be at most 65535, got 99999999',
      "config.yaml:3:11: tun.enable: expected true or false, got 'maybe'",
      "config.yaml:4:15: tun.device-url: unknown scheme 'tap://': a TAP carries Ethernet frames, not IP packets: use dev://NAME or fd://N",
      "config.yaml:5:15: tun.dns-listen: '0.0.0.0' has no port: write 0.0.0.0:53",
      "config.yaml:6:8: tun.mtu: expected a number, got the string '1500': remove the quotes",
      'config.yaml:7:8: tun.gso: expected true or false, got 1',
      'config.yaml:8:16: tun.udp-timeout: must be at least 1, got 0',
      "config.yaml:10:11: dns.listen: 'any' is no IP address: write 0.0.0.0:53",
      "config.yaml:11:18: dns.enhanced-mode: expected one of fake-ip, redir-host, normal, got 'fakeip': did you mean 'fake-ip'?",
      "config.yaml:12:18: dns.fake-ip-range: 'fc00::/18' is not IPv4: IPv6 goes into 'fake-ip-range6'",
      'config.yaml:13:19: dns.fake-ip-range6: /127 leaves no address to hand out: use /126 or shorter',
      'config.yaml:14:16: dns.fake-ip-ttl: expected a whole number, got 1.5',
      "config.yaml:15:15: dns.nameserver: expected a list, got the string '1.1.1.1': write a list: [1.1.1.1]",
      'config.yaml:16:24: dns.default-nameserver[0]: a port is 1 to 65535, got 99999',
      "config.yaml:16:45: dns.default-nameserver[1]: '1.1.1' is no IP address and no name: e.g. 1.1.1.1",
      "config.yaml:16:52: dns.default-nameserver[2]: unknown scheme 'ftp://': use udp://, tcp://, tls://, https://, rcode:// or system",
      "config.yaml:18:7: dns.fake-ip-filter[0]: 'a b' is no domain pattern: use example.com, *.example.com, .example.com or +.example.com",
      'config.yaml:19:7: dns.fake-ip-filter[1]: expected a text, got 5: put it in quotes',
      'config.yaml:21:5: proxies[0].port: missing: a number is needed',
      "config.yaml:21:22: proxies[0].type: expected one of socks5, http, got 'sock5': did you mean 'socks5'?",
      'config.yaml:22:12: proxies[1].name: expected a text, got 5: put it in quotes',
      'config.yaml:22:44: proxies[1].port: must be at least 1, got 0',
      'config.yaml:22:57: proxies[1].password: expected a text',
      'config.yaml:22:65: proxies[1].tls: unknown key',
      "config.yaml:23:8: rules: expected a list, got the string 'MATCH,s5': write a list: [MATCH,s5]",
    ])
  })

  test.each([
    ['tun0', "expected dev://NAME or fd://N, got 'tun0': write dev://tun0"],
    ['dev://', 'dev:// needs the name of an interface: e.g. dev://tun0'],
    [
      'dev://averyverylongtunname',
      "interface name 'averyverylongtunname' has 20 bytes, at most 15 are possible: e.g. dev://averyverylongtu",
    ],
    ['dev://averyverylongtun', "interface name 'averyverylongtun' has 16 bytes, at most 15 are possible: e.g. dev://averyverylongtu"],
    ['dev://ééééééééé', "interface name 'ééééééééé' has 18 bytes, at most 15 are possible: e.g. dev://ééééééé"],
    ['dev://a/b', "'a/b' is no interface name: no '/', ':', '%' (but %d) or spaces, not '.' or '..'"],
    ['dev://..', "'..' is no interface name: no '/', ':', '%' (but %d) or spaces, not '.' or '..'"],
    ['fd://x', "fd:// needs the number of an open file descriptor, got 'x': e.g. fd://5"],
    ['fd://-1', "fd:// needs the number of an open file descriptor, got '-1': e.g. fd://5"],
    ['tun://x', "unknown scheme 'tun://': write dev://x"],
    ['foo://tun0', "unknown scheme 'foo://': use dev://NAME or fd://N"],
  ])('device-url %s', (url, fault) => {
    expect(said(`tun:\n  device-url: ${url}`)).toEqual([`c:2:15: tun.device-url: ${fault}`])
  })

  test.each(['dev://tun0', 'dev://tun%d', 'dev://averyverylongtu', 'fd://0', 'fd://77'])('device-url %s is one', url => {
    expect(said(`tun:\n  device-url: ${url}`)).toEqual([])
  })

  test('macOS numbers its interfaces itself', () => {
    const options: LoadOptions = { file: 'c', platform: 'darwin' }
    expect(said('tun:\n  device-url: dev://utun3', options)).toEqual([
      "c:2:15: tun.device-url: macOS numbers its interfaces itself, 'dev://utun3' cannot be chosen: write dev://utun",
    ])
    expect(said('tun:\n  device-url: dev://utun', options)).toEqual([])
  })

  test('an enabled TUN needs its device', () => {
    expect(said('x: &x 1\ntun:\n  enable: true')).toEqual(["c:2:1: tun: 'device-url' is missing: e.g. device-url: dev://tun0"])
  })

  test.each([
    ['', "c:1:1: the file is empty: a config is at least 'tun:' with its keys"],
    ['# nothing\n', "c:1:1: the file is empty: a config is at least 'tun:' with its keys"],
    ['- tun', "c:1:1: expected keys and values, got a list: e.g. 'tun:' with its keys indented below"],
    ['tun', "c:1:1: expected keys and values, got a single value: e.g. 'tun:' with its keys indented below"],
    ['tun:\n\tenable: true', 'c:2:1: tabs cannot indent in YAML: use spaces'],
    ['tun:\n    enable: true\n  mtu: 1500', 'c:3:1: the indentation does not fit what stands above'],
    ['tun: {}\n---\ndns: {}', "c:2:1: the file has several documents ('---'): keep one of them"],
    ['a:\nbind-address: [true\ntun:\n  enable: true', "c:2:15: '[' is never closed: add ']'"],
    ['tun: {enable: true\n', "c:1:6: '{' is never closed: add '}'"],
    ['tun:\n  device-url: "dev://tun0\n', 'c:2:15: a quote is never closed'],
    ['tun: *x', "c:1:6: the alias '*x' has no anchor '&x' before it"],
    ['secret: "\\q"', 'c:1:10: an unknown escape in a double-quoted text: use single quotes'],
    ['tun: 5', 'c:1:6: tun: expected a map of keys and values, got 5'],
    ['dns: []', 'c:1:6: dns: expected a map of keys and values, got a list'],
    ['log-level: verbose', "c:1:12: log-level: expected one of silent, error, warning, info, debug, got 'verbose'"],
    ['socks-port: "1080"', "c:1:13: socks-port: expected a number, got the string '1080': remove the quotes"],
  ])('%j', (text, line) => {
    expect(said(text)).toEqual([line])
  })

  test('a repeated key is an error beside the others', () => {
    expect(said('tun: {}\ntun: {}\nport: -1')).toEqual([
      "c:2:1: tun: the key 'tun' stands twice in this map, first in line 1: remove one of them",
      'c:3:7: port: must be at least 0, got -1',
    ])
  })

  test.each([
    ['fake-ip-range: 127.0.0.0/8', 'loopback'],
    ['fake-ip-range: 0.0.0.0/0', 'this network'],
    ['fake-ip-range: 192.0.0.0/2', 'multicast'],
    ['fake-ip-range: 169.254.7.1/24', 'link-local'],
    ['fake-ip-range6: fe80::/64', 'link-local'],
    ['fake-ip-range6: ::/0', 'loopback'],
    ['fake-ip-range6: ::ffff:198.18.0.0/112', 'IPv4'],
  ])('%s would hand out addresses that never reach a TUN', (line, kind) => {
    expect(said(`dns:\n  ipv6: true\n  ${line}\n`)[0]).toMatch(new RegExp(`has addresses that never reach a TUN \\(${kind}\\): e\\.g\\. `))
  })

  test('any other range may be faked', () => {
    for (const range of ['198.18.0.1/16', '10.0.0.0/8', '203.0.113.0/30', '32.0.0.0/3']) {
      expect(said(`dns:\n  fake-ip-range: ${range}\n`)).toEqual([])
    }
  })

  test('bombs and mazes end quickly in an error', () => {
    const bomb = [
      'a: &a [x,x,x,x,x,x,x,x,x]',
      ...'bcdefghi'.split('').map((c, i) => `${c}: &${c} [${Array(9).fill(`*${'abcdefgh'[i]}`).join(',')}]`),
    ].join('\n')
    expect(said(bomb)[0]).toMatch(/aliases \(\*name\) are nested or repeated without bound$/)
    expect(said('['.repeat(50_000))).toHaveLength(1)
    expect(said('a: &a\n  b: [*a]\n')).toEqual(["c:2:7: the alias '*a' stands inside what it stands for"])
  })

  test('no message gives a secret away', () => {
    const text = `secret: {a: hunter2}
authentication: user:hunter2
dns:
  nameserver: ['foo://user:hunter2@1.1.1.1', 'https://user:hunter2@1.1.1.1/']
proxies:
  - {name: a, type: http, server: a, port: 1, password: [hunter2]}
  - {name: a, type: http, server: a, port: 1, password: {hunter2: 1}}
`
    const { message, warnings } = (() => {
      try {
        return loadConfig(text, OPTIONS) as never
      } catch (error) {
        return error as ConfigError
      }
    })()
    expect(message.split('\n')).toHaveLength(4)
    expect([message, ...warnings.map(warning => formatDiagnostic(warning))].join()).not.toContain('hunter2')
  })
})

describe('warnings', () => {
  test('a key that is read is acted on, or it is said that it is not', () => {
    expect(said('tun:\n  dns-listen: 0.0.0.0:53\ndns:\n  enable: no\n  listen: 0.0.0.0:1053')).toEqual([
      "c:4:11: warning: dns.enable: does not turn off 'tun.dns-listen', which answers DNS on the TUN: remove 'dns-listen' for that",
    ])
    expect(said('tun:\n  dns-listen: 0.0.0.0:53\ndns:\n  nameserver: [1.1.1.1]')).toEqual([])
    expect(said('dns:\n  enable: false')).toEqual([])
  })

  test('for what is known and not acted on, unknown, or unwise; the program runs', () => {
    expect(
      said(`allow-lan: false
mdoe: rule
nameserver: [1.1.1.1]
find-process-mode: off
tunnels: 5
Zebra: 1
tun:
  enable: true
  device: tun0
  stack: gvisor
  auto-route: true
  devcie-url: dev://tun1
  dnsListen: 0.0.0.0:53
  mtu: 1000
  udp-timeout: 60
dns:
  fallback-lazy-query: true
  fake-ip-range6: fc00::/18
  fake-ip-filter: ['geosite:cn', 'rule-set:x', 'RULE-SET,x,fake-ip', 'a*.com', '+.ok.com']
  nameserver: [quic://1.1.1.1, 'https://dns.example/dns-query', dhcp, dns.example, '1.1.1.1#eth0&h3=true', 1.1.1.1]
`),
    ).toEqual([
      'c:1:1: warning: allow-lan: known to Clash/mihomo, not acted on yet',
      "c:2:1: warning: mdoe: unknown key: did you mean 'mode'?",
      "c:3:1: warning: nameserver: unknown key: it belongs under 'dns:'",
      'c:4:1: warning: find-process-mode: known to Clash/mihomo, not acted on yet',
      'c:5:10: warning: tunnels: expected a list, got 5: write a list: [5]',
      'c:6:1: warning: Zebra: unknown key',
      "c:9:3: note: tun.device: taken as 'device-url: dev://tun0': 'device-url' is the name of the key here",
      'c:10:3: note: tun.stack: there is one stack here, in user space as gvisor is, and it serves them all',
      'c:11:3: warning: tun.auto-route: routes and rules are not set by this program: route the fake addresses into the TUN: ' +
        'ip route add 198.18.0.0/16 dev tun0',
      "c:12:3: warning: tun.devcie-url: unknown key: did you mean 'device-url'?",
      "c:13:3: warning: tun.dnsListen: unknown key: did you mean 'dns-listen'?",
      'c:14:8: warning: tun.mtu: 1000 is too small for IPv6: 1280 or more (RFC 8200 §5)',
      'c:15:16: warning: tun.udp-timeout: 60 s ends flows that applications think alive: 120 or more (RFC 4787 §4.3)',
      "c:17:3: note: dns.fallback-lazy-query: 'fallback' is asked at the same time as 'nameserver'",
      "c:18:3: warning: dns.fake-ip-range6: has no effect: add 'ipv6: true'",
      "c:19:20: warning: dns.fake-ip-filter[0]: 'geosite' entries are known to mihomo, not acted on yet",
      "c:19:34: warning: dns.fake-ip-filter[1]: 'rule-set' entries are known to mihomo, not acted on yet",
      "c:19:48: warning: dns.fake-ip-filter[2]: 'RULE-SET' entries are known to mihomo, not acted on yet",
      "c:19:70: warning: dns.fake-ip-filter[3]: a '*' stands for a whole label, so this would never match",
      "c:20:16: warning: dns.nameserver[0]: 'quic://' is known to Clash/mihomo, not acted on yet",
      "c:20:65: warning: dns.nameserver[2]: 'dhcp' is known to Clash/mihomo, not acted on yet",
      'c:20:84: warning: dns.nameserver[4]: HTTP/3 is not spoken: it is asked over HTTP/2',
    ])
  })

  test('what is not acted on is left out of the options', () => {
    const { dns } = loadConfig("dns:\n  nameserver: [quic://1.1.1.1, 1.0.0.1]\n  fake-ip-filter: ['geosite:cn', a.com]")
    expect([dns.nameserver, dns['fake-ip-filter']]).toEqual([['1.0.0.1'], ['a.com']])
  })

  test('not for keys the caller acts on, however deep', () => {
    expect(said('mode: rule\nown: 1\ntun:\n  stack: mixed\n', { known: ['mode', 'own', 'tun.stack'] })).toEqual([])
  })

  test('come along with the errors', () => {
    try {
      loadConfig('mdoe: x\nport: -1')
    } catch (error) {
      expect((error as ConfigError).warnings.map(warning => warning.path)).toEqual(['mdoe'])
    }
    expect.assertions(1)
  })
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

test('profile: store-fake-ip is read, what else Clash has there warns, a slip of the pen is told', () => {
  const text = 'profile:\n  store-fake-ip: yes\n  store-selected: true\n  store-fakeip: true\n'
  expect(loadConfig(text).profile).toEqual({ 'store-fake-ip': true })
  expect(said(text)).toEqual([
    'c:3:3: note: profile.store-selected: groups have no choice to keep: each is its first proxy',
    "c:4:3: warning: profile.store-fakeip: unknown key: did you mean 'store-fake-ip'?",
  ])
  expect(said('profile:\n  store-fake-ip: [true\n')).toHaveLength(1)
  expect(said('profile: yes\n')).toEqual([expect.stringContaining('c:1:10: profile: expected a map')])
})

test('the keys of the resolver are read, and each part that is not acted on or wrong has its line', () => {
  const good = `hosts:
  router.lan: 192.168.1.1
  '*.cdn.test': [192.0.2.1, '2001:db8::1']
  www.test: web.test
dns:
  nameserver: [tls://dns.example, 'https://1.1.1.1/dns-query', system]
  fallback: [rcode://refused]
  fallback-filter: {ipcidr: [240.0.0.0/4], domain: [+.google.com]}
  nameserver-policy: {'a.com,+.b.com': 10.0.0.1, c.com: [10.0.0.2, tcp://10.0.0.3]}
  proxy-server-nameserver: [10.0.0.4]
  fake-ip-filter-mode: whitelist
  drop-alpn: [h3]
`
  const { dns, hosts, warnings } = loadConfig(good)
  expect(warnings).toEqual([])
  expect(dns).toMatchObject({
    nameserver: ['tls://dns.example', 'https://1.1.1.1/dns-query', 'system'],
    'fallback-filter': { ipcidr: ['240.0.0.0/4'], domain: ['+.google.com'] },
    'nameserver-policy': { 'a.com,+.b.com': ['10.0.0.1'], 'c.com': ['10.0.0.2', 'tcp://10.0.0.3'] },
  })
  expect(hosts).toEqual({ 'router.lan': '192.168.1.1', '*.cdn.test': ['192.0.2.1', '2001:db8::1'], 'www.test': 'web.test' })

  expect(
    said(`hosts:
  a b: 1.1.1.1
  c: [1.1.1.1, d]
dns:
  default-nameserver: [dns.example]
  fallback-filter: {geoip: true, ipcidr: [240.0.0.0/40], domian: []}
  nameserver-policy: {'a b': 10.0.0.1, c: ftp://x}
  cache-max-size: -1
`),
  ).toEqual([
    "c:3:6: hosts.c: a name stands for addresses or for one other name, got 'd' among others: e.g. '192.0.2.1'",
    "c:5:24: dns.default-nameserver[0]: 'dns.example' is a name itself: use its IP address",
    "c:6:43: dns.fallback-filter.ipcidr[0]: expected ADDRESS/BITS, got '240.0.0.0/40': e.g. 240.0.0.0/4",
    "c:7:43: dns.nameserver-policy.c: unknown scheme 'ftp://': use udp://, tcp://, tls://, https://, rcode:// or system",
    'c:8:19: dns.cache-max-size: must be at least 0, got -1',
  ])
  expect(
    said(`hosts: {a b: 1.1.1.1}
dns:
  default-nameserver: [dns.example]
  nameserver-policy: {'a b': 10.0.0.1}
`),
  ).toEqual([
    "c:1:9: hosts.a b: 'a b' is no domain pattern: use example.com, *.example.com, .example.com or +.example.com",
    "c:3:24: dns.default-nameserver[0]: 'dns.example' is a name itself: use its IP address",
    "c:4:23: dns.nameserver-policy.a b: 'a b' is no domain pattern: use example.com, *.example.com, .example.com or +.example.com",
  ])
  expect(
    said(
      'dns:\n  fallback-filter: {geoip: true, geosite: [x], domian: []}\n' +
        "  nameserver-policy: {'geosite:cn': 10.0.0.1}\n  fake-ip-filter-mode: rule",
    ),
  ).toEqual([
    'c:2:21: warning: dns.fallback-filter.geoip: known to Clash/mihomo, not acted on yet',
    'c:2:34: warning: dns.fallback-filter.geosite: known to Clash/mihomo, not acted on yet',
    'c:2:48: warning: dns.fallback-filter.domian: unknown key',
    "c:3:23: warning: dns.nameserver-policy.geosite:cn: 'geosite' entries are known to mihomo, not acted on yet",
    "c:4:24: warning: dns.fake-ip-filter-mode: 'rule' is known to mihomo, not acted on yet: taken as blacklist",
  ])
})

test('dns-hijack: one list for UDP and TCP, as mihomo reads it; what is no address has its line', () => {
  const { tun, warnings } = loadConfig('tun:\n  dns-hijack: [any:53, "tcp://any:53", 8.8.8.8:5353, "udp://1.1.1.1", "[2001:db8::1]:53"]')
  expect([tun['dns-hijack'], warnings]).toEqual([['0.0.0.0:53', '0.0.0.0:53', '8.8.8.8:5353', '1.1.1.1:53', '[2001:db8::1]:53'], []])
  expect(said('tun:\n  dns-hijack: [any:0, foo:53, tls://any:53]')).toEqual([
    'c:2:16: tun.dns-hijack[0]: a port is 1 to 65535, got 0',
    "c:2:23: tun.dns-hijack[1]: 'foo' is no IP address",
    "c:2:31: tun.dns-hijack[2]: unknown scheme 'tls://': use any:53, tcp://any:53 or ADDRESS:PORT",
  ])
})

test('what stands behind a nameserver’s #: a way and parameters; what mihomo has not is an error', () => {
  const list = ['1.1.1.1#PROXY', 'tls://1.1.1.1#eth0&skip-cert-verify=true', 'https://a.test/q#ecs=192.0.2.0/24&ecs-override=true']
  const { dns, warnings } = loadConfig(`dns: { nameserver: ${JSON.stringify(list)}, direct-nameserver: [system] }`)
  expect([dns.nameserver, dns['direct-nameserver'], warnings]).toEqual([list, ['system'], []])
  const needsServers =
    "dns.respect-rules: needs 'proxy-server-nameserver': a proxy's own name cannot be asked for through the proxy: " +
    'e.g. proxy-server-nameserver: [1.1.1.1]'
  expect(said("dns:\n  nameserver: ['1.1.1.1#a&ecx=1', '1.1.1.1#ecs=x']\n  respect-rules: true")).toEqual([
    "c:2:16: dns.nameserver[0]: unknown parameter 'ecx' of a nameserver: " +
      'there are skip-cert-verify, disable-ipv4, disable-ipv6, disable-qtype-N, ecs, ecs-override, h3',
    "c:2:35: dns.nameserver[1]: ecs is an address or ADDRESS/BITS, got 'x': e.g. #ecs=192.0.2.0/24",
    `c:3:3: ${needsServers}`,
  ])
  expect(said('dns:\n  respect-rules: true')).toEqual([`c:2:3: ${needsServers}`])
  const policy = "nameserver-policy: {a.test: ['https://1.1.1.1/q#h3=true']}"
  expect(said(`dns:\n  proxy-server-nameserver: [quic://1.1.1.1]\n  respect-rules: true\n  ${policy}`)).toEqual([`c:3:3: ${needsServers}`])
  expect(said(`dns:\n  ${policy}`)).toEqual([
    'c:2:32: warning: dns.nameserver-policy.a.test[0]: HTTP/3 is not spoken: it is asked over HTTP/2',
  ])
})
