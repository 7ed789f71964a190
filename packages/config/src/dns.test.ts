// The keys of `dns:`, `hosts:` and `profile:`.

import { expect, test } from 'vitest'
import { loadConfig } from './load.js'
import { said } from './load.test-kit.js'

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
