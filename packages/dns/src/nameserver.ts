// Owns: the grammar of one entry of Clash's `nameserver` list that we can ask: an IP address, `udp://…` or `tcp://…`, with a port or not.

import { isIP } from 'node:net'
import { misuse } from './errors.js'

export interface Nameserver {
  transport: 'udp' | 'tcp'
  address: string
  port: number
}

/**
 * @throws RangeError `ERR_TUN_DNS_SCHEME` for anything but udp and tcp, `ERR_TUN_DNS_ADDRESS` for what is no IP address
 */
export function parseNameserver(text: string): Nameserver {
  const scheme = /^([a-z0-9+.-]+):\/\//i.exec(text)?.[1].toLowerCase()
  if (scheme === undefined && /^(system|dhcp)$/i.test(text))
    throw misuse('ERR_TUN_DNS_SCHEME', `nameserver '${text}' is not supported yet: ${USE}`)
  if (scheme !== undefined && scheme !== 'udp' && scheme !== 'tcp') {
    throw misuse('ERR_TUN_DNS_SCHEME', `nameserver scheme '${scheme}://' is not supported yet: ${USE}`)
  }
  const rest = scheme === undefined ? text : text.slice(scheme.length + 3).replace(/\/$/, '')
  const { host, port } = splitHostPort(rest)
  if (isIP(host) === 0) throw misuse('ERR_TUN_DNS_ADDRESS', `nameserver '${text}' is no IP address: ${USE}`)
  if (!(port >= 1 && port <= 65535)) throw misuse('ERR_TUN_DNS_ADDRESS', `nameserver '${text}' has no port of 1 to 65535`)
  return { transport: scheme === 'tcp' ? 'tcp' : 'udp', address: host, port }
}

const USE = 'use an address, udp://ADDRESS[:PORT] or tcp://ADDRESS[:PORT]'

function splitHostPort(text: string): { host: string; port: number } {
  if (isIP(text) !== 0) return { host: text, port: 53 }
  const match = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d{1,5}))?$/.exec(text)
  return match ? { host: match[1] ?? match[2], port: match[3] === undefined ? 53 : Number(match[3]) } : { host: '', port: 0 }
}
