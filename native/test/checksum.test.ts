// The addon's sums against a model that is too slow to be wrong.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import native from '../index.cjs'
import { address, CSUM_BAD, CSUM_GOOD, ipHeader, naiveChecksum, naiveSum, pseudoSum, tcp, udp } from './packets.mjs'

const A4 = address('10.0.0.1')
const B4 = address('198.18.0.2')
const A6 = address('fd00::1')
const B6 = address('2001:db8::ffff')

describe('checksum', () => {
  it('agrees with RFC 1071 word by word, at any offset and length', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(9), (bytes, offset) => {
        const view = bytes.subarray(Math.min(offset, bytes.length))
        expect(native.checksum(view)).toBe(naiveChecksum(view))
      }),
      { seed: 1, numRuns: 500 },
    )
    const large = new Uint8Array(65_535).fill(0xff)
    expect(native.checksum(large)).toBe(naiveChecksum(large))
  })
})

describe('verify', () => {
  const packets: [string, Uint8Array][] = [
    ['UDP over IPv4', udp([A4, 1], [B4, 2], Uint8Array.of(1, 2, 3))],
    ['UDP over IPv6', udp([A6, 1], [B6, 2], Uint8Array.of(1, 2, 3))],
    ['TCP over IPv4', tcp([A4, 1], [B4, 2], { seq: 5, flags: 2 }, Uint8Array.of(9))],
    ['TCP over IPv6', tcp([A6, 1], [B6, 2], { seq: 5, flags: 2 }, Uint8Array.of(9))],
    ['ICMP', icmp4()],
    ['ICMPv6', icmp6()],
    ['UDP behind hop-by-hop, routing and destination options', behindExtensions()],
  ]

  it.each(packets)('finds %s good, and bad with any one bit flipped behind the IP header', (_, packet) => {
    expect(native.verify(packet)).toBe(CSUM_GOOD)
    const from = packet[0] >> 4 === 4 ? 20 : packet[6] === 0 ? 64 : 40
    for (let i = from; i < packet.length; i++) {
      const udpLength = packet[packet[0] >> 4 === 4 ? 9 : 6] === 17 && (i === from + 4 || i === from + 5)
      if (udpLength || (from === 64 && (i === 68 || i === 69))) continue // a wrong length is malformed, not a bad sum
      const copy = packet.slice()
      copy[i] ^= 0x10
      expect(native.verify(copy), `byte ${i}`).toBe(CSUM_BAD)
    }
  })

  it('ignores what lies behind the length of the IP header', () => {
    expect(native.verify(Uint8Array.from([...packets[0][1], 0xff, 0xee]))).toBe(CSUM_GOOD)
  })

  it('takes a zero UDP checksum as none in IPv4 and as wrong in IPv6', () => {
    const zero = (packet: Uint8Array, at: number) => packet.fill(0, at, at + 2)
    expect(native.verify(zero(udp([A4, 1], [B4, 2], Uint8Array.of(7)), 26))).toBe(CSUM_GOOD)
    expect(native.verify(zero(udp([A6, 1], [B6, 2], Uint8Array.of(7)), 46))).toBe(CSUM_BAD)
  })

  it('says nothing of fragments, other protocols, or a routing header on its way', () => {
    const fragment = udp([A4, 1], [B4, 2], Uint8Array.of(7))
    fragment[6] = 0x20
    const gre = udp([A4, 1], [B4, 2], Uint8Array.of(7))
    gre[9] = 47
    const routed = behindExtensions(1)
    const fragment6 = udp([A6, 1], [B6, 2], Uint8Array.of(7))
    fragment6[6] = 44
    for (const packet of [fragment, gre, routed, fragment6]) expect(native.verify(packet)).toBe(0)
  })

  it('reads no byte it does not have', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), fc.constantFrom(0x45, 0x4f, 0x60), (bytes, first) => {
        if (bytes.length > 0) bytes[0] = first
        expect([0, CSUM_GOOD, CSUM_BAD]).toContain(native.verify(bytes))
      }),
      { seed: 2, numRuns: 3000 },
    )
    for (const [, packet] of packets) for (let end = 0; end < packet.length; end++) expect(native.verify(packet.slice(0, end))).toBe(0)
  })
})

function icmp4(): Uint8Array {
  const message = Uint8Array.of(8, 0, 0, 0, 1, 2, 3, 4, 5)
  const sum = naiveChecksum(message)
  message.set([sum >> 8, sum & 255], 2)
  return Uint8Array.from([...ipHeader(A4, B4, 1, message.length), ...message])
}

function icmp6(): Uint8Array {
  const message = Uint8Array.of(128, 0, 0, 0, 1, 2, 3, 4, 5)
  const sum = naiveSum(message, pseudoSum(A6, B6, 58, message.length)) ^ 0xffff
  message.set([sum >> 8, sum & 255], 2)
  return Uint8Array.from([...ipHeader(A6, B6, 58, message.length), ...message])
}

function behindExtensions(segmentsLeft = 0): Uint8Array {
  const datagram = udp([A6, 1], [B6, 2], Uint8Array.of(1, 2, 3)).subarray(40)
  const extensions = [43, 0, 1, 4, 0, 0, 0, 0, 60, 0, 0, segmentsLeft, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0]
  return Uint8Array.from([...ipHeader(A6, B6, 0, extensions.length + datagram.length), ...extensions, ...datagram])
}
