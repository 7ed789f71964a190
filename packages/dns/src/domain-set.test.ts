import fc from 'fast-check'
import { expect, test } from 'vitest'
import { DomainSet } from './domain-set.js'

test.each([
  ['example.com', ['example.com', 'EXAMPLE.com.'], ['www.example.com', 'com', 'notexample.com', '']],
  ['+.example.com', ['example.com', 'a.example.com', 'a.b.example.com'], ['com', 'badexample.com']],
  ['.example.com', ['a.example.com', 'a.b.example.com'], ['example.com', 'com']],
  ['*.lan', ['nas.lan', 'NAS.LAN'], ['lan', 'a.nas.lan']],
  ['time.*.com', ['time.apple.com'], ['time.com', 'time.a.b.com']],
  ['+.stun.*.*', ['stun.l.google', 'a.b.stun.l.google'], ['stun.google']],
  ['*', ['localhost'], ['a.b', '']],
  ['bücher.de', ['xn--bcher-kva.de'], ['bucher.de']],
])('%s', (pattern, inside, outside) => {
  const set = new DomainSet([pattern])
  expect(inside.filter(name => !set.has(name))).toEqual([])
  expect(outside.filter(name => set.has(name))).toEqual([])
})

test.each(['', '+.', '.', 'a..b', 'a b', 'geosite:cn', 'RULE-SET,x,fake-ip', 'a*.com', `${'x'.repeat(64)}.com`])(
  '%j is refused',
  pattern => {
    expect(() => new DomainSet([pattern])).toThrow(expect.objectContaining({ code: 'ERR_TUN_DOMAIN_PATTERN' }))
  },
)

test('a set says what its patterns say one by one', () => {
  const label = fc.constantFrom('a', 'b', 'c', '*')
  const pattern = fc
    .tuple(fc.constantFrom('', '+.', '.'), fc.array(label, { minLength: 1, maxLength: 4 }))
    .map(([mark, labels]) => mark + labels.join('.'))
  const name = fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { minLength: 1, maxLength: 5 }).map(labels => labels.join('.'))
  const naive = (pattern: string, name: string): boolean => {
    const mark = /^(\+\.|\.)?/.exec(pattern)?.[0] ?? ''
    const rest = pattern.slice(mark.length).replaceAll('.', '\\.').replaceAll('*', '[^.]+')
    return new RegExp(`^${mark === '+.' ? '(.+\\.)?' : mark === '.' ? '.+\\.' : ''}${rest}$`).test(name)
  }
  fc.assert(
    fc.property(fc.array(pattern, { maxLength: 8 }), name, (patterns, name) => {
      expect(new DomainSet(patterns).has(name)).toBe(patterns.some(pattern => naive(pattern, name)))
    }),
    { numRuns: 500 },
  )
})
