// Owns: memory for bytes on their way to a connection: what a relay has read from an upstream, what a stream's writer was copied from.
// It goes to the send queue by reference and comes back when it is acknowledged. Fresh memory in its place would cost page faults and
// collections worth more than the copy.

import type { Bytes, Owner } from './slab.js'

/** The largest that one IP packet takes, and a stream's usual write. */
export const BLOCK_BYTES = 64 * 1024
/** Blocks out at a time, of all stacks of a thread (16 MiB). */
const MAX_OUT = 256
const KEEP_FREE = 64
/** What is left of them once nothing happens (1 MiB). */
const KEEP_IDLE = 16

export class Block implements Owner {
  readonly bytes: Bytes = new Uint8Array(BLOCK_BYTES)
  private refs = 0

  retain(): void {
    this.refs++
  }

  release(): void {
    if (--this.refs > 0) return
    out--
    if (free.length < KEEP_FREE) free.push(this)
  }
}

const free: Block[] = []
let out = 0

/** With one reference, the caller's; null: too many are out, and what is to be kept must be copied elsewhere. */
export function takeBlock(): Block | null {
  if (out >= MAX_OUT) return null
  out++
  const block = free.pop() ?? new Block()
  block.retain()
  return block
}

/** The burst is over: all but a few free blocks go to the collector. */
export function shrinkBlocks(): void {
  if (free.length > KEEP_IDLE) free.length = KEEP_IDLE
}
