import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { addressOfReverseName, readName, skipName, writeName } from './name.js'

const read = (...parts: (string | number)[]): { name: string; end: number } => {
  const out = { name: '', end: -1 }
  readName(Buffer.concat(parts.map(part => (typeof part === 'number' ? Buffer.of(part) : Buffer.from(part, 'latin1')))), 0, out)
  return out
}

describe('readName', () => {
  test('is lower case without the last dot, and knows where it ended', () => {
    expect(read(3, 'wWw', 7, 'ExaMple', 0, 'rest')).toEqual({ name: 'www.example', end: 13 })
    expect(read(0)).toEqual({ name: '', end: 1 })
  })

  test('escapes what could be mistaken for another name', () => {
    expect(read(3, 'a.b', 2, '\0\\', 0).name).toBe('a\\.b.\\000\\\\')
  })

  test.each([
    ['a pointer', [3, 'www', 0xc0, 12]],
    ['a label past the end', [5, 'abc']],
    ['no last label', [3, 'abc']],
    ['the obsolete label types', [0x41, 'x', 0]],
    ['more than 255 bytes', [...Array.from({ length: 5 }, () => [63, 'x'.repeat(63)]).flat(), 0]],
  ])('refuses %s', (_, parts) => {
    expect(read(...parts).end).toBe(-1)
  })

  test('a name of exactly 255 bytes is one', () => {
    const parts = [...Array.from({ length: 3 }, () => [63, 'x'.repeat(63)]).flat(), 61, 'y'.repeat(61), 0]
    expect(read(...parts).end).toBe(255)
  })
})

test('any name read can be written back, up to the case of its letters', () => {
  const label = fc.uint8Array({ minLength: 1, maxLength: 63 }).map(bytes => Buffer.concat([Buffer.of(bytes.length), bytes]))
  fc.assert(
    fc.property(fc.array(label, { maxLength: 3 }), labels => {
      const wire = Buffer.concat([...labels, Buffer.of(0)])
      const out = { name: '', end: -1 }
      expect(readName(wire, 0, out)).toBe(true)
      const written = Buffer.from(writeName(out.name) ?? '')
      const again = { name: '', end: -1 }
      expect(readName(written, 0, again) && again.name).toBe(out.name)
      expect(written.length).toBe(wire.length)
      expect(skipName(wire, 0)).toBe(wire.length)
    }),
  )
})

test('writeName refuses what has no wire form', () => {
  for (const bad of ['a..b', '.a', 'x'.repeat(64), `${'x'.repeat(63)}.`.repeat(4), 'bücher', 'a\\', 'a\\999', '..']) {
    expect([bad, writeName(bad)]).toEqual([bad, null])
  }
  expect(Buffer.from(writeName('a.b.') ?? '')).toEqual(Buffer.from('\x01a\x01b\0'))
})

test('reverse names give their address, anything incomplete gives none', () => {
  expect(addressOfReverseName('4.0.18.198.in-addr.arpa')).toBe('198.18.0.4')
  expect(addressOfReverseName(`4${'.0'.repeat(29)}.c.f.ip6.arpa`)).toBe('fc00::4')
  for (const bad of [
    '0.18.198.in-addr.arpa',
    '256.0.0.1.in-addr.arpa',
    '01.0.0.1.in-addr.arpa',
    '1.ip6.arpa',
    'in-addr.arpa',
    '-1.0.0.0.in-addr.arpa',
  ]) {
    expect([bad, addressOfReverseName(bad)]).toEqual([bad, null])
  }
})
