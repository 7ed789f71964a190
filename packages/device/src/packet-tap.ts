// Owns: a Device around a Device that shows what passes, both ways. Rows with gsoSize and unfinished checksums are shown as they
// are: that is what crosses the device.

import type { Device, PacketBatch } from '@tun/stack'

/**
 * `bytes` are borrowed: they change after the call. `outgoing` as the NIC's own counters have it: from the applications, that is, read
 * from the device.
 */
export type SeePacket = (bytes: Uint8Array, outgoing: boolean) => void

// The largest IPv6 packet, 40 + 65,535.
const LARGEST = 65575

/** Shows every packet read from `device`, and every packet written to it once the device has taken it. `see` must not throw. */
export function packetTap(device: Device, see: SeePacket): Device {
  let whole = new Uint8Array(0)
  const gathered = (batch: PacketBatch, row: number): Uint8Array => {
    const head = batch.slab.bytes.subarray(batch.start[row], batch.start[row] + batch.length[row])
    const pieces = batch.pieceCapacity > 0 ? batch.pieceCount[row] : 0
    if (pieces === 0) return head
    const length = batch.packetLength(row)
    if (whole.length < length) whole = new Uint8Array(Math.max(length, LARGEST))
    whole.set(head)
    let end = head.length
    for (let i = batch.pieceAt[row]; i < batch.pieceAt[row] + pieces; i++) {
      const from = batch.pieceStart[i]
      whole.set(batch.pieces[i].subarray(from, from + batch.pieceLength[i]), end)
      end += batch.pieceLength[i]
    }
    return whole.subarray(0, length)
  }
  const show = (batch: PacketBatch, from: number, to: number, outgoing: boolean) => {
    for (let row = from; row < to; row++) see(gathered(batch, row), outgoing)
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
      show(rx, first, first + rows, true)
      return rows
    },
    write(tx) {
      const first = tx.first
      const rows = device.write(tx)
      show(tx, first, first + rows, false)
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
