// Owns: small packets that belong to no connection (resets, ICMP errors, TIME-WAIT's ACKs), waiting for the next poll. Bounded.

import type { PacketBatch } from './memory/packet-batch.js'
import type { Bytes } from './memory/slab.js'

/** The longest: an ICMPv6 error, 96 bytes: two IPv6 headers, 8 bytes of its own, 8 quoted. */
const REPLY_BYTES = 128
/** What strangers can cause. */
const MAX_REPLIES = 512
/** Resets of connections there were: all of them may be ended at once. */
const MAX_OWN = 16_384

export class Replies {
  view: DataView
  private bytes: Bytes
  private lengths = new Int32Array(MAX_REPLIES)
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

  /** As `room`, for a reset of a connection of ours. */
  get ownRoom(): number {
    if (this.count === this.lengths.length && this.count < MAX_OWN) this.resize(this.count * 2)
    return this.count < this.lengths.length ? this.count * REPLY_BYTES : -1
  }

  add(length: number): void {
    this.lengths[this.count++] = length
  }

  /** Moves replies into rows, up to row `limit`; false if they are not all out. */
  drainInto(tx: PacketBatch, limit: number): boolean {
    while (this.first < this.count) {
      if (tx.count >= limit || !tx.hasRoom(0)) return false
      const at = tx.beginRow()
      const from = this.first * REPLY_BYTES
      const length = this.lengths[this.first++]
      tx.slab.bytes.set(this.bytes.subarray(from, from + length), at)
      tx.finishRow(length)
    }
    this.first = 0
    this.count = 0
    if (this.lengths.length > MAX_REPLIES) this.resize(MAX_REPLIES)
    return true
  }

  private resize(replies: number): void {
    const { bytes, lengths } = this
    this.bytes = new Uint8Array(replies * REPLY_BYTES)
    this.view = new DataView(this.bytes.buffer)
    this.lengths = new Int32Array(replies)
    if (this.count === 0) return
    this.bytes.set(bytes)
    this.lengths.set(lengths)
  }
}
