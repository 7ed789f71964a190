import { expect, test } from 'vitest'
import { Prng } from '../testing/prng.js'
import { FlowTable } from './flow-table.js'
import { halfSipHash } from './keyed-hash.js'

/** `expect` costs microseconds; a model test asks hundred thousand times. */
function must(ok: boolean, what: string): void {
  if (!ok) throw new Error(what)
}

test('random adds, finds and deletes behave as a Map with text keys; iteration gives every value once', () => {
  for (let seed = 1; seed <= 8; seed++) {
    const prng = new Prng(seed)
    const table = new FlowTable<number>(prng.random32(), prng.random32())
    const model = new Map<string, number>()
    // Few keys: long probe chains and many deletions inside them. Many: growth and shrinking.
    const keys = seed % 2 ? 60 : 3000
    for (let i = 0; i < 6000; i++) {
      const n = prng.below(keys)
      const key = [0, 0, 0xffff, n, 0, 0, 0xffff, n & 7, n & 0xffff, 80] as const
      const text = key.join()
      table.setKey(...key)
      must(table.find() === model.get(text), `seed ${seed} step ${i}: find`)
      // Waves, so that it fills and empties.
      if (prng.chance(Math.floor(i / 1500) % 2 ? 0.3 : 0.8)) {
        if (!model.has(text)) {
          table.add(i)
          model.set(text, i)
        }
      } else must(table.delete() === model.delete(text), `seed ${seed} step ${i}: delete`)
      must(table.size === model.size, `seed ${seed} step ${i}: size`)
    }
    expect([...table].sort()).toEqual([...model.values()].sort())
    for (const text of model.keys()) {
      const k = text.split(',').map(Number)
      table.setKey(k[0], k[1], k[2], k[3], k[4], k[5], k[6], k[7], k[8], k[9])
      must(table.delete(), `seed ${seed}: ${text} is lost`)
    }
    expect(table.size).toBe(0)
  }
})

test('ports and the order of addresses tell flows apart', () => {
  const table = new FlowTable<string>(1, 2)
  table.setKey(1, 2, 3, 4, 5, 6, 7, 8, 80, 443)
  table.add('a')
  table.setKey(5, 6, 7, 8, 1, 2, 3, 4, 80, 443)
  expect(table.find()).toBe(undefined)
  table.setKey(1, 2, 3, 4, 5, 6, 7, 8, 443, 80)
  expect(table.find()).toBe(undefined)
  table.setKey(1, 2, 3, 4, 5, 6, 7, 8, 80, 443)
  expect(table.find()).toBe('a')
})

test('HalfSipHash-2-4 of the reference vectors: key 00…07, messages of 0, 4 and 8 bytes 00 01 02 …', () => {
  const words = new Int32Array([0x03020100, 0x07060504])
  const hash = (count: number) => halfSipHash(words, 0, count, 0x03020100, 0x07060504, 2, 4) >>> 0
  const le = (...b: number[]) => ((b[3] << 24) | (b[2] << 16) | (b[1] << 8) | b[0]) >>> 0
  expect(hash(0)).toBe(le(0xa9, 0x35, 0x9f, 0x5b))
  expect(hash(1)).toBe(le(0x2a, 0x6e, 0x46, 0x89))
})

test('another key is another hash', () => {
  const words = new Int32Array([1, 2, 3])
  expect(halfSipHash(words, 0, 3, 1, 2, 1, 3)).not.toBe(halfSipHash(words, 0, 3, 1, 3, 1, 3))
})
