// Owns: the `tun:` and `dns:` sections we act on: keys, types, defaults, and what is allowed but worth a warning.
// Keys are Clash's (pull request 393's `device-url` and `dns-listen`) and mihomo's, under their own names.

import { z } from 'zod'
import type { Report } from './diagnostics.js'
import {
  anyCidr,
  cidr,
  clashBoolean,
  deviceUrl,
  domainPattern,
  domainPatternFault,
  hijackAddress,
  hostValue,
  listenAddress,
  nameserver,
  nameserverFault,
  show,
} from './values.js'

export const TUN_DEFAULTS = {
  enable: false,
  gso: true,
  'udp-timeout': 300,
  'udp-filter': 'endpoint-independent',
  multicast: false,
} as const

export const tunSchema = z.object({
  enable: clashBoolean.default(TUN_DEFAULTS.enable).describe('Open the TUN.'),
  'device-url': deviceUrl.optional().describe('dev://NAME: the interface, made if missing. fd://N: an open TUN or datagram socket.'),
  'dns-listen': listenAddress.optional().describe('DNS to this address on the TUN is answered here; 0.0.0.0:53: to any address.'),
  'dns-hijack': z
    .array(hijackAddress)
    .default([])
    .describe('DNS to these addresses on the TUN is answered here, UDP and TCP: any:53, ADDRESS:PORT.'),
  mtu: z.int().min(576).max(65535).optional().describe("Bytes of the largest packet; the interface's own if left out."),
  gso: clashBoolean.default(TUN_DEFAULTS.gso).describe('Segmentation offload; false: a plain TUN without virtio-net header.'),
  'udp-timeout': z
    .int()
    .min(1)
    .max(86400)
    .default(TUN_DEFAULTS['udp-timeout'])
    .describe('Seconds without a datagram after which a UDP flow ends.'),
  'endpoint-independent-nat': clashBoolean.optional().describe('Clash: false is udp-filter: address-and-port-dependent.'),
  'udp-filter': z
    .enum(['endpoint-independent', 'address-dependent', 'address-and-port-dependent'])
    .default(TUN_DEFAULTS['udp-filter'])
    .describe('Whose datagrams reach an application: anybody’s, of addresses it wrote to, of those addresses and ports.'),
  multicast: clashBoolean
    .default(TUN_DEFAULTS.multicast)
    .describe('Take in what goes to multicast, broadcast (UDP) and link-local addresses; false: it is dropped.'),
})
export type TunOptions = z.output<typeof tunSchema>

export const DNS_DEFAULTS = {
  enable: false,
  ipv6: false,
  'enhanced-mode': 'fake-ip',
  'fake-ip-range': '198.18.0.1/16',
  'fake-ip-ttl': 1,
  'cache-max-size': 4096,
} as const

export const dnsSchema = z.object({
  enable: clashBoolean.default(DNS_DEFAULTS.enable).describe('Answer DNS.'),
  ipv6: clashBoolean.default(DNS_DEFAULTS.ipv6).describe('false: AAAA is answered empty.'),
  listen: listenAddress.optional().describe('A real socket of the host to answer DNS on as well.'),
  'enhanced-mode': z.enum(['fake-ip', 'redir-host', 'normal']).default(DNS_DEFAULTS['enhanced-mode']),
  'fake-ip-range': cidr(4, 30, '198.18.0.1/16').default(DNS_DEFAULTS['fake-ip-range']).describe('IPv4 range of fake addresses.'),
  'fake-ip-range6': cidr(6, 126, 'fc00::/18').optional().describe('IPv6 range of fake addresses.'),
  'fake-ip-filter': z.array(domainPattern).default([]).describe('Names that keep their real addresses.'),
  'fake-ip-ttl': z.int().min(0).max(86400).default(DNS_DEFAULTS['fake-ip-ttl']).describe('Seconds a fake address may be remembered.'),
  'fake-ip-store': z
    .string()
    .min(1)
    .refine(value => !value.includes('://') || /^rediss?:\/\/[^/]/.test(value), {
      error: 'expected the path of a file, memory, or redis://HOST:PORT',
    })
    .optional()
    .describe('Where fake addresses outlive the process: a file, memory, or redis://HOST:PORT for several gateways. Left out: a file.'),
  'fake-ip-filter-mode': z
    .enum(['blacklist', 'whitelist', 'rule'])
    .default('blacklist')
    .describe('whitelist: only the names in fake-ip-filter get fake addresses.'),
  nameserver: z
    .array(nameserver)
    .default([])
    .describe(
      'Where names are asked for: ADDRESS, udp://…, tcp://…, tls://…, https://…, system, rcode://…; #PROXY behind it: through that.',
    ),
  'default-nameserver': z.array(nameserver).default([]).describe('Where the names of nameservers are asked for; addresses only.'),
  fallback: z.array(nameserver).default([]).describe('Asked beside nameserver, and taken as fallback-filter says.'),
  'fallback-filter': z
    .looseObject({
      geoip: clashBoolean.optional(),
      'geoip-code': z.string().optional(),
      geosite: z.array(z.string()).optional(),
      ipcidr: z.array(anyCidr).default([]).describe('Answers with such an address are not taken from nameserver.'),
      domain: z.array(domainPattern).default([]).describe('Names that only fallback is asked for.'),
    })
    .optional(),
  'nameserver-policy': z
    .record(z.string(), z.union([nameserver, z.array(nameserver)]))
    .default({})
    .describe('DOMAIN: NAMESERVER or a list; names that belong to other nameservers.'),
  'proxy-server-nameserver': z.array(nameserver).default([]).describe('Where the names of proxy servers are asked for.'),
  'proxy-server-nameserver-policy': z
    .record(z.string(), z.union([nameserver, z.array(nameserver)]))
    .default({})
    .describe('As nameserver-policy, for the names of proxy servers.'),
  'direct-nameserver': z.array(nameserver).default([]).describe('Where names that go DIRECT are asked for; left out: nameserver.'),
  'direct-nameserver-follow-policy': clashBoolean.default(false).describe('nameserver-policy counts for direct-nameserver, too.'),
  'respect-rules': clashBoolean.default(false).describe('Queries to nameservers follow the rules, as if every one had #RULES.'),
  'use-hosts': clashBoolean.default(true).describe('Answer from hosts.'),
  'cache-max-size': z.int().min(0).max(1_000_000).default(DNS_DEFAULTS['cache-max-size']).describe('Answers remembered; 0: none.'),
  'serve-stale': z.int().min(0).max(604_800).default(0).describe('Seconds beyond its TTL that an answer is given if nobody answers.'),
  'drop-alpn': z.array(z.string().min(1).max(255)).default([]).describe('Protocols taken out of HTTPS and SVCB answers, e.g. [h3].'),
})
export type DnsOptions = z.output<typeof dnsSchema>

export const profileSchema = z.object({
  'store-fake-ip': clashBoolean.optional().describe("Keep fake addresses beyond the process; 'dns.fake-ip-store' says where."),
})
export type ProfileOptions = z.output<typeof profileSchema>

/** Clash's way of saying it → ours. Answers the section with `device-url` filled in. */
export function adoptSynonyms(tun: Record<string, unknown>, report: Report): Record<string, unknown> {
  const { device, 'file-descriptor': descriptor, ...rest } = tun
  const from = descriptor !== undefined && descriptor !== 0 ? 'file-descriptor' : device !== undefined && device !== '' ? 'device' : null
  if (from === null) return rest
  if (rest['device-url'] !== undefined) {
    report.warningAtKey(['tun', from], `'device-url' is there as well and is taken`, `remove '${from}'`)
    return rest
  }
  const value = from === 'device' ? device : descriptor
  const url =
    from === 'file-descriptor' ? `fd://${value}` : typeof value === 'string' && /^[a-z]+:\/\//i.test(value) ? value : `dev://${value}`
  const fault = deviceUrl.safeParse(url).error?.issues[0]
  if (fault) report.error(['tun', from], fault.message)
  else report.warningAtKey(['tun', from], `taken as 'device-url: ${url}'`, "'device-url' is the name of the key here")
  return { ...rest, 'device-url': fault ? undefined : url, [ADOPTED]: true }
}

/** Clash's boolean → our filter. A key of each is an error where they contradict each other. */
export function adoptNat(tun: Record<string, unknown>, report: Report): Record<string, unknown> {
  const independent = clashBoolean.safeParse(tun['endpoint-independent-nat'])
  if (!independent.success) return tun // absent, or refused where all values are
  const filter = independent.data ? 'endpoint-independent' : 'address-and-port-dependent'
  const own = tun['udp-filter']
  if (own === undefined) return { ...tun, 'udp-filter': filter }
  if ((own === 'endpoint-independent') !== independent.data) {
    report.warningAtKey(
      ['tun', 'endpoint-independent-nat'],
      `'udp-filter: ${String(own)}' is there as well and is taken`,
      'remove one of them',
    )
  }
  return tun
}

/** Set where `device-url` came, well or badly, from a synonym: its absence was already spoken of. */
const ADOPTED = Symbol('adopted')

export function adopted(tun: object): boolean {
  return ADOPTED in tun
}

/** What each key alone cannot say. */
export function checkTun(tun: TunOptions, wanted: boolean, platform: NodeJS.Platform, report: Report): TunOptions {
  const url = tun['device-url']
  if (tun.enable && url === undefined && wanted) report.errorAtKey(['tun'], "'device-url' is missing", 'e.g. device-url: dev://tun0')
  if (platform === 'darwin' && url?.startsWith('dev://') && url !== 'dev://utun') {
    report.error(['tun', 'device-url'], `macOS numbers its interfaces itself, '${url}' cannot be chosen`, 'write dev://utun')
  }
  if (tun.mtu !== undefined && tun.mtu < 1280)
    report.warning(['tun', 'mtu'], `${tun.mtu} is too small for IPv6`, '1280 or more (RFC 8200 §5)')
  if (tun['udp-timeout'] < 120) {
    report.warning(
      ['tun', 'udp-timeout'],
      `${tun['udp-timeout']} s ends flows that applications think alive`,
      '120 or more (RFC 4787 §4.3)',
    )
  }
  return tun
}

const SERVER_LISTS = ['nameserver', 'default-nameserver', 'fallback', 'proxy-server-nameserver', 'direct-nameserver'] as const

/** Leaves out what we do not act on yet, with a warning each. */
export function checkDns(dns: DnsOptions, report: Report): DnsOptions {
  const keep = <T extends string>(
    path: readonly (string | number)[],
    values: readonly T[],
    unusedOf: (value: string) => string | undefined,
  ): T[] =>
    values.filter((value, i) => {
      const unused = unusedOf(value)
      if (unused !== undefined) report.warning([...path, i], unused)
      return unused === undefined
    })
  const unusedServer = (value: string) => nameserverFault(value).unused
  if (dns['fake-ip-range6'] !== undefined && !dns.ipv6) report.warningAtKey(['dns', 'fake-ip-range6'], 'has no effect', "add 'ipv6: true'")
  if (dns['fake-ip-filter-mode'] === 'rule') {
    report.warning(['dns', 'fake-ip-filter-mode'], "'rule' is known to mihomo, not acted on yet: taken as blacklist")
  }
  for (const [i, value] of dns['default-nameserver'].entries()) {
    if (nameserverFault(value).named)
      report.error(['dns', 'default-nameserver', i], `${show(value)} is a name itself`, 'use its IP address')
  }
  if (dns['respect-rules'] && dns['proxy-server-nameserver'].length === 0) {
    report.errorAtKey(
      ['dns', 'respect-rules'],
      "needs 'proxy-server-nameserver': a proxy's own name cannot be asked for through the proxy",
      'e.g. proxy-server-nameserver: [1.1.1.1]',
    )
  }
  for (const key of SERVER_LISTS) {
    for (const [i, value] of dns[key].entries()) {
      if (/[#&]h3=true\b/.test(value)) report.warning(['dns', key, i], 'HTTP/3 is not spoken: it is asked over HTTP/2')
    }
  }
  const lists = Object.fromEntries(SERVER_LISTS.map(key => [key, keep(['dns', key], dns[key], unusedServer)]))
  return {
    ...dns,
    ...lists,
    'fake-ip-filter': keep(['dns', 'fake-ip-filter'], dns['fake-ip-filter'], value => domainPatternFault(value).unused),
    'fallback-filter': checkFallbackFilter(dns['fallback-filter'], report),
    'nameserver-policy': checkPolicy('nameserver-policy', dns['nameserver-policy'], report),
    'proxy-server-nameserver-policy': checkPolicy('proxy-server-nameserver-policy', dns['proxy-server-nameserver-policy'], report),
  }
}

function checkFallbackFilter(filter: DnsOptions['fallback-filter'], report: Report): DnsOptions['fallback-filter'] {
  if (filter === undefined) return undefined
  const { ipcidr, domain } = filter
  for (const key of Object.keys(filter)) {
    const path = ['dns', 'fallback-filter', key]
    if (key === 'geoip' ? filter.geoip : ['geoip-code', 'geosite'].includes(key))
      report.warningAtKey(path, 'known to Clash/mihomo, not acted on yet')
    else if (!['geoip', 'geoip-code', 'geosite', 'ipcidr', 'domain'].includes(key)) report.warningAtKey(path, 'unknown key')
  }
  return { ipcidr, domain: domain.filter(value => domainPatternFault(value).unused === undefined) }
}

/** A key may be several patterns with commas between them. What is wrong with one is told at the key. */
function checkPolicy(name: string, policy: DnsOptions['nameserver-policy'], report: Report): DnsOptions['nameserver-policy'] {
  const kept: DnsOptions['nameserver-policy'] = {}
  for (const [key, value] of Object.entries(policy)) {
    const path = ['dns', name, key]
    const set = /^(geosite|rule-set):/i.exec(key)
    if (set) {
      report.warningAtKey(path, `'${set[1]}' entries are known to mihomo, not acted on yet`)
      continue
    }
    const bad = key.split(',').find(pattern => domainPatternFault(pattern.trim()).fault ?? domainPatternFault(pattern.trim()).unused)
    if (bad !== undefined) {
      report.errorAtKey(path, `${show(bad)} is no domain pattern`, 'use example.com, *.example.com, .example.com or +.example.com')
      continue
    }
    const servers = typeof value === 'string' ? [value] : value
    const asked = servers.filter(server => nameserverFault(server).unused === undefined)
    for (const server of servers) if (!asked.includes(server)) report.warning(path, nameserverFault(server).unused ?? '')
    if (asked.length > 0) kept[key] = asked
  }
  return kept
}

/** Clash's `hosts:` at the top of a file. */
export const hostsSchema = z.record(z.string(), hostValue).default({})
export type HostsOptions = z.output<typeof hostsSchema>

/** JSON Schema (2020-12) of a config file's `tun:` and `dns:`, for editors. Other keys are left open. */
export function configJsonSchema(): Record<string, unknown> {
  const file = z.looseObject({
    tun: z.looseObject(tunSchema.shape).optional(),
    dns: z.looseObject(dnsSchema.shape).optional(),
    profile: z.looseObject(profileSchema.shape).optional(),
    hosts: hostsSchema.optional(),
  })
  return z.toJSONSchema(file, { io: 'input' }) as Record<string, unknown>
}
