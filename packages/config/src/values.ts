// Owns: the values a Clash config is made of, as zod types whose messages say what is wrong and what to write instead.
// Addresses RFC 4291 §2.2; interface names: 15 bytes, what IFNAMSIZ of <linux/if.h> leaves beside the NUL.

import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net'
import { z } from 'zod'

/** undefined: fine; else why not, and the fix. */
type Fault = { message: string; hint?: string } | undefined

function text(check: (value: string) => Fault): z.ZodString {
  return z.string().superRefine((value, context) => {
    const fault = check(value)
    if (fault) context.addIssue({ code: 'custom', message: fault.message, params: { hint: fault.hint } })
  })
}

const TRUE = ['yes', 'Yes', 'YES', 'on', 'On', 'ON', 'y', 'Y', 'true', 'True', 'TRUE']
const FALSE = ['no', 'No', 'NO', 'off', 'Off', 'OFF', 'n', 'N', 'false', 'False', 'FALSE']

/** true and false, and the words for them in YAML 1.1, which Clash files use and YAML 1.2 reads as strings. */
export const clashBoolean = z
  .union([z.boolean(), z.enum([...TRUE, ...FALSE])], { error: issue => `expected true or false, got ${show(issue.input)}` })
  .transform(value => value === true || TRUE.includes(value as string))

export const port = z.int().min(0).max(65535)

/** `dev://NAME` or `fd://N`. */
export const deviceUrl = text(value => {
  const match = /^([a-z0-9+.-]*):\/\/(.*)$/i.exec(value)
  if (!match)
    return {
      message: `expected dev://NAME or fd://N, got ${show(value)}`,
      hint: isName(value) ? `write dev://${value}` : 'e.g. dev://tun0',
    }
  const [, scheme, rest] = match
  if (scheme === 'dev') return deviceName(rest)
  if (scheme === 'fd') {
    if (/^\d+$/.test(rest) && Number(rest) <= 0x7fffffff) return undefined
    return { message: `fd:// needs the number of an open file descriptor, got ${show(rest)}`, hint: 'e.g. fd://5' }
  }
  const hint = scheme === 'tun' ? `write dev://${rest}` : 'use dev://NAME or fd://N'
  return { message: `unknown scheme '${scheme}://'${scheme === 'tap' ? ': a TAP carries Ethernet frames, not IP packets' : ''}`, hint }
})

function deviceName(name: string): Fault {
  if (name === '') return { message: 'dev:// needs the name of an interface', hint: 'e.g. dev://tun0' }
  const bytes = Buffer.byteLength(name)
  if (bytes > 15)
    return { message: `interface name ${show(name)} has ${bytes} bytes, at most 15 are possible`, hint: `e.g. dev://${cut(name)}` }
  if (!isName(name)) return { message: `${show(name)} is no interface name`, hint: "no '/', ':', '%' (but %d) or spaces, not '.' or '..'" }
  return undefined
}

/** As much of it as is possible, in whole characters. */
function cut(name: string): string {
  return Buffer.from(name)
    .subarray(0, 15)
    .toString()
    .replace(/\uFFFD$/, '')
}

function isName(name: string): boolean {
  return /^[^\s/:%]+(%d)?$/.test(name) && name !== '.' && name !== '..' && Buffer.byteLength(name) <= 15
}

/** Where a server listens: `0.0.0.0:53`, `[::]:53`; `:53`, as Go writes it, becomes `0.0.0.0:53`. */
export const listenAddress = text(listenFault).transform(value => (value.startsWith(':') ? `0.0.0.0${value}` : value))

/** One entry of mihomo's `dns-hijack`: `any:53`, `tcp://any:53`, `8.8.8.8:53`; becomes `0.0.0.0:53`, `8.8.8.8:53`. */
export const hijackAddress = text(value => {
  const scheme = /^([a-z0-9]*):\/\//i.exec(value)?.[1].toLowerCase()
  if (scheme !== undefined && scheme !== 'udp' && scheme !== 'tcp')
    return { message: `unknown scheme '${scheme}://'`, hint: 'use any:53, tcp://any:53 or ADDRESS:PORT' }
  return listenFault(hijackPlace(value))
}).transform(hijackPlace)

function hijackPlace(value: string): string {
  const place = value.replace(/^(udp|tcp):\/\//i, '').replace(/^any(?=:|$)/i, '0.0.0.0')
  return isIP(place) === 4 ? `${place}:53` : isIP(place) === 6 ? `[${place}]:53` : place
}

function listenFault(value: string): Fault {
  if (isIP(value) !== 0) return { message: `${show(value)} has no port`, hint: `write ${isIPv6(value) ? `[${value}]` : value}:53` }
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*)):(\d+)$/.exec(value)
  if (!match) {
    const bare = /^(.*:.*):(\d+)$/.exec(value)
    return {
      message: `expected IP:PORT, got ${show(value)}`,
      hint: bare && isIPv6(bare[1]) ? `write [${bare[1]}]:${bare[2]}` : 'e.g. 0.0.0.0:53 or [::]:53',
    }
  }
  const [, v6, v4, number] = match
  if (v6 !== undefined ? !isIPv6(v6) : v4 !== '' && !isIPv4(v4)) {
    return { message: `${show(v6 ?? v4)} is no IP address`, hint: v4 === 'any' ? `write 0.0.0.0:${number}` : undefined }
  }
  if (Number(number) < 1 || Number(number) > 65535) return { message: `a port is 1 to 65535, got ${number}` }
  return undefined
}

/** Packets to these never come by a route into a NIC, whoever asks for them: RFC 6890, RFC 4291 §2.4. */
const NOT_ROUTED = [
  ['0.0.0.0', 8, 'this network'],
  ['127.0.0.0', 8, 'loopback'],
  ['169.254.0.0', 16, 'link-local'],
  ['224.0.0.0', 4, 'multicast'],
  ['255.255.255.255', 32, 'broadcast'],
  ['::', 96, 'loopback'],
  ['::ffff:0:0', 96, 'IPv4'],
  ['fe80::', 10, 'link-local'],
  ['ff00::', 8, 'multicast'],
] as const

/** What of that lies in the range, or it in. */
function notRouted(address: string, bits: number): string | undefined {
  const family = isIPv6(address) ? 'ipv6' : 'ipv4'
  const range = new BlockList()
  range.addSubnet(address, bits, family)
  return NOT_ROUTED.find(([base, prefix]) => {
    if (isIPv6(base) !== (family === 'ipv6')) return false
    const special = new BlockList()
    special.addSubnet(base, prefix, family)
    return special.check(address, family) || range.check(base, family)
  })?.[2]
}

/** A CIDR of one family with room for `maxPrefix`'s addresses; host bits are allowed (the NIC's address). */
export function cidr(family: 4 | 6, maxPrefix: number, example: string): z.ZodString {
  return text(value => {
    const [address, prefix, more] = value.split('/')
    const of = isIP(address)
    if (of === 0 || more !== undefined || (prefix !== undefined && !/^\d{1,3}$/.test(prefix))) {
      return { message: `expected an IPv${family} range ADDRESS/BITS, got ${show(value)}`, hint: `e.g. ${example}` }
    }
    if (of !== family)
      return { message: `${show(value)} is not IPv${family}`, hint: family === 4 ? "IPv6 goes into 'fake-ip-range6'" : `e.g. ${example}` }
    if (prefix === undefined) return { message: `${show(value)} has no prefix length`, hint: `e.g. ${example}` }
    if (Number(prefix) > (family === 4 ? 32 : 128))
      return { message: `/${prefix} is no IPv${family} prefix length`, hint: `e.g. ${example}` }
    if (Number(prefix) > maxPrefix) return { message: `/${prefix} leaves no address to hand out`, hint: `use /${maxPrefix} or shorter` }
    const special = notRouted(address, Number(prefix))
    if (special !== undefined)
      return { message: `${show(value)} has addresses that never reach a TUN (${special})`, hint: `e.g. ${example}` }
    return undefined
  })
}

/** Schemes of Clash's and mihomo's nameservers; `@tun/dns` asks those of `ASKED`. */
const SCHEMES = ['udp', 'tcp', 'tls', 'https', 'http', 'quic', 'h3', 'dhcp', 'system', 'rcode', 'sdns', 'ts', 'tailscale']
const ASKED = ['udp', 'tcp', 'tls', 'https', 'system', 'rcode']
const RCODES = ['success', 'format_error', 'server_failure', 'name_error', 'not_implemented', 'refused']

/** One entry of a `nameserver` list. */
export const nameserver = text(value => nameserverFault(value).fault)

/** What is wrong with a nameserver; `unused`: nothing, but it is not asked, and why; `named`: it has to be asked for itself. */
export function nameserverFault(value: string): { fault?: Fault; unused?: string; named?: boolean } {
  const scheme = /^([a-z0-9]+):\/\//i.exec(value)?.[1].toLowerCase()
  if (value === 'dhcp') return { unused: `'${value}' is known to Clash/mihomo, not acted on yet` }
  if (value === 'system' || scheme === 'system') return {}
  if (scheme !== undefined && !SCHEMES.includes(scheme))
    return { fault: { message: `unknown scheme '${scheme}://'`, hint: 'use udp://, tcp://, tls://, https://, rcode:// or system' } }
  if (scheme !== undefined && !ASKED.includes(scheme)) return { unused: `'${scheme}://' is known to Clash/mihomo, not acted on yet` }
  const [server, ...behind] = (scheme === undefined ? value : value.slice(scheme.length + 3)).split('#')
  const via = behind.length > 0 ? behind.join('#') : undefined
  if (scheme === 'rcode') {
    if (RCODES.includes(server.toLowerCase())) return {}
    return { fault: { message: `expected one of ${RCODES.join(', ')}, got ${show(server)}`, hint: 'e.g. rcode://refused' } }
  }
  const rest = scheme === 'https' ? server.replace(/[/?].*$/, '') : server.replace(/\/$/, '')
  const match = isIP(rest) !== 0 ? [rest, undefined, rest, undefined] : /^(?:\[([^\]]*)\]|([^:[\]\s/]+))(?::(\d+))?$/.exec(rest)
  if (!match)
    return {
      fault: { message: `expected an address or name with a scheme or not, got ${show(value)}`, hint: 'e.g. 1.1.1.1 or tls://dns.example' },
    }
  const host = match[1] ?? match[2] ?? ''
  if (match[3] !== undefined && !(Number(match[3]) >= 1 && Number(match[3]) <= 65535))
    return { fault: { message: `a port is 1 to 65535, got ${match[3]}` } }
  if (match[1] !== undefined && !isIPv6(host)) return { fault: { message: `${show(host)} is no IPv6 address` } }
  const named = isIP(host) === 0
  if (named && (/^[\d.]+$/.test(host) || !/^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?$/i.test(host)))
    return { fault: { message: `${show(host)} is no IP address and no name`, hint: 'e.g. 1.1.1.1' } }
  const fault = via === undefined ? undefined : parameterFault(via)
  return fault ? { fault } : { named }
}

/** What is wrong behind a nameserver's `#`: `PROXY&skip-cert-verify=true`. */
function parameterFault(via: string): Fault {
  for (const part of via.split('&')) {
    const equals = part.indexOf('=')
    if (equals < 0) continue
    const key = part.slice(0, equals)
    const value = part.slice(equals + 1)
    const [address, prefix, more] = value.split('/')
    const bits = isIP(address) === 4 ? 32 : 128
    if (key === 'ecs') {
      if (isIP(address) === 0 || more !== undefined || (prefix !== undefined && !(/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits)))
        return { message: `ecs is an address or ADDRESS/BITS, got ${show(value)}`, hint: 'e.g. #ecs=192.0.2.0/24' }
    } else if (!/^(h3|skip-cert-verify|ecs-override|disable-ipv[46]|disable-qtype-\d{1,5})$/.test(key))
      return {
        message: `unknown parameter ${show(key)} of a nameserver`,
        hint: 'there are skip-cert-verify, disable-ipv4, disable-ipv6, disable-qtype-N, ecs, ecs-override, h3',
      }
  }
  return undefined
}

/** One entry of `fallback-filter.ipcidr`: an address or range of any family. */
export const anyCidr = text(value => {
  const [address, prefix, more] = value.split('/')
  const bits = isIP(address) === 4 ? 32 : 128
  if (isIP(address) !== 0 && more === undefined && (prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits)))
    return undefined
  return { message: `expected ADDRESS/BITS, got ${show(value)}`, hint: 'e.g. 240.0.0.0/4' }
})

/** What a name of `hosts` stands for: addresses, or another name. */
export const hostValue = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]).superRefine((value, context) => {
  const all = typeof value === 'string' ? [value] : value
  const names = all.filter(entry => isIP(entry) === 0)
  const bad = names.find(name => !/^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?$/i.test(name) || /^[\d.]+$/.test(name))
  const message =
    bad !== undefined
      ? `${show(bad)} is no IP address and no name`
      : names.length > 0 && all.length > 1
        ? `a name stands for addresses or for one other name, got ${show(names[0])} among others`
        : undefined
  if (message !== undefined) context.addIssue({ code: 'custom', message, params: { hint: "e.g. '192.0.2.1'" } })
})

/** One entry of `fake-ip-filter`. */
export const domainPattern = text(value => domainPatternFault(value).fault)

export function domainPatternFault(value: string): { fault?: Fault; unused?: string } {
  const set = /^(geosite|rule-set)[:,]|^[A-Z-]+,/i.exec(value)
  if (set) return { unused: `'${set[0].replace(/[:,]$/, '')}' entries are known to mihomo, not acted on yet` }
  const rest = value
    .trim()
    .replace(/^(\+\.|\.)/, '')
    .replace(/\.$/, '')
  const labels = rest.split('.')
  if (labels.some(label => label === '' || label.length > 63 || /[\s,:/+]/.test(label))) {
    return {
      fault: { message: `${show(value)} is no domain pattern`, hint: 'use example.com, *.example.com, .example.com or +.example.com' },
    }
  }
  if (labels.some(label => label.includes('*') && label !== '*'))
    return { unused: "a '*' stands for a whole label, so this would never match" }
  return {}
}

/** A value as a message may show it: short, on one line, without what stands before an @ in a URL. */
export function show(value: unknown): string {
  if (typeof value === 'string') {
    const line = value.replace(/(:\/\/)[^/@]*@/, '$1***@').replaceAll(/\p{Cc}/gu, ' ')
    return `'${line.length > 60 ? `${line.slice(0, 57)}...` : line}'`
  }
  if (Array.isArray(value)) return 'a list'
  if (value === null || value === undefined) return 'nothing'
  return typeof value === 'object' ? 'a map' : String(value)
}
