// Owns: a Device around a Device that writes what passes, both ways, as a pcap file of raw IP packets.
// draft-ietf-opsawg-pcap; LINKTYPE_RAW of draft-ietf-opsawg-pcaplinktype.

import type { Device } from '@tun/stack'
import { packetTap } from './packet-tap.js'

const MAGIC_MICROSECONDS = 0xa1b2c3d4
const LINKTYPE_RAW = 101
// The largest IPv6 packet, 40 + 65,535.
const SNAP_LENGTH = 65575

export interface PcapTapOptions {
  /** Gets the file header first, then a record per packet; the bytes are its own. It must not throw. */
  write: (bytes: Uint8Array) => void
  /** Milliseconds since 1970 for the records. */
  now?: () => number
}

/** Records every packet read from `device`, and every packet written to it once the device has taken it. */
export function pcapTap(device: Device, options: PcapTapOptions): Device {
  const { write, now = Date.now } = options
  write(fileHeader())
  return packetTap(device, bytes => write(packetRecord(bytes, now())))
}

function fileHeader(): Uint8Array {
  const bytes = new Uint8Array(24)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, MAGIC_MICROSECONDS)
  view.setUint16(4, 2) // version 2.4
  view.setUint16(6, 4)
  view.setUint32(16, SNAP_LENGTH)
  view.setUint32(20, LINKTYPE_RAW)
  return bytes
}

function packetRecord(packet: Uint8Array, at: number): Uint8Array {
  const bytes = new Uint8Array(16 + packet.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, Math.floor(at / 1000))
  view.setUint32(4, Math.floor((at % 1000) * 1000))
  view.setUint32(8, packet.length)
  view.setUint32(12, packet.length)
  bytes.set(packet, 16)
  return bytes
}
