// Owns: the grammar of one entry of Clash's `nameserver` list: an address or name with a scheme or not, a port or not.
//   10.0.0.1 · 10.0.0.1:5353 · udp://… · tcp://… · tls://dns.example (853) · https://dns.example/dns-query (443) · system · rcode://refused

import { isIP } from 'node:net'
import { misuse } from './errors.js'
import { RCODE } from './message.js'

export interface Nameserver {
  transport: 'udp' | 'tcp' | 'tls' | 'https' | 'system' | 'rcode'
  /** An IP address, or a name that has to be asked for first; '' for `system` and `rcode`. */
  address: string
  port: number
  /** Of `https`: `/dns-query`. */
  path?: string
  /** Of `rcode`. */
  rcode?: number
}

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

/** `tls://1.1.1.1:853`, as messages say it. */
export function formatNameserver({ transport, address, port, path = '', rcode }: Nameserver): string {
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
