// Owns: the naive model of what a NIC does with a GSO row: cuts it into packets of gsoSize payload bytes, each with its own
// lengths, sequence number, flags, IP id and checksums. Linux: tcp_gso_segment(), udp segmentation; virtio 1.2 §5.1.6.2.

import { GSO_NONE, GSO_UDP } from '../memory/packet-batch.js'
import type { Bytes } from '../memory/slab.js'
import { completeChecksum, fillHeaderChecksum } from './oracle.js'

/** What travels beside a packet between two NICs that offload: a row's columns without its bytes. */
export interface Offload {
  flags: number
  gsoType: number
  gsoSize: number
  csumStart: number
  csumOffset: number
}

const FIN = 0x01
const PSH = 0x08
const CWR = 0x80

/** Cuts `packet` as `offload` says. Throws on a row that a kernel would refuse: it is the sender's bug, never the network's. */
export function segment(packet: Bytes, offload: Offload): Bytes[] {
  const { gsoType, gsoSize, csumStart, csumOffset } = offload
  const udp = gsoType === GSO_UDP
  if (gsoType === GSO_NONE || gsoSize <= 0) throw new RangeError(`GSO row with type ${gsoType} and size ${gsoSize}`)
  if (csumOffset !== (udp ? 6 : 16)) throw new RangeError(`GSO row whose csumOffset ${csumOffset} does not fit its type ${gsoType}`)
  const headers = csumStart + (udp ? 8 : (packet[csumStart + 12] >> 4) * 4)
  if (csumStart < 20 || headers > packet.length) throw new RangeError(`GSO row of ${packet.length} bytes with ${headers} bytes of headers`)

  const segments: Bytes[] = []
  for (let from = headers; from < packet.length; from += gsoSize) {
    const to = Math.min(from + gsoSize, packet.length)
    const piece = new Uint8Array(headers + to - from)
    piece.set(packet.subarray(0, headers))
    piece.set(packet.subarray(from, to), headers)
    const view = new DataView(piece.buffer)
    if (udp) view.setUint16(csumStart + 4, 8 + to - from)
    else restampTcp(view, csumStart, from - headers, from === headers, to === packet.length)
    restampIp(piece, view, segments.length)
    // The field is seeded with the pseudo-header sum of the whole row; each segment's differs in the length only. RFC 1624.
    const lengthBefore = packet.length - csumStart
    const lengthNow = piece.length - csumStart
    view.setUint16(csumStart + csumOffset, fold(view.getUint16(csumStart + csumOffset) + (~lengthBefore & 0xffff) + lengthNow))
    completeChecksum(piece, csumStart, csumOffset)
    segments.push(piece)
  }
  return segments
}

function restampTcp(view: DataView, tcp: number, offset: number, first: boolean, last: boolean): void {
  view.setUint32(tcp + 4, (view.getUint32(tcp + 4) + offset) >>> 0)
  let flags = view.getUint8(tcp + 13)
  if (!last) flags &= ~(FIN | PSH)
  if (!first) flags &= ~CWR // "I have slowed down" is said once. RFC 3168 §6.1.2
  view.setUint8(tcp + 13, flags)
}

function restampIp(piece: Bytes, view: DataView, index: number): void {
  if (piece[0] >> 4 === 6) {
    view.setUint16(4, piece.length - 40)
    return
  }
  view.setUint16(2, piece.length)
  view.setUint16(4, (view.getUint16(4) + index) & 0xffff)
  fillHeaderChecksum(piece)
}

function fold(sum: number): number {
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return sum
}
