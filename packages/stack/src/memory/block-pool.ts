// Owns: memory for bytes on their way to a connection or from one: what a relay has read from an upstream, what a stream's writer was
// copied from, what was copied out of a slab for a relay. It comes back when it is acknowledged, or read. Fresh memory in its place
// would cost objects, page faults and collections worth more than the copy.

import type { Bytes, Owner } from './slab.js'

/** The largest that one IP packet takes, and a stream's usual write. */
export const BLOCK_BYTES = 64 * 1024
/** A request or an answer; a few segments of 1500-byte packets. */
export const SMALL_BLOCK_BYTES = 4096
/** Less would leave most of a large one unused. */
const WORTH_A_BLOCK = BLOCK_BYTES / 4

export class Block implements Owner {
  readonly bytes: Bytes
  private readonly pool: BlockPool
  private refs = 0

  constructor(size: number, pool: BlockPool) {
    this.bytes = new Uint8Array(size)
    this.pool = pool
  }

  retain(): void {
    this.refs++
  }

  release(): void {
    if (--this.refs === 0) this.pool.put(this)
  }
}

/** Blocks of one size, of all stacks of a thread. */
class BlockPool {
  private readonly size: number
  /** Blocks out at a time; free ones that are kept; what is left of those once nothing happens. */
  private readonly maxOut: number
  private readonly keepFree: number
  private readonly keepIdle: number
  private readonly free: Block[] = []
  private out = 0

  constructor(size: number, maxOut: number, keepFree: number, keepIdle: number) {
    this.size = size
    this.maxOut = maxOut
    this.keepFree = keepFree
    this.keepIdle = keepIdle
  }

  take(): Block | null {
    if (this.out >= this.maxOut) return null
    this.out++
    const block = this.free.pop() ?? new Block(this.size, this)
    block.retain()
    return block
  }

  put(block: Block): void {
    this.out--
    if (this.free.length < this.keepFree) this.free.push(block)
  }

  shrink(): void {
    if (this.free.length > this.keepIdle) this.free.length = this.keepIdle
  }
}

const large = new BlockPool(BLOCK_BYTES, 256, 64, 16) // 16 MiB, 4 MiB, 1 MiB
const small = new BlockPool(SMALL_BLOCK_BYTES, 1024, 512, 64) // 4 MiB, 2 MiB, 256 KiB

/**
 * One with room for `bytes`, better for `room`, and one reference, the caller's. null: too many are out, or most of one would stay unused,
 * and what is to be kept must be copied elsewhere.
 */
export function takeBlock(bytes = BLOCK_BYTES, room = bytes): Block | null {
  if (room >= WORTH_A_BLOCK) return large.take()
  return bytes <= SMALL_BLOCK_BYTES ? small.take() : null
}

/** The burst is over: all but a few free blocks go to the collector. */
export function shrinkBlocks(): void {
  large.shrink()
  small.shrink()
}
