import { expect, test } from 'vitest'
import { Prng } from '../testing/prng.js'
import { BLOCK_BYTES, type Block } from './block-pool.js'
import { ByteQueue, ByteRange, ByteRanges } from './byte-queue.js'

class Counted {
  refs = 1
  retain(): void {
    this.refs++
  }
  release(): void {
    this.refs--
  }
}

/** One that nobody holds is written over, as the pool's next user would. */
class PooledBlock extends Counted {
  readonly bytes = new Uint8Array(BLOCK_BYTES)
  override release(): void {
    super.release()
    if (this.refs === 0) this.bytes.fill(0xdd)
  }
}

function blockFor(blocks: PooledBlock[]): Block {
  const block = new PooledBlock()
  blocks.push(block)
  return block as unknown as Block
}

test('copy, push, shift, discard and reading at any position behave as one array; owners get everything back', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const prng = new Prng(seed)
    const blocks: PooledBlock[] = []
    const queue = seed % 3 === 2 ? new ByteQueue(() => (prng.below(4) === 0 ? null : blockFor(blocks))) : new ByteQueue()
    const range = new ByteRange()
    const ranges = new ByteRanges()
    // Everything ever queued; the queue is model[at, end).
    const model = new Uint8Array(9_000_000)
    let at = 0
    let end = 0
    const owners: Counted[] = []
    const biggest = [6000, 20, 150_000][seed % 3]
    const steps = biggest > 6000 ? 150 : 1500
    const same = (from: number, what: string) => {
      const got = range.bytes.subarray(range.start, range.end)
      if (got.length === 0 || Buffer.compare(got, model.subarray(from, from + got.length)) !== 0) throw new Error(`seed ${seed}: ${what}`)
      return got.length
    }
    for (let i = 0; i < steps; i++) {
      const dice = prng.below(10)
      if (dice < 5) {
        const n = prng.below(biggest)
        const lead = prng.below(3)
        const bytes = new Uint8Array(lead + n + 2)
        for (let k = 0; k < n; k++) model[end + k] = bytes[lead + k] = (end + k) * 31 + ((end + k) >> 8)
        end += n
        if (dice < 3) {
          queue.copy(bytes, lead, lead + n)
          bytes.fill(0xee) // a copy: the caller may do what it likes
        } else {
          const owner = new Counted()
          owners.push(owner)
          queue.push(bytes, lead, lead + n, owner)
        }
      } else if (dice < 7) {
        const n = prng.below(Math.min(end - at, 2 * biggest) + 1)
        queue.discard(n)
        at += n
      } else if (dice < 8) {
        if (queue.shift(range)) {
          at += same(at, 'shift')
          range.owner?.release()
        } else if (end > at) throw new Error(`seed ${seed}: nothing to shift`)
      } else if (end > at) {
        // Every byte can be reached, and the chunks behind it are the rest.
        let offset = prng.below(end - at)
        for (let chunk = queue.indexOf(offset); at + offset < end; chunk++) {
          queue.rangeAt(chunk, offset, range)
          offset += same(at + offset, 'rangeAt')
        }
        // A look at the head shows the same, and a part of it may leave.
        queue.peek(ranges)
        let seen = 0
        for (let k = 0; k < ranges.count; k++) {
          range.bytes = ranges.bytes[k]
          range.start = ranges.bounds[2 * k]
          range.end = ranges.bounds[2 * k + 1]
          seen += same(at + seen, 'peek')
        }
        if (seen !== ranges.length || (ranges.count === queue.count) !== (seen === end - at))
          throw new Error(`seed ${seed}: not all was seen`)
        const n = prng.below(Math.min(seen, biggest) + 1)
        queue.discard(n)
        at += n
      }
      if (queue.length !== end - at || queue.headAt !== at) throw new Error(`seed ${seed}: length`)
    }
    queue.clear()
    expect(queue.length).toBe(0)
    expect(queue.count).toBe(0)
    for (const owner of [...owners, ...blocks]) expect(owner.refs).toBe(0)
  }
})

test('positions pass 2^31 and 2^32: every byte is still found, and what has left is counted', () => {
  const prng = new Prng(1)
  const queue = new ByteQueue()
  const range = new ByteRange()
  const chunks = Array.from({ length: 64 }, () => new Uint8Array(1 << 20))
  let pushed = 0
  for (let left = 0; left < 2 ** 32 + 2 ** 28; ) {
    while (queue.length < 16 << 20) queue.push(chunks[pushed++ % chunks.length], 0, 1 << 20, null)
    const offset = prng.below(queue.length)
    queue.rangeAt(queue.indexOf(offset), offset, range)
    const at = left + offset
    if (range.bytes !== chunks[Math.floor(at / 2 ** 20) % chunks.length] || range.start !== at % 2 ** 20) throw new Error(`${at} is lost`)
    const n = prng.below(queue.length)
    queue.discard(n)
    left += n
    if (queue.headAt !== left) throw new Error(`${queue.headAt} of ${left} bytes have left`)
  }
})

test("a packet's text lies in one piece, also where the room left would take a part of it", () => {
  const queue = new ByteQueue()
  const range = new ByteRange()
  for (let i = 0; i < 100; i++) queue.copy(new Uint8Array(1448).fill(i), 0, 1448)
  for (let i = 0; i < 100; i++) {
    queue.rangeAt(queue.indexOf(1448 * i), 1448 * i, range)
    expect([range.end - range.start >= 1448, range.bytes[range.start], range.bytes[range.start + 1447]]).toEqual([true, i, i])
  }
  expect(queue.count).toBeLessThan(12)
})

test('a flood of single bytes shares buffers', () => {
  const queue = new ByteQueue()
  for (let i = 0; i < 10_000; i++) queue.copy(Uint8Array.of(i), 0, 1)
  expect(queue.count).toBeLessThan(5)
})

test('a chunk handed out is not written to when more is copied behind it', () => {
  const queue = new ByteQueue()
  const range = new ByteRange()
  queue.copy(Uint8Array.of(1, 2, 3), 0, 3)
  queue.copy(Uint8Array.of(4), 0, 1)
  queue.shift(range)
  queue.shift(range)
  const taken = range.bytes.subarray(range.start, range.end)
  queue.copy(Uint8Array.of(5, 6), 0, 2)
  expect([...taken]).toEqual([4])
})

test('an empty piece is given back at once', () => {
  const queue = new ByteQueue()
  const owner = new Counted()
  queue.push(new Uint8Array(5), 3, 3, owner)
  expect(owner.refs).toBe(0)
  expect(queue.count).toBe(0)
})
