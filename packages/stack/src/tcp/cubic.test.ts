import { describe, expect, test } from 'vitest'
import { Cubic } from './cubic.js'

const SMSS = 1000
const RTT = 100

/** A window of 100 segments that lost one: 70 now, the plateau at 100. */
function reduced(): Cubic {
  const c = new Cubic(SMSS)
  c.cwnd = 100 * SMSS
  c.onLoss(100 * SMSS)
  c.cwnd = c.ssthresh
  return c
}

/** Round trips of full windows, from `from` on for `ms`; answers the time then. */
function grow(c: Cubic, from: number, ms: number): number {
  let now = from
  for (; now < from + ms; now += RTT) c.onAck(c.cwnd, c.cwnd, now, RTT)
  return now
}

describe('CUBIC (RFC 9438)', () => {
  test('§4.6: a loss takes three tenths of the flight, two segments at least stay', () => {
    expect(reduced().ssthresh).toBe(70 * SMSS)
    const c = new Cubic(SMSS)
    c.onLoss(SMSS)
    expect(c.ssthresh).toBe(2 * SMSS)
  })
  test('§4.2, §4.4, §4.5: concave up to the plateau, reached K = ∛(30 / 0.4) s later, convex behind it', () => {
    const c = reduced()
    const k = Math.cbrt(30 / 0.4) * 1000
    const half = grow(c, 0, k / 2)
    const atHalf = c.cwnd
    expect(atHalf - 70 * SMSS).toBeGreaterThan(20 * SMSS) // most of the way in the first half
    const end = grow(c, half, k - half)
    expect(Math.abs(c.cwnd - 100 * SMSS)).toBeLessThan(2 * SMSS)
    grow(c, end, 5000)
    expect(c.cwnd).toBeGreaterThan(110 * SMSS)
  })
  test('§4.2: no more than half as much again in a round trip, however far the cubic has gone', () => {
    const c = reduced()
    c.onAck(c.cwnd, c.cwnd, 0, RTT)
    const before = c.cwnd
    c.onAck(before, before, 1_000_000, RTT)
    expect(c.cwnd).toBeLessThanOrEqual(1.5 * before)
  })
  test('§4.3: on a short path it grows as Reno would with its reduction, 0.53 segments a round trip; one from the old window on', () => {
    const c = new Cubic(SMSS)
    c.cwnd = 10 * SMSS
    c.onLoss(10 * SMSS)
    c.cwnd = c.ssthresh
    let now = 0
    for (let i = 0; i < 5; i++) c.onAck(c.cwnd, c.cwnd, ++now, 1)
    expect(c.cwnd / SMSS).toBeCloseTo(7 + 5 * ((3 * 0.3) / 1.7), 1)
    for (let i = 0; i < 20; i++) c.onAck(c.cwnd, c.cwnd, ++now, 1)
    const before = c.cwnd
    c.onAck(c.cwnd, c.cwnd, ++now, 1)
    expect((c.cwnd - before) / SMSS).toBeCloseTo(1, 1)
  })
  test('§4.7: fast convergence: a loss below the last plateau lowers the next one further', () => {
    const c = reduced()
    c.cwnd = 700 * SMSS
    c.onLoss(700 * SMSS)
    c.cwnd = 700 * SMSS - 1
    c.onLoss(700 * SMSS)
    c.cwnd = c.ssthresh // 490, and the plateau is at 700 · 0.85
    grow(c, 0, Math.cbrt((700 * 0.85 - 490) / 0.4) * 1000)
    expect(Math.abs(c.cwnd / SMSS - 700 * 0.85)).toBeLessThan(2)
  })
  test('§4.8: behind a timeout slow start, then an epoch of its own plateau (K = 0)', () => {
    const c = reduced()
    c.onTimeout(70 * SMSS)
    c.cwnd = SMSS
    c.onAck(SMSS, SMSS, 0, RTT)
    expect(c.cwnd).toBe(2 * SMSS)
    c.cwnd = c.ssthresh
    c.onAck(c.cwnd, c.cwnd, 0, RTT)
    const start = c.cwnd
    grow(c, 100, 1000)
    expect(c.cwnd).toBeGreaterThan(start) // convex at once
    expect(c.cwnd).toBeLessThan(start + 8 * SMSS)
  })
  test('§4.9: undo: all of it as before', () => {
    const c = reduced()
    const now = grow(c, 0, 2000)
    const twin = reduced()
    grow(twin, 0, 2000)
    c.onLoss(c.cwnd)
    c.cwnd = c.ssthresh
    c.undo()
    expect([c.cwnd, c.ssthresh]).toEqual([twin.cwnd, twin.ssthresh])
    grow(c, now, 2000)
    grow(twin, now, 2000)
    expect(c.cwnd).toBe(twin.cwnd)
  })
  test('§5.8: time in which the application did not need the window is no part of t', () => {
    const c = reduced()
    let now = grow(c, 0, 1000)
    const before = c.cwnd
    for (; now < 600_000; now += RTT) c.onAck(SMSS, SMSS, now, RTT)
    expect(c.cwnd).toBe(before)
    const twin = reduced()
    grow(twin, 0, 2000)
    grow(c, now, 1000)
    expect(Math.abs(c.cwnd - twin.cwnd)).toBeLessThan(2 * SMSS)
  })
  test('§5.8: nor is time in which nothing was sent; and behind it the window has decayed (RFC 2861)', () => {
    const c = reduced()
    const now = grow(c, 0, 1000)
    const before = c.cwnd
    c.onIdle(500, 200)
    expect(c.cwnd).toBe(before / 4)
    c.cwnd = before
    c.onIdle(600_000, 200)
    expect(c.cwnd).toBe(10 * SMSS)
    c.cwnd = before
    grow(c, now + 600_500, 1000)
    const twin = reduced()
    grow(twin, 0, 2000)
    expect(Math.abs(c.cwnd - twin.cwnd)).toBeLessThan(2 * SMSS)
  })
})
