// Owns: who must be woken when. A binary heap of deadlines that knows where everybody is, and is lazy: moving a deadline later
// costs nothing now, the old entry comes up, is looked at and put back. So a connection whose RTO moves with every ACK touches
// the heap once per RTO.

import type { Millis } from './slab.js'

/** Something with one deadline. */
export interface Wakeable {
  /** When it wants to be woken; Infinity: not at all. */
  deadline: Millis
  /** The heap's: where it is, −1 when not in it. */
  heapIndex: number
  /** The deadline has come. Sets `deadline` anew (a later time or Infinity) and tells the heap. */
  wake(now: Millis): void
}

export class DeadlineHeap<T extends Wakeable> {
  private times = new Float64Array(64)
  private readonly items: T[] = []

  get size(): number {
    return this.items.length
  }

  /** Call after `item.deadline` has changed. */
  update(item: T): void {
    const { deadline, heapIndex } = item
    if (heapIndex < 0) {
      if (deadline !== Infinity) this.push(item, deadline)
    } else if (deadline < this.times[heapIndex]) this.up(heapIndex, item, deadline)
  }

  /** Takes `item` out for good. */
  remove(item: T): void {
    const i = item.heapIndex
    if (i < 0) return
    item.heapIndex = -1
    const last = this.items.pop() as T
    if (last === item) return
    const at = this.times[this.items.length]
    if (i > 0 && this.times[(i - 1) >> 1] > at) this.up(i, last, at)
    else this.down(i, last, at)
  }

  /** When to look again. It may be early (a deadline that moved later since), never late. */
  next(): Millis {
    return this.items.length > 0 ? this.times[0] : Infinity
  }

  /** Takes out one item whose deadline has come, or undefined. */
  takeDue(now: Millis): T | undefined {
    while (this.items.length > 0 && this.times[0] <= now) {
      const item = this.items[0]
      if (item.deadline <= now) {
        this.remove(item)
        return item
      }
      if (item.deadline === Infinity) this.remove(item)
      else this.down(0, item, item.deadline)
    }
    return undefined
  }

  private push(item: T, at: Millis): void {
    const i = this.items.length
    this.items.push(item)
    if (i === this.times.length) {
      const grown = new Float64Array(this.times.length * 2)
      grown.set(this.times)
      this.times = grown
    }
    this.up(i, item, at)
  }

  /** Puts `item` at `i` or above. */
  private up(from: number, item: T, at: Millis): void {
    const { items, times } = this
    let i = from
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (times[parent] <= at) break
      this.place(i, items[parent], times[parent])
      i = parent
    }
    this.place(i, item, at)
  }

  /** Puts `item` at `i` or below. */
  private down(from: number, item: T, at: Millis): void {
    const { items, times } = this
    const n = items.length
    let i = from
    for (;;) {
      let child = 2 * i + 1
      if (child >= n) break
      if (child + 1 < n && times[child + 1] < times[child]) child++
      if (times[child] >= at) break
      this.place(i, items[child], times[child])
      i = child
    }
    this.place(i, item, at)
  }

  private place(i: number, item: T, at: Millis): void {
    this.items[i] = item
    this.times[i] = at
    item.heapIndex = i
  }
}
