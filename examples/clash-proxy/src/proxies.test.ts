import type { Outbound } from '@tun/inbound'
import { describe, expect, test } from 'vitest'
import { Problems } from './problems.js'
import { readGroups, readProxies } from './proxies.js'

const nowhere = () => Promise.reject(new Error('not here'))
const direct: Outbound = { dial: nowhere, associate: nowhere }
const SS = { name: 'ss', type: 'ss', server: '10.99.0.2', port: 8388, cipher: 'aes-256-gcm', password: 'pw', udp: true }
const SS_CIPHERS = 'supported: aes-128-gcm, aes-192-gcm, aes-256-gcm, chacha20-ietf-poly1305'
const S5 = { name: 's5', type: 'socks5', server: '10.99.0.2', port: 1080, udp: true }

function read(proxies: unknown, groups?: unknown) {
  const problems = new Problems()
  const targets = readProxies(proxies, { direct }, problems)
  readGroups(groups, targets, problems)
  const said = (list: Problems['errors']) =>
    list.map(({ path, message, hint }) => `${path.join('.')}: ${message}${hint ? `: ${hint}` : ''}`)
  return { targets, errors: said(problems.errors), warnings: said(problems.warnings) }
}

describe('proxies', () => {
  test('DIRECT, REJECT and REJECT-DROP are always there, GLOBAL is the first proxy', () => {
    const none = read(undefined).targets
    expect([...none.keys()]).toEqual(['DIRECT', 'REJECT', 'REJECT-DROP', 'GLOBAL'])
    expect(none.get('DIRECT')?.outbound).toBe(direct)
    expect([none.get('REJECT')?.outbound, none.get('REJECT')?.reject, none.get('REJECT-DROP')?.reject]).toEqual([
      undefined,
      'refused',
      'drop',
    ])
    expect(none.get('GLOBAL')?.name).toBe('DIRECT')
    const { targets, errors, warnings } = read([S5])
    expect([targets.get('GLOBAL')?.name, errors, warnings]).toEqual(['s5', [], []])
    expect(targets.get('s5')?.outbound).toBeDefined()
  })

  test.each([
    [{ ...S5, type: 'nosuchtype' }, "0.type: unknown proxy type 'nosuchtype' (supported: socks5, ss, direct, reject)"],
    [{ ...S5, type: 'Socks5' }, "0.type: unknown proxy type 'Socks5' (supported: socks5, ss, direct, reject): did you mean 'socks5'?"],
    [{ name: 'x' }, "0: proxy 'x' has no type (supported: socks5, ss, direct, reject)"],
    [{ ...S5, name: undefined }, '0.name: name must be a text'],
    [{ ...S5, name: 'DIRECT' }, "0.name: the name 'DIRECT' is taken"],
    [{ ...S5, port: 99_999_999 }, '0.port: port must be a number from 1 to 65535, got 99999999'],
    [{ name: 's5', type: 'socks5', server: 'h' }, '0: port must be a number from 1 to 65535'],
    [{ ...S5, server: '' }, '0.server: server must be a host name or an IP address'],
    [{ ...S5, udp: 'yes' }, "0.udp: udp must be true or false, got 'yes'"],
    [{ ...S5, username: ['a'] }, '0.username: username must be a text'],
    [{ ...S5, tls: true }, '0.tls: not supported yet for a socks5 proxy'],
    [{ ...S5, username: 'x'.repeat(256) }, '0: a SOCKS5 user name has 1 to 255 bytes and a password at most 255 (RFC 1929)'],
    [{ ...S5, 'dialer-proxy': 'x' }, '0.dialer-proxy: not supported yet for a socks5 proxy'],
    [{ ...SS, cipher: 'aes-256-gmc' }, `0.cipher: unknown cipher 'aes-256-gmc' (${SS_CIPHERS}): did you mean 'aes-256-gcm'?`],
    [{ ...SS, cipher: 7 }, `0.cipher: cipher must be a text (${SS_CIPHERS})`],
    [{ name: 'ss', type: 'ss', server: 'h', port: 1, password: 'pw' }, `0: cipher must be a text (${SS_CIPHERS})`],
    [{ name: 'ss', type: 'ss', server: 'h', port: 1, cipher: 'aes-128-gcm' }, '0: password must be a text: write the one of the server'],
    [{ ...SS, password: '' }, '0.password: password must be a text: write the one of the server'],
    [{ ...SS, password: ['pw'] }, '0.password: password must be a text: write the one of the server'],
    [{ ...SS, port: 0 }, '0.port: port must be a number from 1 to 65535, got 0'],
    [{ ...SS, plugin: 'obfs' }, '0.plugin: not supported yet for an ss proxy'],
    [{ ...SS, 'udp-over-tcp': true }, '0.udp-over-tcp: not supported yet for an ss proxy'],
    ['s5', "0: expected a map with name and type, got 's5'"],
  ])('%j is an error', (entry, message) => {
    expect(read([entry]).errors).toEqual([message])
  })

  test('an ss entry is an outbound, for datagrams only with `udp: true`; ciphers in any case, passwords of digits', () => {
    const entries = [SS, { ...SS, name: 'tcp', udp: undefined, cipher: 'AES-128-GCM' }, { ...SS, name: 'digits', password: 123456 }]
    const { targets, errors, warnings } = read(entries)
    expect([errors, warnings]).toEqual([[], []])
    expect(entries.map(({ name }) => typeof targets.get(name)?.outbound?.dial)).toEqual(['function', 'function', 'function'])
    expect(entries.map(({ name }) => typeof targets.get(name)?.outbound?.associate)).toEqual(['function', 'undefined', 'function'])
  })

  test('a cipher of mihomo which is not spoken yet warns, and what would use it is refused, not leaked', () => {
    const { targets, errors, warnings } = read([{ ...SS, cipher: '2022-blake3-aes-128-gcm' }])
    expect(errors).toEqual([])
    expect(warnings).toEqual([
      `0.cipher: cipher '2022-blake3-aes-128-gcm' is not acted on yet (${SS_CIPHERS}): connections through 'ss' are refused`,
    ])
    expect(targets.get('ss')).toEqual({ name: 'ss', outbound: undefined, reject: 'refused' })
  })

  test('two of one name, and no list at all, are errors', () => {
    expect(read([S5, S5]).errors).toEqual(["1.name: the name 's5' is taken"])
    expect(read('s5').errors).toEqual([": expected a list, got 's5'"])
  })

  test('a type of mihomo which is not spoken yet warns, and what would use it is refused, not leaked', () => {
    const { targets, errors, warnings } = read([{ name: 'x', type: 'vmess' }])
    expect(errors).toEqual([])
    expect(warnings).toEqual([
      "0.type: proxy type 'vmess' is not acted on yet (supported: socks5, ss, direct, reject): connections through 'x' are refused",
    ])
    expect(targets.get('x')).toEqual({ name: 'x', outbound: undefined, reject: 'refused' })
  })

  test('keys of an entry: a known one warns if it asks for something, an unknown one always', () => {
    expect(read([{ ...S5, tfo: true, tls: false, usrname: 'a' }]).warnings).toEqual([
      '0.tfo: known to Clash/mihomo, not acted on yet',
      "0.usrname: unknown key: did you mean 'username'?",
    ])
    expect(read([{ ...SS, smux: { enabled: true }, plugin: '', tls: true }]).warnings).toEqual([
      '0.smux: known to Clash/mihomo, not acted on yet',
      '0.tls: unknown key',
    ])
  })
})

describe('groups', () => {
  test('stand for their first member, with a warning', () => {
    const groups = [
      { name: 'PROXY', type: 'select', proxies: ['AUTO', 'DIRECT'] },
      { name: 'AUTO', type: 'url-test', proxies: ['s5'] },
    ]
    const { targets, errors, warnings } = read([S5], groups)
    expect(errors).toEqual([])
    expect([targets.get('PROXY')?.name, targets.get('AUTO')?.name]).toEqual(['s5', 's5'])
    expect(warnings[0]).toBe("0.proxies.0: groups are not acted on yet: 'PROXY' always uses its first proxy, 's5'")
  })

  test.each([
    ['use', ['p']],
    ['include-all', true],
  ])('members that come by %s: a warning, and what goes through it is refused, not leaked', (key, value) => {
    const groups = [
      { name: 'G', type: 'select', [key]: value },
      { name: 'H', type: 'select', proxies: ['G'] },
    ]
    const { targets, errors, warnings } = read([S5], groups)
    expect(errors).toEqual([])
    expect(warnings[0]).toBe(`0.${key}: providers are not acted on yet: what goes through 'G' is refused`)
    for (const name of ['G', 'H']) expect(targets.get(name)).toEqual({ name: 'G', outbound: undefined, reject: 'refused' })
  })

  test.each([
    [{ name: 'G', type: 'select', proxies: ['G'] }, "0.proxies.0: group 'G' contains itself: G → G"],
    [{ name: 'G', type: 'select', proxies: ['sock'] }, "0.proxies.0: there is no proxy 'sock': did you mean 'socks'?"],
    [{ name: 'G', type: 'select', use: [], proxies: [] }, "0: group 'G' has no proxies: write e.g. proxies: [DIRECT]"],
    [{ name: 'socks', type: 'select', proxies: ['s5'] }, "0.name: the name 'socks' is taken"],
  ])('%j is an error', (group, message) => {
    expect(read([{ ...S5, name: 'socks' }], [group]).errors).toContain(message)
  })
})
