// Owns: addresses in the form of RFC 1928 §5: a type, then 4 bytes, 16 bytes or a counted name, then the port.

import { formatAddress, parseAddress } from '@tun/stack'
import type { Destination, Endpoint } from './outbound.js'

export const ATYP_IPV4 = 1
export const ATYP_NAME = 3
export const ATYP_IPV6 = 4

/** The name of `destination`, or its address, in SOCKS form behind `head`. Undefined: neither can be written. */
export function encodeAddress(head: readonly number[], destination: Destination): Buffer | undefined {
  return destination.host === undefined ? encodeNumbers(head, destination) : encodeName(head, destination.host, destination.port)
}

function encodeName(head: readonly number[], host: string, port: number): Buffer | undefined {
  const length = Buffer.byteLength(host)
  if (length === 0 || length > 255) return undefined
  const bytes = Buffer.allocUnsafe(head.length + 2 + length + 2)
  bytes.set(head)
  bytes[head.length] = ATYP_NAME
  bytes[head.length + 1] = length
  bytes.write(host, head.length + 2)
  bytes.writeUInt16BE(port, bytes.length - 2)
  return bytes
}

function encodeNumbers(head: readonly number[], { address, port, family }: Destination): Buffer | undefined {
  const zone = address.indexOf('%') // means something on this machine only
  const words = parseAddress(zone < 0 ? address : address.slice(0, zone))
  if (!words || (family === 4 && address.includes(':'))) return undefined
  const first = family === 4 ? 3 : 0 // IPv4 is the last of the four words
  const bytes = Buffer.allocUnsafe(head.length + 1 + 4 * (4 - first) + 2)
  bytes.set(head)
  bytes[head.length] = family === 4 ? ATYP_IPV4 : ATYP_IPV6
  for (let i = first; i < 4; i++) bytes.writeInt32BE(words[i], head.length + 1 + 4 * (i - first))
  bytes.writeUInt16BE(port, bytes.length - 2)
  return bytes
}

/** How many bytes follow an address's type and first byte, port included. The first byte of a name is its length. 0: no such type. */
export function restLength(type: number, first: number): number {
  switch (type) {
    case ATYP_IPV4:
      return 3 + 2
    case ATYP_IPV6:
      return 15 + 2
    case ATYP_NAME:
      return first + 2
    default:
      return 0
  }
}

/** The address whose type and first byte came before `rest`; that of a name is empty. */
export function decodeAddress(type: number, first: number, rest: Buffer): Endpoint {
  const port = rest.readUInt16BE(rest.length - 2)
  if (type === ATYP_NAME) return { address: '', port, family: 4 }
  const bytes = Buffer.concat([Buffer.from([first]), rest])
  const words =
    type === ATYP_IPV4 ? ([0, 0, 0xffff, bytes.readInt32BE(0)] as const) : ([0, 4, 8, 12] as const).map(at => bytes.readInt32BE(at))
  const address = formatAddress(words[0], words[1], words[2], words[3])
  return { address, port, family: address.includes(':') ? 6 : 4 }
}
