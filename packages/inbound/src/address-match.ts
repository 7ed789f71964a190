// Owns: which destinations a service stands for: an address, a CIDR or everything, at one port or at all.

import { networkInterfaces } from 'node:os'
import { type AddressWords, isLoopback, isMapped, parseAddress } from '@tun/stack'

export interface ServiceAddress {
  /** An address or CIDR; left out (or 0.0.0.0, ::): every address of both families. */
  address?: string
  /** Left out (or 0): every port. */
  port?: number
}

export interface Matcher {
  readonly port: number
  /** Prefix bits, 0…128 (IPv4 counts from 96 on); −1 for everything. More is more specific. */
  readonly bits: number
  matches(w0: number, w1: number, w2: number, w3: number): boolean
}

/** @throws TypeError ERR_TUN_ADDRESS, ERR_TUN_LOCAL_ADDRESS (loopback: the kernel answers there itself) */
export function matcher({ address, port = 0 }: ServiceAddress): Matcher {
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw bad(`'${port}' is no port`)
  if (address === undefined || address === '0.0.0.0' || address === '::') return { port, bits: -1, matches: () => true }
  const [text, prefix, more] = address.split('/')
  const words = parseAddress(text)
  if (words === null || more !== undefined) throw bad(`'${address}' is neither an address nor a CIDR`)
  if (isLoopback(...words)) throw localAddressError(address)
  const v4 = isMapped(words[0], words[1], words[2])
  const most = v4 ? 32 : 128
  const bits = prefix === undefined ? most : Number(prefix)
  if ((prefix !== undefined && !/^\d{1,3}$/.test(prefix)) || bits > most) throw bad(`'${address}': the prefix is 0 to ${most}`)
  const total = v4 ? 96 + bits : bits
  const masks = [0, 1, 2, 3].map(i => mask(total - 32 * i)) as AddressWords
  const net = words.map((word, i) => word & masks[i])
  return {
    port,
    bits: total,
    matches: (w0, w1, w2, w3) =>
      (w3 & masks[3]) === net[3] &&
      (w2 & masks[2]) === net[2] &&
      (w1 & masks[1]) === net[1] &&
      (w0 & masks[0]) === net[0] &&
      (v4 || !isMapped(w0, w1, w2)), // ::/0 is IPv6, although IPv4 lies in it
  }
}

/** Is it the address of one of this host's own interfaces? Then its kernel keeps what is sent there. */
export function isOfThisHost(address: string): boolean {
  const words = parseAddress(address)
  if (words === null) return false
  for (const interfaces of Object.values(networkInterfaces())) {
    for (const own of interfaces ?? []) {
      if (parseAddress(own.address.replace(/%.*$/, ''))?.every((word, i) => word === words[i])) return true
    }
  }
  return false
}

const mask = (bits: number): number => (bits <= 0 ? 0 : bits >= 32 ? -1 : -1 << (32 - bits))

export function localAddressError(address: string): TypeError & { code: string } {
  return bad(`'${address}' is local to the host: its kernel answers there itself. Use e.g. 198.18.0.2`, 'ERR_TUN_LOCAL_ADDRESS')
}

function bad(message: string, code = 'ERR_TUN_ADDRESS'): TypeError & { code: string } {
  return Object.assign(new TypeError(message), { code })
}
