// Owns: time in a simulation. A queue of events; time stands still while one runs and then jumps to the next.
// Events of the same millisecond run in the order in which they were asked for.

import type { Millis } from '../memory/slab.js'

export interface ClockEvent {
  readonly when: Millis
  readonly order: number
  fn: (() => void) | null
}

/** An event that asks for itself again at once never lets time move: a bug of the test, reported instead of hanging. */
const EVENTS_PER_INSTANT = 1_000_000

export class VirtualClock {
  now: Millis
  private readonly heap: ClockEvent[] = []
  private order = 0
  private live = 0
  private atThisInstant = 0

  constructor(start: Millis = 0) {
    this.now = start
  }

  /** Events waiting. */
  get pending(): number {
    return this.live
  }

  /** Calls `fn` at `when`, or at `now` if that has passed. The answer is for `cancel`. */
  at(when: Millis, fn: () => void): ClockEvent {
    if (!Number.isFinite(when)) throw new RangeError(`VirtualClock.at: ${when} is no time`)
    const event: ClockEvent = { when: when > this.now ? when : this.now, order: this.order++, fn }
    this.live++
    this.siftUp(this.heap.push(event) - 1)
    return event
  }

  /** Calls `fn` in `ms` milliseconds. */
  after(ms: Millis, fn: () => void): ClockEvent {
    return this.at(this.now + ms, fn)
  }

  /** Idempotent; an event that has run stays run. */
  cancel(event: ClockEvent): void {
    if (event.fn === null) return
    event.fn = null
    this.live--
  }

  /** When the next event runs, Infinity if there is none. */
  next(): Millis {
    this.dropCancelled()
    return this.heap.length > 0 ? this.heap[0].when : Infinity
  }

  /** Jumps to the next event and runs it. False: there was none. */
  runNext(): boolean {
    this.dropCancelled()
    if (this.heap.length === 0) return false
    const event = this.pop()
    if (event.when > this.now) {
      this.now = event.when
      this.atThisInstant = 0
    } else if (++this.atThisInstant > EVENTS_PER_INSTANT) {
      throw new Error(`VirtualClock: ${EVENTS_PER_INSTANT} events at ${this.now} ms and time does not move`)
    }
    const fn = event.fn as () => void
    event.fn = null
    this.live--
    fn()
    return true
  }

  /** Runs everything due within `ms` milliseconds, in order; `now` is then exactly that much later. */
  advance(ms: Millis): void {
    this.advanceTo(this.now + ms)
  }

  /** Runs everything due until `when`; `now` is then `when`. */
  advanceTo(when: Millis): void {
    if (!Number.isFinite(when)) throw new RangeError(`VirtualClock.advanceTo: ${when} is no time`)
    while (this.next() <= when) this.runNext()
    if (when > this.now) {
      this.now = when
      this.atThisInstant = 0
    }
  }

  private dropCancelled(): void {
    while (this.heap.length > 0 && this.heap[0].fn === null) this.pop()
  }

  private before(a: ClockEvent, b: ClockEvent): boolean {
    return a.when < b.when || (a.when === b.when && a.order < b.order)
  }

  private siftUp(at: number): void {
    const heap = this.heap
    const event = heap[at]
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!this.before(event, heap[parent])) break
      heap[at] = heap[parent]
      at = parent
    }
    heap[at] = event
  }

  private pop(): ClockEvent {
    const heap = this.heap
    const top = heap[0]
    const last = heap.pop() as ClockEvent
    if (heap.length === 0) return top
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && this.before(heap[child + 1], heap[child])) child++
      if (!this.before(heap[child], last)) break
      heap[at] = heap[child]
      at = child
    }
    heap[at] = last
    return top
  }
}
