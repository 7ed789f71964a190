import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { ArrivalList, type Listed } from './arrival-list.js'

class Item implements Listed<Item> {
  older: Item | null = null
  newer: Item | null = null
  readonly bytes: number[]
  constructor(size = 0) {
    this.bytes = new Array<number>(size).fill(0)
  }
}

/** From the oldest on; backwards it must be the same. */
function order(list: ArrivalList<Item>): Item[] {
  const items: Item[] = []
  for (let item = list.oldest; item !== null; item = item.newer) {
    expect(item.older).toBe(items.at(-1) ?? null)
    items.push(item)
  }
  expect(list.size).toBe(items.length)
  return items
}

test('the order is that of arrival, whoever leaves: the oldest, the newest, one between, the last', () => {
  const list = new ArrivalList<Item>()
  const [a, b, c, d] = [new Item(), new Item(), new Item(), new Item()]
  for (const item of [a, b, c, d]) list.add(item)
  expect(order(list)).toEqual([a, b, c, d])
  for (const [leaves, left] of [
    [b, [a, c, d]],
    [a, [c, d]],
    [d, [c]],
    [c, []],
  ] as const) {
    expect(list.delete(leaves)).toBe(true)
    expect(order(list)).toEqual(left)
    expect([leaves.older, leaves.newer]).toEqual([null, null])
  }
  list.add(b)
  list.add(a)
  expect(order(list)).toEqual([b, a])
})

test('who is not in it cannot leave it', () => {
  const list = new ArrivalList<Item>()
  const [only, stranger] = [new Item(), new Item()]
  expect(list.delete(stranger)).toBe(false)
  list.add(only)
  expect(list.delete(stranger)).toBe(false)
  expect(list.delete(only)).toBe(true)
  expect(list.delete(only)).toBe(false)
  expect(order(list)).toEqual([])
})

test('items that have left are collected young, also behind one that grew old in the list', () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as (options?: { type: 'minor' }) => void
  const old = () => getHeapSpaceStatistics().find(({ space_name }) => space_name === 'old_space')?.space_used_size ?? 0
  const list = new ArrivalList<Item>()
  const grownOld = new Item()
  list.add(grownOld)
  collect()
  for (let i = 0; i < 4; i++) collect({ type: 'minor' })
  list.delete(grownOld)
  const before = old()
  const waiting: Item[] = []
  const items = 20_000
  for (let i = 0; i < items; i++) {
    const item = new Item(100) // 800 bytes
    list.add(item)
    waiting.push(item)
    if (i % 640 === 0) collect({ type: 'minor' })
    if (waiting.length > 100) for (const gone of waiting.splice(0, 64)) list.delete(gone)
  }
  expect(old() - before).toBeLessThan((items * 800) / 8) // a Set keeps four fifths of them
})
