// Owns: the one way that everything of the command goes: `--proxy`, or what a Clash file says. A file that wants different
// ways for different destinations is refused: half of its rules would be a leak.

import { clashBoolean, type DnsOptions, loadConfig } from '@tun/config'
import { direct, httpConnect, type Outbound, socks5 } from '@tun/inbound'
import { z } from 'zod'
import { PING_MODES, type PingMode } from './pings.js'

export interface Way {
  /** For people: never with a password. */
  name: string
  outbound: Outbound
  /** Connects from this machine, so that names and other DNS queries may be asked here, too. */
  isDirect: boolean
}

export interface FileSettings {
  way: Way
  dns: Partial<DnsOptions>
  /** `icmp:`, if it is there. */
  pings: PingMode | undefined
  warnings: string[]
}

const DIRECT: Way = { name: 'DIRECT', outbound: direct(), isDirect: true }
const SOCKS_PORT = '1080' // IANA

/** @throws TypeError that says what to write instead */
export function wayOf(proxy: string | undefined): Way {
  if (proxy === undefined || /^direct(:\/\/)?$/i.test(proxy)) return DIRECT
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(proxy)?.[1].toLowerCase()
  if (scheme === undefined) {
    const shown = proxy.trim().replace(/^.*@/s, 'user:password@') // never a password
    throw new TypeError(`--proxy: a scheme is missing; write socks5://${shown}`)
  }
  const http = scheme === 'http' || scheme === 'https'
  if (!http && scheme !== 'socks5' && scheme !== 'socks5h') {
    throw new TypeError(`--proxy: ${scheme}:// is not supported; use socks5://host:port, http://host:port, or direct`)
  }
  const url = URL.canParse(proxy) ? new URL(proxy) : undefined
  if (url === undefined || url.hostname === '' || url.port === '0') {
    throw new TypeError(`--proxy: no proxy address; write ${scheme}://[user:password@]host:port, with a port from 1 to 65535`)
  }
  if (http) return { name: `${scheme}://${url.host}`, outbound: httpConnect(url), isDirect: false }
  if (url.port === '') url.port = SOCKS_PORT
  return { name: `socks5://${url.host}`, outbound: socks5(url), isDirect: false }
}

const proxySchema = z.object({
  name: z.coerce.string(),
  type: z.literal('socks5'),
  server: z.string().min(1),
  port: z.coerce.number().int().min(1).max(65535),
  username: z.coerce.string().optional(),
  password: z.coerce.string().optional(),
  udp: clashBoolean.default(false),
  tls: z.literal(false, { error: 'TLS to a socks5 proxy is not supported' }).optional(),
  'dialer-proxy': z.never({ error: 'a proxy behind a proxy is not supported' }).optional(),
})
const otherProxy = z.looseObject({ name: z.coerce.string(), type: z.string() }).refine(entry => entry.type !== 'socks5')

/** `chosen`: the way of `--proxy`; then proxies and rules of the file are not looked at. @throws ConfigError with all its errors */
export function readFile(text: string, file: string, chosen: Way | undefined): FileSettings {
  const proxies = z.array(z.union([otherProxy, proxySchema])).default([])
  const loaded = loadConfig(text, {
    file,
    sections: {
      proxies: chosen ? z.unknown() : proxies,
      rules: chosen ? z.unknown() : z.array(z.string().refine(isMatch, { error: ONE_WAY })).default([]),
      ipv6: clashBoolean.default(true),
      icmp: z.string().toLowerCase().pipe(z.enum(PING_MODES)).optional(),
    },
    known: ['tun.device-url', 'dns.listen'],
  })
  const { sections, values, dns, warnings } = loaded
  const written = Object.keys((values.dns as object | null | undefined) ?? {}).filter(key => key !== 'listen' && key !== 'enable')
  const kept = Object.fromEntries(Object.entries(dns).filter(([key]) => written.includes(key))) as Partial<DnsOptions>
  if (!sections.ipv6) kept.ipv6 = false
  return {
    way: chosen ?? wayInFile(sections.proxies as z.output<typeof proxies>, sections.rules as string[], file),
    dns: kept,
    pings: sections.icmp,
    // What tun exec leaves aside is no news: most of a Clash file is about other things.
    warnings: warnings
      .filter(({ path }) => path.startsWith('dns'))
      .map(({ path, line, message }) => `${file}:${line}: ${path}: ${message}`),
  }
}

const ONE_WAY = 'tun exec sends everything one way: only a MATCH rule is understood; the example proxy, clash-proxy, follows all rules'

function isMatch(rule: string): boolean {
  return /^\s*MATCH\s*,[^,]+$/i.test(rule)
}

type FileProxy = z.output<typeof proxySchema> | { name: string; type: string }

function wayInFile(proxies: readonly FileProxy[], rules: readonly string[], file: string): Way {
  const wanted = rules[0]?.split(',')[1].trim()
  if (wanted === 'DIRECT') return DIRECT
  const proxy = wanted === undefined ? proxies.find(isSocks5) : proxies.find(({ name }) => name === wanted)
  if (wanted === undefined && proxies.length === 0) return DIRECT
  if (proxy !== undefined && isSocks5(proxy)) {
    const { server: host, port, username, password, udp } = proxy
    return { name: `${proxy.name} (socks5://${host}:${port})`, outbound: socks5({ host, port, username, password, udp }), isDirect: false }
  }
  const what = proxy
    ? `'${proxy.name}' has type ${proxy.type}`
    : wanted
      ? `there is no proxy '${wanted}'`
      : 'none of its proxies has type socks5'
  throw new TypeError(`${file}: ${what}; tun exec takes socks5 proxies and DIRECT, or --proxy URL`)
}

function isSocks5(proxy: FileProxy): proxy is z.output<typeof proxySchema> {
  return proxy.type === 'socks5'
}
