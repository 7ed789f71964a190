// Pings: answered, handed over, and what the path said of those that went on. RFC 792, RFC 4443 §4.

import { describe, expect, test } from 'vitest'
import type { PathError } from './icmp.js'
import { bench, echo4, echo6, GATEWAY, ip } from './icmp.test-kit.js'
import { packetOk } from './testing/oracle.js'
import { parseAddress } from './wire/address.js'
import { printHex, printPacket } from './wire/print.js'

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
