import { describe, expect, test } from 'vitest'
import { type Diagnostic, formatDiagnostic } from './diagnostics.js'
import { dnsSchema, profileSchema } from './dns-schema.js'
import { factsOf } from './keys.js'
import { loadConfig, parseDns, parseTun } from './load.js'
import { tunSchema } from './tun-schema.js'

const SECTIONS = { tun: tunSchema.shape, dns: dnsSchema.shape, profile: profileSchema.shape } as const

/** What is said about one key, beside what the value itself is about. */
function saidOf(section: keyof typeof SECTIONS, key: string, value: unknown, known: string[] = []): Diagnostic[] {
  const text = JSON.stringify({ [section]: { [key]: value } })
  return loadConfig(text, { known, platform: 'linux' }).warnings.filter(({ path }) => path === `${section}.${key}`)
}

const answered = Object.entries(SECTIONS).flatMap(([section, shape]) =>
  Object.entries(shape).flatMap(([key, schema]) => {
    const answer = factsOf(schema)?.answer
    return answer ? [{ section: section as keyof typeof SECTIONS, key, answer }] : []
  }),
)

test('a key that is not acted on has its own answer when it asks for something, and none when it does not', () => {
  expect(answered.length).toBeGreaterThan(50)
  for (const { section, key, answer } of answered) {
    const [told, ...more] = saidOf(section, key, answer.example)
    expect([key, told?.id, told?.severity, told?.line, more]).toEqual([key, `tun/${key}`, answer.severity, 1, []])
    expect(told.excerpt?.text.slice(told.excerpt.at)).toContain(`"${key}"`)
    expect(saidOf(section, key, answer.example, [`${section}.${key}`])).toEqual([]) // the caller acts on it
    const nothing = Array.isArray(answer.example) ? [] : typeof answer.example === 'boolean' ? false : null
    expect([key, saidOf(section, key, nothing)]).toEqual([key, []])
  }
})

test('a key that is acted on has no answer, and every key says what it does', () => {
  for (const [section, shape] of Object.entries(SECTIONS)) {
    for (const [key, schema] of Object.entries(shape)) {
      expect([section, key, factsOf(schema)?.does]).toEqual([section, key, expect.stringMatching(/\.$/)])
    }
  }
})

describe('commands', () => {
  const hintOf = (text: string, key: string) =>
    loadConfig(text, { platform: 'linux' }).warnings.find(({ path }) => path === `tun.${key}`)?.hint

  test('name the interface, the fake addresses without host bits, and the numbers of the file', () => {
    const tun = 'tun:\n  device-url: dev://wan7\n  auto-route: true\n'
    expect(hintOf(`${tun}dns:\n  ipv6: true\n  fake-ip-range6: fc00::1/18\n`, 'auto-route')).toBe(
      'route the fake addresses into the TUN:\nip route add 198.18.0.0/16 dev wan7\nip -6 route add fc00::/18 dev wan7',
    )
    const numbers = '  iproute2-table-index: 77\n  iproute2-rule-index: 100\n'
    expect(hintOf(`${tun}${numbers}dns:\n  enhanced-mode: redir-host\n`, 'auto-route')?.split('\n')).toEqual([
      'run this program as a user of its own, UID, and:',
      'ip route add default dev wan7 table 77',
      'ip rule add pref 100 uidrange UID-UID lookup main',
      'ip rule add pref 110 not dport 53 lookup main suppress_prefixlength 0',
      'ip rule add pref 120 lookup 77',
    ])
  })

  test('are one for each value, of its family, and no more than four', () => {
    expect(hintOf('tun: {device: t0, route-exclude-address: [10.1.2.3/8, fd00::/8]}', 'route-exclude-address')).toBe(
      'run:\nip route add throw 10.0.0.0/8 table 2022\nip -6 route add throw fd00::/8 table 2022',
    )
    expect(hintOf('tun: {exclude-uid: [1, 2, 3, 4, 5]}', 'exclude-uid')?.split('\n').slice(-2)).toEqual([
      'ip rule add pref 9000 uidrange 4-4 lookup main',
      '…',
    ])
  })

  test('stand in one line where there is room for one', () => {
    const [told] = loadConfig('tun: {device: t0, inet4-address: 198.18.0.1/30}').warnings.filter(({ id }) => id === 'tun/inet4-address')
    expect(formatDiagnostic(told, 'c')).toBe(
      'c:1:19: warning: tun.inet4-address: the interface gets no address: it needs none to work: ' +
        'where something else needs one, run: ip address add 198.18.0.1/30 dev t0',
    )
  })
})

test('what has an answer is left out of the options, and options that are given back say nothing', () => {
  const tun = parseTun({ 'device-url': 'fd://3', 'auto-route': true, stack: 'GVisor', 'include-uid': [0] }, { platform: 'linux' })
  const dns = parseDns({ 'prefer-h3': true, nameserver: ['1.1.1.1', 'quic://1.1.1.1'] })
  expect(Object.keys(tun)).toEqual(['enable', 'device-url', 'dns-hijack', 'gso', 'udp-timeout', 'udp-filter', 'multicast'])
  expect([dns.nameserver, 'prefer-h3' in dns]).toEqual([['1.1.1.1'], false])
  const again: string[] = []
  const onWarning = (warning: Diagnostic): void => void again.push(warning.message)
  expect([parseTun(tun, { onWarning }), parseDns(dns, { onWarning }), again]).toEqual([tun, dns, []])
})
