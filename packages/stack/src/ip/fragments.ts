// Owns: cutting a datagram that is larger than the MTU into fragments. RFC 791 §2.3 (IPv4), RFC 8200 §4.5 (IPv6).
// The UDP checksum spans all of them, so here it is computed, over the payload too.

import type { PacketBatch } from '../memory/packet-batch.js'
import type { Bytes } from '../memory/slab.js'
import { pseudoSum, sumBytes } from '../wire/checksum.js'
import { IPV4_HEADER, IPV6_HEADER, PROTO_UDP, writeIpv4, writeIpv6 } from '../wire/ip.js'
import { UDP_CSUM_OFFSET, UDP_HEADER, writeUdpHeader } from '../wire/udp.js'

/** Address words and port. */
type End = readonly [number, number, number, number, number]

export interface Fragmented {
  readonly v4: boolean
  readonly from: End
  readonly to: End
  readonly payload: Bytes
}

const FRAGMENT_HEADER = 8
const FRAGMENT = 44

/**
 * Emits fragments of a UDP datagram, as many as the batch has room for, from offset `done` (of UDP header and payload) on. Answers the
 * next offset: the datagram is out when that is UDP_HEADER + payload.length.
 */
export function emitFragments(tx: PacketBatch, out: Fragmented, mtu: number, identification: number, done: number): number {
  const { v4, from, to, payload } = out
  const headers = v4 ? IPV4_HEADER : IPV6_HEADER + FRAGMENT_HEADER
  const room = Math.max(8, (mtu - headers) & ~7) // all but the last carry a multiple of 8
  const total = UDP_HEADER + payload.length
  let offset = done
  while (offset < total && tx.hasRoom(1)) {
    const length = Math.min(room, total - offset)
    const more = offset + length < total
    const at = tx.beginRow()
    const behind = v4
      ? writeIpv4Fragment(tx.slab.view, at, from, to, offset, length, more, identification)
      : writeIpv6Fragment(tx.slab.view, at, from, to, offset, length, more, identification)
    if (offset === 0) {
      writeChecksummedHeader(tx.slab.view, behind, v4, from, to, payload, total)
      tx.addPiece(payload, 0, length - UDP_HEADER, null)
      tx.finishRow(behind + UDP_HEADER - at)
    } else {
      tx.addPiece(payload, offset - UDP_HEADER, length, null)
      tx.finishRow(behind - at)
    }
    offset += length
  }
  return offset
}

function writeIpv4Fragment(
  view: DataView,
  at: number,
  from: End,
  to: End,
  offset: number,
  length: number,
  more: boolean,
  identification: number,
): number {
  writeIpv4(view, at, IPV4_HEADER + length, PROTO_UDP, from[3], to[3])
  view.setUint16(at + 4, identification & 0xffff)
  view.setUint16(at + 6, (more ? 0x2000 : 0) | (offset >> 3))
  view.setUint16(at + 10, 0)
  view.setUint16(at + 10, ~sumBytes(view, at, at + IPV4_HEADER, 0) & 0xffff)
  return at + IPV4_HEADER
}

function writeIpv6Fragment(
  view: DataView,
  at: number,
  from: End,
  to: End,
  offset: number,
  length: number,
  more: boolean,
  identification: number,
): number {
  writeIpv6(view, at, FRAGMENT_HEADER + length, FRAGMENT, from[0], from[1], from[2], from[3], to[0], to[1], to[2], to[3])
  const fragment = at + IPV6_HEADER
  view.setUint16(fragment, PROTO_UDP << 8)
  view.setUint16(fragment + 2, offset | (more ? 1 : 0))
  view.setInt32(fragment + 4, identification)
  return fragment + FRAGMENT_HEADER
}

function writeChecksummedHeader(view: DataView, at: number, v4: boolean, from: End, to: End, payload: Bytes, length: number): void {
  writeUdpHeader(view, at, from[4], to[4], length)
  let sum = pseudoSum(v4, from[0], from[1], from[2], from[3], to[0], to[1], to[2], to[3], PROTO_UDP, length)
  sum = sumBytes(view, at, at + UDP_HEADER, sum)
  sum = sumBytes(new DataView(payload.buffer, payload.byteOffset, payload.length), 0, payload.length, sum)
  view.setUint16(at + UDP_CSUM_OFFSET, ~sum & 0xffff || 0xffff) // RFC 768: a computed 0 travels as all ones
}
