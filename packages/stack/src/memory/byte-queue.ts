// Owns: a queue of byte ranges that lie elsewhere (in slabs, in a caller's buffers) with a position for every byte, so that
// a sender can reach any unacknowledged byte and a reader can take from the head. Owners are released as their range leaves.
//
//        head                    tail
//   at:  1000      1400   9000   → 9100       positions count every byte ever queued, as a double
//        [ chunk ) [ chunk ) [ chunk )

import { BLOCK_BYTES, type Block } from './block-pool.js'
import { DOUBLE } from './double.js'
import type { Bytes, Owner } from './slab.js'

/** One range, as `shift` and `rangeAt` answer it: the reused record. */
export class ByteRange {
  bytes: Bytes = EMPTY
  start = 0
  end = 0
  owner: Owner | null = null
}

const EMPTY: Bytes = new Uint8Array(0)
const none = () => null
const COPY_BLOCK = 4096
/** The block grows with the queue up to this: fewer, larger chunks for whoever reads. One of the pool may have more room than bytes. */
const MAX_BLOCK = BLOCK_BYTES
/** Less would leave most of a block of the pool unused. */
const WORTH_A_BLOCK = BLOCK_BYTES / 4

interface Chunk {
  bytes: Bytes
  start: number
  end: number
  /** Position of the byte at `start`. */
  at: number
  owner: Owner | null
}

const GONE: Chunk = { bytes: EMPTY, start: 0, end: 0, at: 0, owner: null }
/** Chunks of any queue that hold nothing, for the next ones: a segment makes no object. Some 80 bytes each. */
const unused: Chunk[] = []
const MAX_UNUSED = 1024

export class ByteQueue {
  /** Bytes queued. */
  length = 0
  /** Position of the first byte in the queue. */
  headAt = DOUBLE
  private readonly chunks: Chunk[] = []
  private head = 0
  /** The buffer of the last chunk, if it is a copy of ours that may have room left. */
  private spare: Bytes | null = null
  private readonly take: () => Block | null

  /** `take`: where larger copies go (`takeBlock`); without, each is memory of its own, which whoever shifts it may keep. */
  constructor(take: () => Block | null = none) {
    this.headAt = 0
    this.take = take
  }

  /** Chunks queued. */
  get count(): number {
    return this.chunks.length - this.head
  }

  /** Appends bytes[start, end); `owner` (if any) is taken: one reference passes to the queue. */
  push(bytes: Bytes, start: number, end: number, owner: Owner | null): void {
    if (start === end) return owner?.release()
    this.chunks.push(chunkOf(bytes, start, end, this.headAt + this.length, owner))
    this.length += end - start
  }

  /**
   * Appends a copy of bytes[start, end): into the room left in the last copy, or into a new buffer, right-sized for the first
   * and `COPY_BLOCK` to `MAX_BLOCK` for those that queue up behind, so that a flood of tiny pieces does not cost an object each.
   * From `WORTH_A_BLOCK` on it is one of the pool's, if there is one.
   */
  copy(bytes: Bytes, start: number, end: number): void {
    for (let at = start + this.fill(bytes, start, end); at < end; ) {
      const n = Math.min(end - at, MAX_BLOCK)
      const last = this.count === 0 ? null : this.chunks[this.chunks.length - 1]
      // Behind another's bytes it begins small: or a peer that has every second byte kept elsewhere would make each byte cost a whole block.
      const most = last !== null && last.bytes === this.spare ? Math.min(this.length, MAX_BLOCK) : 0
      const room = this.length === 0 ? n : Math.max(n, COPY_BLOCK, most)
      const block = room >= WORTH_A_BLOCK ? this.take() : null
      const into: Bytes = block === null ? new Uint8Array(room) : block.bytes
      into.set(n === bytes.length ? bytes : bytes.subarray(at, at + n))
      this.push(into, 0, n, block)
      this.spare = into
      at += n
    }
  }

  /** Copies what goes into the room left in the last copy; answers how many bytes. */
  private fill(bytes: Bytes, start: number, end: number): number {
    const { spare } = this
    if (spare === null || this.count === 0) return 0
    const last = this.chunks[this.chunks.length - 1]
    if (last.bytes !== spare) return 0
    const n = Math.min(end - start, spare.length - last.end)
    if (n === 0) return 0
    spare.set(n === bytes.length ? bytes : bytes.subarray(start, start + n), last.end)
    last.end += n
    this.length += n
    return n
  }

  /** Takes the first chunk out into `out`; its owner's reference passes to the caller. False if the queue is empty. */
  shift(out: ByteRange): boolean {
    if (this.length === 0) return false
    const chunk = this.chunks[this.head]
    out.bytes = chunk.bytes
    out.start = chunk.start
    out.end = chunk.end
    out.owner = chunk.owner
    const n = out.end - out.start
    this.length -= n
    this.headAt += n
    this.dropHead()
    return true
  }

  /** Drops the first `n` bytes and releases what they were in. */
  discard(n: number): void {
    let left = n
    this.length -= n
    this.headAt += n
    while (left > 0) {
      const chunk = this.chunks[this.head]
      const size = chunk.end - chunk.start
      if (left < size) {
        chunk.start += left
        chunk.at += left
        return
      }
      left -= size
      const { owner } = chunk
      this.dropHead()
      owner?.release()
    }
  }

  /** Index of the chunk in which the byte at `position` lies: for `rangeAt`. The position must be in the queue. */
  indexOf(position: number): number {
    // Almost always the head or the last chunk; else binary search.
    let low = this.head
    let high = this.chunks.length - 1
    if (position >= this.chunks[high].at) return high
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (this.chunks[middle].at <= position) low = middle
      else high = middle - 1
    }
    return low
  }

  /** What of chunk `index` lies at `position` and behind: a borrowed range. */
  rangeAt(index: number, position: number, out: ByteRange): void {
    const chunk = this.chunks[index]
    out.bytes = chunk.bytes
    out.start = chunk.start + (position - chunk.at)
    out.end = chunk.end
    out.owner = chunk.owner
  }

  /** Empties the queue and releases everything. */
  clear(): void {
    for (let i = this.head; i < this.chunks.length; i++) this.chunks[i].owner?.release()
    this.headAt += this.length
    this.length = 0
    this.truncate()
  }

  private dropHead(): void {
    const chunk = this.chunks[this.head]
    chunk.bytes = EMPTY
    chunk.owner = null
    if (unused.length < MAX_UNUSED) unused.push(chunk)
    this.chunks[this.head] = GONE
    this.head++
    if (this.head === this.chunks.length) this.truncate()
    else if (this.head > 64 && this.head * 2 > this.chunks.length) {
      this.chunks.copyWithin(0, this.head) // amortised: the dead front half goes in one move
      this.chunks.length -= this.head
      this.head = 0
    }
  }

  private truncate(): void {
    emptied(this.chunks)
    this.head = 0
    this.spare = null
  }
}

function chunkOf(bytes: Bytes, start: number, end: number, at: number, owner: Owner | null): Chunk {
  const chunk = unused.pop()
  if (chunk === undefined) return { bytes, start, end, at, owner }
  chunk.bytes = bytes
  chunk.start = start
  chunk.end = end
  chunk.at = at
  chunk.owner = owner
  return chunk
}

/**
 * Empties an array. One of at most `short` elements keeps its room, for it fills again at once:
 * `length = 0` would throw that away and cost more than it frees.
 */
export function emptied(array: unknown[], short = 8): void {
  if (array.length > short) array.length = 0
  else while (array.length > 0) array.pop()
}
