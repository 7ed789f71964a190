import { formatDiagnostic } from '@tun/config'
import { direct } from '@tun/inbound'
import { describe, expect, test } from 'vitest'
import { readConfig } from './config.js'

const GOOD = `mode: rule
log-level: warning
ipv6: true
tun:
  enable: true
  device-url: dev://tun0
  dns-listen: 0.0.0.0:53
dns:
  enable: true
  ipv6: true
  enhanced-mode: fake-ip
  fake-ip-range: 198.18.0.1/16
  nameserver: [10.99.0.2]
proxies:
  - {name: s5, type: socks5, server: 10.99.0.2, port: 1080, udp: true}
rules:
  - DST-PORT,4444,REJECT
  - MATCH,s5
`
const read = (text: string) => readConfig(text, 'config.yaml', { direct: direct() })
const problems = (text: string): string[] => {
  try {
    read(text)
  } catch (error) {
    return (error as Error).message.split('\n')
  }
  return []
}

describe('a good file', () => {
  test('is read whole, without a warning', () => {
    const config = read(GOOD)
    expect(config.warnings).toEqual([])
    expect([config.mode, config.level, config.ipv6, config.rules.size]).toEqual(['rule', 'warning', true, 2])
    expect([...config.targets.keys()]).toContain('s5')
    expect(config.tun).toMatchObject({ enable: true, 'device-url': 'dev://tun0', 'dns-listen': '0.0.0.0:53', gso: true })
  })

  test('needs no more than its tun section', () => {
    const config = read('tun: {enable: true, device-url: fd://5}')
    expect([config.mode, config.level, config.ipv6, config.rules.size]).toEqual(['rule', 'info', true, 0])
  })

  test('words are read in any case, booleans as YAML 1.1 has them', () => {
    expect(read(GOOD.replace('rule', 'Rule').replace('warning', 'WARNING').replace('ipv6: true', 'ipv6: no'))).toMatchObject({
      mode: 'rule',
      level: 'warning',
      ipv6: false,
      dns: { ipv6: false },
    })
  })
})

describe('a bad file', () => {
  test.each([
    [
      'an unknown proxy type',
      GOOD.replace('socks5', 'nosuchtype'),
      "config.yaml:15:22: proxies[0].type: unknown proxy type 'nosuchtype' (supported: socks5, ss, direct, reject)",
    ],
    [
      'a cipher that is none',
      GOOD.replace('socks5', 'ss').replace('udp: true', 'cipher: aes-512-gcm, password: pw'),
      "config.yaml:15:65: proxies[0].cipher: unknown cipher 'aes-512-gcm' " +
        "(supported: aes-128-gcm, aes-192-gcm, aes-256-gcm, chacha20-ietf-poly1305): did you mean 'aes-128-gcm'?",
    ],
    [
      'a proxy without its password',
      GOOD.replace('socks5', 'ss').replace('udp: true', 'cipher: aes-128-gcm'),
      'config.yaml:15:5: proxies[0]: password must be a text: write the one of the server',
    ],
    ['a rule for nobody', GOOD.replace('MATCH,s5', 'MATCH,s6'), "config.yaml:18:5: rules[1]: there is no proxy 's6': did you mean 's5'?"],
    [
      'a mode that is none',
      GOOD.replace('rule', 'ruel'),
      "config.yaml:1:7: mode: expected one of rule, global, direct, script, got 'ruel': did you mean 'rule'?",
    ],
    [
      'a mode nobody has',
      GOOD.replace('rule', 'script'),
      "config.yaml:1:7: mode: 'script' is not supported; use one of rule, global, direct",
    ],
    [
      'a level that is none',
      GOOD.replace('warning', 'loud'),
      "config.yaml:2:12: log-level: expected one of silent, error, warning, info, debug, got 'loud'",
    ],
    [
      'proxies that are no list',
      GOOD.replace(/proxies:\n.*\n/, 'proxies: s5\n').replace('MATCH,s5', 'MATCH,DIRECT'),
      "config.yaml:14:10: proxies: expected a list, got 's5'",
    ],
  ])('%s: key, line, cause and fix in one line', (_, text, message) => {
    expect(problems(text)).toEqual([message])
  })

  test('every mistake is reported at once, in the order of the file', () => {
    const text = GOOD.replace('dev://tun0', 'tap://x').replace('socks5', 'nosuchtype').replace('DST-PORT,4444', 'DST-PORT,99999')
    expect(problems(text).map(line => line.split(': ').slice(0, 2).join(' '))).toEqual([
      'config.yaml:6:15 tun.device-url',
      'config.yaml:15:22 proxies[0].type',
      'config.yaml:17:5 rules[0]',
    ])
  })

  test('a broken proxy is one mistake, not one more for each rule that names it', () => {
    expect(problems(GOOD.replace('1080', '"x"'))).toHaveLength(1)
  })
})

test('a group without members is one mistake, not one more for each rule that names it', () => {
  expect(problems(`${GOOD.replace('MATCH,s5', 'MATCH,G')}proxy-groups:\n  - {name: G, type: select}\n`)).toHaveLength(1)
})

test.each([
  ['username: me, password: 0123', 1],
  ['username: 1e5, password: 0x10', 2],
  ['username: me, password: 12345678901234567890', 1],
  ['username: 7, password: 123456', 0],
  ["username: me, password: '0123'", 0],
])('%s: a number that is written otherwise warns, without showing it', (fields, count) => {
  const told = read(GOOD.replace('port: 1080', `port: 1080, ${fields}`)).warnings.map(warning => formatDiagnostic(warning, 'c.yaml'))
  expect(told.filter(line => line.includes('was read as a number, which is written otherwise: put it in quotes'))).toHaveLength(count)
  expect(told.join('\n')).not.toMatch(/0123|100000|12345/)
})

test('what is not acted on yet warns with its line and the program runs', () => {
  const text = `${GOOD}  - GEOIP,CN,DIRECT\nallow-lan: false\nproxy-groups:\n  - {name: G, type: select, proxies: [s5]}\n`
  expect(read(text).warnings.map(warning => formatDiagnostic(warning, 'c.yaml'))).toEqual([
    'c.yaml:19:5: warning: rules[2]: rule type GEOIP is not acted on yet: this rule is skipped',
    'c.yaml:20:1: warning: allow-lan: known to Clash/mihomo, not acted on yet',
    "c.yaml:22:39: warning: proxy-groups[0].proxies[0]: groups are not acted on yet: 'G' always uses its first proxy, 's5'",
  ])
})

test.each([
  ['', '/etc/proxy/config.fake-ip'],
  ['profile:\n  store-fake-ip: true\n', '/etc/proxy/config.fake-ip'],
  ['profile:\n  store-fake-ip: no\n', 'memory'],
])('fake IPs are kept beside the file unless it says no: %j', (profile, store) => {
  const { dns, warnings } = readConfig(GOOD + profile, '/etc/proxy/config.yaml', { direct: direct() })
  expect([dns['fake-ip-store'], warnings]).toEqual([store, []])
})

test('fake-ip-store: a path from the directory of the file', () => {
  const named = (value: string) =>
    readConfig(GOOD.replace('dns:\n', `dns:\n  fake-ip-store: ${value}\n`), '/etc/proxy/c.yaml', { direct: direct() })
  expect(['memory', 'names', '/var/names'].map(value => named(value).dns['fake-ip-store'])).toEqual([
    'memory',
    '/etc/proxy/names',
    '/var/names',
  ])
})

test('a nameserver’s #: a proxy, a group, an interface or RULES; anything else is a slip', () => {
  const servers = "['1.1.1.1#s5', '1.1.1.1#DIRECT', '1.1.1.1#lo', '1.1.1.1#RULES', '1.1.1.1#ecs=192.0.2.0/24', '1.1.1.1#s6&h3=false']"
  const { warnings } = read(GOOD.replace('[10.99.0.2]', servers))
  expect(warnings.map(warning => formatDiagnostic(warning, 'c'))).toEqual([
    "c:13:107: warning: dns.nameserver[5]: there is no proxy and no interface 's6': this nameserver cannot be asked: did you mean 's5'?",
  ])
  const beside = "[quic://1.1.1.1, '1.1.1.1#s6']\n  nameserver-policy: {a.test: ['1.1.1.1#s5', '1.1.1.1#s7'], b.test: '1.1.1.1#%735'}"
  const places = read(GOOD.replace('[10.99.0.2]', beside)).warnings.map(({ id, path }) => `${id} ${path}`)
  expect(places).toEqual([
    'tun/not-acted-on dns.nameserver[0]',
    'tun/nameserver-way dns.nameserver[1]',
    'tun/nameserver-way dns.nameserver-policy.a.test[1]',
  ])
})
