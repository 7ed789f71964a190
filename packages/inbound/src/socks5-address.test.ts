import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Destination } from './outbound.js'
import { decodeAddress, encodeAddress, restLength } from './socks5-address.js'

const port = fc.integer({ min: 0, max: 65_535 })

/** As a reader of a stream does it: type and first byte, then as many as those call for. */
function read(bytes: Buffer, at: number) {
  const rest = bytes.subarray(at + 2)
  expect(restLength(bytes[at], bytes[at + 1])).toBe(rest.length)
  return decodeAddress(bytes[at], bytes[at + 1], rest)
}

test('what is written as IPv4 or IPv6 is read back, behind any head', () => {
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), port, fc.uint8Array({ maxLength: 4 }), (address, port, head) => {
      const family = address.includes(':') ? 6 : 4
      const bytes = encodeAddress([...head], { address, port, family })!
      const back = read(bytes, head.length)
      expect(bytes.subarray(0, head.length)).toEqual(Buffer.from(head))
      expect(back.port).toBe(port)
      // One address has many spellings: written again it is the same bytes. What is mapped comes back as the IPv4 address it is.
      if (back.family === family) expect(encodeAddress([...head], back)).toEqual(bytes)
      else expect(bytes.toString('hex', head.length + 1, head.length + 13)).toBe('00000000000000000000ffff')
    }),
  )
})

test('a name is written with its length, and read as no address', () => {
  const to: Destination = { address: '198.18.0.1', port: 443, family: 4, host: 'bücher.example' }
  const bytes = encodeAddress([5, 1, 0], to)!
  expect(bytes.toString('utf8', 5, bytes.length - 2)).toBe('bücher.example')
  expect(bytes[4]).toBe(15) // bytes, not letters
  expect(read(bytes, 3)).toEqual({ address: '', port: 443, family: 4 })
})

test('a zone, which means something on this machine only, is not sent', () => {
  expect(encodeAddress([], { address: 'fe80::1%eth0', port: 1, family: 6 })).toEqual(
    encodeAddress([], { address: 'fe80::1', port: 1, family: 6 }),
  )
})
