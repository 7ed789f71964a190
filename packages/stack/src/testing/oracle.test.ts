import { describe, expect, it } from 'vitest'
import type { Bytes } from '../memory/slab.js'
import { fillChecksums, headerChecksumOk, IPPROTO_TCP, IPPROTO_UDP, layoutOf, naiveSum, packetOk, transportChecksumOk } from './oracle.js'

const hex = (text: string): Bytes => Uint8Array.from(Buffer.from(text.replace(/\s/g, ''), 'hex'))

describe('oracle', () => {
  it('sums the example of RFC 1071 §3 to ddf2', () => {
    expect(naiveSum(hex('0001 f203 f4f5 f6f7'))).toBe(0xddf2)
    expect(naiveSum(hex('ff'))).toBe(0xff00)
  })

  it('accepts a SYN, a datagram and an MLD report as the Linux kernel sent them, and no bit of them flipped', () => {
    for (const packet of [KERNEL_SYN, KERNEL_UDP6, KERNEL_MLD].map(hex)) {
      expect(headerChecksumOk(packet)).toBe(true)
      expect(transportChecksumOk(packet)).toBe(true)
      const { transport } = layoutOf(packet)
      for (let i = transport; i < packet.length; i++) {
        packet[i] ^= 0x10
        expect(packetOk(packet)).toBe(false)
        packet[i] ^= 0x10
      }
      const filled = fillChecksums(packet.slice())
      expect(filled).toEqual(packet)
    }
  })

  it('finds the transport header behind IPv6 extension headers and does not judge fragments', () => {
    const hopByHop = hex(`6000 0000 0010 00 40 ${'00'.repeat(32)} 1100 0000 0000 0000 1234 0035 0008 0000`)
    expect(layoutOf(hopByHop)).toEqual({ family: 6, transport: 48, protocol: IPPROTO_UDP, end: 56, fragment: false })
    const fragment = hex(`6000 0000 0010 2c 40 ${'00'.repeat(32)} 0600 0001 0000 0001 1234 0035 0008 0000`)
    expect(layoutOf(fragment)).toEqual({ family: 6, transport: 48, protocol: IPPROTO_TCP, end: 56, fragment: true })
    expect(transportChecksumOk(fragment)).toBe(undefined)
  })

  it('lets a datagram go without a checksum over IPv4 only', () => {
    expect(transportChecksumOk(hex('4500 001c 0000 0000 4011 0000 7f000001 7f000001 1234 0035 0008 0000'))).toBe(true)
    expect(transportChecksumOk(hex(`6000 0000 0008 11 40 ${'00'.repeat(32)} 1234 0035 0008 0000`))).toBe(false)
  })

  it('says of every cut-off packet that it is none, without reading past its end', () => {
    const packet = hex(KERNEL_SYN)
    for (let n = 0; n < packet.length; n++) expect(layoutOf(packet.slice(0, n)).protocol).toBe(-1)
  })
})

// Captured on a veth with checksum offload off.
const KERNEL_SYN =
  '4500003c4bfd400040066abbc0000201c0000202dfb000099a493ad000000000a002faf002400000020405b40402080a6c03a5f1000000000103030a'
const KERNEL_UDP6 = '600314e4000d114020010db800000000000000000000000120010db8000000000000000000000002d0ab0035000d8fac68656c6c6f'
const KERNEL_MLD = `6000000000380001fe800000000000004c7f3cfffecbc223ff020000000000000000000000000016
  3a00050200000100 8f0061910000000204000000ff0200000000000000000001ff00000104000000ff0200000000000000000001ffcbc223`
