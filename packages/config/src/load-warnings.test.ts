// What a file may say and the program goes on: keys that are unknown, not acted on, or unwise.

import { describe, expect, test } from 'vitest'
import type { ConfigError } from './diagnostics.js'
import { loadConfig } from './load.js'
import { said } from './load.test-kit.js'

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
