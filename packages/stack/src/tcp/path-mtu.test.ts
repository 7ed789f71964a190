import { describe, expect, test } from 'vitest'
import type { Bytes } from '../memory/slab.js'
import { fillChecksums } from '../testing/oracle.js'
import { Pair } from '../testing/pair.js'
import { Script } from '../testing/script.js'
import type { Congestion } from './congestion.js'
import { Cubic } from './cubic.js'
import { NewReno } from './newreno.js'

/** What a router on the way would say about `packet`. */
function tooBig(packet: Bytes, mtu: number): Bytes {
  const v6 = packet[0] >> 4 === 6
  const headers = v6 ? 40 : 20
  const quote = packet.slice(0, headers + 8)
  const bytes = new Uint8Array(headers + 8 + quote.length)
  const view = new DataView(bytes.buffer)
  bytes.set(packet.subarray(0, headers))
  if (v6) {
    view.setUint16(4, 8 + quote.length)
    bytes[6] = 58
    bytes.copyWithin(24, 8, 24) // to whoever sent it,
    bytes.set([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfe], 8) // from a router
    bytes[40] = 2
    view.setUint32(44, mtu)
  } else {
    view.setUint16(2, bytes.length)
    bytes[9] = 1
    bytes.copyWithin(16, 12, 16)
    bytes.set([192, 0, 2, 254], 12)
    view.setUint16(20, 0x0304)
    view.setUint16(26, mtu)
  }
  bytes.set(quote, headers + 8)
  fillChecksums(bytes)
  return bytes
}

const payloads = (t: Script, headers: number) => t.outbox.splice(0).map(packet => packet.length - headers)

describe('path MTU (RFC 1191, RFC 8201)', () => {
  test('what was in flight goes again in smaller segments, and so does all that follows', () => {
    const t = new Script().establish('mss 1460')
    t.write(4000)
    const [first] = t.outbox.splice(0)
    t.inject(tooBig(first, 1000))
    expect(payloads(t, 40)).toEqual([960, 960, 960, 960, 160])
    expect(t.connection.congestion.cwnd).toBe(10 * 960) // ten segments, as before: no loss, no slow start
    expect(t.stack.stats.icmp).toBe(1)
    t.recv('A 1001:1001 ack 4001')
    t.write(2000)
    expect(payloads(t, 40)).toEqual([960, 960, 80])
  })
  test('IPv6', () => {
    const t = new Script({ v6: true }).establish('mss 1440')
    t.write(3000)
    const [first] = t.outbox.splice(0)
    t.inject(tooBig(first, 1280))
    expect(payloads(t, 60)).toEqual([1220, 1220, 560])
  })
  test('super-segments are cut anew', () => {
    const t = new Script({ offload: true }).establish('mss 1460,wscale 7')
    t.write(6000)
    const [first] = t.outbox.splice(0)
    t.inject(tooBig(first, 1000))
    t.drainSent()
    expect(t.connection.smss).toBe(960)
  })
  test.each([
    ['v4', false, 68, 552 - 40],
    ['v6', true, 68, 1280 - 60],
    ['a router that does not tell', false, 0, 1492 - 40],
  ])('%s: nobody makes segments smaller than the floor', (_, v6, mtu, smss) => {
    const t = new Script({ v6 }).establish('mss 1440')
    t.write(1000)
    const [first] = t.outbox.splice(0)
    t.inject(tooBig(first, mtu))
    expect(t.connection.smss).toBe(Math.min(smss, v6 ? 1440 : 1440))
  })
  test('a quotation of what is not in flight is forged: ignored (RFC 5927)', () => {
    const t = new Script().establish('mss 1460')
    t.write(1000)
    const [first] = t.outbox.splice(0)
    const forged = first.slice()
    new DataView(forged.buffer).setUint32(24, new DataView(first.buffer).getUint32(24) + 5000)
    t.inject(tooBig(forged, 600))
    t.recv('A 1001:1001 ack 1001')
    t.inject(tooBig(first, 600)) // acknowledged meanwhile
    expect(t.connection.smss).toBe(1460)
    expect(t.stack.stats.drops.icmp).toBe(2)
  })
  test('a larger MTU than the known one, a bad checksum, another port: ignored', () => {
    const t = new Script().establish('mss 1460')
    t.write(1000)
    const [first] = t.outbox.splice(0)
    t.inject(tooBig(first, 9000))
    const bad = tooBig(first, 1000)
    bad[22] ^= 1
    t.inject(bad)
    const other = first.slice()
    other[23] ^= 1
    t.inject(tooBig(other, 1000))
    expect(t.connection.smss).toBe(1460)
    expect([t.stack.stats.drops.icmp, t.stack.stats.drops.icmpChecksum]).toEqual([2, 1])
  })
})

test.each<Congestion>([new NewReno(1000), new Cubic(1000)])(
  '$name: the MTU grows while a recovery is on: it ends with a window of two segments all the same',
  cc => {
    cc.onLoss(4000, 0)
    cc.setSmss(8000)
    cc.cwnd = cc.ssthresh
    expect(cc.cwnd).toBeGreaterThanOrEqual(16_000)
  },
)

describe('black holes (RFC 2923 §2.1)', () => {
  const established = (segments: number) => {
    const pair = new Pair({ link: { delayMs: 5 }, device: { offload: false } })
    const stream = pair.connect()
    pair.until(() => stream.connected)
    stream.write(new Uint8Array(segments * 1448))
    return { pair, stream, arrived: () => pair.b.accepted[0]?.receivedBytes === segments * 1448 }
  }
  test('what is large never arrives, and nobody tells: smaller segments do', () => {
    const { pair, stream, arrived } = established(100)
    pair.ab.drop = packet => packet.length > 1100
    expect(pair.until(arrived, 60_000)).toBe(true)
    expect(stream.connection.smss).toBe(1006 - 52)
    expect(pair.a.stack.stats.tcpBlackHoles).toBe(1)
  })
  test('a peer that only stood still gets large ones again as soon as it is heard', () => {
    const { pair, stream, arrived } = established(2000)
    pair.clock.advance(15)
    pair.b.freeze(3000)
    expect(pair.until(arrived, 60_000)).toBe(true)
    expect(pair.a.stack.stats.tcpBlackHoles).toBe(1)
    expect(stream.connection.smss).toBe(1448)
  })
})
