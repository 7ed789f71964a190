import { describe, expect, it } from 'vitest'
import { Prng } from './prng.js'
import { type ClockEvent, VirtualClock } from './virtual-clock.js'

describe('VirtualClock', () => {
  it('jumps to the next event, runs ties in insertion order, and stands still while one runs', () => {
    const clock = new VirtualClock(100)
    const log: string[] = []
    clock.at(300, () => log.push(`c@${clock.now}`))
    clock.at(200, () => log.push(`a@${clock.now}`))
    clock.at(200, () => log.push(`b@${clock.now}`))
    expect(clock.next()).toBe(200)
    while (clock.runNext()) {}
    expect(log).toEqual(['a@200', 'b@200', 'c@300'])
    expect(clock.next()).toBe(Infinity)
    expect(clock.runNext()).toBe(false)
  })

  it('advances by exactly the time asked for and runs what falls in it, events made on the way included', () => {
    const clock = new VirtualClock()
    const log: number[] = []
    const tick = () => {
      log.push(clock.now)
      clock.after(10, tick)
    }
    clock.after(10, tick)
    clock.advance(35)
    expect(log).toEqual([10, 20, 30])
    expect(clock.now).toBe(35)
    clock.advance(5)
    expect(log).toEqual([10, 20, 30, 40])
  })

  it('runs an event of the past now, and never one that was cancelled', () => {
    const clock = new VirtualClock(50)
    const log: string[] = []
    clock.at(10, () => log.push(`late@${clock.now}`))
    const gone = clock.at(60, () => log.push('gone'))
    clock.cancel(gone)
    clock.cancel(gone)
    expect(clock.pending).toBe(1)
    clock.advance(100)
    expect(log).toEqual(['late@50'])
    expect(clock.pending).toBe(0)
  })

  it.each([2 ** 31 - 5000, 2 ** 32 - 5000, 3 * 365.25 * 864e5])('keeps fractions of a millisecond from %d on', start => {
    const clock = new VirtualClock(start)
    clock.advance(0.25)
    clock.advance(10_000)
    expect(clock.now).toBe(start + 10_000.25)
  })

  it('runs a thousand random events, a third of them cancelled, in the order of a sorted list', () => {
    const prng = new Prng(3)
    const clock = new VirtualClock()
    const ran: number[] = []
    const events: { when: number; id: number; event: ClockEvent }[] = []
    for (let id = 0; id < 1000; id++) {
      const when = prng.below(100)
      events.push({ when, id, event: clock.at(when, () => ran.push(id)) })
    }
    const kept = events.filter(({ event }) => {
      if (!prng.chance(1 / 3)) return true
      clock.cancel(event)
      return false
    })
    clock.advance(100)
    expect(ran).toEqual(kept.sort((a, b) => a.when - b.when || a.id - b.id).map(e => e.id))
  })

  it('reports an event that never lets time move instead of hanging, and refuses a time that is none', () => {
    const clock = new VirtualClock()
    const again = () => void clock.after(0, again)
    again()
    expect(() => clock.advance(1)).toThrow(/time does not move/)
    expect(() => clock.at(Number.NaN, () => {})).toThrow(RangeError)
    expect(() => clock.advanceTo(Infinity)).toThrow(RangeError)
  })
})
