import { BlockList } from 'node:net'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { formatAddress, hasHostBits, holds, networkOf, overlaps, parseCidr } from './cidr.js'

test.each([
  ['10.1.2.3/8', '10.0.0.0/8', true],
  ['10.0.0.0/8', '10.0.0.0/8', false],
  ['192.0.2.1', '192.0.2.1/32', false],
  ['2001:db8::1/32', '2001:db8::/32', true],
  ['::/0', '::/0', false],
  ['::ffff:192.0.2.1/96', '::ffff:0:0/96', true],
  ['1:0:0:2::3', '1:0:0:2::3/128', false],
  ['1:0:0:2:0:0:3:4/128', '1::2:0:0:3:4/128', false],
])('%s is of the network %s', (text, network, host) => {
  const range = parseCidr(text)
  expect([networkOf(text), range && hasHostBits(range)]).toEqual([network, host])
})

test.each(['', '/8', '10.0.0.0/33', '10.0.0.0/8/8', '10.0.0/8', 'fd00::/129', 'fe80::1%eth0/64', '10.0.0.0/ 8', '10.0.0.0/-1', 'x'])(
  '%j is no range',
  text => {
    expect(parseCidr(text)).toBeUndefined()
  },
)

test('which addresses a range holds is what Node says, for any ranges', () => {
  const family = fc.constantFrom<4 | 6>(4, 6)
  const range = family.chain(of =>
    fc
      .tuple(fc.bigInt({ min: 0n, max: (1n << (of === 4 ? 32n : 128n)) - 1n }), fc.nat(of === 4 ? 32 : 128))
      .map(([address, bits]) => `${formatAddress(of, address)}/${bits}`),
  )
  fc.assert(
    fc.property(range, range, (a, b) => {
      const [x, y] = [parseCidr(a)!, parseCidr(b)!]
      const kind = (of: 4 | 6) => (of === 4 ? 'ipv4' : 'ipv6')
      const list = new BlockList()
      list.addSubnet(formatAddress(x.family, x.address), x.bits, kind(x.family))
      // Node takes ::ffff:a.b.c.d for a.b.c.d, which is another question.
      const expected = x.family === y.family && list.check(formatAddress(y.family, y.first), kind(y.family))
      expect([a, b, holds(x, y)]).toEqual([a, b, expected && x.bits <= y.bits])
      expect(overlaps(x, y)).toBe(holds(x, y) || holds(y, x))
    }),
    { numRuns: 300 },
  )
})
