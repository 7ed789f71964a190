// Owns: the keys of `dns:`, `profile:` and `hosts:`: types, defaults, what each does and which test shows it; and of those that are not
// acted on, the answer. Names are Clash's and mihomo's, but `fake-ip-store`, `serve-stale`, `drop-alpn`.

import { z } from 'zod'
import { answered, honoured } from './keys.js'
import { anyCidr, cidr, clashBoolean, domainPattern, hostValue, listenAddress, nameserver, storePlace } from './values.js'

export const DNS_DEFAULTS = {
  enable: false,
  ipv6: false,
  'enhanced-mode': 'fake-ip',
  'fake-ip-range': '198.18.0.1/16',
  'fake-ip-ttl': 1,
  'cache-max-size': 4096,
} as const

const CONFIGURED = 'packages/inbound/src/configured.test.ts'
const HIJACK = 'packages/inbound/src/dns-hijack.test.ts'
const SERVER = 'packages/dns/src/server.test.ts'
const RESOLVER = 'packages/dns/src/resolver.test.ts'
const CACHE = 'packages/dns/src/cache.test.ts'
const WAYS = 'packages/inbound/src/nameserver-ways.test.ts'
const FOLLOW_POLICY = 'direct-nameserver-follow-policy: the policy comes before direct-nameserver'
const STICKY = 'the same name keeps its address, with a TTL of a second, and each family has its own'
const FALLBACK = 'fallback: taken for a distrusted address, a failure and its own names; else not'

const fallbackFilter = z.looseObject({
  geoip: clashBoolean.optional().describe('Not done here: there is no table of countries.'),
  'geoip-code': z.string().optional().describe('Not done here: there is no table of countries.'),
  geosite: z.array(z.string()).optional().describe('Not done here: there are no lists of names.'),
  ipcidr: z.array(anyCidr()).default([]).describe('Answers with such an address are not taken from nameserver.'),
  domain: z.array(domainPattern).default([]).describe('Names that only fallback is asked for.'),
})

const policy = z.record(z.string(), z.union([nameserver, z.array(nameserver)]))

/** Keys that are lists of nameservers. */
export const NAMESERVER_LISTS = ['nameserver', 'default-nameserver', 'fallback', 'proxy-server-nameserver', 'direct-nameserver'] as const
/** Keys that have such lists by name. */
export const NAMESERVER_POLICIES = ['nameserver-policy', 'proxy-server-nameserver-policy'] as const

/** What @tun/inbound and @tun/dns do. */
export const dnsHonoured = {
  enable: honoured(
    clashBoolean.default(DNS_DEFAULTS.enable),
    'Answer DNS at `listen`; on the TUN, `tun.dns-listen` and `tun.dns-hijack` do.',
    [HIJACK, 'a port that is taken is an error that says which; without enable nobody listens'],
  ),
  ipv6: honoured(clashBoolean.default(DNS_DEFAULTS.ipv6), '`false`: AAAA is answered empty.', [
    SERVER,
    'AAAA is empty without a range and with ipv6: false',
  ]),
  listen: honoured(listenAddress.optional(), 'A real socket of the host to answer DNS on as well.', [
    HIJACK,
    'a socket of the host answers as the TUN does, UDP and TCP',
  ]),
  'enhanced-mode': honoured(
    z.enum(['fake-ip', 'redir-host', 'normal']).default(DNS_DEFAULTS['enhanced-mode']),
    '`fake-ip`: answer addresses that stand for names. `redir-host`: answer real ones and remember whose they are. `normal`: only answer.',
    ['test/system/dns-modes.test.ts', 'the answer has the real address, and a connection to it matches the rule by name'],
  ),
  'fake-ip-range': honoured(
    cidr(4, 30, '198.18.0.1/16').default(DNS_DEFAULTS['fake-ip-range']),
    "IPv4 range of fake addresses. Its first address, and the one that is written, are the NIC's and never handed out.",
    ['test/system/interop.test.ts', STICKY],
  ),
  'fake-ip-range6': honoured(cidr(6, 126, 'fc00::/18').optional(), 'IPv6 range of fake addresses; needs `ipv6: true`.', [
    'test/system/interop.test.ts',
    STICKY,
  ]),
  'fake-ip-filter': honoured(z.array(domainPattern).default([]), 'Names that keep their real addresses.', [
    HIJACK,
    'names that the filter leaves real are known beside fake ones',
  ]),
  'fake-ip-filter-mode': honoured(
    z.enum(['blacklist', 'whitelist', 'rule']).default('blacklist'),
    '`whitelist`: only the names in `fake-ip-filter` get fake addresses. `rule` is taken as `blacklist`, with a warning.',
    [HIJACK, 'fake-ip-filter-mode whitelist: only those names are fake'],
  ),
  'fake-ip-ttl': honoured(z.int().min(0).max(86400).default(DNS_DEFAULTS['fake-ip-ttl']), 'Seconds a fake address may be remembered.', [
    CONFIGURED,
    'fake-ip-ttl: fake addresses are told with it',
  ]),
  'fake-ip-store': honoured(
    storePlace.optional(),
    'Where fake addresses outlive the process: the path of a file, `memory`, or `redis://HOST:PORT` for several gateways. ' +
      'Left out: a file.',
    ['test/system/shared-fake-ip.test.ts', 'a name resolved at A leads a connection and datagrams at B to that name'],
  ),
  nameserver: honoured(
    z.array(nameserver).default([]),
    'Where names are asked for: `ADDRESS`, `udp://…`, `tcp://…`, `tls://…`, `https://…`, `system`, `rcode://…`. ' +
      'Behind `#` the proxy or interface it is asked by, or `RULES`, and parameters: `1.1.1.1#PROXY&disable-ipv6=true`.',
    [
      'test/system/resolver.test.ts',
      'is asked by UDP, TCP, TLS and HTTPS: addresses, what does not exist, and answers that are too long for a datagram',
    ],
  ),
  'default-nameserver': honoured(
    z.array(nameserver).default([]),
    'Where the names of nameservers are asked for; addresses only. Without `nameserver`, where all are.',
    ['test/system/resolver.test.ts', 'a name is asked for at the bootstrap server, and the certificate has to be the name’s'],
  ),
  fallback: honoured(z.array(nameserver).default([]), 'Asked beside `nameserver`, and taken as `fallback-filter` says.', [
    RESOLVER,
    FALLBACK,
  ]),
  'fallback-filter': honoured(
    fallbackFilter.optional(),
    'Which answers are not taken from `nameserver`: `ipcidr`, `domain`. Its `geoip`, `geoip-code` and `geosite` are answered by a warning.',
    [RESOLVER, FALLBACK],
  ),
  'nameserver-policy': honoured(
    policy.default({}),
    '`DOMAIN: NAMESERVER` or a list: names that belong to other nameservers. The most specific decides.',
    [RESOLVER, 'policy: a name’s own servers; the most specific entry decides, of equal ones the first'],
  ),
  'proxy-server-nameserver': honoured(z.array(nameserver).default([]), 'Where the names of proxy servers are asked for.', [
    HIJACK,
    'the names of proxy servers are asked for at their own nameservers',
  ]),
  'proxy-server-nameserver-policy': honoured(policy.default({}), 'As `nameserver-policy`, for the names of proxy servers.', [
    CONFIGURED,
    'proxy-server-nameserver-policy: names of proxy servers have their own nameservers',
  ]),
  'direct-nameserver': honoured(z.array(nameserver).default([]), 'Where names that go DIRECT are asked for; left out: `nameserver`.', [
    WAYS,
    FOLLOW_POLICY,
  ]),
  'direct-nameserver-follow-policy': honoured(clashBoolean.default(false), '`nameserver-policy` counts for `direct-nameserver`, too.', [
    WAYS,
    FOLLOW_POLICY,
  ]),
  'respect-rules': honoured(
    clashBoolean.default(false),
    'Queries to nameservers follow the rules, as if every one had `#RULES`. Needs `proxy-server-nameserver`.',
    [WAYS, 'respect-rules: RULES is asked about each but those of proxy servers and DIRECT names, which have their own'],
  ),
  'use-hosts': honoured(clashBoolean.default(true), 'Answer from `hosts`.', [CONFIGURED, 'use-hosts: false leaves hosts aside']),
  'cache-max-size': honoured(z.int().min(0).max(1_000_000).default(DNS_DEFAULTS['cache-max-size']), 'Answers remembered; 0: none.', [
    CONFIGURED,
    'cache-max-size: with 0 every question goes to the nameserver',
  ]),
  'serve-stale': honoured(
    z.int().min(0).max(604_800).default(0),
    'Seconds beyond its TTL that an answer is given if nobody answers (RFC 8767).',
    [CACHE, 'stale answers only where wanted, when nobody answers, with TTL 30 (RFC 8767)'],
  ),
  'drop-alpn': honoured(z.array(z.string().min(1).max(255)).default([]), 'Protocols taken out of HTTPS and SVCB answers, e.g. `[h3]`.', [
    CONFIGURED,
    'drop-alpn: HTTPS answers are told without these protocols',
  ]),
}

export const dnsAnswered = {
  'use-system-hosts': answered(clashBoolean, 'Answer from the hosts file of the system.', {
    severity: 'warning',
    why: 'the hosts file of the system is not read',
    instead: () => "write its lines into 'hosts'",
    example: true,
  }),
  'prefer-h3': answered(clashBoolean, 'Ask DoH servers by HTTP/3.', {
    severity: 'note',
    why: 'https:// is asked by HTTP/2 and HTTP/1.1',
    example: true,
  }),
  'ipv6-timeout': answered(z.int().min(0), 'Milliseconds AAAA is waited for.', {
    severity: 'note',
    why: 'A and AAAA are answered each for itself, and neither waits for the other',
    example: 100,
  }),
  'cache-algorithm': answered(z.enum(['lru', 'arc']), 'Which answers are forgotten first.', {
    severity: 'note',
    why: 'those that were not used for longest are, as with lru',
    example: 'arc',
    idle: value => value === 'lru',
  }),
  'fallback-lazy-query': answered(clashBoolean, 'Ask `fallback` only when it is needed.', {
    severity: 'note',
    why: "'fallback' is asked at the same time as 'nameserver'",
    example: true,
  }),
  'remote-dns-resolve': answered(clashBoolean, 'Resolve names of WireGuard proxies at their far end.', {
    severity: 'note',
    why: 'there are no WireGuard proxies here',
    example: true,
  }),
  'search-domains': answered(z.array(z.string().min(1)), 'Domains that short names are searched in.', {
    severity: 'warning',
    why: 'names are asked for as they come',
    instead: () => "write 'search example.org' into resolv.conf(5) of the clients",
    example: ['example.org'],
  }),
}

/** Every key of the section. */
export const dnsSchema = z.object({ ...dnsHonoured, ...dnsAnswered })
/** What is left of a section that was read. */
export const dnsOptionsSchema = z.object(dnsHonoured)
export type DnsOptions = z.output<typeof dnsOptionsSchema>
export type DnsInput = z.input<typeof dnsSchema>

export const profileSchema = z.object({
  'store-fake-ip': honoured(clashBoolean.optional(), 'Keep fake addresses beyond the process; `dns.fake-ip-store` says where.', [
    'examples/clash-proxy/src/config.test.ts',
    'fake IPs are kept beside the file unless it says no: %j',
  ]),
  'store-selected': answered(clashBoolean, 'Keep the choice of proxy groups beyond the process.', {
    severity: 'note',
    why: 'groups have no choice to keep: each is its first proxy',
    example: true,
  }),
  tracing: answered(clashBoolean, 'Send traces to a collector.', { severity: 'note', why: 'nothing is traced', example: true }),
})
export const profileOptionsSchema = profileSchema.pick({ 'store-fake-ip': true })
export type ProfileOptions = z.output<typeof profileOptionsSchema>

/** Clash's `hosts:` at the top of a file. */
export const hostsSchema = honoured(
  z.record(z.string(), hostValue).default({}),
  'Names and what they stand for: an address, a list of them, or another name.',
  ['test/system/dns-modes.test.ts', 'hosts and the host’s own socket: the same answers, over UDP and TCP'],
)
export type HostsOptions = z.output<typeof hostsSchema>
