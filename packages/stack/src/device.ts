// Owns: what the engine needs of a NIC. `@tun/device` implements it over native code, `testing/` in memory.

import type { PacketBatch } from './memory/packet-batch.js'

export interface Device {
  /** The interface's name, e.g. `tun0`. */
  readonly name: string
  /** Bytes of the largest IP packet it carries (GSO rows excepted). May change while it is open. */
  readonly mtu: number
  /** Packets go through; false: it drops them until somebody brings it up. Undefined: nobody can tell, a write finds out. */
  readonly isUp?: boolean
  /** Takes rows with CSUM_PARTIAL and gsoSize (up to 64 KiB) as they are. CSUM_PARTIAL must be honoured even if false. */
  readonly offload: boolean

  /**
   * Reads packets into `rx.slab` behind `rx.used`, a row each, and answers how many rows were added. Ends when the batch or the
   * slab is full (`rx.status` OK: there may be more) or with `rx.status` BLOCKED, DOWN, GONE, EOF or FAILED.
   * Never throws for what the network or the NIC did.
   */
  read(rx: PacketBatch): number

  /**
   * Writes rows [tx.first, tx.count) in order, advances `tx.first` over those done and answers how many. `tx.status`: OK all are done;
   * BLOCKED the rest waits for `onWritable`; DOWN they were dropped (all count as done); GONE, EOF or FAILED nothing more will be written.
   */
  write(tx: PacketBatch): number

  /** `fn` is called, once per turn of the event loop, while there is something to read. */
  onReadable(fn: () => void): void
  /** `fn` is called once after a write ended BLOCKED and rows can be written again. */
  onWritable(fn: () => void): void
  /** `fn` is called after `mtu` or `isUp` has changed; `mtu` is read at every turn besides. */
  onChanged?(fn: () => void): void

  /** Keeps the process alive (default) or not. */
  ref?(): void
  unref?(): void
  /** Idempotent. */
  close(): void
}
