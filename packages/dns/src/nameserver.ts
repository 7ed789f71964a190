// Owns: the grammar of one entry of Clash's `nameserver` list: an address or name with a scheme or not, a port or not.
//   10.0.0.1 · 10.0.0.1:5353 · udp://… · tcp://… · tls://dns.example (853) · https://dns.example/dns-query (443)
//   system · rcode://refused
//   …#PROXY&skip-cert-verify=true&ecs=192.0.2.0/24: what it leaves by, and parameters, as mihomo has them

import { isIP } from 'node:net'
import { addressBytes } from './address.js'
import { misuse } from './errors.js'
import { RCODE, TYPE } from './message.js'

export interface Nameserver {
  transport: 'udp' | 'tcp' | 'tls' | 'https' | 'system' | 'rcode'
  /** An IP address, or a name that has to be asked for first; '' for `system` and `rcode`. */
  address: string
  port: number
  /** Of `https`: `/dns-query`. */
  path?: string
  /** Of `rcode`. */
  rcode?: number
  /** The name that `address` was found for. */
  host?: string
  /** Behind `#`: the proxy or interface that its queries leave by. */
  via?: string
  /** The certificate may be anybody's (`skip-cert-verify`). */
  insecure?: boolean
  /** Types that are answered empty without asking: `disable-ipv4`, `disable-ipv6`, `disable-qtype-65`. */
  disabled?: readonly number[]
  /** EDNS Client Subnet (RFC 7871) that its queries carry: option data. */
  clientSubnet?: Uint8Array
}

/** Parameters that ask for nothing we would do otherwise: HTTP/3 is not spoken, and the client's own subnet is never passed on. */
const IDLE_PARAMETERS = ['h3', 'ecs-override']
const KNOWN_PARAMETERS = ['skip-cert-verify', 'disable-ipv4', 'disable-ipv6', 'disable-qtype-N', 'ecs', ...IDLE_PARAMETERS]

const PORTS = { udp: 53, tcp: 53, tls: 853, https: 443 } as const
const RCODES: Readonly<Record<string, number>> = {
  success: RCODE.NOERROR,
  format_error: RCODE.FORMERR,
  server_failure: RCODE.SERVFAIL,
  name_error: RCODE.NXDOMAIN,
  not_implemented: RCODE.NOTIMP,
  refused: RCODE.REFUSED,
}

/**
 * @throws RangeError `ERR_TUN_DNS_SCHEME` for a scheme that is not spoken, `ERR_TUN_DNS_ADDRESS` for what is no address
 */
export function parseNameserver(text: string): Nameserver {
  const hash = text.indexOf('#')
  if (hash < 0) return parseServer(text)
  return { ...parseServer(text.slice(0, hash)), ...readParameters(text.slice(hash + 1), text) }
}

/** mihomo's grammar: `&` between them; without a `=` it is the name of a proxy or interface. */
function readParameters(text: string, whole: string): Partial<Nameserver> {
  const found: Partial<Nameserver> = {}
  const disabled: number[] = []
  for (const part of text.split('&').filter(part => part !== '')) {
    const equals = part.indexOf('=')
    const key = equals < 0 ? part : part.slice(0, equals)
    const value = part.slice(equals + 1)
    const type =
      key === 'disable-ipv4' ? TYPE.A : key === 'disable-ipv6' ? TYPE.AAAA : Number(/^disable-qtype-(\d{1,5})$/.exec(key)?.[1] ?? -1)
    if (equals < 0) found.via = decode(part)
    else if (key === 'ecs') found.clientSubnet = readSubnet(value, whole)
    else if (key === 'skip-cert-verify') found.insecure = value === 'true'
    else if (type >= 0) value === 'true' && disabled.push(type)
    else if (!IDLE_PARAMETERS.includes(key)) {
      throw misuse(
        'ERR_TUN_DNS_ADDRESS',
        `nameserver '${whole}' has an unknown parameter '${key}': there are ${KNOWN_PARAMETERS.join(', ')}`,
      )
    }
  }
  if (disabled.length > 0) found.disabled = disabled
  return found
}

/** A proxy's name may have been written as a URL has it. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** RFC 7871 §6: family, source prefix, scope prefix 0, as many bytes of the address as the prefix has; what is beyond it is zero. */
function readSubnet(text: string, whole: string): Uint8Array {
  const [address, prefix, more] = text.split('/')
  const bytes = addressBytes(address)
  const bits = prefix === undefined && bytes ? 8 * bytes.length : /^\d{1,3}$/.test(prefix ?? '') ? Number(prefix) : -1
  if (bytes === null || more !== undefined || bits < 0 || bits > 8 * bytes.length) {
    throw misuse('ERR_TUN_DNS_ADDRESS', `nameserver '${whole}': ecs is an address or ADDRESS/BITS, e.g. ecs=192.0.2.0/24`)
  }
  const kept = bytes.slice(0, (bits + 7) >> 3)
  if (bits & 7) kept[kept.length - 1] &= 0xff00 >> (bits & 7)
  return Uint8Array.of(0, bytes.length === 4 ? 1 : 2, bits, 0, ...kept)
}

function parseServer(text: string): Nameserver {
  const scheme = /^([a-z0-9+.-]+):\/\//i.exec(text)?.[1].toLowerCase() ?? (/^system$/i.test(text) ? 'system' : 'udp')
  const rest = text.includes('://') ? text.slice(text.indexOf('://') + 3) : text
  switch (scheme) {
    case 'system':
      return { transport: 'system', address: '', port: 0 }
    case 'rcode': {
      const rcode = RCODES[rest.toLowerCase()]
      if (rcode === undefined) throw misuse('ERR_TUN_DNS_ADDRESS', `nameserver '${text}' is none of ${Object.keys(RCODES).join(', ')}`)
      return { transport: 'rcode', address: '', port: 0, rcode }
    }
    case 'https': {
      const slash = rest.search(/[/?]/)
      const path = slash < 0 ? '/dns-query' : rest.slice(slash).replace(/^\?/, '/?')
      return { transport: scheme, ...readAuthority(slash < 0 ? rest : rest.slice(0, slash), PORTS.https, text), path }
    }
    case 'udp':
    case 'tcp':
    case 'tls':
      return { transport: scheme, ...readAuthority(rest.replace(/\/$/, ''), PORTS[scheme], text) }
    default:
      throw misuse('ERR_TUN_DNS_SCHEME', `nameserver scheme '${text}' is not supported: ${USE}`)
  }
}

/** `tls://1.1.1.1:853`, as messages say it; `#NAME` behind it if it leaves by something. */
export function formatNameserver(server: Nameserver): string {
  return server.via === undefined ? urlOf(server) : `${urlOf(server)}#${server.via}`
}

/** The same without what stands behind `#`. */
export function urlOf({ transport, address, port, path = '', rcode }: Nameserver): string {
  if (transport === 'system') return transport
  if (transport === 'rcode') return `rcode://${Object.keys(RCODES).find(word => RCODES[word] === rcode)}`
  return `${transport}://${isIP(address) === 6 ? `[${address}]` : address}:${port}${path}`
}

const USE = 'use an address, udp://, tcp://, tls://, https://, system or rcode://'

function readAuthority(text: string, defaultPort: number, whole: string): { address: string; port: number } {
  const match = isIP(text) !== 0 ? [text, undefined, text, undefined] : /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(\d{1,5}))?$/.exec(text)
  const address = match?.[1] ?? match?.[2] ?? ''
  const port = match?.[3] === undefined ? defaultPort : Number(match[3])
  const named = match?.[1] === undefined && isName(address)
  if (!named && isIP(address) === 0) throw misuse('ERR_TUN_DNS_ADDRESS', `nameserver '${whole}' has no address or name: ${USE}`)
  if (!(port >= 1 && port <= 65535)) throw misuse('ERR_TUN_DNS_ADDRESS', `nameserver '${whole}' has no port of 1 to 65535`)
  return { address, port }
}

function isName(text: string): boolean {
  return text.length < 254 && /[a-z]/i.test(text) && /^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?$/i.test(text)
}
