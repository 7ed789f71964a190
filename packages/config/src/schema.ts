// Owns: the `tun:` and `dns:` sections we act on: keys, types, defaults, and what is allowed but worth a warning.
// Keys are Clash's (pull request 393's `device-url` and `dns-listen`) and mihomo's, under their own names.

import { z } from 'zod'
import type { Report } from './diagnostics.js'
import { cidr, clashBoolean, deviceUrl, domainPattern, domainPatternFault, listenAddress, nameserver, nameserverFault } from './values.js'

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
} as const

export const dnsSchema = z.object({
  enable: clashBoolean.default(DNS_DEFAULTS.enable).describe('Answer DNS.'),
  ipv6: clashBoolean.default(DNS_DEFAULTS.ipv6).describe('false: AAAA is answered empty.'),
  listen: listenAddress.optional().describe('A real socket of the host to answer DNS on as well: not acted on yet.'),
  'enhanced-mode': z.enum(['fake-ip', 'redir-host', 'normal']).default(DNS_DEFAULTS['enhanced-mode']),
  'fake-ip-range': cidr(4, 30, '198.18.0.1/16').default(DNS_DEFAULTS['fake-ip-range']).describe('IPv4 range of fake addresses.'),
  'fake-ip-range6': cidr(6, 126, 'fc00::/18').optional().describe('IPv6 range of fake addresses.'),
  'fake-ip-filter': z.array(domainPattern).default([]).describe('Names that keep their real addresses.'),
  'fake-ip-ttl': z.int().min(0).max(86400).default(DNS_DEFAULTS['fake-ip-ttl']).describe('Seconds a fake address may be remembered.'),
  nameserver: z.array(nameserver).default([]).describe('Where names are asked for: ADDRESS, udp://…, tcp://…'),
  'default-nameserver': z.array(nameserver).default([]).describe('Where the names of nameservers are asked for.'),
})
export type DnsOptions = z.output<typeof dnsSchema>

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

/** Leaves out what we do not act on yet, with a warning each. */
export function checkDns(dns: DnsOptions, known: readonly string[], report: Report): DnsOptions {
  const keep = (key: 'nameserver' | 'default-nameserver' | 'fake-ip-filter', unusedOf: (value: string) => string | undefined): string[] =>
    dns[key].filter((value, i) => {
      const unused = unusedOf(value)
      if (unused !== undefined) report.warning(['dns', key, i], unused)
      return unused === undefined
    })
  if (dns.listen !== undefined && !known.includes('dns.listen')) {
    report.warningAtKey(['dns', 'listen'], 'known to Clash/mihomo, not acted on yet', "'dns-listen' under 'tun:' answers DNS on the TUN")
  }
  if (dns['fake-ip-range6'] !== undefined && !dns.ipv6) report.warningAtKey(['dns', 'fake-ip-range6'], 'has no effect', "add 'ipv6: true'")
  return {
    ...dns,
    nameserver: keep('nameserver', value => nameserverFault(value).unused),
    'default-nameserver': keep('default-nameserver', value => nameserverFault(value).unused),
    'fake-ip-filter': keep('fake-ip-filter', value => domainPatternFault(value).unused),
  }
}

/** JSON Schema (2020-12) of a config file's `tun:` and `dns:`, for editors. Other keys are left open. */
export function configJsonSchema(): Record<string, unknown> {
  const file = z.looseObject({ tun: z.looseObject(tunSchema.shape).optional(), dns: z.looseObject(dnsSchema.shape).optional() })
  return z.toJSONSchema(file, { io: 'input' }) as Record<string, unknown>
}
