import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { PathError } from './icmp.js'
import type { Bytes } from './memory/slab.js'
import type { StackOptions } from './options.js'
import { DROP, HANDLED, PASS } from './stack.js'
import { fillChecksums, layoutOf, packetOk } from './testing/oracle.js'
import { Endpoint } from './testing/pair.js'
import { Prng } from './testing/prng.js'
import { VirtualClock } from './testing/virtual-clock.js'
import { parseAddress } from './wire/address.js'
import { Reported } from './wire/icmp.js'
import { printHex, printPacket } from './wire/print.js'

function bench(options: StackOptions = {}) {
  const clock = new VirtualClock(1000)
  const endpoint = new Endpoint(clock, new Prng(1), options)
  const out: Bytes[] = []
  endpoint.device.ondeliver = packet => out.push(packet)
  const { stack } = endpoint
  return {
    clock,
    endpoint,
    stack,
    /** What is answered to a packet. */
    give(packet: Bytes): string[] {
      out.length = 0
      endpoint.device.inject(packet)
      clock.advance(0)
      for (const answer of out) expect(packetOk(answer)).toBe(true)
      const { rowsIn, accounted } = stack.stats
      expect(accounted).toBe(rowsIn)
      return out.map(answer => printPacket(answer))
    },
    out,
  }
}

interface Packet {
  from?: string
  to?: string
  ttl?: number
  proto?: number
  body?: number[]
  /** IPv4: flags and offset, and options, whose length is a multiple of 4. */
  fragment?: number
  options?: number[]
}

function ip({ from, to = '192.0.2.9', ttl = 64, proto = 17, body = [], fragment = 0, options = [] }: Packet): Bytes {
  const v6 = to.includes(':')
  const source = parseAddress(from ?? (v6 ? '2001:db8::1' : '10.0.0.1')) as number[]
  const destination = parseAddress(to) as number[]
  const header = v6 ? 40 : 20 + options.length
  const packet = new Uint8Array(header + body.length)
  const view = new DataView(packet.buffer)
  packet.set(options, 20)
  packet.set(body, header)
  packet[0] = v6 ? 0x60 : 0x45 + options.length / 4
  view.setUint16(v6 ? 4 : 2, v6 ? body.length : packet.length)
  packet[v6 ? 6 : 9] = proto
  packet[v6 ? 7 : 8] = ttl
  if (!v6) view.setUint16(6, fragment)
  for (let i = v6 ? 0 : 3; i < 4; i++) {
    view.setInt32(v6 ? 8 + 4 * i : 12, source[i])
    view.setInt32(v6 ? 24 + 4 * i : 16, destination[i])
  }
  return layoutOf(packet).protocol >= 0 ? fillChecksums(packet) : packet
}

const udp = [0x13, 0x88, 0, 80, 0, 10, 0, 0, 1, 2]
const echo4 = [8, 0, 0, 0, 0x12, 0x34, 0, 7, 0xaa, 0xbb, 0xcc]
const echo6 = [128, ...echo4.slice(1)]
const GATEWAY = '192.0.0.8'
const REPLY = 'echo reply, id 4660, seq 7, length 11'

describe('echo', () => {
  test('to the gateway, and to what is served here, is answered with what was sent; link-local ones too', () => {
    const t = bench()
    t.stack.local = (_0, _1, _2, w3) => w3 === (0xc6120002 | 0)
    expect(t.give(ip({ to: GATEWAY, proto: 1, body: echo4 }))).toEqual([`IP 192.0.0.8 > 10.0.0.1: ICMP ${REPLY}`])
    expect(printHex(t.out[0], 24)).toBe('12 34 00 07 aa bb cc')
    expect(t.give(ip({ to: 'fe80::1', proto: 58, body: echo6 }))).toEqual([`IP6 fe80::1 > 2001:db8::1: ICMP6 ${REPLY}`])
    expect(t.give(ip({ to: '198.18.0.2', proto: 1, body: echo4, ttl: 1 }))).toEqual([`IP 198.18.0.2 > 10.0.0.1: ICMP ${REPLY}`])
    expect(t.stack.stats.icmp).toBe(3)
  })
  test('to anybody else without a listener is refused as prohibited, with what identifies the ping; with one it is told, whole', () => {
    const t = bench()
    expect(t.give(ip({ proto: 1, body: echo4 }))).toEqual([
      'IP 192.0.2.9 > 10.0.0.1: ICMP type 3 code 13, length 36, about (10.0.0.1 > 192.0.2.9)', // it has no ports
    ])
    expect(printHex(t.out[0], 48)).toBe('08 00 00 00 12 34 00 07')
    expect(t.give(ip({ to: '2001:db8::9', proto: 58, body: echo6 }))).toEqual([expect.stringContaining('ICMP6 type 1 code 1')])
    expect(printHex(t.out[0], 88)).toBe('80 00 00 00 12 34 00 07')
    const seen: string[] = []
    t.endpoint.device.inject(ip({ proto: 1, body: echo4 }))
    t.endpoint.onecho = e => seen.push(`${e.word >>> 16} ${e.word & 0xffff} ${e.ttl} ${printHex(e.slab!.bytes, e.start, e.end)}`)
    t.clock.advance(0)
    expect(seen).toEqual([`${0x1234} 7 64 aa bb cc`])
    expect(t.stack.slabs.inUse).toBe(1)
  })
  test('in fragments, and answered in fragments: 65,507 bytes both ways', () => {
    const t = bench()
    const body = [8, 0, 0, 0, 0, 1, 0, 2, ...Array.from({ length: 65_507 }, (_, i) => (i * 7) & 255)]
    const whole = ip({ to: GATEWAY, proto: 1, body })
    const sum = [whole[22], whole[23]]
    body.splice(2, 2, ...sum)
    for (let at = 0; at < body.length; at += 1480) {
      const more = at + 1480 < body.length ? 0x2000 : 0
      t.endpoint.device.inject(ip({ to: GATEWAY, proto: 1, body: body.slice(at, at + 1480), fragment: more | (at / 8) }))
    }
    t.clock.advance(0)
    expect(t.out.length).toBe(Math.ceil(body.length / 1480))
    const back = t.out.flatMap(packet => [...packet.subarray(20)])
    expect(back.slice(8)).toEqual(body.slice(8))
    expect(printHex(t.out[0], 20, 22)).toBe('00 00')
    expect(back.length).toBe(body.length)
  })
  test('more than a turn hands over are dropped and counted; a wrong checksum and a short one as well', () => {
    const t = bench()
    for (let i = 0; i < 400; i++) t.endpoint.device.inject(ip({ proto: 1, body: echo4 }))
    t.clock.advance(0)
    expect(t.stack.stats.icmp + t.stack.stats.drops.icmpOverflow).toBe(400)
    const bad = ip({ proto: 1, body: echo4 })
    bad[30] ^= 1
    expect([t.give(bad), t.give(ip({ proto: 1, body: [8, 0, 0, 0] }))]).toEqual([[], []])
    expect([t.stack.stats.drops.icmpChecksum, t.stack.stats.drops.icmpMalformed]).toEqual([1, 1])
  })
})

describe('we are one hop', () => {
  test.each([0, 1])('a packet whose hop limit is %i has not arrived: time exceeded from the gateway, with what it was', ttl => {
    const t = bench()
    const packet = ip({ ttl, body: udp })
    expect(t.give(packet)).toEqual(['IP 192.0.0.8 > 10.0.0.1: ICMP type 11 code 0, length 38'])
    expect(printHex(t.out[0], 28)).toBe(printHex(packet))
    expect(t.give(ip({ to: '2001:db8::9', ttl, body: udp }))).toEqual(['IP6 fe80::1 > 2001:db8::1: ICMP6 type 3 code 0, length 58'])
    expect(t.give(ip({ ttl, proto: 1, body: echo4 }))).toEqual(['IP 192.0.0.8 > 10.0.0.1: ICMP type 11 code 0, length 39'])
    expect(t.stack.stats.drops.ttl).toBe(3)
    expect(t.give(ip({ ttl: 2, body: udp }))).toEqual([])
    expect(t.stack.stats.udp).toBe(1)
  })
  test('gateways can be chosen, and are checked', () => {
    const t = bench({ gateway4: '198.18.0.2' })
    expect(t.give(ip({ ttl: 1, body: udp }))[0]).toMatch(/^IP 198\.18\.0\.2 > /)
    expect(() => bench({ gateway6: '192.0.2.1' })).toThrow("a gateway is an IPv6 address, not '192.0.2.1'")
  })
})

describe('what nobody here speaks', () => {
  test('IPv4: protocol unreachable; IPv6: a parameter problem that points at the next header; nothing behind "no next header"', () => {
    const t = bench()
    expect(t.give(ip({ proto: 47, body: [1, 2, 3, 4] }))).toEqual([expect.stringContaining('IP 192.0.2.9 > 10.0.0.1: ICMP type 3 code 2')])
    expect(t.give(ip({ proto: 58, body: [1, 2, 3, 4] }))).toEqual([expect.stringContaining('code 2')])
    expect(t.give(ip({ to: '2001:db8::9', proto: 132, body: [1, 2, 3, 4] }))).toEqual([expect.stringContaining('ICMP6 type 4 code 1')])
    expect(new DataView(t.out[0].buffer).getUint32(44)).toBe(6)
    expect(t.give(ip({ to: '2001:db8::9', proto: 60, body: [132, 0, 1, 4, 0, 0, 0, 0, 1] }))).toHaveLength(1)
    expect(new DataView(t.out[0].buffer).getUint32(44)).toBe(40)
    expect(t.give(ip({ to: '2001:db8::9', proto: 59, body: [1] }))).toEqual([])
    expect(t.stack.stats.drops.protocol).toBe(5)
  })
  test('an unknown option that wants it, a route that leads on: a parameter problem; source routes and jumbograms: silence', () => {
    const t = bench()
    expect(t.give(ip({ to: '2001:db8::9', proto: 60, body: [17, 0, 0xc9, 1, 0, 1, 1, 0, ...udp] }))).toEqual([
      expect.stringContaining('ICMP6 type 4 code 2'),
    ])
    expect(t.give(ip({ to: '2001:db8::9', proto: 43, body: [17, 0, 0, 1, 0, 0, 0, 0, ...udp] }))).toEqual([
      expect.stringContaining('ICMP6 type 4 code 0'),
    ])
    expect(t.give(ip({ to: '2001:db8::9', proto: 60, body: [58, 0, 0xc9, 1, 0, 1, 1, 0, 1, 4, 0, 0] }))).toEqual([]) // about an error
    expect(t.stack.stats.drops.ipv6Extension).toBe(3)
    expect(t.stack.stats.icmpWithheld).toBe(1)
  })
  test('an error quotes at most 576 bytes of IPv4, 1,280 of IPv6, its own headers included', () => {
    const t = bench({ mtu: 9000 })
    t.give(ip({ proto: 47, body: new Array(1400).fill(1) }))
    expect(t.out[0].length).toBe(576)
    t.give(ip({ to: '2001:db8::9', proto: 132, body: new Array(1400).fill(1) }))
    expect(t.out[0].length).toBe(1280)
  })
})

describe('an IPv4 option whose length cannot be', () => {
  const bad = [1, 7, 9, 4]
  test('is a parameter problem that points at it, from the destination, with the packet (RFC 1122 §3.2.2.5)', () => {
    const t = bench()
    const packet = ip({ options: bad, body: udp })
    expect(t.give(packet)).toEqual([expect.stringContaining('IP 192.0.2.9 > 10.0.0.1: ICMP type 12 code 0')])
    expect(printHex(t.out[0], 24, 28)).toBe('16 00 00 00')
    expect(t.out[0].slice(28)).toEqual(packet)
    expect([t.stack.stats.drops.ipMalformed, t.stack.stats.drops.ipv6Extension]).toEqual([1, 0])
  })
  test('is not told of errors, later fragments, what went to many, or came from nobody; nor beyond the rate', () => {
    const t = bench({ icmpErrorRate: 2, multicast: true })
    expect(t.give(ip({ options: bad, proto: 1, body: [3, 1, 0, 0, 0, 0, 0, 0] }))).toEqual([])
    expect(t.give(ip({ options: bad, body: udp, fragment: 1 }))).toEqual([])
    expect(t.give(ip({ options: bad, body: udp, to: '224.0.0.251' }))).toEqual([])
    expect(t.give(ip({ options: bad, body: udp, from: '127.0.0.1' }))).toEqual([])
    expect([1, 2, 3, 4].flatMap(() => t.give(ip({ options: bad, body: udp })))).toHaveLength(2)
    expect([t.stack.stats.icmpWithheld, t.stack.stats.drops.replyOverflow]).toEqual([3, 2])
  })
})

describe('a datagram that never becomes whole', () => {
  const first6 = [17, 0, 0, 1, 0, 0, 0, 9, ...udp.slice(0, 8)]
  test('is "time exceeded" code 1 after a minute, from the destination, with the fragment that came first', () => {
    const t = bench()
    const first = ip({ body: udp.slice(0, 8), fragment: 0x2000, options: [1, 1, 1, 0] })
    t.give(first)
    const second = ip({ to: '2001:db8::9', proto: 44, body: first6 })
    t.give(second)
    t.clock.advance(59_999)
    expect(t.out).toEqual([])
    t.clock.advance(1)
    expect(t.out.map(answer => printPacket(answer))).toEqual([
      expect.stringContaining('IP 192.0.2.9 > 10.0.0.1: ICMP type 11 code 1'),
      expect.stringContaining('IP6 2001:db8::9 > 2001:db8::1: ICMP6 type 3 code 1'),
    ])
    expect(t.out.map(answer => packetOk(answer))).toEqual([true, true])
    expect(t.out[0].slice(28)).toEqual(first)
    expect(t.out[1].slice(48)).toEqual(second)
    expect(t.stack.stats.icmpErrors).toBe(2)
  })
  test('is not told without the first fragment (RFC 1122 §3.3.2, RFC 8200 §4.5), nor of an error', () => {
    const t = bench()
    t.give(ip({ body: udp.slice(0, 8), fragment: 0x2001 }))
    t.give(ip({ proto: 1, body: [3, 1, 0, 0, 0, 0, 0, 0], fragment: 0x2000 }))
    t.clock.advance(60_000)
    expect(t.out).toEqual([])
    expect([t.stack.stats.drops.reassembly, t.stack.stats.icmpWithheld]).toEqual([2, 1])
  })
})

describe('what the path says of a packet that went on', () => {
  const words = (text: string) => parseAddress(text) as [number, number, number, number]
  const end = (text: string, port = 0) => [...words(text), port] as const
  const pinged = (t: ReturnType<typeof bench>, error: Partial<PathError>, v6 = false, payload = new Uint8Array(2000).fill(7)) => {
    t.out.length = 0
    const [from, to] = v6 ? [end('2001:db8::1'), end('2001:db8::9')] : [end('10.0.0.1'), end('192.0.2.9')]
    t.stack.icmp.echoFromPath({ type: 11, code: 0, mtu: 0, by: null, ...error }, !v6, from, to, 0x12340007, payload, t.clock.now)
    t.endpoint.driver.wake()
    t.clock.advance(0)
    for (const answer of t.out) expect(packetOk(answer)).toBe(true)
    return t.out.map(answer => printPacket(answer))
  }
  test('comes from who said it, with its hop limit, and quotes the ping as it was, as far as an error may', () => {
    const t = bench()
    expect(pinged(t, { by: words('203.0.113.7'), ttl: 61 })).toEqual([
      expect.stringContaining('IP 203.0.113.7 > 10.0.0.1: ICMP type 11 code 0'),
    ])
    expect([t.out[0].length, t.out[0][8]]).toEqual([576, 61])
    expect(printHex(t.out[0], 28 + 12, 28 + 30)).toBe('0a 00 00 01 c0 00 02 09 08 00 00 00 12 34 00 07 07 07')
    expect(new DataView(t.out[0].buffer).getUint16(30)).toBe(2028)
    expect(pinged(t, { type: 3, by: words('2001:db8:7::7') }, true)).toEqual([
      expect.stringContaining('IP6 2001:db8:7::7 > 2001:db8::1: ICMP6 type 3 code 0'),
    ])
    expect([t.out[0].length, t.out[0][7]]).toEqual([1280, 64])
    expect(printHex(t.out[0], 48 + 40, 48 + 50)).toBe('80 00 00 00 12 34 00 07 07 07')
  })
  test('comes from the gateway where this machine said it; "too big" has its MTU', () => {
    const t = bench()
    expect(pinged(t, { type: 3, code: 4, mtu: 1400 })[0]).toContain(`IP ${GATEWAY} > 10.0.0.1: ICMP type 3 code 4`)
    expect(printHex(t.out[0], 24, 28)).toBe('00 00 05 78')
    expect(pinged(t, { type: 2, mtu: 1400 }, true)[0]).toContain('IP6 fe80::1 > 2001:db8::1: ICMP6 type 2 code 0')
    expect(printHex(t.out[0], 44, 48)).toBe('00 00 05 78')
    pinged(t, { type: 11, mtu: 1400 })
    expect(printHex(t.out[0], 24, 28)).toBe('00 00 00 00')
  })
  test('is nothing but unreachable, time exceeded and too big, and no more than the rate', () => {
    const t = bench({ icmpErrorRate: 2 })
    for (const type of [0, 5, 8, 12, 1, 2]) expect(pinged(t, { type })).toEqual([])
    for (const type of [0, 4, 128, 129, 11, 137]) expect(pinged(t, { type }, true)).toEqual([])
    expect(t.stack.stats.icmpWithheld).toBe(12)
    expect([1, 2, 3].flatMap(() => pinged(t, {}))).toHaveLength(2)
  })
})

describe('an error from the application about a datagram of ours', () => {
  const words = (text: string) => parseAddress(text) as [number, number, number, number]
  /** It quotes what went from 192.0.2.9:80 to the application's port 5000. */
  const about = (type: number, code: number, port = 5000) => [
    ...[type, code, 0, 0, 0, 0, 0, 0],
    ...ip({ from: '192.0.2.9', to: '10.0.0.1', body: [0, 80, port >> 8, port & 255, 0, 9, 0, 0, 1] }).slice(0, 28),
  ]
  test('is told to its flow, which goes on (RFC 4787 REQ-12); without a flow, or of another kind, it is counted', () => {
    const t = bench()
    const told: string[] = []
    t.endpoint.onundelivered = ({ flow, from, type, code }) => told.push(`${flow.srcPort} ${from[3] >>> 0} ${from[4]} ${type}/${code}`)
    t.give(ip({ body: udp }))
    t.give(ip({ proto: 1, body: about(3, 3) }))
    expect(told).toEqual([`5000 ${words('192.0.2.9')[3] >>> 0} 80 3/3`])
    t.give(ip({ proto: 1, body: about(3, 13) }))
    expect([told.length, t.stack.udp.flows.size, t.stack.stats.icmp]).toEqual([2, 1, 2])
    for (const body of [about(3, 3, 5001), about(3, 4), about(11, 0), about(3, 3).slice(0, 30)]) t.give(ip({ proto: 1, body }))
    expect([told.length, t.stack.stats.drops.icmp]).toEqual([2, 4])
  })
  test('over IPv6 as well', () => {
    const t = bench()
    const told: number[] = []
    t.endpoint.onundelivered = ({ flow, type, code }) => told.push(flow.srcPort, type, code)
    t.give(ip({ to: '2001:db8::9', body: udp }))
    const quoted = ip({ from: '2001:db8::9', to: '2001:db8::1', body: [0, 80, 0x13, 0x88, 0, 9, 0, 0, 1] })
    t.give(ip({ to: '2001:db8::9', proto: 58, body: [1, 4, 0, 0, 0, 0, 0, 0, ...quoted] }))
    expect(told).toEqual([5000, 1, 4])
  })
  test('no more than 512 a turn', () => {
    const t = bench()
    let told = 0
    t.endpoint.onundelivered = () => told++
    t.give(ip({ body: udp }))
    const [, , w2, d3] = words('10.0.0.1')
    const reported = Object.assign(new Reported(), { type: 3, code: 3, proto: 17, s2: w2, s3: 1, d2: w2, d3, dstPort: 5000 })
    for (let turn = 0; turn < 2; turn++) {
      const taken = Array.from({ length: 600 }, () => t.stack.udp.undelivered(reported))
      expect(taken.filter(Boolean).length).toBe(512)
      t.endpoint.driver.wake()
      t.clock.advance(0)
      expect(told).toBe(512 * (turn + 1))
    }
  })
})

describe('no error is sent', () => {
  test('about an error, a later fragment, or what went to many; and it is counted', () => {
    const t = bench({ multicast: true })
    expect(t.give(ip({ ttl: 1, proto: 1, body: [3, 1, 0, 0, 0, 0, 0, 0] }))).toEqual([])
    expect(t.give(ip({ to: '2001:db8::9', ttl: 1, proto: 58, body: [1, 4, 0, 0, 0, 0, 0, 0] }))).toEqual([])
    expect(t.give(ip({ ttl: 1, body: udp, fragment: 1 }))).toEqual([])
    expect(t.give(ip({ ttl: 1, body: udp, fragment: 0x2000 }))).toHaveLength(1)
    const end = (text: string) => [...(parseAddress(text) as [number, number, number, number]), 9] as const
    t.stack.udp.reject(true, end('10.0.0.1'), end('224.0.0.251'), 2, t.clock.now)
    expect(t.stack.wantsPoll).toBe(false)
    expect(t.stack.stats.icmpWithheld).toBe(4)
  })
  test('beyond the rate, which refills', () => {
    const t = bench({ icmpErrorRate: 3 })
    const answers = () => [1, 2, 3, 4, 5].flatMap(() => t.give(ip({ proto: 47, body: [1] }))).length
    expect(answers()).toBe(3)
    t.clock.advance(400)
    expect(answers()).toBe(1)
    expect(t.stack.stats.drops.replyOverflow).toBe(6)
    expect(t.stack.stats.icmpErrors).toBe(4)
  })
})

describe('multicast, broadcast, link-local', () => {
  const all = ['224.0.0.251', '255.255.255.255', 'ff02::fb', '169.254.1.2', 'fe80::9']
  test('are dropped and counted, and cost nothing else', () => {
    const t = bench()
    for (const to of all) expect(t.give(ip({ to, body: udp }))).toEqual([])
    expect([t.stack.stats.drops.multicast, t.stack.stats.drops.linkLocal, t.stack.udp.flows.size]).toEqual([3, 2, 0])
  })
  test('with the option their datagrams are delivered, with whatever hop limit; connections and pings to many are not', () => {
    const t = bench({ multicast: true })
    let got = 0
    t.endpoint.ondatagram = () => got++
    for (const to of all) t.give(ip({ to, ttl: 1, body: udp }))
    expect(got).toBe(5)
    const syn = [0x13, 0x88, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 1, 0, 0, 0, 0, 0]
    expect(t.give(ip({ to: '224.0.0.1', proto: 6, body: syn }))).toEqual([])
    expect(t.give(ip({ to: '224.0.0.1', proto: 1, body: echo4 }))).toEqual([])
    expect(t.stack.stats.drops.multicast).toBe(2)
    expect(t.give(ip({ to: '169.254.1.2', proto: 6, body: syn }))).toHaveLength(1)
  })
})

describe('the hook', () => {
  test('sees every row first, passes, drops and handles them; its packets leave as they are', () => {
    const t = bench()
    const seen: number[] = []
    t.stack.hook = (slab, start, length) => {
      const proto = slab.bytes[start + 9]
      seen.push(length)
      if (proto === 47) t.stack.write(ip({ from: '192.0.2.9', to: '10.0.0.1', proto: 47, body: [9] }))
      return proto === 47 ? HANDLED : proto === 17 ? DROP : PASS
    }
    expect(t.give(ip({ proto: 47, body: [1] }))).toEqual(['IP 192.0.2.9 > 10.0.0.1: protocol 47, length 1'])
    expect(t.give(ip({ body: udp }))).toEqual([])
    expect(t.give(ip({ proto: 132, body: [1] }))).toHaveLength(1)
    expect(seen).toEqual([21, 30, 21])
    expect([t.stack.stats.handled, t.stack.stats.drops.hook, t.stack.stats.drops.protocol]).toEqual([1, 1, 1])
  })
  test('what is no whole packet, or too large, is refused at once; a full queue answers false', () => {
    const { stack } = bench({ udpSendBudget: 4000 })
    const packet = ip({ body: udp })
    for (const bad of [packet.slice(0, 29), Uint8Array.of(...packet, 0), new Uint8Array(0), ip({ body: new Array(1481).fill(0) })])
      expect(() => stack.write(bad)).toThrow(expect.objectContaining({ code: 'ERR_TUN_PACKET' }))
    let taken = 0
    while (stack.write(packet)) taken++
    expect(taken).toBe(10)
    expect(stack.stats.drops.packetSend).toBe(1)
  })
})

describe('whatever comes', () => {
  /** Bytes that are somewhere between noise and a packet. */
  const body = fc.oneof(
    fc.uint8Array({ maxLength: 80 }),
    fc.constantFrom(udp, echo4, echo6).map(list => Uint8Array.from(list)),
  )
  const address4 = fc.constantFrom('192.0.2.9', GATEWAY, '224.0.0.1', '169.254.1.1', '255.255.255.255', '0.0.0.0', '127.0.0.1', '10.0.0.1')
  const address6 = fc.constantFrom('2001:db8::9', 'fe80::1', 'fe80::7', 'ff02::1', '::', '::1', '2001:db8::1')
  const proto = fc.oneof(fc.constantFrom(0, 1, 6, 17, 43, 44, 47, 58, 59, 60), fc.nat(255))
  const packet = fc
    .record({
      to: fc.oneof(address4, address6),
      ttl: fc.constantFrom(0, 1, 2, 64),
      proto,
      body,
      fragment: fc.constantFrom(0, 0x4000, 0x2000, 7),
    })
    .map(({ body: bytes, ...rest }) => ip({ ...rest, body: [...bytes] }))
  const mutated = fc.tuple(packet, fc.array(fc.tuple(fc.nat(120), fc.nat(255)), { maxLength: 3 })).map(([bytes, changes]) => {
    for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value
    return bytes
  })
  const anything = fc.oneof(
    packet,
    mutated,
    fc.uint8Array({ maxLength: 100 }).map(bytes => new Uint8Array(bytes)),
  )

  test('bytes cause at most one answer and no exception, and every row is accounted for', () => {
    fc.assert(
      fc.property(anything, fc.boolean(), (bytes, multicast) => {
        const t = bench({ multicast })
        t.endpoint.onrequest = stream => stream.connection.reject('host-unreachable')
        t.endpoint.ondatagram = d => {
          const source = [d.s0, d.s1, d.s2, d.s3, d.srcPort]
          t.stack.udp.reject(d.v4, source, [d.d0, d.d1, d.d2, d.d3, d.dstPort], d.end - d.start, t.clock.now)
        }
        expect(t.give(bytes as Bytes).length).toBeLessThanOrEqual(1)
      }),
      { numRuns: 1500, seed: 6 },
    )
  })
})
