import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FakeIpPool } from './fake-ip.js'
import type { FakeIpEntry, FakeIpStore } from './fake-ip-store.js'

const refusal = expect.objectContaining({ name: 'RangeError', code: 'ERR_TUN_FAKE_IP_RANGE' })

test('network, first address, broadcast and reserved ones are never handed out', () => {
  const pool = new FakeIpPool({ range4: '198.18.0.1/28', reserved: ['198.18.0.4', '198.18.0.8/30', 'fc00::1', '10.0.0.0/8'] })
  const given = Array.from({ length: 20 }, (_, i) => pool.lookup(`h${i}`, 4))
  expect([...new Set(given)]).toEqual([2, 3, 5, 6, 7, 12, 13, 14].map(last => `198.18.0.${last}`))
  expect(pool.stats(4)).toEqual({ size: 8, named: 8, pinned: 0 })
  expect(pool.contains('198.18.0.15') && pool.contains('198.18.0.0')).toBe(true)
  expect(pool.contains('198.18.0.16') || pool.contains('nonsense')).toBe(false)
})

test('the host bits of a range are the NIC, wherever it is', () => {
  const pool = new FakeIpPool({ range4: '10.0.0.3/29' })
  expect(Array.from({ length: 4 }, (_, i) => pool.lookup(`h${i}`, 4))).toEqual(['10.0.0.2', '10.0.0.4', '10.0.0.5', '10.0.0.6'])
})

test('a name keeps its address, in any case and with or without the last dot', () => {
  const pool = new FakeIpPool()
  const address = pool.lookup('Example.COM', 4)
  expect(pool.lookup('other.com', 4)).not.toBe(address)
  expect([pool.lookup('example.com.', 4), pool.nameOf(address ?? '')]).toEqual([address, 'example.com'])
  expect(pool.nameOf(`::ffff:${address}`)).toBe('example.com')
  expect(pool.nameOf('198.18.9.9')).toBe(undefined)
})

describe('IPv6', () => {
  test('has its own range and is understood in any form', () => {
    const pool = new FakeIpPool({ range6: 'fc00::/18' })
    expect([pool.serves(6), pool.lookup('a', 6), pool.lookup('b', 6)]).toEqual([true, 'fc00::2', 'fc00::3'])
    expect(pool.nameOf('FC00:0:0:0:0:0:0:3')).toBe('b')
    expect(pool.contains('fc00:3fff::1') && !pool.contains('fc00:4000::1')).toBe(true)
  })

  test('an address range may cross a 32-bit boundary', () => {
    const pool = new FakeIpPool({
      range6: 'fc00::/64',
      reserved: ['fc00::/97', 'fc00::8000:0/98', 'fc00::c000:0/99', 'fc00::e000:0/100', 'fc00::f000:0/101'],
    })
    const first = Array.from({ length: 3 }, (_, i) => pool.lookup(`h${i}`, 6))
    expect(first).toEqual(['fc00::f800:0', 'fc00::f800:1', 'fc00::f800:2'])
    const edge = new FakeIpPool({ range6: 'fc00::/64', reserved: [...Array.from({ length: 31 }, (_, i) => cidr(i)), 'fc00::ffff:fffe'] })
    expect(['a', 'b'].map(name => edge.lookup(name, 6))).toEqual(['fc00::ffff:ffff', 'fc00::1:0:0'])
    expect(edge.nameOf('fc00::1:0:0')).toBe('b')
  })

  test('without a range there is none', () => {
    expect([new FakeIpPool().serves(6), new FakeIpPool().lookup('a', 6), new FakeIpPool().contains('fc00::1')]).toEqual([
      false,
      null,
      false,
    ])
  })

  /** The i-th block of fc00::/96, each half of what is left: together all but its last two addresses. */
  function cidr(i: number): string {
    const low = 2 ** 32 - 2 ** (32 - i)
    return `fc00::${Math.trunc(low / 65536).toString(16)}:${(low % 65536).toString(16)}/${97 + i}`
  }
})

test('pinned by a flow an address outlives the wrap; with all pinned there is none left', () => {
  const pool = new FakeIpPool({ range4: '10.0.0.1/29' })
  const first = pool.lookup('first', 4) ?? ''
  expect([pool.pin(first), pool.pin(first), pool.pin('10.0.0.6')]).toEqual([true, true, false])
  for (let i = 0; i < 50; i++) pool.lookup(`h${i}`, 4)
  pool.unpin(first)
  expect(pool.nameOf(first)).toBe('first')
  for (let i = 50; i < 54; i++) pool.pin(pool.lookup(`h${i}`, 4) ?? '')
  expect(pool.lookup('late', 4)).toBe(null)
  pool.unpin(first)
  expect(pool.lookup('late', 4)).toBe(first)
})

test('flush forgets all but pinned names, and their addresses rest before they are used again', () => {
  const pool = new FakeIpPool({ range4: '10.0.0.1/29' })
  const [a, b] = ['a', 'b'].map(name => pool.lookup(name, 4) ?? '')
  pool.pin(a)
  pool.flush()
  expect([pool.nameOf(a), pool.nameOf(b), pool.lookup('b', 4)]).toEqual(['a', undefined, '10.0.0.4'])
})

test('an address somebody starts to listen on is taken back', () => {
  const pool = new FakeIpPool({ range4: '10.0.0.1/29' })
  pool.lookup('a', 4)
  pool.reserve('10.0.0.2')
  pool.reserve('10.0.0.4')
  expect(pool.nameOf('10.0.0.2')).toBe(undefined)
  expect([...new Set(['a', 'b', 'c', 'd', 'e'].map(name => pool.lookup(name, 4)))]).toEqual(['10.0.0.3', '10.0.0.5', '10.0.0.6'])
})

test('a CIDR somebody listens on is taken back; one that has the whole range in it is not', () => {
  const pool = new FakeIpPool({ range4: '10.0.0.1/28' })
  const pinned = pool.lookup('pinned', 4) ?? ''
  pool.pin(pinned)
  pool.reserve('10.0.0.0/29')
  pool.reserve('10.0.0.0/16')
  pool.reserve('fc00::/7')
  pool.unpin(pinned)
  const given = Array.from({ length: 20 }, (_, i) => pool.lookup(`h${i}`, 4))
  expect([...new Set(given)].sort()).toEqual([8, 9, 10, 11, 12, 13, 14].map(last => `10.0.0.${last}`).sort())
  expect([pool.nameOf(pinned), pool.stats(4).pinned]).toEqual([undefined, 0])
})

test('when every address is in use there is one warning, not one per name', () => {
  const warnings: string[] = []
  const pool = new FakeIpPool({ range4: '10.0.0.1/30', onWarning: message => warnings.push(message) })
  pool.pin(pool.lookup('a', 4) ?? '')
  expect(['b', 'c', 'd'].map(name => pool.lookup(name, 4))).toEqual([null, null, null])
  expect(warnings).toEqual([expect.stringContaining('all 1 fake IPv4 addresses are in use')])
})

test.each([
  [{ range4: 'fc00::/18' }],
  [{ range4: '198.18.0.1' }],
  [{ range4: '198.18.0.1/33' }],
  [{ range4: '198.18.0.1/31' }],
  [{ range6: '198.18.0.0/16' }],
  [{ reserved: ['nonsense'] }],
  [{ capacity: 0 }],
])('%j is refused', options => {
  expect(() => new FakeIpPool(options)).toThrow(refusal)
})

test('does what a naive LRU with pins does', () => {
  const name = fc.constantFrom(...'abcdefghij')
  const step = fc.oneof(
    name.map(name => ({ do: 'lookup' as const, name })),
    name.map(name => ({ do: 'nameOf' as const, name })),
    name.map(name => ({ do: 'pin' as const, name })),
    name.map(name => ({ do: 'unpin' as const, name })),
    fc.constant({ do: 'flush' as const, name: '' }),
    fc.constant({ do: 'restart' as const, name: '' }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), steps => {
      let kept: FakeIpEntry[] = []
      const store: FakeIpStore = { load: () => kept, set: () => {}, reset: () => {}, close: () => {} }
      let pool = new FakeIpPool({ range4: '10.0.0.1/29', store })
      /** Least recently used first; a slot never named has the name ''. Fresh ones come before forgotten ones. */
      let model = [2, 3, 4, 5, 6].map((last, i) => ({ address: `10.0.0.${last}`, name: '', pins: 0, used: i - 100 }))
      let clock = 0
      for (const { do: verb, name } of steps) {
        clock++
        const entry = model.find(e => e.name === name && name !== '')
        if (verb === 'lookup') {
          const victim = entry ?? model.filter(e => e.pins === 0).sort((a, b) => a.used - b.used)[0]
          if (victim) Object.assign(victim, { name, used: clock })
          expect(pool.lookup(name, 4)).toBe(victim?.address ?? null)
        } else if (verb === 'nameOf' && entry) {
          entry.used = clock
          expect(pool.nameOf(entry.address)).toBe(name)
        } else if (verb === 'pin' && entry) {
          entry.pins++
          pool.pin(entry.address)
        } else if (verb === 'unpin' && entry) {
          if (entry.pins > 0 && --entry.pins === 0) entry.used = clock
          pool.unpin(entry.address)
        } else if (verb === 'restart') {
          // Those in use come last, in no order of their own; unused ones count as fresh again.
          kept = [...pool.entries()]
          pool = new FakeIpPool({ range4: '10.0.0.1/29', store })
          for (const [i, e] of model.entries()) {
            const at = kept.findIndex(({ address }) => address === e.address)
            Object.assign(e, { pins: 0, used: at < 0 ? i - 100 : clock + at / 100, name: kept[at]?.name ?? '' })
          }
        } else if (verb === 'flush') {
          model = model.map(e => (e.pins > 0 ? e : { ...e, name: '' }))
          pool.flush()
        }
        for (const e of model) if (e.pins > 0) expect(pool.lookup(e.name, 4)).toBe(e.address)
        expect(pool.stats(4)).toMatchObject({
          named: model.filter(e => e.name !== '').length,
          pinned: model.filter(e => e.pins > 0).length,
        })
      }
    }),
    { numRuns: 300 },
  )
})
