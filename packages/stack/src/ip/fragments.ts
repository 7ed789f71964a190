// Owns: cutting a datagram that is larger than the MTU into fragments. RFC 791 §2.3 (IPv4), RFC 8200 §4.5 (IPv6).
// The transport checksum spans all of them, so here it is computed, over the payload too.

import type { PacketBatch } from '../memory/packet-batch.js'
import type { Bytes, Owner } from '../memory/slab.js'
import { pseudoSum, sumBytes } from '../wire/checksum.js'
import { IPV4_HEADER, IPV6_HEADER, PROTO_ICMP, PROTO_UDP, writeIpv4, writeIpv6 } from '../wire/ip.js'
import { UDP_CSUM_OFFSET, writeUdpHeader } from '../wire/udp.js'

/** Address words and port. */
export type End = readonly [number, number, number, number, number]

/** UDP and ICMP alike. */
export const TRANSPORT_HEADER = 8
const ICMP_CSUM_OFFSET = 2

/** A datagram: its 8 bytes of transport header follow from the ports (UDP), or are two words (ICMP). */
export interface Fragmented {
  readonly v4: boolean
  readonly proto: number
  readonly from: End
  readonly to: End
  /** ICMP: type and code, without checksum; and what stands behind. */
  readonly word0: number
  readonly word1: number
  /** Hop limit. */
  readonly ttl: number
  /** Its payload is payload[start, start + length), which `owner` lends; null: nobody else's. */
  readonly payload: Bytes
  readonly start: number
  readonly length: number
  readonly owner: Owner | null
}

const FRAGMENT_HEADER = 8
const FRAGMENT = 44

/**
 * Emits fragments, up to row `limit` of the batch, from offset `done` (of transport header and payload) on. Answers the next offset:
 * the datagram is out when that is TRANSPORT_HEADER + length.
 */
export function emitFragments(tx: PacketBatch, limit: number, out: Fragmented, mtu: number, identification: number, done: number): number {
  const { v4, payload, start, owner } = out
  const headers = v4 ? IPV4_HEADER : IPV6_HEADER + FRAGMENT_HEADER
  const room = Math.max(8, (mtu - headers) & ~7) // all but the last carry a multiple of 8
  const total = TRANSPORT_HEADER + out.length
  let offset = done
  while (offset < total && tx.count < limit && tx.hasRoom(1)) {
    const length = Math.min(room, total - offset)
    const more = offset + length < total
    const at = tx.beginRow()
    const behind = v4
      ? writeIpv4Fragment(tx.slab.view, at, out, offset, length, more, identification)
      : writeIpv6Fragment(tx.slab.view, at, out, offset, length, more, identification)
    if (offset === 0) {
      writeChecksummedHeader(tx.slab.view, behind, out)
      tx.addPiece(payload, start, length - TRANSPORT_HEADER, owner)
      tx.finishRow(behind + TRANSPORT_HEADER - at)
    } else {
      tx.addPiece(payload, start + offset - TRANSPORT_HEADER, length, owner)
      tx.finishRow(behind - at)
    }
    offset += length
  }
  return offset
}

function writeIpv4Fragment(
  view: DataView,
  at: number,
  out: Fragmented,
  offset: number,
  length: number,
  more: boolean,
  identification: number,
): number {
  writeIpv4(view, at, IPV4_HEADER + length, out.proto, out.from[3], out.to[3], out.ttl)
  view.setUint16(at + 4, identification & 0xffff)
  view.setUint16(at + 6, (more ? 0x2000 : 0) | (offset >> 3))
  view.setUint16(at + 10, 0)
  view.setUint16(at + 10, ~sumBytes(view, at, at + IPV4_HEADER, 0) & 0xffff)
  return at + IPV4_HEADER
}

function writeIpv6Fragment(
  view: DataView,
  at: number,
  { proto, from, to, ttl }: Fragmented,
  offset: number,
  length: number,
  more: boolean,
  identification: number,
): number {
  writeIpv6(view, at, FRAGMENT_HEADER + length, FRAGMENT, from[0], from[1], from[2], from[3], to[0], to[1], to[2], to[3], ttl)
  const fragment = at + IPV6_HEADER
  view.setUint16(fragment, proto << 8)
  view.setUint16(fragment + 2, offset | (more ? 1 : 0))
  view.setInt32(fragment + 4, identification)
  return fragment + FRAGMENT_HEADER
}

/** Writes the transport header, whose checksum field is 0; answers where that field is, from `at`. */
export function writeTransportHeader(view: DataView, at: number, out: Fragmented): number {
  if (out.proto === PROTO_UDP) {
    writeUdpHeader(view, at, out.from[4], out.to[4], TRANSPORT_HEADER + out.length)
    return UDP_CSUM_OFFSET
  }
  view.setInt32(at, out.word0)
  view.setInt32(at + 4, out.word1)
  return ICMP_CSUM_OFFSET
}

/** The pseudo-header's sum; ICMP for IPv4 has none. */
export function pseudoSumOf({ v4, proto, from, to, length: payload }: Fragmented): number {
  if (proto === PROTO_ICMP) return 0
  const length = TRANSPORT_HEADER + payload
  return pseudoSum(v4, from[0], from[1], from[2], from[3], to[0], to[1], to[2], to[3], proto, length)
}

function writeChecksummedHeader(view: DataView, at: number, out: Fragmented): void {
  const { proto, payload, start, length } = out
  const field = writeTransportHeader(view, at, out)
  let sum = sumBytes(view, at, at + TRANSPORT_HEADER, pseudoSumOf(out))
  sum = sumBytes(new DataView(payload.buffer, payload.byteOffset + start, length), 0, length, sum)
  const checksum = ~sum & 0xffff
  view.setUint16(at + field, checksum === 0 && proto === PROTO_UDP ? 0xffff : checksum) // RFC 768: a computed 0 travels as all ones
}
