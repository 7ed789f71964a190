import { describe, expect, test } from 'vitest'
import { decayed, initialWindow } from './congestion.js'
import { NewReno } from './newreno.js'

const SMSS = 1000

describe('Reno (RFC 5681)', () => {
  test.each([
    [1460, 14_600],
    [1000, 10_000],
    [536, 5360],
    [8960, 17_920],
    [48, 480],
  ])('RFC 6928 §2: segments of %i bytes: %i at first', (smss, window) => {
    expect(initialWindow(smss)).toBe(window)
    expect(new NewReno(smss).cwnd).toBe(window)
  })
  test('§3.1 slow start: as much more as was acknowledged', () => {
    const c = new NewReno(SMSS)
    c.onAck(4000, 10_000)
    expect(c.cwnd).toBe(14_000)
  })
  test('§3.1 (3) congestion avoidance: a segment a round trip', () => {
    const c = new NewReno(SMSS)
    c.ssthresh = 10_000
    for (let i = 0; i < 10; i++) c.onAck(1000, 10_000)
    expect(c.cwnd).toBeGreaterThan(10_900)
    expect(c.cwnd).toBeLessThanOrEqual(11_000)
  })
  test('§3.1 (4): half of the flight, two segments at least', () => {
    const c = new NewReno(SMSS)
    c.onLoss(9000)
    expect(c.ssthresh).toBe(4500)
    c.onTimeout(2000)
    expect(c.ssthresh).toBe(2000)
  })
  test('RFC 7661 §4.3: a window that is less than half used does not grow', () => {
    const c = new NewReno(SMSS)
    c.onAck(1000, 4000)
    expect(c.cwnd).toBe(10_000)
  })
  test('RFC 4015 §3.2: undo brings both back, and takes nothing away that grew since', () => {
    const c = new NewReno(SMSS)
    c.onLoss(10_000)
    c.cwnd = c.ssthresh
    c.undo()
    expect([c.cwnd, c.ssthresh]).toEqual([10_000, 1 << 30])
    c.onLoss(10_000)
    c.cwnd = 50_000
    c.undo()
    expect(c.cwnd).toBe(50_000)
  })
  test('RFC 2861 §2.1: halved for every RTO of silence, not below the initial window, nor above what it was', () => {
    expect(decayed(80_000, SMSS, 400, 200)).toBe(20_000)
    expect(decayed(80_000, SMSS, 1e9, 200)).toBe(10_000)
    expect(decayed(3000, SMSS, 400, 200)).toBe(3000)
    const c = new NewReno(SMSS)
    c.cwnd = 80_000
    c.onIdle(200, 200)
    expect(c.cwnd).toBe(40_000)
  })
  test('another segment size: the initial window anew as long as it is the initial one, a segment at least later', () => {
    const c = new NewReno(SMSS)
    c.setSmss(500)
    expect(c.cwnd).toBe(5000)
    c.onLoss(1000)
    c.cwnd = 100
    c.setSmss(1400)
    expect(c.cwnd).toBe(1400)
  })
})
