import type { Outbound } from '@tun/inbound'
import { describe, expect, test } from 'vitest'
import { Problems } from './problems.js'
import { readGroups, readProxies } from './proxies.js'

const direct: Outbound = { dial: () => Promise.reject(new Error('not here')) }
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
    [{ ...S5, type: 'nosuchtype' }, "0.type: unknown proxy type 'nosuchtype' (supported: socks5, direct, reject)"],
    [{ ...S5, type: 'Socks5' }, "0.type: unknown proxy type 'Socks5' (supported: socks5, direct, reject): did you mean 'socks5'?"],
    [{ name: 'x' }, "0: proxy 'x' has no type (supported: socks5, direct, reject)"],
    [{ ...S5, name: undefined }, '0.name: name must be a text'],
    [{ ...S5, name: 'DIRECT' }, "0.name: the name 'DIRECT' is taken"],
    [{ ...S5, port: 99_999_999 }, '0.port: port must be a number from 1 to 65535, got 99999999'],
    [{ name: 's5', type: 'socks5', server: 'h' }, '0: port must be a number from 1 to 65535'],
    [{ ...S5, server: '' }, '0.server: server must be a host name or an IP address'],
    [{ ...S5, udp: 'yes' }, "0.udp: udp must be true or false, got 'yes'"],
    [{ ...S5, username: ['a'] }, '0.username: username must be a text'],
    [{ ...S5, tls: true }, '0.tls: not supported yet for a socks5 proxy'],
    [{ ...S5, username: 'x'.repeat(256) }, '0: a SOCKS5 user name has 1 to 255 bytes and a password at most 255 (RFC 1929)'],
    ['s5', "0: expected a map with name and type, got 's5'"],
  ])('%j is an error', (entry, message) => {
    expect(read([entry]).errors).toEqual([message])
  })

  test('two of one name, and no list at all, are errors', () => {
    expect(read([S5, S5]).errors).toEqual(["1.name: the name 's5' is taken"])
    expect(read('s5').errors).toEqual([": expected a list, got 's5'"])
  })

  test('a type of mihomo which is not spoken yet warns, and what would use it is refused, not leaked', () => {
    const { targets, errors, warnings } = read([{ name: 'x', type: 'vmess' }])
    expect(errors).toEqual([])
    expect(warnings).toEqual([
      "0.type: proxy type 'vmess' is not acted on yet (supported: socks5, direct, reject): connections through 'x' are refused",
    ])
    expect(targets.get('x')).toEqual({ name: 'x', outbound: undefined, reject: 'refused' })
  })

  test('keys of a socks5 entry: a known one warns if it asks for something, an unknown one always', () => {
    expect(read([{ ...S5, tfo: true, tls: false, usrname: 'a' }]).warnings).toEqual([
      '0.tfo: known to Clash/mihomo, not acted on yet',
      "0.usrname: unknown key: did you mean 'username'?",
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
