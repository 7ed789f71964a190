// Errors: those that packets are answered with and those that are not, and what becomes of one that comes. RFC 792, RFC 4443.

import { describe, expect, test } from 'vitest'
import { bench, echo4, ip, udp } from './icmp.test-kit.js'
import { packetOk } from './testing/oracle.js'
import { parseAddress } from './wire/address.js'
import { Reported } from './wire/icmp.js'
import { printHex, printPacket } from './wire/print.js'

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
