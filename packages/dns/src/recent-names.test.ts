import { expect, test } from 'vitest'
import { encodeReply } from './codec.js'
import { TYPE, writeQuery } from './message.js'
import { RecentNames } from './recent-names.js'

const reply = (...records: [type: string, data: string, ttl: number, name?: string][]) =>
  encodeReply(writeQuery('www.test', TYPE.A) as Uint8Array, {
    answers: records.map(([type, data, ttl, name = 'www.test']) => ({ type, data, ttl, name })),
  }) as Uint8Array

test('an address has the name asked for, not that of a CNAME, as long as the weakest link holds', () => {
  let now = 0
  const recent = new RecentNames({ now: () => now })
  recent.learn('www.test', reply(['CNAME', 'cdn.test', 20], ['A', '192.0.2.1', 60, 'cdn.test'], ['A', '192.0.2.2', 300, 'cdn.test']))
  recent.learn('six.test', reply(['AAAA', '2001:db8::1', 0]))
  expect(['192.0.2.1', '::ffff:192.0.2.2', '192.0.2.3'].map(a => recent.nameOf(a))).toEqual(['www.test', 'www.test', undefined])
  now = 900
  expect(recent.nameOf('2001:DB8:0::1')).toBe('six.test')
  now = 19_999
  expect([recent.nameOf('192.0.2.2'), recent.nameOf('2001:db8::1')]).toEqual(['www.test', undefined])
  now = 20_000
  expect([recent.nameOf('192.0.2.1'), recent.nameOf('192.0.2.2')]).toEqual([undefined, undefined])
})

test('the newest answer wins, and those told about longest ago go first', () => {
  const recent = new RecentNames({ capacity: 3 })
  for (const [name, address] of [
    ['a', '192.0.2.1'],
    ['b', '192.0.2.2'],
    ['c', '192.0.2.1'],
    ['d', '192.0.2.3'],
    ['e', '192.0.2.4'],
  ]) {
    recent.learn(name, reply(['A', address, 60]))
  }
  expect([1, 2, 3, 4].map(last => recent.nameOf(`192.0.2.${last}`))).toEqual(['c', undefined, 'd', 'e'])
  recent.learn('x', Uint8Array.of(1, 2, 3))
  expect(recent.size).toBe(3)
})
