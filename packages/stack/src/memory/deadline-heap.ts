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
      if (deadline !== Infinity) this.push(item)
    } else if (deadline < this.times[heapIndex]) {
      this.times[heapIndex] = deadline
      this.up(heapIndex)
    }
  }

  /** Takes `item` out for good. */
  remove(item: T): void {
    const i = item.heapIndex
    if (i < 0) return
    item.heapIndex = -1
    const last = this.items.pop() as T
    if (last === item) return
    this.items[i] = last
    this.times[i] = this.times[this.items.length]
    last.heapIndex = i
    if (i > 0 && this.times[(i - 1) >> 1] > this.times[i]) this.up(i)
    else this.down(i)
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
      else {
        this.times[0] = item.deadline
        this.down(0)
      }
    }
    return undefined
  }

  // Of these, none is told a time: a double handed on as an argument is an object, and made also where the call is not.

  private push(item: T): void {
    const i = this.items.length
    this.items.push(item)
    if (i === this.times.length) {
      const grown = new Float64Array(this.times.length * 2)
      grown.set(this.times)
      this.times = grown
    }
    this.times[i] = item.deadline
    item.heapIndex = i
    this.up(i)
  }

  /** Moves entry `from` up to where it belongs. */
  private up(from: number): void {
    const { items, times } = this
    const item = items[from]
    const at = times[from]
    let i = from
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (times[parent] <= at) break
      this.move(parent, i)
      i = parent
    }
    items[i] = item
    times[i] = at
    item.heapIndex = i
  }

  /** Moves entry `from` down to where it belongs. */
  private down(from: number): void {
    const { items, times } = this
    const item = items[from]
    const at = times[from]
    const n = items.length
    let i = from
    for (;;) {
      let child = 2 * i + 1
      if (child >= n) break
      if (child + 1 < n && times[child + 1] < times[child]) child++
      if (times[child] >= at) break
      this.move(child, i)
      i = child
    }
    items[i] = item
    times[i] = at
    item.heapIndex = i
  }

  private move(from: number, to: number): void {
    const item = this.items[from]
    this.items[to] = item
    this.times[to] = this.times[from]
    item.heapIndex = to
  }
}
