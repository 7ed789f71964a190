import { describe, expect, test } from 'vitest'
import { Prng } from '../testing/prng.js'
import type { Delivery } from './rack.js'
import { EVER, LOST, REXMIT, SACKED, Scoreboard } from './scoreboard.js'

/** Marks bytes one by one; knows nothing of ranges. */
class Model {
  readonly flags: number[] = []
  readonly sentAt: number[] = []
  una = 0
  sum(mask: number, value: number): number {
    let n = 0
    for (let i = this.una; i < this.flags.length; i++) if ((this.flags[i] & mask) === value) n++
    return n
  }
}

function delivered(): Delivery & { bytes: number } {
  return { bytes: 0, take: (n: number) => void (sink.bytes += n) } as unknown as Delivery & { bytes: number }
}
const sink = { bytes: 0 }

/** Every byte of the board, as the model would hold it. */
function spread(sb: Scoreboard, base: number): number[] {
  const out: number[] = []
  const inner = sb as unknown as { flags: number[]; head: number }
  for (let i = inner.head, n = 0; n < sb.count; i++, n++) {
    for (let at = sb.startOf(i); ((sb.endOf(i) - at) | 0) > 0; at = (at + 1) | 0) out[(at - base) | 0] = inner.flags[i]
  }
  return out
}

describe('the scoreboard', () => {
  test('whatever is sent, acknowledged, held, lost and sent again: as a model that marks bytes; numbers wrap', () => {
    for (let seed = 1; seed <= 200; seed++) {
      const prng = new Prng(seed)
      const base = seed % 2 ? 0x7fff_ff00 | 0 : -100
      const sb = new Scoreboard()
      const model = new Model()
      sb.begin(base)
      for (let step = 0, now = 0; step < 60; step++) {
        now += prng.below(3)
        const out = model.flags.length - model.una
        const kind = prng.below(6)
        if (kind === 0 || out === 0) {
          const n = 1 + prng.below(40)
          for (let i = 0; i < n; i++) model.flags.push(0) && model.sentAt.push(now)
          sb.sent((base + model.flags.length) | 0, now)
        } else if (kind === 1) {
          const una = model.una + 1 + prng.below(out)
          sink.bytes = 0
          sb.acknowledged((base + una) | 0, delivered())
          let fresh = 0
          for (let i = model.una; i < una; i++) if (!(model.flags[i] & SACKED)) fresh++
          expect(sink.bytes, `seed ${seed}`).toBe(fresh)
          model.una = una
        } else if (kind === 2) {
          const left = model.una + prng.below(out)
          const right = left + 1 + prng.below(model.flags.length - left)
          sb.sack((base + left) | 0, (base + right) | 0, delivered())
          for (let i = left; i < right; i++) model.flags[i] = SACKED
        } else if (kind === 3) {
          sb.markOvertaken(now - 2, (base + model.flags.length) | 0, 0, now)
          for (let i = model.una; i < model.flags.length; i++) {
            const flags = model.flags[i]
            if (flags & SACKED || model.sentAt[i] > now - 2) continue
            if (model.sentAt[i] === now - 2 && sentLast(model, sb, base, i)) continue
            model.flags[i] = (flags | LOST) & ~REXMIT
          }
        } else if (kind === 4 && sb.waiting > 0) {
          const i = sb.nextLost()
          const start = sb.startOf(i)
          const n = 1 + prng.below((sb.endOf(i) - start) | 0)
          sb.resent(i, start, (start + n) | 0, now)
          for (let k = 0, at = (start - base) | 0; k < n; k++, at++) {
            model.flags[at] |= REXMIT | EVER
            model.sentAt[at] = now
          }
        } else if (kind === 5 && prng.chance(0.3)) {
          sb.markAllLost()
          for (let i = model.una; i < model.flags.length; i++) {
            if (!(model.flags[i] & SACKED)) model.flags[i] = (model.flags[i] | LOST) & ~REXMIT
          }
        }
        const board = spread(sb, base)
        for (let i = model.una; i < model.flags.length; i++) {
          // A range that the peer holds keeps no history.
          const want = model.flags[i] & SACKED ? SACKED : model.flags[i]
          if (board[i] !== want) throw new Error(`seed ${seed} step ${step}: byte ${i} is ${board[i]}, the model says ${want}`)
        }
        expect([sb.sacked, sb.lost, sb.rexmit, sb.waiting], `seed ${seed} step ${step}`).toEqual([
          model.sum(SACKED, SACKED),
          model.sum(LOST, LOST),
          model.sum(REXMIT, REXMIT),
          model.sum(LOST | REXMIT, LOST),
        ])
      }
    }
  })

  test('a peer that acknowledges every second byte gets no further than the bound, and what it does costs no more than the bound', () => {
    const sb = new Scoreboard()
    sb.begin(0)
    sb.sent(1 << 20, 0)
    for (let i = 1; i < 1 << 20; i += 2) sb.sack(i, i + 1, delivered())
    expect(sb.count).toBeLessThanOrEqual(4096)
    sb.acknowledged(1 << 20, delivered())
    expect([sb.count, sb.sacked, sb.lost, sb.rexmit, sb.waiting]).toEqual([0, 0, 0, 0, 0])
  })

  test('what many turns have sent, acknowledged bit by bit: each range is still where and when it was sent', () => {
    const sb = new Scoreboard()
    sb.begin(0)
    const told: number[][] = []
    const delivery = { take: (n: number, end: number) => void told.push([n, end, delivery.sentAt]) } as unknown as Delivery
    for (let turn = 1, una = 0; turn <= 1000; turn++) {
      sb.sent(turn * 10, turn)
      if (turn > 150 && turn % 3 === 0) sb.acknowledged((una += 30), delivery)
      expect([sb.count, sb.endOf(sb.last)]).toEqual([turn - una / 10, turn * 10])
    }
    expect(told).toEqual(told.map((_, i) => [10, 10 * (i + 1), i + 1]))
    expect(told.length).toBeGreaterThan(800)
  })

  test('one turn is one range, and so are neighbours that the peer holds', () => {
    const sb = new Scoreboard()
    sb.begin(0)
    for (let i = 1; i <= 10; i++) sb.sent(i * 1000, 5)
    expect(sb.count).toBe(1)
    sb.sent(11_000, 6)
    expect(sb.count).toBe(2)
    for (let i = 2; i < 9; i++) sb.sack(i * 1000, (i + 1) * 1000, delivered())
    expect(sb.count).toBe(4)
  })

  test('RFC 2018 §8: a peer that threw away what it held gets it again', () => {
    const sb = new Scoreboard()
    sb.begin(0)
    sb.sent(3000, 0)
    sb.sack(1000, 3000, delivered())
    sb.acknowledged(1000, delivered()) // and yet it acknowledges no further
    sb.markTimedOut(0, 200)
    expect([sb.sacked, sb.lost]).toEqual([0, 2000])
  })
})

/** Bytes sent at the same moment count as sent before only if their range ends before the newest delivered one does. */
function sentLast(model: Model, sb: Scoreboard, base: number, i: number): boolean {
  for (let n = 0, at = (sb as unknown as { head: number }).head; n < sb.count; n++, at++) {
    if (((sb.endOf(at) - base) | 0) > i) return ((sb.endOf(at) - base) | 0) === model.flags.length
  }
  return false
}
