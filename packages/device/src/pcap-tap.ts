// Owns: a Device around a Device that writes what passes, both ways, as a pcap file of raw IP packets.
// draft-ietf-opsawg-pcap; LINKTYPE_RAW of draft-ietf-opsawg-pcaplinktype. Rows with gsoSize and unfinished checksums are
// written as they are: that is what crossed the device.

import type { Device, PacketBatch } from '@tun/stack'

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
  const record = (batch: PacketBatch, from: number, to: number) => {
    const at = now()
    for (let row = from; row < to; row++) write(packetRecord(batch, row, at))
  }
  return {
    get name() {
      return device.name
    },
    get mtu() {
      return device.mtu
    },
    get isUp() {
      return device.isUp
    },
    offload: device.offload,
    read(rx) {
      const first = rx.count
      const rows = device.read(rx)
      record(rx, first, first + rows)
      return rows
    },
    write(tx) {
      const first = tx.first
      const rows = device.write(tx)
      record(tx, first, first + rows)
      return rows
    },
    onReadable: fn => device.onReadable(fn),
    onWritable: fn => device.onWritable(fn),
    onChanged: fn => device.onChanged?.(fn),
    ref: () => device.ref?.(),
    unref: () => device.unref?.(),
    close: () => device.close(),
  }
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

function packetRecord(batch: PacketBatch, row: number, at: number): Uint8Array {
  const pieces = batch.pieceCapacity > 0 ? batch.pieceCount[row] : 0
  let length = batch.length[row]
  for (let i = 0; i < pieces; i++) length += batch.pieceLength[batch.pieceAt[row] + i]

  const bytes = new Uint8Array(16 + length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, Math.floor(at / 1000))
  view.setUint32(4, Math.floor((at % 1000) * 1000))
  view.setUint32(8, length)
  view.setUint32(12, length)
  let end = 16
  const put = (part: Uint8Array) => {
    bytes.set(part, end)
    end += part.length
  }
  put(batch.slab.bytes.subarray(batch.start[row], batch.start[row] + batch.length[row]))
  for (let i = 0; i < pieces; i++) {
    const piece = batch.pieceAt[row] + i
    put(batch.pieces[piece].subarray(batch.pieceStart[piece], batch.pieceStart[piece] + batch.pieceLength[piece]))
  }
  return bytes
}
