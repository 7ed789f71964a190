// Owns: the values a Clash config is made of, as zod types whose messages say what is wrong and what to write instead.
// Addresses RFC 4291 §2.2; interface names: 15 bytes, what IFNAMSIZ of <linux/if.h> leaves beside the NUL.

import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net'
import { z } from 'zod'
import { firstAddress, hasHostBits, parseCidr } from './cidr.js'
import type { GeneralId } from './ids.js'
import { nameserverFault } from './nameservers.js'
import { type Fault, show } from './show.js'

/** A text with a check of its own, whose faults have the id. */
export function text(id: GeneralId, check: (value: string) => Fault): z.ZodString {
  return z.string().superRefine((value, context) => {
    const fault = check(value)
    if (fault) context.addIssue({ code: 'custom', message: fault.message, params: { id, hint: fault.hint } })
  })
}

const BOOLEAN_WORD = /^(?:[Yy]es|YES|[Oo]n|ON|[Yy]|[Tt]rue|TRUE|[Nn]o|NO|[Oo]ff|OFF|[Nn]|[Ff]alse|FALSE)$/

/** true and false, and the words for them in YAML 1.1, which Clash files use and YAML 1.2 reads as strings. */
export const clashBoolean = z
  .union([z.boolean(), z.string().regex(BOOLEAN_WORD, { abort: true })], {
    error: issue => `expected true or false, got ${show(issue.input)}`,
  })
  .transform(value => (typeof value === 'boolean' ? value : /^(?:y|t|on$)/i.test(value)))

export const port = z.int().min(0).max(65535)

/** `dev://NAME` or `fd://N`. */
export const deviceUrl = text('tun/device-url', value => {
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
export const listenAddress = text('tun/address', listenFault).transform(value => (value.startsWith(':') ? `0.0.0.0${value}` : value))

/** One entry of mihomo's `dns-hijack`: `any:53`, `tcp://any:53`, `8.8.8.8:53`; becomes `0.0.0.0:53`, `8.8.8.8:53`. */
export const hijackAddress = text('tun/address', value => {
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
  return text('tun/cidr', value => {
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

/** An address or range of one family or any, as `fallback-filter.ipcidr` and routes have it. */
export function anyCidr(family?: 4 | 6): z.ZodString {
  return text('tun/cidr', value => {
    const range = parseCidr(value)
    const example = family === 6 ? 'fd00::/8' : family === 4 ? '10.0.0.0/8' : '240.0.0.0/4'
    if (range === undefined) return { message: `expected ADDRESS/BITS, got ${show(value)}`, hint: `e.g. ${example}` }
    if (family !== undefined && range.family !== family) return { message: `${show(value)} is not IPv${family}`, hint: `e.g. ${example}` }
    return undefined
  })
}

/** Bits behind the prefix mostly mean that another prefix was meant. */
export function hostBitsOf(value: string): Fault {
  const range = parseCidr(value)
  if (range === undefined || !hasHostBits(range)) return undefined
  return { message: `${show(value)} has bits behind its prefix`, hint: `write ${firstAddress(range)}/${range.bits} if that is meant` }
}

/** An address of a NIC with the prefix of its network. */
export function nicAddress(family: 4 | 6): z.ZodString {
  const example = family === 4 ? '198.18.0.1/30' : 'fdfe:dcba:9876::1/126'
  return text('tun/cidr', value => {
    const range = parseCidr(value)
    if (range === undefined || !value.includes('/'))
      return { message: `expected ADDRESS/BITS, got ${show(value)}`, hint: `e.g. ${example}` }
    return range.family === family ? undefined : { message: `${show(value)} is not IPv${family}`, hint: `e.g. ${example}` }
  })
}

/** `1000:1999`, as mihomo writes ranges of users and ports. */
export function numberRange(max: number): z.ZodString {
  return text('tun/range-of-numbers', value => {
    const match = /^(\d{1,10})[:-](\d{1,10})$/.exec(value)
    if (!match) return { message: `expected FIRST:LAST, got ${show(value)}`, hint: 'e.g. 1000:1999' }
    const [first, last] = [Number(match[1]), Number(match[2])]
    if (last > max) return { message: `${last} is more than ${max}` }
    return first > last ? { message: `${first} comes after ${last}`, hint: `write ${last}:${first}` } : undefined
  })
}

/** `02:00:5e:10:00:01`. */
export const macAddress = text('tun/address', value =>
  /^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(value)
    ? undefined
    : { message: `expected the address of an Ethernet card, got ${show(value)}`, hint: 'e.g. 02:00:5e:10:00:01' },
)

export const ipAddress = text('tun/address', value => (isIP(value) === 0 ? { message: `${show(value)} is no IP address` } : undefined))

/** Where fake addresses are kept. */
export const storePlace = text('tun/store', value => {
  if (value === '') return { message: 'expected the path of a file, memory, or redis://HOST:PORT' }
  if (!value.includes('://') || /^rediss?:\/\/[^/]/.test(value)) return undefined
  return { message: `expected the path of a file, memory, or redis://HOST:PORT, got ${show(value)}` }
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
  if (message !== undefined) context.addIssue({ code: 'custom', message, params: { id: 'tun/hosts', hint: "e.g. '192.0.2.1'" } })
})

/** One entry of a `nameserver` list. */
export const nameserver = text('tun/nameserver', value => nameserverFault(value).fault)

/** One entry of `fake-ip-filter`. */
export const domainPattern = text('tun/domain-pattern', value => domainPatternFault(value).fault)

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
