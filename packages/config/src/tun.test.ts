import { describe, expect, test } from 'vitest'
import { type ConfigError, formatDiagnostic } from './diagnostics.js'
import { loadConfig, parseTun } from './load.js'

function said(text: string): string[] {
  try {
    return loadConfig(text, { file: 'c', platform: 'linux' }).warnings.map(warning => `${warning.id} ${formatDiagnostic(warning, 'c')}`)
  } catch (error) {
    return (error as ConfigError).diagnostics.map(diagnostic => `${diagnostic.id} ${formatDiagnostic(diagnostic, 'c')}`)
  }
}

test("mihomo's 'device' and 'file-descriptor' are our 'device-url'", () => {
  const urlOf = (tun: object) => parseTun(tun, { platform: 'linux' })['device-url']
  expect(urlOf({ device: 'utun9' })).toBe('dev://utun9')
  expect(urlOf({ device: 'fd://5' })).toBe('fd://5')
  expect(urlOf({ 'file-descriptor': 7, device: 'x' })).toBe('fd://7')
  expect(urlOf({ 'file-descriptor': 0, device: '' })).toBe(undefined)
  expect(said('tun: {device: tun0}')).toEqual([
    "tun/synonym c:1:7: note: tun.device: taken as 'device-url: dev://tun0': 'device-url' is the name of the key here",
  ])
  expect(said('tun: {enable: true, file-descriptor: -5}')).toEqual(['tun/range c:1:38: tun.file-descriptor: must be at least 0, got -5'])
  expect(said('tun: {enable: true, device: 5}')).toEqual(['tun/type c:1:29: tun.device: expected a text, got 5: put it in quotes'])
})

test('a range with bits behind its prefix is told where they mean nothing, and only there', () => {
  const text = `tun:
  inet4-address: 198.18.0.1/30
  route-address: [10.1.2.3/8, 10.0.0.0/8, '2001:db8::1/32', 192.0.2.1]
dns:
  fake-ip-range: 198.18.0.1/16
  fallback-filter: {ipcidr: [240.0.0.1/4]}
`
  expect(said(text).filter(line => line.startsWith('tun/cidr'))).toEqual([
    "tun/cidr-host-bits c:3:19: warning: tun.route-address[0]: '10.1.2.3/8' has bits behind its prefix: write 10.0.0.0/8 if that is meant",
    "tun/cidr-host-bits c:3:43: warning: tun.route-address[2]: '2001:db8::1/32' has bits behind its prefix: " +
      'write 2001:db8::/32 if that is meant',
    "tun/cidr-host-bits c:6:30: warning: dns.fallback-filter.ipcidr[0]: '240.0.0.1/4' has bits behind its prefix: " +
      'write 240.0.0.0/4 if that is meant',
  ])
})

describe('values of keys that are not acted on', () => {
  test.each([
    ['stack: sytem', "tun/word c:1:14: tun.stack: expected one of gvisor, system, mixed, lwip, got 'sytem': did you mean 'system'?"],
    ['auto-route: 1', 'tun/type c:1:19: tun.auto-route: expected true or false, got 1'],
    ['inet4-address: [fd00::1/8]', "tun/cidr c:1:23: tun.inet4-address[0]: 'fd00::1/8' is not IPv4: e.g. 198.18.0.1/30"],
    ['inet6-address: fd00::1', "tun/cidr c:1:22: tun.inet6-address: expected ADDRESS/BITS, got 'fd00::1': e.g. fdfe:dcba:9876::1/126"],
    ['route-address: [10.0.0.0/33]', "tun/cidr c:1:23: tun.route-address[0]: expected ADDRESS/BITS, got '10.0.0.0/33': e.g. 240.0.0.0/4"],
    ["include-uid-range: ['9:1']", 'tun/range-of-numbers c:1:27: tun.include-uid-range[0]: 9 comes after 1: write 1:9'],
    ["exclude-dst-port-range: ['1:70000']", 'tun/range-of-numbers c:1:32: tun.exclude-dst-port-range[0]: 70000 is more than 65535'],
    ['include-mac-address: [02:00:5e]', "expected the address of an Ethernet card, got '02:00:5e': e.g. 02:00:5e:10:00:01"],
    ['iproute2-rule-index: 40000', 'tun/range c:1:28: tun.iproute2-rule-index: must be at most 32765, got 40000'],
    ["udp-timeout: '5m'", "tun/type c:1:20: tun.udp-timeout: expected a number, got the string '5m': write 300, without a unit"],
    ["loopback-address: ['x']", "tun/address c:1:26: tun.loopback-address[0]: 'x' is no IP address"],
  ])('are checked all the same: %s', (line, message) => {
    expect(said(`tun: {${line}}`)).toEqual([expect.stringContaining(message)])
  })
})

test('options from code have the same checks, with their keys and without lines, also in the report', () => {
  const wrong = { mtu: '1500', 'udp-filter': 'symetric', devcie: 1 }
  const error = (() => {
    try {
      return parseTun(wrong)
    } catch (error) {
      return error as ConfigError
    }
  })() as ConfigError
  expect(error.diagnostics.map(({ path, line, column, excerpt }) => [path, line, column, excerpt])).toEqual([
    ['tun.mtu', 0, 0, undefined],
    ['tun.udp-filter', 0, 0, undefined],
  ])
  expect(error.report).toBe(`error[tun/type]: tun.mtu: expected a number, got the string '1500'
help: remove the quotes

error[tun/word]: tun.udp-filter: expected one of endpoint-independent, address-dependent, address-and-port-dependent, got 'symetric'

warning[tun/unknown-key]: tun.devcie: unknown key
help: did you mean 'device'?

2 errors, 1 warning
`)
})
