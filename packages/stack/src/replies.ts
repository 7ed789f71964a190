// Owns: small packets that belong to no connection (resets, ICMP errors, TIME-WAIT's ACKs), waiting for the next poll. Bounded.

import type { PacketBatch } from './memory/packet-batch.js'
import type { Bytes } from './memory/slab.js'

/** The longest: an ICMPv6 error that quotes IPv6 and TCP headers, 108 bytes. */
const REPLY_BYTES = 128
const MAX_REPLIES = 512

export class Replies {
  readonly view: DataView
  private readonly bytes: Bytes
  private readonly lengths = new Int32Array(MAX_REPLIES)
  private count = 0
  private first = 0

  constructor() {
    this.bytes = new Uint8Array(MAX_REPLIES * REPLY_BYTES)
    this.view = new DataView(this.bytes.buffer)
  }

  get empty(): boolean {
    return this.count === this.first
  }

  /** Where in `view` the next reply may be written, or −1 if there are too many waiting. Finish with `add`. */
  get room(): number {
    return this.count < MAX_REPLIES ? this.count * REPLY_BYTES : -1
  }

  add(length: number): void {
    this.lengths[this.count++] = length
  }

  /** Moves replies into rows; false if the batch was full before they were all out. */
  drainInto(tx: PacketBatch): boolean {
    while (this.first < this.count) {
      if (!tx.hasRoom(0)) return false
      const at = tx.beginRow()
      const from = this.first * REPLY_BYTES
      const length = this.lengths[this.first++]
      tx.slab.bytes.set(this.bytes.subarray(from, from + length), at)
      tx.finishRow(length)
    }
    this.first = 0
    this.count = 0
    return true
  }
}
