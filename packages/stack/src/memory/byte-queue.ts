// Owns: a queue of byte ranges that lie elsewhere (in slabs, in a caller's buffers), so that a sender can reach any unacknowledged
// byte and a reader can take from the head. Owners are released as their range leaves.
//           head                   tail      positions count every byte ever queued, modulo 2^32: an int32, which is stored as it is;
//   at:     1000      1400  9000   → 9100      a larger number would be an object of its own
//           [ chunk ) [ chunk ) [ chunk )
//   offset: 0         400   8000   → 8100      from the head: what `indexOf` and `rangeAt` are asked by

import { BLOCK_BYTES, type Block, SMALL_BLOCK_BYTES } from './block-pool.js'
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
/** Of these a plain batch of 64 KiB blocks is a few; system calls take up to 1,024 (IOV_MAX). */
const MOST_RANGES = 64

/** The first ranges of a queue, as `peek` answers them for one system call that takes them all: the reused record. Clear it behind that. */
export class ByteRanges {
  /** How many, and bytes in them. */
  count = 0
  length = 0
  readonly bytes: Bytes[] = []
  /** Borrowed. */
  readonly owners: (Owner | null)[] = []
  /** Range i is bytes[i][bounds[2 * i], bounds[2 * i + 1]). */
  readonly bounds = new Int32Array(2 * MOST_RANGES)

  /** Holds nobody's memory any more. */
  clear(): void {
    this.count = 0
    this.length = 0
    emptied(this.bytes, MOST_RANGES)
    emptied(this.owners, MOST_RANGES)
  }

  /** @internal */
  add(bytes: Bytes, start: number, end: number, owner: Owner | null): void {
    const i = 2 * this.count++
    this.bounds[i] = start
    this.bounds[i + 1] = end
    this.length += end - start
    this.bytes.push(bytes)
    this.owners.push(owner)
  }
}
const none = () => null
const COPY_BLOCK = SMALL_BLOCK_BYTES
/** The block grows with the queue up to this: fewer, larger chunks for whoever reads. One of the pool may have more room than bytes. */
const MAX_BLOCK = BLOCK_BYTES
/** A packet's text is not cut to fill the rest of a block, of which it leaves most: two copies, and a view for either. */
const UNCUT = COPY_BLOCK / 2

interface Chunk {
  bytes: Bytes
  start: number
  end: number
  /** Position of the byte at `start`: an int32. */
  at: number
  owner: Owner | null
}

const GONE: Chunk = { bytes: EMPTY, start: 0, end: 0, at: 0, owner: null }
const NO_RING: Chunk[] = []
const RING_AT_FIRST = 4
/** A ring of more is not kept for what comes next. */
const MAX_KEPT = 32
/** Chunks of any queue that hold nothing, for the next ones: a segment makes no object. Some 80 bytes each. */
const unused: Chunk[] = []
const MAX_UNUSED = 1024

export class ByteQueue {
  /** Bytes queued. */
  length = 0
  /** Bytes that were queued and have left. */
  headAt = DOUBLE
  /** `headAt` as an int32. */
  private position = 0
  /** Chunks queued; the i-th is `ring[(head + i) & (ring.length - 1)]`. */
  count = 0
  private ring = NO_RING
  private head = 0
  /** The buffer of the last chunk, if it is a copy of ours that may have room left. */
  private spare: Bytes | null = null
  /** Where copies go (`takeBlock`); without, each is memory of its own, which whoever shifts it may keep. */
  take: (bytes: number, room: number) => Block | null

  constructor(take: (bytes: number, room: number) => Block | null = none) {
    this.headAt = 0
    this.take = take
  }

  /** Appends bytes[start, end); `owner` (if any) is taken: one reference passes to the queue. */
  push(bytes: Bytes, start: number, end: number, owner: Owner | null): void {
    if (start === end) return owner?.release()
    if (this.count === this.ring.length) this.grow()
    this.ring[(this.head + this.count) & (this.ring.length - 1)] = chunkOf(bytes, start, end, (this.position + this.length) | 0, owner)
    this.count++
    this.length += end - start
  }

  private grow(): void {
    const { ring, head } = this
    this.ring = new Array<Chunk>(Math.max(RING_AT_FIRST, 2 * ring.length)).fill(GONE)
    for (let i = 0; i < ring.length; i++) this.ring[i] = ring[(head + i) & (ring.length - 1)]
    this.head = 0
  }

  private chunkAt(index: number): Chunk {
    return this.ring[(this.head + index) & (this.ring.length - 1)]
  }

  /**
   * Appends a copy of bytes[start, end): into the room left in the last copy, or into a new buffer, right-sized for the first
   * and `COPY_BLOCK` to `MAX_BLOCK` for those that queue up behind, so that a flood of tiny pieces does not cost an object each.
   * It is one of the pool's, if there is one.
   */
  copy(bytes: Bytes, start: number, end: number): void {
    for (let at = start + this.fill(bytes, start, end); at < end; ) {
      const n = Math.min(end - at, MAX_BLOCK)
      const last = this.count === 0 ? null : this.chunkAt(this.count - 1)
      // Behind another's bytes it begins small: or a peer that has every second byte kept elsewhere would make each byte cost a whole block.
      const most = last !== null && last.bytes === this.spare ? Math.min(this.length, MAX_BLOCK) : 0
      const room = this.length === 0 ? n : Math.max(n, COPY_BLOCK, most)
      const block = this.take(n, room)
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
    const last = this.chunkAt(this.count - 1)
    if (last.bytes !== spare) return 0
    const n = Math.min(end - start, spare.length - last.end)
    if (n === 0 || (n < end - start && end - start <= UNCUT)) return 0
    spare.set(n === bytes.length ? bytes : bytes.subarray(start, start + n), last.end)
    last.end += n
    this.length += n
    return n
  }

  /** Takes the first chunk out into `out`; its owner's reference passes to the caller. False if the queue is empty. */
  shift(out: ByteRange): boolean {
    if (this.length === 0) return false
    const chunk = this.ring[this.head]
    out.bytes = chunk.bytes
    out.start = chunk.start
    out.end = chunk.end
    out.owner = chunk.owner
    this.pass(out.end - out.start)
    this.dropHead()
    return true
  }

  /** The first ranges, as many as `out` has room for, into `out`: borrowed until they leave the queue. */
  peek(out: ByteRanges): void {
    out.clear()
    for (let i = 0; i < this.count && i < MOST_RANGES; i++) {
      const chunk = this.chunkAt(i)
      out.add(chunk.bytes, chunk.start, chunk.end, chunk.owner)
    }
  }

  /** Drops the first `n` bytes and releases what they were in. */
  discard(n: number): void {
    let left = n
    this.pass(n)
    while (left > 0) {
      const chunk = this.ring[this.head]
      const size = chunk.end - chunk.start
      if (left < size) {
        chunk.start += left
        chunk.at = this.position
        return
      }
      left -= size
      const { owner } = chunk
      this.dropHead()
      owner?.release()
    }
  }

  private pass(n: number): void {
    this.length -= n
    this.headAt += n
    this.position = (this.position + n) | 0
  }

  /** Index of the chunk in which the byte `offset` behind the head lies, which must be in the queue: for `rangeAt`. */
  indexOf(offset: number): number {
    // Almost always the head or the last chunk; else binary search.
    let low = 0
    let high = this.count - 1
    if (offset >= this.offsetOf(this.chunkAt(high))) return high
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (this.offsetOf(this.chunkAt(middle)) <= offset) low = middle
      else high = middle - 1
    }
    return low
  }

  private offsetOf(chunk: Chunk): number {
    return (chunk.at - this.position) | 0
  }

  /** What of chunk `index` lies `offset` behind the head and further: a borrowed range. */
  rangeAt(index: number, offset: number, out: ByteRange): void {
    const chunk = this.chunkAt(index)
    out.bytes = chunk.bytes
    out.start = chunk.start + (offset - this.offsetOf(chunk))
    out.end = chunk.end
    out.owner = chunk.owner
  }

  /** Empties the queue and releases everything. */
  clear(): void {
    for (let i = 0; i < this.count; i++) this.chunkAt(i).owner?.release()
    this.pass(this.length)
    this.count = 0
    this.head = 0
    this.ring = NO_RING
    this.spare = null
  }

  private dropHead(): void {
    const { ring, head } = this
    const chunk = ring[head]
    chunk.bytes = EMPTY
    chunk.owner = null
    if (unused.length < MAX_UNUSED) unused.push(chunk)
    ring[head] = GONE
    this.head = (head + 1) & (ring.length - 1)
    if (--this.count > 0) return
    this.spare = null
    if (ring.length > MAX_KEPT) this.ring = NO_RING
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
