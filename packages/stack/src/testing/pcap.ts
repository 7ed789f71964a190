// Owns: the classic pcap file, raw IP packets with microsecond stamps. Pure: bytes go to a function.
// Read draft-ietf-opsawg-pcap (file format) and the link-layer list at tcpdump.org (LINKTYPE_RAW).

import type { Bytes, Millis } from '../memory/slab.js'

/** Packets begin with the IPv4 or IPv6 header. */
export const LINKTYPE_RAW = 101
const MAGIC_MICROS = 0xa1b2c3d4
const MAGIC_NANOS = 0xa1b23c4d
const SNAP_LENGTH = 262_144

/** Every call of `packet` is one call of `write`; the file header is written on construction. */
export class PcapWriter {
  private readonly write: (bytes: Bytes) => void

  constructor(write: (bytes: Bytes) => void) {
    this.write = write
    const header = new Uint8Array(24)
    const view = new DataView(header.buffer)
    view.setUint32(0, MAGIC_MICROS, true)
    view.setUint16(4, 2, true)
    view.setUint16(6, 4, true)
    view.setUint32(16, SNAP_LENGTH, true)
    view.setUint32(20, LINKTYPE_RAW, true)
    write(header)
  }

  /** `now` is any clock's milliseconds; wall time makes Wireshark show dates, virtual time starts at 1970. */
  packet(bytes: Uint8Array, now: Millis): void {
    const kept = Math.min(bytes.length, SNAP_LENGTH)
    const record = new Uint8Array(16 + kept)
    const view = new DataView(record.buffer)
    const micros = Math.max(0, Math.round(now * 1000))
    view.setUint32(0, Math.floor(micros / 1e6) >>> 0, true)
    view.setUint32(4, micros % 1e6, true)
    view.setUint32(8, kept, true)
    view.setUint32(12, bytes.length, true)
    record.set(bytes.subarray(0, kept), 16)
    this.write(record)
  }
}

export interface PcapPacket {
  bytes: Bytes
  at: Millis
}

/** Reads a whole file of either byte order, micro- or nanoseconds. A cut-off last record is left out, as after a crash. */
export function readPcap(file: Uint8Array): { linkType: number; packets: PcapPacket[] } {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  if (file.length < 24) throw new RangeError(`not a pcap file: ${file.length} bytes, the header alone has 24`)
  const magic = view.getUint32(0, true)
  const little = magic === MAGIC_MICROS || magic === MAGIC_NANOS
  const used = little ? magic : view.getUint32(0, false)
  if (used !== MAGIC_MICROS && used !== MAGIC_NANOS) throw new RangeError(`not a pcap file: it starts with 0x${magic.toString(16)}`)
  const perMilli = used === MAGIC_NANOS ? 1e6 : 1e3
  const packets: PcapPacket[] = []
  for (let at = 24; at + 16 <= file.length; ) {
    const kept = view.getUint32(at + 8, little)
    if (at + 16 + kept > file.length) break
    packets.push({
      at: view.getUint32(at, little) * 1000 + view.getUint32(at + 4, little) / perMilli,
      bytes: Uint8Array.from(file.subarray(at + 16, at + 16 + kept)),
    })
    at += 16 + kept
  }
  return { linkType: view.getUint32(20, little), packets }
}
