import fc from 'fast-check'
import { expect, test } from 'vitest'
import { editDistance, nearest } from './nearest.js'

test.each([
  ['devcie-url', 'device-url'],
  ['device_url', 'device-url'],
  ['deviceUrl', 'device-url'],
  ['DNS-Listen', 'dns-listen'],
  ['mut', 'mtu'],
  ['gos', 'gso'],
  ['mode', undefined],
  ['', undefined],
  ['x'.repeat(10_000), undefined],
])('%s: %s', (word, meant) => {
  expect(nearest(word, ['device-url', 'dns-listen', 'mtu', 'gso'])).toBe(meant)
})

test('a distance is one for each insertion, deletion, change or swap of neighbours', () => {
  expect([editDistance('ab', 'ba'), editDistance('abc', 'ac'), editDistance('abc', 'axc'), editDistance('', 'ab')]).toEqual([1, 1, 1, 2])
  const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 6 })
  const naive = (a: string, b: string): number => {
    if (a === '' || b === '') return a.length + b.length
    const [shortA, shortB] = [a.slice(1), b.slice(1)]
    const best = Math.min(naive(shortA, b) + 1, naive(a, shortB) + 1, naive(shortA, shortB) + (a[0] === b[0] ? 0 : 1))
    return a[0] === b[1] && a[1] === b[0] && a.length > 1 && b.length > 1 ? Math.min(best, naive(a.slice(2), b.slice(2)) + 1) : best
  }
  fc.assert(
    fc.property(word, word, (a, b) => {
      expect(editDistance(a, b)).toBe(naive(a, b))
    }),
    { numRuns: 60 },
  )
})
