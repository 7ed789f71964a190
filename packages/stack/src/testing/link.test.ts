import { describe, expect, it } from 'vitest'
import type { Bytes } from '../memory/slab.js'
import { Link, type LinkOptions } from './link.js'
import { Prng } from './prng.js'
import { VirtualClock } from './virtual-clock.js'

function run(options: LinkOptions, packets: number, seed = 1, gapMs = 1, size = 100) {
  const clock = new VirtualClock(1000)
  const arrived: { id: number; at: number; bytes: Bytes }[] = []
  const link = new Link(clock, new Prng(seed), options, bytes => arrived.push({ id: bytes[0], at: clock.now - 1000, bytes }))
  for (let id = 0; id < packets; id++) {
    link.send(new Uint8Array(size).fill(id))
    clock.advance(gapMs)
  }
  while (clock.runNext()) {}
  return { link, arrived, ids: arrived.map(a => a.id) }
}

const inOrder = (n: number) => Array.from({ length: n }, (_, i) => i)

describe('Link', () => {
  it('delivers everything, in order, after its delay', () => {
    const { arrived, ids } = run({ delayMs: 25 }, 5)
    expect(ids).toEqual(inOrder(5))
    expect(arrived.map(a => a.at)).toEqual([25, 26, 27, 28, 29])
  })

  it('jitters the delay without changing the order', () => {
    const { arrived, ids } = run({ delayMs: 5, jitterMs: 50 }, 100)
    expect(ids).toEqual(inOrder(100))
    expect(new Set(arrived.map(a => a.at - a.id)).size).toBeGreaterThan(20)
    for (const a of arrived) expect(a.at - a.id).toBeLessThanOrEqual(104)
  })

  it('loses, duplicates and corrupts about as often as it is told, and every packet is accounted for', () => {
    const { link, arrived } = run({ loss: 0.1, duplicate: 0.2, corrupt: 0.3, reorder: 0.1 }, 2000)
    const c = link.counters
    expect(c.lost).toBeGreaterThan(150)
    expect(c.lost).toBeLessThan(250)
    expect(c.duplicated).toBeGreaterThan(300)
    expect(c.corrupted).toBeGreaterThan(450)
    expect(c.sent + c.duplicated).toBe(c.delivered + c.lost + c.overflowed)
    expect(arrived.length).toBe(c.delivered)
    expect(link.inFlight).toBe(0)
  })

  it('flips exactly one bit of a corrupted packet, and never touches the sender’s bytes', () => {
    const clock = new VirtualClock()
    const got: Bytes[] = []
    const link = new Link(clock, new Prng(1), { corrupt: 1 }, bytes => got.push(bytes))
    const packet = new Uint8Array(40)
    link.send(packet)
    clock.advance(1)
    expect(packet.every(b => b === 0)).toBe(true)
    let bits = 0
    for (const b of got[0]) for (let i = 0; i < 8; i++) bits += (b >> i) & 1
    expect(bits).toBe(1)
  })

  it('lets later packets overtake a reordered one, and loses none', () => {
    const { link, ids } = run({ reorder: 0.2, reorderMs: 20 }, 200)
    expect(ids).not.toEqual(inOrder(200))
    expect([...ids].sort((a, b) => a - b)).toEqual(inOrder(200))
    expect(link.counters.reordered).toBeGreaterThan(20)
  })

  it('sends at its rate, queues up to queueBytes and drops the tail beyond', () => {
    // 100 bytes at 10,000 B/s take 10 ms; one on the wire and three in the queue of 400.
    const { link, arrived } = run({ bytesPerSecond: 10_000, queueBytes: 400 }, 10, 1, 0)
    expect(arrived.map(a => a.at)).toEqual([10, 20, 30, 40])
    expect(link.counters.overflowed).toBe(6)
  })

  it('drops exactly what the test asks for', () => {
    const clock = new VirtualClock()
    const ids: number[] = []
    const link = new Link(clock, new Prng(1), {}, bytes => ids.push(bytes[0]))
    link.drop = packet => packet[0] === 2
    for (const id of [1, 2, 3]) link.send(Uint8Array.of(id))
    clock.advance(0)
    expect(ids).toEqual([1, 3])
    expect(link.counters.lost).toBe(1)
  })

  it('does the same for the same seed; another fault does not move the losses', () => {
    const options = { loss: 0.2, reorder: 0.1, jitterMs: 3, delayMs: 2 }
    expect(run(options, 100, 7).arrived).toEqual(run(options, 100, 7).arrived)
    const lostOf = (o: LinkOptions) => inOrder(100).filter(id => !run(o, 100, 7).ids.includes(id))
    expect(lostOf({ loss: 0.2, corrupt: 0 })).toEqual(lostOf({ loss: 0.2, delayMs: 9, reorder: 0.5 }))
  })
})
