// What a burst has left in the pools, and when it goes: all through the driver, in virtual time.

import { expect, test } from 'vitest'
import { type Block, takeBlock } from '../memory/block-pool.js'
import type { Slab, SlabPool } from '../memory/slab.js'
import { freeBlocks } from '../testing/blocks.js'
import { Pair, type TestStream } from '../testing/pair.js'

/** Fills a pool with `n` free ones, by which it is known again. */
function filled<T extends { release(): void }>(n: number, take: () => T): Set<T> {
  const all = Array.from({ length: n }, take)
  for (const one of all) one.release()
  return new Set(all)
}

/** How many of them the pool has kept. */
function kept<T extends { release(): void }>(known: Set<T>, take: () => T): number {
  const all = Array.from({ length: known.size }, take)
  for (const one of all) one.release()
  return all.filter(one => known.has(one)).length
}

const block = () => takeBlock() as Block
const slabOf = (pool: SlabPool) => () => pool.take() as Slab

/** 4 MB each way. */
function burst(t: Pair): TestStream[] {
  const stream = t.connect()
  t.until(() => t.b.accepted.length > 0 && stream.connected)
  const streams = [stream, t.b.accepted.at(-1) as TestStream]
  for (const end of streams) {
    const before = end.receivedBytes
    end.write(new Uint8Array(4e6).fill(before === 0 ? 7 : 8))
  }
  if (!t.until(() => streams.every(end => end.receivedBytes === 4e6))) throw new Error('not all has come')
  return streams
}

const ENDINGS: [string, (t: Pair, streams: TestStream[]) => void][] = [
  ['the connection stays, idle', () => {}],
  [
    'the other end closes it first',
    (_t, [a, b]) => {
      a.end()
      b.end()
    },
  ],
  ['it is reset', (_t, [a]) => a.reset()],
]

test.each(ENDINGS)(
  'two seconds behind a burst the pools keep what a trickle needs, and the next burst works as the first: %s',
  (_, end) => {
    const t = new Pair({ device: { splitGso: false } })
    for (let round = 0; round < 2; round++) {
      const rest = freeBlocks()
      const [blocks, a, b] = [filled(64, block), filled(32, slabOf(t.a.stack.slabs)), filled(32, slabOf(t.b.stack.slabs))]
      end(t, burst(t))
      t.clock.advance(2500)
      expect([kept(blocks, block), kept(a, slabOf(t.a.stack.slabs)), kept(b, slabOf(t.b.stack.slabs))]).toEqual([16, 4, 4])
      expect([freeBlocks(), t.a.stack.slabs.inUse, t.b.stack.slabs.inUse]).toEqual([rest, 1, 1])
      expect(t.clock.pending === 0 || t.clock.next() > t.clock.now + 1000).toBe(true)
    }
  },
)

test('a burst of datagrams alone leaves as little behind', () => {
  const t = new Pair({ device: { splitGso: false } })
  const known = filled(32, slabOf(t.b.stack.slabs))
  for (let i = 0; i < 500; i++) {
    t.a.stack.udp.send(true, [0, 0, 0xffff, 0x0a000002, 9], [0, 0, 0xffff, 0x0a000001, 9], new Uint8Array(1000))
    if (i % 50 === 49) {
      t.a.driver.wake()
      t.clock.advance(2)
    }
  }
  t.clock.advance(2500)
  expect(t.b.stack.stats.udp).toBeGreaterThan(5) // trains of them
  expect(kept(known, slabOf(t.b.stack.slabs))).toBe(4)
})
