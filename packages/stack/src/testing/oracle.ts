// Owns: the naive model the engine is checked against: RFC 1071 sums byte pair by byte pair, and where a packet's
// transport header lies. Slow and obvious on purpose, shares no line with wire/. RFC 1071, RFC 8200 §4 and §8.1, RFC 768.

import type { Bytes } from '../memory/slab.js'

export const IPPROTO_ICMP = 1
export const IPPROTO_TCP = 6
export const IPPROTO_UDP = 17
export const IPPROTO_ICMPV6 = 58

/** The one's complement sum of bytes[start, end), folded to 16 bits, not complemented. An odd last byte is padded with zero. */
export function naiveSum(bytes: Uint8Array, start = 0, end = bytes.length, seed = 0): number {
  let sum = seed
  for (let i = start; i < end; i += 2) {
    sum += (bytes[i] << 8) | (i + 1 < end ? bytes[i + 1] : 0)
    if (sum > 0xffff) sum -= 0xffff
  }
  return sum
}

/** Where things lie in a packet. `protocol` -1: not an IP packet, or cut off; nothing else is meaningful then. */
export interface Layout {
  family: 4 | 6
  /** First byte of the transport header. */
  transport: number
  protocol: number
  /** One past the packet's last byte, by the IP header's length field. */
  end: number
  /** A fragment (not whole): its transport checksum cannot be judged. */
  fragment: boolean
}

const NO_PACKET: Layout = { family: 4, transport: 0, protocol: -1, end: 0, fragment: false }

export function layoutOf(packet: Uint8Array): Layout {
  const word = (at: number) => (packet[at] << 8) | packet[at + 1]
  const version = packet.length > 0 ? packet[0] >> 4 : 0
  if (version === 4 && packet.length >= 20) {
    const transport = (packet[0] & 15) * 4
    const end = word(2)
    if (transport < 20 || end < transport || end > packet.length) return NO_PACKET
    return { family: 4, transport, protocol: packet[9], end, fragment: (word(6) & 0x3fff) !== 0 }
  }
  if (version !== 6 || packet.length < 40) return NO_PACKET
  const end = 40 + word(4)
  if (end > packet.length) return NO_PACKET
  let protocol = packet[6]
  let transport = 40
  // Hop-by-hop, routing and destination options are {next, length in 8 bytes less one, …}; a fragment header is 8 bytes.
  while (protocol === 0 || protocol === 43 || protocol === 60 || protocol === 44) {
    if (transport + 8 > end) return NO_PACKET
    if (protocol === 44) {
      // Offset 0 and no more to come is an "atomic fragment": a whole packet. RFC 6946.
      const whole = (word(transport + 2) & 0xfff9) === 0
      if (!whole) return { family: 6, transport: transport + 8, protocol: packet[transport], end, fragment: true }
      protocol = packet[transport]
      transport += 8
      continue
    }
    protocol = packet[transport]
    transport += (packet[transport + 1] + 1) * 8
    if (transport > end) return NO_PACKET
  }
  return { family: 6, transport, protocol, end, fragment: false }
}

/** The folded sum of the pseudo-header for `length` transport bytes: what a CSUM_PARTIAL row has in its checksum field. */
export function pseudoHeaderSum(packet: Uint8Array, layout: Layout, length: number): number {
  const addresses = layout.family === 4 ? naiveSum(packet, 12, 20) : naiveSum(packet, 8, 40)
  return naiveSum(Uint8Array.of(0, layout.protocol, length >> 8, length & 255), 0, 4, addresses)
}

/** From the transport header to its checksum field, -1 for a protocol without one that we know. */
export function checksumOffset(protocol: number): number {
  if (protocol === IPPROTO_TCP) return 16
  if (protocol === IPPROTO_UDP) return 6
  return protocol === IPPROTO_ICMP || protocol === IPPROTO_ICMPV6 ? 2 : -1
}

/**
 * Is the packet's transport checksum right? `undefined` where it cannot be judged: a fragment, an unknown protocol, lengths that
 * contradict each other. UDP over IPv4 may go without (RFC 768); over IPv6 it may not (RFC 8200 §8.1). The native device judges alike.
 */
export function transportChecksumOk(packet: Uint8Array): boolean | undefined {
  const layout = layoutOf(packet)
  const { family, protocol, transport, fragment } = layout
  if (checksumOffset(protocol) < 0 || fragment || protocol === (family === 4 ? IPPROTO_ICMPV6 : IPPROTO_ICMP)) return undefined
  let end = layout.end
  if (end - transport < SHORTEST[protocol]) return undefined
  if (protocol === IPPROTO_UDP) {
    const length = (packet[transport + 4] << 8) | packet[transport + 5]
    if (length < 8 || transport + length > end) return undefined
    if (packet[transport + 6] === 0 && packet[transport + 7] === 0) return family === 4
    end = transport + length
  }
  const seed = protocol === IPPROTO_ICMP ? 0 : pseudoHeaderSum(packet, layout, end - transport)
  return naiveSum(packet, transport, end, seed) === 0xffff
}

const SHORTEST: Record<number, number> = { [IPPROTO_TCP]: 20, [IPPROTO_UDP]: 8, [IPPROTO_ICMP]: 4, [IPPROTO_ICMPV6]: 4 }

/** Is an IPv4 header's own checksum right? True for IPv6, which has none. */
export function headerChecksumOk(packet: Uint8Array): boolean {
  const layout = layoutOf(packet)
  if (layout.protocol < 0) return false
  return layout.family === 6 || naiveSum(packet, 0, (packet[0] & 15) * 4) === 0xffff
}

/** What a receiver checks: lengths, header checksum and, unless it is a fragment or an unknown protocol, transport checksum. */
export function packetOk(packet: Uint8Array): boolean {
  if (!headerChecksumOk(packet)) return false
  const layout = layoutOf(packet)
  return layout.fragment || checksumOffset(layout.protocol) < 0 || transportChecksumOk(packet) === true
}

/** Finishes a CSUM_PARTIAL packet: the field holds the pseudo-header sum and gets the whole sum's complement. */
export function completeChecksum(packet: Bytes, csumStart: number, csumOffset: number, end = packet.length): void {
  const field = csumStart + csumOffset
  let sum = ~naiveSum(packet, csumStart, end) & 0xffff
  // All zero means "no checksum" in UDP: send its other representation. RFC 768.
  if (sum === 0 && csumOffset === 6) sum = 0xffff
  packet[field] = sum >> 8
  packet[field + 1] = sum & 255
}

/** Writes right IPv4 header and transport checksums over whatever is there; for packets built by hand. */
export function fillChecksums(packet: Bytes): Bytes {
  const layout = layoutOf(packet)
  if (layout.protocol < 0) throw new RangeError('fillChecksums: not a whole IP packet')
  if (layout.family === 4) fillHeaderChecksum(packet)
  const offset = checksumOffset(layout.protocol)
  if (offset < 0 || layout.fragment) return packet
  const seed = layout.protocol === IPPROTO_ICMP ? 0 : pseudoHeaderSum(packet, layout, layout.end - layout.transport)
  packet[layout.transport + offset] = seed >> 8
  packet[layout.transport + offset + 1] = seed & 255
  completeChecksum(packet, layout.transport, offset, layout.end)
  return packet
}

/** Writes the right IPv4 header checksum over whatever is there. */
export function fillHeaderChecksum(packet: Bytes): void {
  packet[10] = 0
  packet[11] = 0
  const sum = ~naiveSum(packet, 0, (packet[0] & 15) * 4) & 0xffff
  packet[10] = sum >> 8
  packet[11] = sum & 255
}
