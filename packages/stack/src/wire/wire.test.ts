import { isIP } from 'node:net'
import { describe, expect, test } from 'vitest'
import { fillChecksums, naiveSum } from '../testing/oracle.js'
import { Prng } from '../testing/prng.js'
import {
  type AddressWords,
  formatAddress,
  isBroadcast,
  isLinkLocal,
  isLoopback,
  isMapped,
  isMulticast,
  isUnspecified,
  parseAddress,
} from './address.js'
import { pseudoSum, sumBytes } from './checksum.js'
import {
  IP_BAD_CHECKSUM,
  IP_BAD_EXTENSION,
  IP_MALFORMED,
  IP_MARTIAN,
  IP_OK,
  IP_PROBLEM,
  IP_SOURCE_ROUTE,
  IpPacket,
  readIp,
  writeIpv4,
  writeIpv6,
} from './ip.js'
import { printPacket } from './print.js'
import { readSegment, Segment, segLen, writeMss, writeSack, writeTcpHeader, writeTimestamps } from './tcp.js'
import { readUdp, UdpHeader } from './udp.js'

const bytesOf = (hex: string) => Uint8Array.from(hex.replace(/\s/g, '').match(/../g) ?? [], h => Number.parseInt(h, 16))
const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.length)

describe('address', () => {
  test('random words survive text and back, and node:net agrees about the text', () => {
    const prng = new Prng(3)
    for (let i = 0; i < 1000; i++) {
      const half = () => (prng.chance(0.6) ? 0 : prng.random32() & 0xffff)
      const words = [0, 0, 0, 0].map(() => (half() << 16) | half()) as AddressWords
      if (prng.chance(0.3)) words.splice(0, 3, 0, 0, 0xffff)
      const text = formatAddress(...words)
      expect(isIP(text), text).toBe(isMapped(words[0], words[1], words[2]) ? 4 : 6)
      expect(parseAddress(text), text).toEqual(words)
    }
  })
  test('RFC 5952: the canonical form', () => {
    for (const [from, to] of [
      ['2001:DB8:0:0:0:0:2:1', '2001:db8::2:1'],
      ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
      ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
      ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
      ['0:0:0:0:0:0:0:0', '::'],
      ['::1', '::1'],
      ['1::', '1::'],
      ['::ffff:10.0.0.1', '10.0.0.1'],
      ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
    ]) {
      expect(formatAddress(...(parseAddress(from) as AddressWords))).toBe(to)
    }
  })
  test('what node:net refuses is refused, and strictly decimal IPv4', () => {
    for (const text of [
      '',
      '1.2.3',
      '1.2.3.4.5',
      '256.1.1.1',
      '01.2.3.4',
      '1.2.3.4 ',
      'a.b.c.d',
      ':',
      ':::',
      '1::2::3',
      '1:2:3:4:5:6:7',
      '12345::',
      '::g',
      '1:2:3:4:5:6:7:8:9',
      '::1%lo',
      '[::1]',
      '1.2.3.4::',
      '::1.2.3',
      ':1',
      '1:',
      '1:2:3:4:5:6:7:8::',
    ]) {
      expect(parseAddress(text), text).toBe(null)
      if (!text.includes('%')) expect(isIP(text), text).toBe(0)
    }
  })
  test('kinds of addresses', () => {
    const is = (f: (...w: AddressWords) => boolean, text: string) => f(...(parseAddress(text) as AddressWords))
    expect([
      is(isMulticast, '224.0.0.1'),
      is(isMulticast, 'ff02::1'),
      is(isMulticast, '223.255.255.255'),
      is(isMulticast, 'fe80::1'),
    ]).toEqual([true, true, false, false])
    expect([is(isLoopback, '127.255.0.1'), is(isLoopback, '::1'), is(isLoopback, '128.0.0.1'), is(isLoopback, '::2')]).toEqual([
      true,
      true,
      false,
      false,
    ])
    expect([is(isUnspecified, '0.1.2.3'), is(isUnspecified, '::'), is(isUnspecified, '1.0.0.0'), is(isUnspecified, '::1')]).toEqual([
      true,
      true,
      false,
      false,
    ])
    expect([
      is(isLinkLocal, '169.254.9.9'),
      is(isLinkLocal, 'febf::1'),
      is(isLinkLocal, '169.255.0.0'),
      is(isLinkLocal, 'fec0::1'),
    ]).toEqual([true, true, false, false])
    expect([is(isBroadcast, '255.255.255.255'), is(isBroadcast, '255.255.255.254')]).toEqual([true, false])
  })
})

describe('checksum', () => {
  test('of any bytes at any offset as the naive sum', () => {
    const prng = new Prng(4)
    const bytes = new Uint8Array(70_000)
    for (let i = 0; i < bytes.length; i++) bytes[i] = prng.chance(0.1) ? 0xff : prng.random32()
    for (let i = 0; i < 500; i++) {
      const at = prng.below(50)
      const end = at + (i < 20 ? 65_535 : prng.below(100))
      const seed = prng.below(0x10000)
      // 0 and 0xffff are the same number in one's complement.
      expect(sumBytes(viewOf(bytes), at, end, seed) % 0xffff).toBe(naiveSum(bytes, at, end, seed) % 0xffff)
    }
    bytes.fill(0xff)
    expect(sumBytes(viewOf(bytes), 0, 65_575, 0xffff)).toBe(naiveSum(bytes, 0, 65_575, 0xffff))
  })
  test('RFC 1071 §3: the example', () => {
    expect(sumBytes(viewOf(bytesOf('0001 f203 f4f5 f6f7')), 0, 8, 0)).toBe(0xddf2)
  })
  test('the IPv4 pseudo-header leaves the mapped prefix out', () => {
    expect(pseudoSum(true, 0, 0, 0xffff, 0x0a000001, 0, 0, 0xffff, 0x0a000002, 6, 20)).toBe(0x0a00 + 1 + 0x0a00 + 2 + 6 + 20)
    expect(pseudoSum(false, -1, -1, -1, -1, -1, -1, -1, -1, 17, 0x10001)).toBe(naiveSum(bytesOf('ff'.repeat(32) + '0001000100000011')))
  })
})

describe('IP headers', () => {
  const ip = new IpPacket()
  const read = (bytes: Uint8Array, length = bytes.length, trust = false) => readIp(viewOf(bytes), 0, length, trust, ip)

  test('what is written is read, IPv4 and IPv6, and the checksum is right', () => {
    const v4 = new Uint8Array(60)
    writeIpv4(viewOf(v4), 0, 60, 6, 0x0a000001, -1)
    expect(naiveSum(v4, 0, 20)).toBe(0xffff)
    expect(read(v4)).toBe(IP_OK)
    expect([ip.v4, ip.proto, ip.payload, ip.end, ip.s3, ip.d3, ip.fragment]).toEqual([true, 6, 20, 60, 0x0a000001, -1, false])
    const v6 = new Uint8Array(60)
    writeIpv6(viewOf(v6), 0, 20, 17, 1, 2, 3, 4, 5, 6, 7, -8)
    expect(read(v6)).toBe(IP_OK)
    expect([ip.v4, ip.proto, ip.payload, ip.end, ip.s0, ip.d3]).toEqual([false, 17, 40, 60, 1, -8])
  })
  test('lengths that contradict each other are malformed, the row’s rules where it says so', () => {
    const v4 = new Uint8Array(60)
    writeIpv4(viewOf(v4), 0, 61, 6, 1, 2)
    expect(read(v4)).toBe(IP_MALFORMED)
    expect(read(v4, 60, true)).toBe(IP_OK)
    expect(read(v4, 19)).toBe(IP_MALFORMED)
    v4[0] = 0x44
    expect(read(v4)).toBe(IP_MALFORMED)
    v4[0] = 0x4f
    expect(read(v4, 40)).toBe(IP_MALFORMED)
    v4[0] = 0x55
    expect(read(v4)).toBe(IP_MALFORMED)
    const v6 = new Uint8Array(60)
    writeIpv6(viewOf(v6), 0, 21, 6, 1, 2, 3, 4, 5, 6, 7, 8)
    expect(read(v6)).toBe(IP_MALFORMED)
    expect(read(v6, 39)).toBe(IP_MALFORMED)
  })
  test('a wrong IPv4 header checksum, a mapped address over IPv6', () => {
    const v4 = new Uint8Array(40)
    writeIpv4(viewOf(v4), 0, 40, 6, 1, 2)
    v4[10] ^= 1
    expect(read(v4)).toBe(IP_BAD_CHECKSUM)
    const v6 = new Uint8Array(60)
    writeIpv6(viewOf(v6), 0, 20, 6, 0, 0, 0xffff, 4, 5, 6, 7, 8)
    expect(read(v6)).toBe(IP_MARTIAN)
  })
  const packet6 = (first: number, ...headers: number[][]) => {
    const body = headers.flat()
    const bytes = new Uint8Array(40 + body.length)
    writeIpv6(viewOf(bytes), 0, body.length, first, 1, 2, 3, 4, 5, 6, 7, 8)
    bytes.set(body, 40)
    return bytes
  }
  const ext = (next: number, ...rest: number[]) => [next, 0, ...rest, ...new Array(6 - rest.length).fill(0)]
  const tcp = new Array(20).fill(0)
  const problem = () => [ip.problemCode, ip.problemAt]

  test('extension headers: walked, bounded, cut short', () => {
    expect(read(packet6(0, ext(60), ext(6), tcp))).toBe(IP_OK)
    expect([ip.proto, ip.payload, ip.nextAt]).toEqual([6, 56, 48])
    expect(read(packet6(43, ext(6, 0, 0), tcp))).toBe(IP_OK)
    expect(read(packet6(60, [6, 200, 0, 0, 0, 0, 0, 0], tcp))).toBe(IP_BAD_EXTENSION)
    expect(read(packet6(60, [6, 0]))).toBe(IP_BAD_EXTENSION)
    expect(read(packet6(60, ...new Array(9).fill(ext(60)), tcp))).toBe(IP_BAD_EXTENSION)
  })
  test('RFC 8200 §4, §4.4: hop-by-hop not at once, a route that leads on: a parameter problem that points at it', () => {
    expect([read(packet6(60, ext(0), ext(6), tcp)), ...problem()]).toEqual([IP_PROBLEM, 1, 40])
    expect([read(packet6(43, ext(6, 0, 1), tcp)), ...problem()]).toEqual([IP_PROBLEM, 0, 42])
    expect(ip.proto).toBe(6) // what is behind it is known: no error about an error
  })
  test('RFC 8200 §4.2: unknown options are skipped, discarded or told, as their type says; RFC 2675: no jumbograms', () => {
    expect(read(packet6(0, ext(6, 0, 0, 0x1e, 2), tcp))).toBe(IP_OK)
    expect(read(packet6(0, ext(6, 5, 2), tcp))).toBe(IP_OK) // router alert
    expect(read(packet6(0, ext(6, 1, 4, 0xff, 0xff, 0xff, 0xff), tcp))).toBe(IP_OK) // PadN, whatever is in it
    expect(read(packet6(60, ext(6, 0, 0, 0x5e, 2), tcp))).toBe(IP_BAD_EXTENSION)
    for (const type of [0x9e, 0xde, 0xc2])
      expect([read(packet6(60, ext(6, 0, 0, type, 2), tcp)), ...problem()]).toEqual([IP_PROBLEM, 2, 44])
    expect(read(packet6(60, ext(6, 0, 0, 0, 0, 0x1e, 1), tcp))).toBe(IP_BAD_EXTENSION) // reaches beyond its header
    const jumbo = packet6(0, ext(6, 0xc2, 4), tcp)
    jumbo.fill(0, 4, 6)
    expect(read(jumbo)).toBe(IP_BAD_EXTENSION)
  })
  test('fragments: atomic ones are whole (RFC 6946); a first one has all headers (RFC 7112)', () => {
    expect(read(packet6(44, ext(6, 0, 0), tcp))).toBe(IP_OK)
    expect([ip.fragment, ip.payload]).toEqual([false, 48])
    expect(read(packet6(44, ext(17, 0x01, 0x09, 0, 0, 0, 5), tcp))).toBe(IP_OK)
    expect([ip.fragment, ip.fragmentOffset, ip.moreFragments, ip.identification]).toEqual([true, 0x108, true, 0x00000005])
    expect(read(packet6(44, ext(17, 0, 1), ext(0)))).toBe(IP_OK)
    expect([ip.proto, ip.payload]).toEqual([17, 48])
    expect([read(packet6(44, ext(6, 0, 1), ext(0))), ...problem()]).toEqual([IP_PROBLEM, 3, 0])
    expect([read(packet6(44, ext(60, 0, 1), [17, 1, 0, 0, 0, 0, 0, 0])), ...problem()]).toEqual([IP_PROBLEM, 3, 0])
  })
  test('IPv4 options are skipped; a source route is dropped (RFC 7126); lengths that cannot be are a problem that points at them', () => {
    const withOptions = (...options: number[]) => {
      const bytes = new Uint8Array(20 + options.length + 20)
      writeIpv4(viewOf(bytes), 0, bytes.length, 6, 1, 2)
      bytes[0] = 0x45 + options.length / 4
      bytes.set(options, 20)
      return fillChecksums(bytes)
    }
    expect(read(withOptions(148, 4, 0, 0, 1, 1, 1, 0))).toBe(IP_OK)
    expect(ip.payload).toBe(28)
    expect(read(withOptions(7, 7, 4, 0, 0, 0, 0, 0))).toBe(IP_OK) // record route: not recorded
    expect(read(withOptions(1, 131, 3, 4))).toBe(IP_SOURCE_ROUTE)
    expect(read(withOptions(137, 3, 4, 0))).toBe(IP_SOURCE_ROUTE)
    expect(read(withOptions(0, 131, 3, 4))).toBe(IP_OK) // behind the end of the list
    for (const [at, ...bad] of [
      [21, 7, 0, 0, 0],
      [21, 7, 1, 0, 0],
      [22, 1, 7, 5, 0],
      [23, 1, 1, 1, 7], // no room for its length
    ])
      expect([read(withOptions(...bad)), ...problem()]).toEqual([IP_PROBLEM, 0, at])
  })
})

describe('TCP and UDP headers', () => {
  test('a SYN of Linux, byte by byte', () => {
    const seg = new Segment()
    const bytes = bytesOf('9c40 0050 00000001 00000000 a002 faf0 0000 0000 020405b4 0402 080a 00000102 00000304 01 030307')
    expect(readSegment(viewOf(bytes), 0, bytes.length, seg)).toBe(true)
    expect([seg.srcPort, seg.dstPort, seg.seq, seg.flags, seg.wnd]).toEqual([40_000, 80, 1, 2, 64_240])
    expect([seg.mss, seg.sackPermitted, seg.hasTimestamps, seg.tsVal, seg.tsEcr, seg.wndShift]).toEqual([1460, true, true, 258, 772, 7])
    expect(segLen(seg)).toBe(1)
  })
  test('data offsets below 5 or beyond the segment are refused', () => {
    const seg = new Segment()
    const bytes = new Uint8Array(40)
    for (const words of [0, 1, 4, 11, 15]) {
      writeTcpHeader(viewOf(bytes), 0, 1, 2, 3, 4, words * 4, 16, 0)
      expect(readSegment(viewOf(bytes), 0, 40, seg)).toBe(false)
    }
    expect(readSegment(viewOf(bytes), 0, 19, seg)).toBe(false)
  })
  test('options written are read at odd offsets too', () => {
    const seg = new Segment()
    const bytes = new Uint8Array(101)
    const view = viewOf(bytes)
    let at = writeMss(view, 31 + 20, 1400)
    at = writeTimestamps(view, at, -5, 7)
    at = writeSack(view, at, Int32Array.of(1, 2, -4, -3), 2)
    writeTcpHeader(view, 31, 1, 2, -7, 4, at - 31, 16, 0)
    expect(readSegment(view, 31, at, seg)).toBe(true)
    expect([seg.seq, seg.mss, seg.tsVal, seg.tsEcr, seg.sackCount, ...seg.sack.subarray(0, 4)]).toEqual([-7, 1400, -5, 7, 2, 1, 2, -4, -3])
  })
  test('UDP lengths', () => {
    const udp = new UdpHeader()
    const bytes = bytesOf('0035 1234 000a 0000 0102 0304')
    expect(readUdp(viewOf(bytes), 0, bytes.length, false, udp)).toBe(true)
    expect([udp.srcPort, udp.dstPort, udp.data, udp.end]).toEqual([53, 0x1234, 8, 10]) // what lies behind is padding
    for (const length of [7, 13, 0]) {
      bytes[5] = length
      expect(readUdp(viewOf(bytes), 0, bytes.length, false, udp)).toBe(false)
    }
    expect(readUdp(viewOf(bytes), 0, bytes.length, true, udp)).toBe(true)
    expect(udp.end).toBe(12)
    expect(readUdp(viewOf(bytes), 0, 7, true, udp)).toBe(false)
  })
})

describe('print', () => {
  test('as tcpdump does', () => {
    const syn = new Uint8Array(44)
    const view = viewOf(syn)
    writeIpv4(view, 0, 44, 6, 0x0a000001, 0x0a000002)
    writeTcpHeader(view, 20, 4000, 80, 7, 0, 24, 2, 65_535)
    writeMss(view, 40, 1460)
    expect(printPacket(fillChecksums(syn))).toBe(
      'IP 10.0.0.1.4000 > 10.0.0.2.80: Flags [S], seq 7, win 65535, options [mss 1460], length 0',
    )
  })
  test('no bytes make it throw', () => {
    const prng = new Prng(5)
    for (let i = 0; i < 2000; i++) {
      const bytes = new Uint8Array(prng.below(120))
      for (let k = 0; k < bytes.length; k++) bytes[k] = prng.random32()
      if (bytes.length > 20) {
        bytes[0] = prng.chance(0.5) ? 0x45 : 0x60
        viewOf(bytes).setUint16(prng.chance(0.5) ? 2 : 4, bytes[0] === 0x45 ? bytes.length : bytes.length - 40)
        bytes[bytes[0] === 0x45 ? 9 : 6] = [1, 6, 17, 58, 44, 0][prng.below(6)]
        if (bytes[0] === 0x45) {
          viewOf(bytes).setUint16(10, 0)
          viewOf(bytes).setUint16(10, ~naiveSum(bytes, 0, 20) & 0xffff)
        }
      }
      expect(printPacket(bytes).length).toBeGreaterThan(0)
    }
  })
})
