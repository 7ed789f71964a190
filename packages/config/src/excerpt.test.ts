import fc from 'fast-check'
import { expect, test } from 'vitest'
import { excerptOf } from './excerpt.js'

const lines = (line: string, from: number, to: number, hidden: [number, number][] = []) => {
  const { text, at, width } = excerptOf(line, from, to, hidden)
  return [text, `${' '.repeat(at)}${'^'.repeat(width)}`]
}

test('the mark stands below what is meant, also behind wide letters, marks on letters and what is hidden', () => {
  expect(lines('  mtu: 99', 7, 9)).toEqual(['  mtu: 99', '       ^^'])
  expect(lines('- {name: 香港, port: x}', 19, 20)).toEqual(['- {name: 香港, port: x}', `${' '.repeat(21)}^`])
  expect(lines('e\u0301: x', 4, 5)).toEqual(['e\u0301: x', '   ^'])
  expect(lines('{password: hunter2, port: x}', 26, 27, [[11, 18]])).toEqual(['{password: ***, port: x}', `${' '.repeat(22)}^`])
  expect(lines('{password: hunter2, port: x}', 11, 18, [[11, 18]])).toEqual(['{password: ***, port: x}', `${' '.repeat(11)}^^^`])
  expect(lines('', 0, 1)).toEqual(['', '^'])
})

test('a long line is cut to where the mark is', () => {
  const [text, mark] = lines(`${'a'.repeat(500)}HERE${'b'.repeat(500)}`, 500, 504)
  expect(text).toMatch(/^…a+HEREb+…$/)
  expect(text.length).toBeLessThan(120)
  expect(text.slice(mark.indexOf('^'), mark.length)).toBe('HERE')
})

test('nothing in it moves a cursor or turns the text around', () => {
  expect(lines('a\tb\u001b[2Jc\u202ed\u0000', 0, 1)[0]).toBe('a b\uFFFD[2Jc\uFFFDd\uFFFD')
})

test('whatever the line, what is hidden is not in it and the mark lies within', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }), fc.nat(200), fc.nat(200), (around, a, b) => {
      const at = Math.min(a, around.length)
      const line = `${around.slice(0, at)}SECRET${around.slice(at)}`
      const { text, at: cells, width } = excerptOf(line, Math.min(b, line.length), line.length, [[at, at + 6]])
      expect(text).not.toContain('SECRET')
      expect(text).not.toContain('\n')
      expect([cells >= 0, width >= 1, cells + width <= 240]).toEqual([true, true, true])
    }),
    { numRuns: 300 },
  )
})
