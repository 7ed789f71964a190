import { isIP, SocketAddress } from 'node:net'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { addressBytes, formatIpv4, formatIpv6, parseIpv4, parseIpv6 } from './address.js'

const words = new Uint32Array(4)

test('every address survives being written and read; IPv6 is written as the system writes it', () => {
  fc.assert(
    fc.property(fc.tuple(fc.nat(0xffffffff), fc.constantFrom(0, 1, 0xffff0000, 7), fc.nat(0xffff), fc.nat(0xffffffff)), parts => {
      const text = formatIpv6(parts)
      expect(parseIpv6(text, words) && [...words]).toEqual(parts)
      expect(new SocketAddress({ family: 'ipv6', address: text }).address).toBe(text)
      expect(parseIpv4(formatIpv4(parts[3]))).toBe(parts[3])
    }),
  )
})

test('a text is an address exactly if node says so (zones apart)', () => {
  const piece = fc.constantFrom('0', '1', '01', 'ffff', 'FFFFF', ':', '::', '.', '255', '256', 'g', '1.2.3.4', '::ffff:', '')
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), pieces => {
      const text = pieces.join('')
      expect([text, parseIpv4(text) >= 0 ? 4 : parseIpv6(text, words) ? 6 : 0]).toEqual([text, isIP(text)])
    }),
    { numRuns: 3000 },
  )
})

test('the bytes of a record are in network order', () => {
  expect(addressBytes('198.18.0.4')).toEqual(Uint8Array.of(198, 18, 0, 4))
  expect(Buffer.from(addressBytes('fc00::1:2') ?? '').toString('hex')).toBe('fc000000000000000000000000010002')
  expect(addressBytes('::ffff:1.2.3.4')?.[15]).toBe(4)
  expect(addressBytes('fe80::1%eth0')).toBe(null)
})
