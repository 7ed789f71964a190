// Owns: the keys of `tun:` that mihomo has and nothing here acts on: their types, and the answer to each. Read first:
// ip-rule(8), ip-route(8).

import { z } from 'zod'
import { networkOf } from './cidr.js'
import { answered, type Surroundings } from './keys.js'
import { anyCidr, clashBoolean, ipAddress, macAddress, nicAddress, numberRange, port } from './values.js'

const names = z.array(z.string().min(1))
const users = z.array(z.int().min(0).max(0xffffffff))
const userRanges = z.array(numberRange(0xffffffff))
const ports = z.array(port)
const portRanges = z.array(numberRange(65535))
const mark = z.union([z.int().min(0), z.string().regex(/^0x[0-9a-f]+$/i)])

/** One or several, as mihomo takes them. */
function listOf<T extends z.ZodType>(entry: T) {
  return z.union([entry, z.array(entry)]).transform(value => (Array.isArray(value) ? value : [value]) as z.output<T>[])
}

const NO_ROUTES = 'routes and rules are not set by this program'
const AT_WHOM = 'whose traffic enters the TUN is decided by routes and rules, and those are not set by this program'
const ANDROID = 'packages and users of Android are known to its VpnService only'

/** One command for each value. */
function each(line: (value: string, around: Surroundings) => string, head = 'run') {
  return (value: unknown, around: Surroundings): string =>
    [
      `${head}:`,
      ...(value as unknown[]).slice(0, 4).map(entry => line(String(entry), around)),
      ...((value as unknown[]).length > 4 ? ['…'] : []),
    ].join('\n')
}

const flag = (value: string): string => (value.includes(':') ? ' -6' : '')
const dashed = (range: string): string => range.replace(':', '-')
/** Rules of `include-*` send into our table, those of `exclude-*` to the one of the machine, before them. */
const into = (selector: (value: string) => string) =>
  each(
    (value, { table, rule }) => `ip rule add pref ${rule + 20} ${selector(value)} lookup ${table}`,
    'run, with a default route in the table',
  )
const past = (selector: (value: string) => string) => each((value, { rule }) => `ip rule add pref ${rule} ${selector(value)} lookup main`)
const routeTo = each((range, { nic }) => `ip${flag(range)} route add ${networkOf(range)} dev ${nic}`)
const routeAround = each((range, { table }) => `ip${flag(range)} route add throw ${networkOf(range)} table ${table}`)

function routes(_: unknown, { nic, fake4, fake6, table, rule }: Surroundings): string {
  if (fake4 !== undefined) {
    const v6 = fake6 === undefined ? [] : [`ip -6 route add ${fake6} dev ${nic}`]
    return [`route the fake addresses into the TUN:`, `ip route add ${fake4} dev ${nic}`, ...v6].join('\n')
  }
  return [
    'run this program as a user of its own, UID, and:',
    `ip route add default dev ${nic} table ${table}`,
    `ip rule add pref ${rule} uidrange UID-UID lookup main`,
    `ip rule add pref ${rule + 10} not dport 53 lookup main suppress_prefixlength 0`,
    `ip rule add pref ${rule + 20} lookup ${table}`,
  ].join('\n')
}

/** What is known to mihomo and not done by @tun/inbound. */
export const tunAnswered = {
  stack: answered(z.preprocess(lower, z.enum(['gvisor', 'system', 'mixed', 'lwip'])), 'Which TCP/IP stack.', {
    severity: 'note',
    why: 'there is one stack here, in user space as gvisor is, and it serves them all',
    example: 'mixed',
  }),
  'auto-route': answered(clashBoolean, 'Route everything into the TUN.', {
    severity: 'warning',
    why: NO_ROUTES,
    instead: routes,
    example: true,
  }),
  'macos-auto-route': answered(clashBoolean, 'Route everything into the TUN, on macOS.', {
    severity: 'warning',
    why: NO_ROUTES,
    instead: (_, { nic }) => `run: route add -net 0.0.0.0/1 -interface ${nic} and the same for 128.0.0.0/1`,
    example: true,
  }),
  'auto-redirect': answered(clashBoolean, 'Redirect forwarded TCP by nftables.', {
    severity: 'warning',
    why: 'nftables is not touched; forwarded traffic is taken from the TUN like any other',
    instead: (_, { table, rule }) => `run, with a default route in the table:\nip rule add pref ${rule + 20} not iif lo lookup ${table}`,
    example: true,
  }),
  'auto-redirect-input-mark': answered(mark, 'Mark of packets redirected.', {
    severity: 'note',
    why: "it belongs to 'auto-redirect', which is not done",
    example: '0x2023',
  }),
  'auto-redirect-output-mark': answered(mark, 'Mark of packets let through.', {
    severity: 'note',
    why: "it belongs to 'auto-redirect', which is not done",
    example: '0x2024',
  }),
  'auto-redirect-iproute2-fallback-rule-index': answered(z.int().min(0).max(0xffffffff), 'Preference of the last rule.', {
    severity: 'note',
    why: "it belongs to 'auto-redirect', which is not done",
    example: 32768,
  }),
  'auto-redir': answered(z.unknown(), 'Redirect TCP by eBPF or nftables.', {
    severity: 'warning',
    why: 'TCP is taken from the TUN like all else',
    example: true,
  }),
  'auto-detect-interface': answered(clashBoolean, 'Bind outgoing connections to the uplink.', {
    severity: 'warning',
    why: 'outgoing connections take the way of the routing table',
    instead: (_, { rule }) =>
      `keep them out of the TUN by their user, UID, whom this program runs as:\nip rule add pref ${rule} uidrange UID-UID lookup main`,
    example: true,
  }),
  'macos-auto-detect-interface': answered(clashBoolean, 'Bind outgoing connections to the uplink, on macOS.', {
    severity: 'warning',
    why: 'outgoing connections take the way of the routing table',
    example: true,
  }),
  'strict-route': answered(clashBoolean, 'Let nothing leave beside the TUN.', {
    severity: 'warning',
    why: 'nothing is blocked: what is not routed into the TUN leaves as before',
    instead: (_, { nic }) =>
      `for IPv6 at least, route it into the TUN, where ipv6: false refuses it at once:\nip -6 route add default dev ${nic} metric 1`,
    example: true,
  }),
  'inet4-address': answered(listOf(nicAddress(4)), 'IPv4 addresses of the interface.', {
    severity: 'warning',
    why: 'the interface gets no address: it needs none to work',
    instead: each((range, { nic }) => `ip address add ${range} dev ${nic}`, 'where something else needs one, run'),
    example: ['198.18.0.1/30'],
  }),
  'inet6-address': answered(listOf(nicAddress(6)), 'IPv6 addresses of the interface.', {
    severity: 'warning',
    why: 'the interface gets no address: it needs none to work',
    instead: each((range, { nic }) => `ip -6 address add ${range} dev ${nic}`, 'where something else needs one, run'),
    example: ['fdfe:dcba:9876::1/126'],
  }),
  'route-address': answered(z.array(anyCidr()), 'Route these ranges into the TUN.', {
    severity: 'warning',
    why: NO_ROUTES,
    instead: routeTo,
    example: ['10.0.0.0/8', 'fd00::/8'],
  }),
  'inet4-route-address': answered(z.array(anyCidr(4)), 'Route these IPv4 ranges into the TUN.', {
    severity: 'warning',
    why: NO_ROUTES,
    instead: routeTo,
    example: ['10.0.0.0/8'],
  }),
  'inet6-route-address': answered(z.array(anyCidr(6)), 'Route these IPv6 ranges into the TUN.', {
    severity: 'warning',
    why: NO_ROUTES,
    instead: routeTo,
    example: ['fd00::/8'],
  }),
  'route-exclude-address': answered(z.array(anyCidr()), 'Keep these ranges out of the TUN.', {
    severity: 'warning',
    why: NO_ROUTES,
    instead: routeAround,
    example: ['192.168.0.0/16'],
  }),
  'inet4-route-exclude-address': answered(z.array(anyCidr(4)), 'Keep these IPv4 ranges out of the TUN.', {
    severity: 'warning',
    why: NO_ROUTES,
    instead: routeAround,
    example: ['192.168.0.0/16'],
  }),
  'inet6-route-exclude-address': answered(z.array(anyCidr(6)), 'Keep these IPv6 ranges out of the TUN.', {
    severity: 'warning',
    why: NO_ROUTES,
    instead: routeAround,
    example: ['fe80::/10'],
  }),
  'route-address-set': answered(names, 'Route the ranges of these rule sets into the TUN.', {
    severity: 'warning',
    why: NO_ROUTES,
    instead: () =>
      "write the ranges into an nftables set, mark what goes there, and route the mark: 'ip rule add fwmark MARK lookup TABLE'",
    example: ['cn-ip'],
  }),
  'route-exclude-address-set': answered(names, 'Keep the ranges of these rule sets out of the TUN.', {
    severity: 'warning',
    why: NO_ROUTES,
    instead: () => "write the ranges into an nftables set, mark what goes there, and route the mark: 'ip rule add fwmark MARK lookup main'",
    example: ['cn-ip'],
  }),
  'include-interface': answered(names, 'Take only traffic forwarded from these interfaces.', {
    severity: 'warning',
    why: AT_WHOM,
    instead: into(name => `iif ${name}`),
    example: ['br0'],
  }),
  'exclude-interface': answered(names, 'Leave traffic forwarded from these interfaces alone.', {
    severity: 'warning',
    why: AT_WHOM,
    instead: past(name => `iif ${name}`),
    example: ['docker0'],
  }),
  'include-uid': answered(users, 'Take only traffic of these users.', {
    severity: 'warning',
    why: AT_WHOM,
    instead: into(uid => `uidrange ${uid}-${uid}`),
    example: [1000],
    idle: value => Array.isArray(value) && value.length === 0,
  }),
  'include-uid-range': answered(userRanges, 'Take only traffic of users in these ranges.', {
    severity: 'warning',
    why: AT_WHOM,
    instead: into(range => `uidrange ${dashed(range)}`),
    example: ['1000:1999'],
  }),
  'exclude-uid': answered(users, 'Leave traffic of these users alone.', {
    severity: 'warning',
    why: AT_WHOM,
    instead: past(uid => `uidrange ${uid}-${uid}`),
    example: [1001],
  }),
  'exclude-uid-range': answered(userRanges, 'Leave traffic of users in these ranges alone.', {
    severity: 'warning',
    why: AT_WHOM,
    instead: past(range => `uidrange ${dashed(range)}`),
    example: ['2000:2999'],
  }),
  'include-mac-address': answered(z.array(macAddress), 'Take only traffic forwarded from these Ethernet cards.', {
    severity: 'warning',
    why: AT_WHOM,
    instead: () => "mark it in nftables by 'ether saddr', and route the mark: 'ip rule add fwmark MARK lookup TABLE'",
    example: ['02:00:5e:10:00:01'],
  }),
  'exclude-mac-address': answered(z.array(macAddress), 'Leave traffic forwarded from these Ethernet cards alone.', {
    severity: 'warning',
    why: AT_WHOM,
    instead: () => "mark it in nftables by 'ether saddr', and route the mark: 'ip rule add fwmark MARK lookup main'",
    example: ['02:00:5e:10:00:01'],
  }),
  'exclude-src-port': answered(ports, 'Leave traffic from these ports alone.', {
    severity: 'warning',
    why: AT_WHOM,
    instead: past(number => `sport ${number}`),
    example: [22],
  }),
  'exclude-src-port-range': answered(portRanges, 'Leave traffic from ports in these ranges alone.', {
    severity: 'warning',
    why: AT_WHOM,
    instead: past(range => `sport ${dashed(range)}`),
    example: ['8000:8999'],
  }),
  'exclude-dst-port': answered(ports, 'Leave traffic to these ports alone.', {
    severity: 'warning',
    why: AT_WHOM,
    instead: past(number => `dport ${number}`),
    example: [22],
  }),
  'exclude-dst-port-range': answered(portRanges, 'Leave traffic to ports in these ranges alone.', {
    severity: 'warning',
    why: AT_WHOM,
    instead: past(range => `dport ${dashed(range)}`),
    example: ['8000:8999'],
  }),
  'include-android-user': answered(users, 'Take only traffic of these users of Android.', {
    severity: 'warning',
    why: ANDROID,
    instead: () => 'give this program the descriptor of a VpnService made for them, by device-url: fd://N',
    example: [10],
  }),
  'include-package': answered(names, 'Take only traffic of these packages of Android.', {
    severity: 'warning',
    why: ANDROID,
    instead: () => 'call VpnService.Builder.addAllowedApplication, and give this program the descriptor by device-url: fd://N',
    example: ['com.example.app'],
  }),
  'exclude-package': answered(names, 'Leave traffic of these packages of Android alone.', {
    severity: 'warning',
    why: ANDROID,
    instead: () => 'call VpnService.Builder.addDisallowedApplication, and give this program the descriptor by device-url: fd://N',
    example: ['com.example.app'],
  }),
  'iproute2-table-index': answered(z.int().min(1).max(0xffffffff), 'Number of the routing table.', {
    severity: 'note',
    why: 'no table is filled; commands that are proposed use the number',
    example: 2022,
  }),
  'iproute2-rule-index': answered(z.int().min(1).max(32765), 'Preference of the first rule.', {
    severity: 'note',
    why: 'no rule is made; commands that are proposed use the number',
    example: 9000,
  }),
  'loopback-address': answered(listOf(ipAddress), 'Send what goes to these addresses back to who sent it.', {
    severity: 'warning',
    why: 'packets to them are connections like any other',
    instead: () => 'in a program, take them with inbound.listen({ address }) and connect to the source',
    example: ['10.7.0.1'],
  }),
  'disable-icmp-forwarding': answered(clashBoolean, 'Answer pings at once instead of forwarding them.', {
    severity: 'warning',
    why: 'what becomes of pings is decided by the program',
    instead: () => "take the 'icmp' event: its reply() answers, its forward() asks the real host",
    example: true,
  }),
  'gso-max-size': answered(z.int().min(0).max(0xffffffff), 'Bytes of the largest super-packet.', {
    severity: 'warning',
    why: 'super-packets have up to 65,536 bytes, as the kernel makes them',
    instead: (value, { nic }) => `run: ip link set dev ${nic} gso_max_size ${String(value)}`,
    example: 32768,
    idle: value => value === 65536,
  }),
  recvmsgx: answered(clashBoolean, 'Read packets in batches, on macOS.', {
    severity: 'note',
    why: 'how packets are read is decided by the system, and needs no key',
    example: true,
  }),
  sendmsgx: answered(clashBoolean, 'Write packets in batches, on macOS.', {
    severity: 'note',
    why: 'how packets are written is decided by the system, and needs no key',
    example: true,
  }),
  'dns-search-domains': answered(names, 'Domains that short names are searched in.', {
    severity: 'warning',
    why: "the system's resolver is not configured",
    instead: each((domain, { nic }) => `resolvectl domain ${nic} ${domain}`),
    example: ['example.org'],
  }),
}

function lower(value: unknown): unknown {
  return typeof value === 'string' ? value.toLowerCase() : value
}
