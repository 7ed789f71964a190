import { expect, test } from 'vitest'
import { Prng } from '../testing/prng.js'
import { DeadlineHeap, type Wakeable } from './deadline-heap.js'

class Item implements Wakeable {
  deadline = Infinity
  heapIndex = -1
  wake(): void {}
}

/** `expect` costs microseconds; a model test asks hundred thousand times. */
function must(ok: boolean, what: string): void {
  if (!ok) throw new Error(what)
}

test('random updates, removals and expiries: whoever is due comes, nobody else, nobody twice, and next() is never late', () => {
  for (let seed = 1; seed <= 10; seed++) {
    const prng = new Prng(seed)
    const heap = new DeadlineHeap<Item>()
    const items = Array.from({ length: 200 }, () => new Item())
    let now = 2 ** 31 - 2000
    for (let i = 0; i < 5000; i++) {
      const item = items[prng.below(items.length)]
      const dice = prng.below(10)
      if (dice < 6) {
        item.deadline = prng.chance(0.1) ? Infinity : now + prng.below(1000)
        heap.update(item)
      } else if (dice < 7) {
        item.deadline = Infinity
        heap.remove(item)
        must(item.heapIndex === -1, `seed ${seed} step ${i}: removed`)
      } else {
        now += prng.below(60)
        const due = new Set(items.filter(x => x.deadline <= now))
        for (let x = heap.takeDue(now); x !== undefined; x = heap.takeDue(now)) {
          must(due.delete(x) && x.heapIndex === -1, `seed ${seed} step ${i}: not due, or twice`)
          x.deadline = Infinity
          if (prng.chance(0.3)) {
            x.deadline = now + 1 + prng.below(100)
            heap.update(x)
          }
        }
        must(due.size === 0, `seed ${seed} step ${i}: somebody was forgotten`)
      }
      if (i % 50 === 0) must(heap.next() <= Math.min(...items.map(x => x.deadline)), `seed ${seed} step ${i}: late`)
    }
    for (const item of items) heap.remove(item)
    expect(heap.size).toBe(0)
    expect(heap.next()).toBe(Infinity)
  }
})

test('moving a deadline later costs nothing until the old one comes up', () => {
  const heap = new DeadlineHeap<Item>()
  const item = new Item()
  item.deadline = 10
  heap.update(item)
  item.deadline = 50
  heap.update(item)
  expect(heap.next()).toBe(10)
  expect(heap.takeDue(10)).toBe(undefined)
  expect(heap.next()).toBe(50)
  expect(heap.takeDue(50)).toBe(item)
})
