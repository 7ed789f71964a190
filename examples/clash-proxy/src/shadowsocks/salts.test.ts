import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { SaltFilter } from './salts.js'

const salts = (count: number) => Array.from({ length: count }, () => randomBytes(16))

describe('a filter with generations of 64', () => {
  test('knows the latest 64, and what it never saw it does not know', () => {
    const filter = new SaltFilter(64)
    const all = salts(1000)
    for (const [i, salt] of all.entries()) {
      expect(filter.has(salt)).toBe(false)
      filter.add(salt)
      expect(all.slice(Math.max(0, i - 63), i + 1).every(seen => filter.has(seen))).toBe(true)
    }
  })

  test('has forgotten what is 128 or more back: it is bounded', () => {
    const filter = new SaltFilter(64)
    const all = salts(1000)
    for (const salt of all) filter.add(salt)
    expect(all.filter(salt => filter.has(salt)).length).toBeLessThanOrEqual(128)
    expect(all.slice(0, 872).some(salt => filter.has(salt))).toBe(false)
  })

  test('one that comes again takes no room', () => {
    const filter = new SaltFilter(64)
    const [first, again] = salts(2)
    filter.add(first)
    for (let i = 0; i < 1000; i++) filter.add(again)
    expect(filter.has(first)).toBe(true)
  })
})

test('salts of zeros, or alike in their first word, are salts as others', () => {
  const filter = new SaltFilter(64)
  const odd = ['00'.repeat(16), `00000001${'00'.repeat(12)}`, `0000000000000001${'00'.repeat(8)}`, 'ff'.repeat(16)]
  const some = odd.map(text => Buffer.from(text, 'hex'))
  expect(some.map(salt => filter.has(salt))).toEqual([false, false, false, false])
  for (const salt of [some[0], some[2]]) filter.add(salt)
  expect([filter.has(some[0]), filter.has(some[2]), filter.has(some[3])]).toEqual([true, true, false])
})
