// Owns: nameservers as Clash and mihomo write them: which can be asked, which are only known, and where they are.

import { isIP, isIPv6 } from 'node:net'
import { parseCidr } from './cidr.js'
import { type Fault, show } from './show.js'

/** Schemes of Clash's and mihomo's nameservers; `@tun/dns` asks those of `ASKED`. */
const SCHEMES = ['udp', 'tcp', 'tls', 'https', 'http', 'quic', 'h3', 'dhcp', 'system', 'rcode', 'sdns', 'ts', 'tailscale']
const ASKED = ['udp', 'tcp', 'tls', 'https', 'system', 'rcode']
const RCODES = ['success', 'format_error', 'server_failure', 'name_error', 'not_implemented', 'refused']

/** What is to be said about a nameserver. */
export interface NameserverSaid {
  fault?: Fault
  /** It is not asked, and why. */
  unused?: string
  /** It is asked, but not in the way that it says. */
  otherwise?: string
  /** It has to be asked for itself. */
  named?: boolean
}

export function nameserverFault(value: string): NameserverSaid {
  const scheme = /^([a-z0-9]+):\/\//i.exec(value)?.[1].toLowerCase()
  if (value === 'dhcp') return { unused: `'${value}' is known to Clash/mihomo, not acted on yet` }
  if (value === 'system' || scheme === 'system') return {}
  if (scheme !== undefined && !SCHEMES.includes(scheme))
    return { fault: { message: `unknown scheme '${scheme}://'`, hint: 'use udp://, tcp://, tls://, https://, rcode:// or system' } }
  if (scheme !== undefined && !ASKED.includes(scheme)) return { unused: `'${scheme}://' is known to Clash/mihomo, not acted on yet` }
  const [server, ...behind] = (scheme === undefined ? value : value.slice(scheme.length + 3)).split('#')
  if (scheme === 'rcode') {
    if (RCODES.includes(server.toLowerCase())) return {}
    return { fault: { message: `expected one of ${RCODES.join(', ')}, got ${show(server)}`, hint: 'e.g. rcode://refused' } }
  }
  const rest = scheme === 'https' ? server.replace(/[/?].*$/, '') : server.replace(/\/$/, '')
  const match = isIP(rest) !== 0 ? [rest, undefined, rest, undefined] : /^(?:\[([^\]]*)\]|([^:[\]\s/]+))(?::(\d+))?$/.exec(rest)
  if (!match)
    return {
      fault: {
        message: `expected an address or name with a scheme or not, got ${show(value)}`,
        hint: 'e.g. 1.1.1.1 or tls://dns.example',
      },
    }
  const host = match[1] ?? match[2] ?? ''
  if (match[3] !== undefined && !(Number(match[3]) >= 1 && Number(match[3]) <= 65535))
    return { fault: { message: `a port is 1 to 65535, got ${match[3]}` } }
  if (match[1] !== undefined && !isIPv6(host)) return { fault: { message: `${show(host)} is no IPv6 address` } }
  const named = isIP(host) === 0
  if (named && (/^[\d.]+$/.test(host) || !/^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?$/i.test(host)))
    return { fault: { message: `${show(host)} is no IP address and no name`, hint: 'e.g. 1.1.1.1' } }
  return { named, ...parametersSaid(behind.join('#')) }
}

/** Behind a nameserver's `#`: `PROXY&skip-cert-verify=true`. */
function parametersSaid(behind: string): Pick<NameserverSaid, 'fault' | 'otherwise'> {
  for (const part of behind.split('&')) {
    const equals = part.indexOf('=')
    if (equals < 0) continue
    const key = part.slice(0, equals)
    const value = part.slice(equals + 1)
    if (key === 'ecs') {
      if (parseCidr(value) === undefined)
        return { fault: { message: `ecs is an address or ADDRESS/BITS, got ${show(value)}`, hint: 'e.g. #ecs=192.0.2.0/24' } }
    } else if (!/^(h3|skip-cert-verify|ecs-override|disable-ipv[46]|disable-qtype-\d{1,5})$/.test(key)) {
      const hint = 'there are skip-cert-verify, disable-ipv4, disable-ipv6, disable-qtype-N, ecs, ecs-override, h3'
      return { fault: { message: `unknown parameter ${show(key)} of a nameserver`, hint } }
    }
  }
  return /(^|&)h3=true(&|$)/.test(behind) ? { otherwise: 'HTTP/3 is not spoken: it is asked over HTTP/2' } : {}
}

/**
 * What queries to a nameserver leave by: the proxy or interface behind its `#`, as `@tun/dns` reads it; undefined: nothing of the kind.
 */
export function nameserverVia(value: string): string | undefined {
  const hash = value.indexOf('#')
  if (hash < 0) return undefined
  const parts = value.slice(hash + 1).split('&')
  const via = parts.filter(part => part !== '' && !part.includes('=')).at(-1)
  try {
    return via && decodeURIComponent(via)
  } catch {
    return via
  }
}

/** The IP address or name of a server that is asked; undefined if it is none. */
export function nameserverHost(value: string): string | undefined {
  const scheme = /^([a-z0-9]+):\/\//i.exec(value)?.[1].toLowerCase()
  if (
    value === 'system' ||
    value === 'dhcp' ||
    (scheme !== undefined && (!ASKED.includes(scheme) || scheme === 'system' || scheme === 'rcode'))
  )
    return undefined
  const server = (scheme === undefined ? value : value.slice(scheme.length + 3)).split('#')[0].replace(/[/?].*$/, '')
  if (isIP(server) !== 0) return server
  const match = /^(?:\[([^\]]*)\]|([^:]+))(?::\d+)?$/.exec(server)
  return match?.[1] ?? match?.[2]
}
