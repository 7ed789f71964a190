import { expect, test } from 'vitest'
import { Prng } from '../testing/prng.js'
import { ByteQueue, ByteRange } from './byte-queue.js'

class Counted {
  refs = 1
  retain(): void {
    this.refs++
  }
  release(): void {
    this.refs--
  }
}

test('copy, push, shift, discard and reading at any position behave as one array; owners get everything back', () => {
  for (let seed = 1; seed <= 40; seed++) {
    const prng = new Prng(seed)
    const queue = new ByteQueue()
    const range = new ByteRange()
    let model: number[] = []
    let at = 0
    let stamp = 0
    const owners: Counted[] = []
    const biggest = seed % 2 ? 20 : 6000
    for (let i = 0; i < 1500; i++) {
      const dice = prng.below(10)
      if (dice < 5) {
        const n = prng.below(biggest)
        const lead = prng.below(3)
        const bytes = new Uint8Array(lead + n + 2)
        for (let k = 0; k < n; k++) model.push((bytes[lead + k] = stamp++ & 0xff))
        if (dice < 3) {
          queue.copy(bytes, lead, lead + n)
          bytes.fill(0xee) // a copy: the caller may do what it likes
        } else {
          const owner = new Counted()
          owners.push(owner)
          queue.push(bytes, lead, lead + n, owner)
        }
      } else if (dice < 7) {
        const n = prng.below(Math.min(model.length, 2 * biggest) + 1)
        queue.discard(n)
        model = model.slice(n)
        at += n
      } else if (dice < 8) {
        const had = queue.shift(range)
        expect(had).toBe(model.length > 0)
        if (had) {
          const n = range.end - range.start
          expect(n).toBeGreaterThan(0)
          expect([...range.bytes.subarray(range.start, range.end)]).toEqual(model.slice(0, n))
          range.owner?.release()
          model = model.slice(n)
          at += n
        }
      } else if (model.length > 0) {
        // Every byte can be reached, and the chunks behind it are the rest.
        const from = prng.below(model.length)
        let chunk = queue.indexOf(at + from)
        for (let position = from; position < model.length; chunk++) {
          queue.rangeAt(chunk, at + position, range)
          const n = range.end - range.start
          expect(Buffer.compare(range.bytes.subarray(range.start, range.end), Uint8Array.from(model.slice(position, position + n)))).toBe(0)
          position += n
        }
      }
      expect(queue.length).toBe(model.length)
      expect(queue.headAt).toBe(at)
    }
    queue.clear()
    expect(queue.length).toBe(0)
    expect(queue.count).toBe(0)
    for (const owner of owners) expect(owner.refs).toBe(0)
  }
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
