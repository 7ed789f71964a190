import { expect, test } from 'vitest'
import { type ConfigError, type Diagnostic, formatDiagnostic } from './diagnostics.js'
import { loadConfig } from './load.js'

const ABOUT = ['tun/overlap', 'tun/local-address', 'tun/nic-network']

/** What is said about addresses, errors as `error …`. */
function said(tun: string, dns: string): string[] {
  const text = `tun: {dns-listen: '0.0.0.0:53', ${tun}}\ndns: {ipv6: true, ${dns}}\n`
  const line = (told: Diagnostic): string => `${told.severity} ${told.id} ${formatDiagnostic({ ...told, severity: 'error' })}`
  try {
    return loadConfig(text, { platform: 'linux' })
      .warnings.filter(({ id }) => ABOUT.includes(id))
      .map(line)
  } catch (error) {
    const { diagnostics, warnings } = error as ConfigError
    return [...diagnostics, ...warnings].filter(({ id }) => ABOUT.includes(id)).map(line)
  }
}

test.each([
  ['inet4-address: 198.18.0.1/16', ''],
  ['inet4-address: 198.18.0.1/32', ''],
  ['inet4-address: 172.19.0.1/30', ''],
  ['inet4-address: 198.18.9.9/32', "fake-ip-range: '198.18.9.9/16'"],
  ['inet4-address: 198.18.255.253/30', "fake-ip-range: '198.18.255.253/16'"],
  ['inet4-address: 198.18.0.9/30', 'enhanced-mode: redir-host'],
  ["inet6-address: 'fc00::1/18'", "fake-ip-range6: 'fc00::/18'"],
  ["inet6-address: 'fdfe::1/126'", "fake-ip-range6: 'fc00::/18'"],
])('%s and %s: each address is there for one thing', (tun, dns) => {
  expect(said(tun, dns)).toEqual([])
})

test("the NIC's own address is handed to no name: an error, IPv4 and IPv6", () => {
  expect(said('inet4-address: [10.0.0.1/8, 198.18.0.9/32]', '')).toEqual([
    "error tun/overlap 1:61: tun.inet4-address[1]: the NIC's address 198.18.0.9 lies in 'fake-ip-range' (198.18.0.1/16): " +
      'a name would get it, and its connections would end at this host: ' +
      'use 198.18.0.1, which is never handed out, or an address outside of the range',
  ])
  expect(said("inet6-address: 'fc00::9/126'", "fake-ip-range6: 'fc00::/18'")).toEqual([
    expect.stringMatching(/^error tun\/overlap .*fc00::9 lies in 'fake-ip-range6' .*use fc00::1,/),
  ])
})

test("a small network of the NIC inside of the range has a broadcast address there, which mihomo's default has", () => {
  expect(said('inet4-address: 198.18.0.1/30', '')).toEqual([
    "warning tun/overlap 1:48: tun.inet4-address: the network '198.18.0.1/30' lies in 'fake-ip-range' (198.18.0.1/16): " +
      'a name would get 198.18.0.3, its broadcast address: write 198.18.0.1/16 or 198.18.0.1/32',
  ])
})

test("a network's first address is no host's; DNS at the NIC's own address is answered by the kernel", () => {
  expect(said('inet4-address: 10.9.0.0/30', '')).toEqual([
    "warning tun/nic-network 1:48: tun.inet4-address: '10.9.0.0/30' is the first address of its network, which is no host's: " +
      'write 10.9.0.1/30',
  ])
  expect(said("inet4-address: 10.9.0.1/30, dns-hijack: ['any:53', '10.9.0.1:53']", '')).toEqual([
    "error tun/local-address 1:84: tun.dns-hijack[1]: 10.9.0.1 is the NIC's own address: the kernel answers there itself: " +
      'use e.g. 10.9.0.2, or 0.0.0.0 for any address',
  ])
})

test('a nameserver inside of the range cannot be asked, unless by a proxy', () => {
  expect(
    said('mtu: 1500', "nameserver: [1.1.1.1, 'tls://198.18.3.3:853'], fake-ip-range6: 'fc00::/18', fallback: ['[fc00::53]:53']"),
  ).toEqual([
    "warning tun/overlap 2:41: dns.nameserver[1]: 'tls://198.18.3.3:853' lies in 'fake-ip-range' (198.18.0.1/16), " +
      'whose addresses stand for names: it cannot be asked: use another nameserver, or another range',
    expect.stringMatching(/^warning tun\/overlap .*dns\.fallback\[0\]: '\[fc00::53\]:53' lies in 'fake-ip-range6'/),
  ])
  expect(said('mtu: 1500', "nameserver: ['198.18.3.3#s5'], direct-nameserver: [198.18.3.4]")).toEqual([
    expect.stringMatching(/^warning tun\/overlap .*dns\.direct-nameserver\[0\]/),
  ])
})
