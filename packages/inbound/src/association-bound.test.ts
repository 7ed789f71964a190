import { expect, test } from 'vitest'
import { AssociationBound, associationLimit } from './association-bound.js'

function bench(limit: number) {
  const evicted: string[] = []
  const bound = new AssociationBound<{ evict(): void }>(limit)
  const made = (name: string) => ({ evict: () => void evicted.push(name) })
  return { evicted, bound, made }
}

test('beyond the bound the association that has been idle for longest is closed', () => {
  const { evicted, bound, made } = bench(2)
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map(made)
  bound.enter(a, 0)
  bound.enter(b, 10)
  bound.used(a, 2000)
  bound.enter(c, 2001)
  expect(evicted).toEqual(['b'])
  bound.leave(a)
  bound.enter(d, 2002)
  expect([evicted, bound.size]).toEqual([['b'], 2])
})

test('one that is over, or was evicted, comes back by no datagram of its own', () => {
  const { evicted, bound, made } = bench(1)
  const [a, b] = ['a', 'b'].map(made)
  bound.enter(a, 0)
  bound.enter(b, 1)
  bound.used(a, 9000)
  bound.leave(b)
  bound.leave(b)
  expect([evicted, bound.size]).toEqual([['a'], 0])
})

test('half of the descriptors are enough for all, at two each; at least one association there is', () => {
  expect([1024, 16, 3].map(associationLimit)).toEqual([256, 4, 1])
  expect(associationLimit(undefined)).toBeGreaterThan(0)
})
