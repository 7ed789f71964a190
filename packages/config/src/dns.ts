// Owns: the sections `dns:`, `profile:` and `hosts:` → options; of their lists, what is not acted on is left out with a warning each.

import type { Report, Saying } from './diagnostics.js'
import {
  type DnsOptions,
  dnsOptionsSchema,
  dnsSchema,
  type HostsOptions,
  hostsSchema,
  NAMESERVER_LISTS,
  NAMESERVER_POLICIES,
  type ProfileOptions,
  profileOptionsSchema,
  profileSchema,
} from './dns-schema.js'
import { nameserverFault } from './nameservers.js'
import type { Path } from './path.js'
import { pick, read, readSection, type Section } from './sections.js'
import { show } from './show.js'
import { clashBoolean, domainPatternFault, hostBitsOf } from './values.js'

const PATTERNS = 'use example.com, *.example.com, .example.com or +.example.com'

/** What is wrong is in the report. */
export function readDns(section: Section, report: Report): DnsOptions | undefined {
  const all = readSection(dnsSchema, section, 'dns', report)
  if (all === undefined) return undefined
  const dns = pick(all, dnsOptionsSchema) as DnsOptions
  if (dns['fake-ip-range6'] !== undefined && !dns.ipv6)
    report.warningAtKey(['dns', 'fake-ip-range6'], { id: 'tun/no-effect', message: 'has no effect', hint: "add 'ipv6: true'" })
  if (dns['fake-ip-filter-mode'] === 'rule') {
    const message = "'rule' is known to mihomo, not acted on yet: taken as blacklist"
    report.warning(['dns', 'fake-ip-filter-mode'], { id: 'tun/not-acted-on', message })
  }
  for (const [i, value] of dns['default-nameserver'].entries()) {
    if (!nameserverFault(value).named) continue
    const saying = { id: 'tun/nameserver', message: `${show(value)} is a name itself`, hint: 'use its IP address' } as const
    report.error(['dns', 'default-nameserver', i], saying)
  }
  const lists = Object.fromEntries(NAMESERVER_LISTS.map(key => [key, keepAsked(['dns', key], dns[key], report)]))
  const policies = Object.fromEntries(NAMESERVER_POLICIES.map(key => [key, checkPolicy(['dns', key], dns[key], report)]))
  const ofProxies = section['proxy-server-nameserver'] ?? []
  // Of a list that is wrong nobody knows whether it is empty; of one of which nobody is asked, it is.
  const isRead = dns['proxy-server-nameserver'].length > 0 || (Array.isArray(ofProxies) && ofProxies.length === 0)
  if (dns['respect-rules'] && isRead && lists['proxy-server-nameserver'].length === 0) {
    report.errorAtKey(['dns', 'respect-rules'], {
      id: 'tun/missing',
      message: "needs 'proxy-server-nameserver': a proxy's own name cannot be asked for through the proxy",
      hint: 'e.g. proxy-server-nameserver: [1.1.1.1]',
    })
  }
  return {
    ...dns,
    ...lists,
    ...policies,
    'fake-ip-filter': keep(['dns', 'fake-ip-filter'], dns['fake-ip-filter'], unusedPattern, report),
    'fallback-filter': checkFallbackFilter(dns['fallback-filter'], report),
  }
}

/** The nameservers that are asked. @param at their list, or all that there is of it in the text */
function keepAsked(at: Path, servers: readonly string[], report: Report, isList = true): string[] {
  return servers.filter((server, i) => {
    const { unused, otherwise } = nameserverFault(server)
    const message = unused ?? otherwise
    if (message !== undefined) report.warning(isList ? [...at, i] : at, { id: 'tun/not-acted-on', message })
    return unused === undefined
  })
}

function unusedPattern(value: string): Saying | undefined {
  const why = domainPatternFault(value).unused
  return why === undefined ? undefined : { id: /known/.test(why) ? 'tun/not-acted-on' : 'tun/domain-pattern', message: why }
}

function keep(path: Path, values: readonly string[], unusedOf: (value: string) => Saying | undefined, report: Report): string[] {
  return values.filter((value, i) => {
    const saying = unusedOf(value)
    if (saying !== undefined) report.warning([...path, i], saying)
    return saying === undefined
  })
}

const FILTER_KEYS = ['geoip', 'geoip-code', 'geosite', 'ipcidr', 'domain']

function checkFallbackFilter(filter: DnsOptions['fallback-filter'], report: Report): DnsOptions['fallback-filter'] {
  if (filter === undefined) return undefined
  const { ipcidr, domain } = filter
  const at = ['dns', 'fallback-filter']
  for (const key of Object.keys(filter)) {
    if (key === 'geoip' ? filter.geoip : key === 'geosite' ? filter.geosite?.length : key === 'geoip-code' && filter.geoip !== false)
      report.warningAtKey([...at, key], { id: 'tun/not-acted-on', message: 'known to Clash/mihomo, not acted on yet' })
    else if (!FILTER_KEYS.includes(key)) report.warningAtKey([...at, key], { id: 'tun/unknown-key', message: 'unknown key' })
  }
  for (const [i, range] of ipcidr.entries()) {
    const fault = hostBitsOf(range)
    if (fault) report.warning([...at, 'ipcidr', i], { id: 'tun/cidr-host-bits', ...fault })
  }
  return { ipcidr, domain: keep([...at, 'domain'], domain, unusedPattern, report) }
}

/** A key may be several patterns with commas between them. What is wrong with one is told at the key. */
function checkPolicy(at: Path, policy: DnsOptions['nameserver-policy'], report: Report): DnsOptions['nameserver-policy'] {
  const kept: DnsOptions['nameserver-policy'] = {}
  for (const [key, value] of Object.entries(policy)) {
    const path = [...at, key]
    const set = /^(geosite|rule-set):/i.exec(key)
    if (set) {
      report.warningAtKey(path, { id: 'tun/not-acted-on', message: `'${set[1]}' entries are known to mihomo, not acted on yet` })
      continue
    }
    const bad = key.split(',').find(pattern => domainPatternFault(pattern.trim()).fault ?? domainPatternFault(pattern.trim()).unused)
    if (bad !== undefined) {
      report.errorAtKey(path, { id: 'tun/domain-pattern', message: `${show(bad)} is no domain pattern`, hint: PATTERNS })
      continue
    }
    const asked = typeof value === 'string' ? keepAsked(path, [value], report, false) : keepAsked(path, value, report)
    if (asked.length > 0) kept[key] = asked
  }
  return kept
}

export function readProfile(section: Section, report: Report): ProfileOptions | undefined {
  const profile = read(profileSchema, section, ['profile'], report)
  return profile && (pick(profile, profileOptionsSchema) as ProfileOptions)
}

export function readHosts(raw: unknown, report: Report): HostsOptions | undefined {
  const hosts = read(hostsSchema, raw, ['hosts'], report)
  for (const name of Object.keys(hosts ?? {})) {
    const { fault, unused } = domainPatternFault(name)
    const message = fault?.message ?? unused
    if (message !== undefined) report.errorAtKey(['hosts', name], { id: 'tun/domain-pattern', message, hint: fault?.hint })
  }
  return hosts
}

/** `enable: false` is not taken for what it does not do. Left out it means nothing. */
export function checkDisabled(section: Section, report: Report): void {
  const enable = clashBoolean.safeParse(section.enable)
  if (!enable.success || enable.data) return
  const message = "does not turn off 'tun.dns-listen', which answers DNS on the TUN"
  report.warning(['dns', 'enable'], { id: 'tun/contradiction', message, hint: "remove 'dns-listen' for that" })
}
