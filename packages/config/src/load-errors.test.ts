// What is wrong with a file: all of it at once, each at its line and column, with what to write instead.

import { describe, expect, test } from 'vitest'
import { type ConfigError, formatDiagnostic } from './diagnostics.js'
import { type LoadOptions, loadConfig } from './load.js'
import { OPTIONS, said } from './load.test-kit.js'

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
