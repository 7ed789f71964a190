import { describe, expect, test } from 'vitest'
import { CSUM_PARTIAL, GSO_UDP } from '../memory/packet-batch.js'
import type { Bytes } from '../memory/slab.js'
import type { StackOptions } from '../options.js'
import { fillChecksums, headerChecksumOk, IPPROTO_UDP, layoutOf, naiveSum, packetOk } from '../testing/oracle.js'
import { Endpoint } from '../testing/pair.js'
import { Prng } from '../testing/prng.js'
import { VirtualClock } from '../testing/virtual-clock.js'
import { formatAddress, parseAddress } from '../wire/address.js'
import { printHex, printPacket } from '../wire/print.js'
import type { UdpFlow } from './flow.js'
import { MAX_DATAGRAM } from './udp.js'

type End = readonly [number, number, number, number, number]

function end(address: string, port: number): End {
  return [...(parseAddress(address) as [number, number, number, number]), port]
}

function bench(options: StackOptions = {}, mtu = 1500) {
  const clock = new VirtualClock(2 ** 31 - 5000 + 0.1)
  const endpoint = new Endpoint(clock, new Prng(1), options, { mtu })
  const out: Bytes[] = []
  const got: { text: string; flow: UdpFlow | null; bytes: Bytes }[] = []
  const ended: UdpFlow[] = []
  endpoint.device.ondeliver = packet => out.push(packet)
  endpoint.ondatagram = d => {
    const text = `${formatAddress(d.s0, d.s1, d.s2, d.s3)}:${d.srcPort} > ${formatAddress(d.d0, d.d1, d.d2, d.d3)}:${d.dstPort}`
    got.push({ text, flow: d.flow, bytes: d.slab!.bytes.slice(d.start, d.end) })
  }
  endpoint.onflowended = flow => ended.push(flow)
  const send = (from: string, to: string, payload: Bytes, gso = 0) => {
    const [s, sp] = from.split('|')
    const [d, dp] = to.split('|')
    const v6 = s.includes(':')
    const at = v6 ? 40 : 20
    const packet = new Uint8Array(at + 8 + payload.length)
    const view = new DataView(packet.buffer)
    const a = end(s, Number(sp))
    const b = end(d, Number(dp))
    if (v6) {
      view.setUint32(0, 0x60000000)
      view.setUint16(4, packet.length - 40)
      view.setUint16(6, 0x1140)
      for (let i = 0; i < 4; i++) {
        view.setInt32(8 + 4 * i, a[i])
        view.setInt32(24 + 4 * i, b[i])
      }
    } else {
      view.setUint16(0, 0x4500)
      view.setUint16(2, packet.length)
      view.setUint16(8, 0x4011)
      view.setInt32(12, a[3])
      view.setInt32(16, b[3])
    }
    view.setUint16(at, a[4])
    view.setUint16(at + 2, b[4])
    view.setUint16(at + 4, 8 + payload.length)
    packet.set(payload, at + 8)
    fillChecksums(packet)
    const offload = { gsoType: GSO_UDP, gsoSize: gso, csumStart: at, csumOffset: 6 }
    endpoint.device.inject(packet, gso > 0 ? CSUM_PARTIAL : 0, gso > 0 ? offload : null)
    clock.advance(0)
    return packet
  }
  const reply = (from: string, to: string, payload: Bytes) => {
    const [s, sp] = from.split('|')
    const [d, dp] = to.split('|')
    const ok = endpoint.stack.udp.send(!s.includes(':'), end(s, Number(sp)), end(d, Number(dp)), payload)
    endpoint.driver.wake()
    clock.advance(0)
    return ok
  }
  return { clock, endpoint, stack: endpoint.stack, out, got, ended, send, reply }
}

describe('flows', () => {
  test('one flow for everything a socket sends, wherever to; another for another port (RFC 4787 endpoint-independent)', () => {
    const t = bench()
    t.send('10.0.0.1|5000', '1.1.1.1|53', Uint8Array.of(1))
    t.send('10.0.0.1|5000', '8.8.8.8|443', Uint8Array.of(2, 3))
    t.send('10.0.0.1|5001', '8.8.8.8|443', new Uint8Array(0))
    t.send('2001:db8::1|5000', '2001:db8::2|443', Uint8Array.of(4))
    expect(t.got.map(g => `${g.text} ${printHex(g.bytes)}`)).toEqual([
      '10.0.0.1:5000 > 1.1.1.1:53 01',
      '10.0.0.1:5000 > 8.8.8.8:443 02 03',
      '10.0.0.1:5001 > 8.8.8.8:443 ',
      '2001:db8::1:5000 > 2001:db8::2:443 04',
    ])
    expect(t.got[0].flow).toBe(t.got[1].flow)
    expect(new Set(t.got.map(g => g.flow)).size).toBe(3)
    expect(t.stack.udp.flows.size).toBe(3)
    expect(t.stack.slabs.inUse).toBe(1)
  })
  test('idle, a flow ends once, at its time whatever the fractions of the clock; use in either direction keeps it', () => {
    const t = bench({ udpTimeout: 1000 })
    t.send('10.0.0.1|5000', '1.1.1.1|53', Uint8Array.of(1))
    const flow = t.got[0].flow as UdpFlow
    t.clock.advance(999)
    t.send('10.0.0.1|5000', '1.1.1.1|53', Uint8Array.of(1))
    t.clock.advance(999)
    t.stack.udp.flows.touch(flow, t.clock.now)
    t.clock.advance(999)
    expect(t.ended).toEqual([])
    t.clock.advance(1.5)
    expect(t.ended).toEqual([flow])
    expect(t.stack.nextTimeout()).toBe(Infinity)
    t.stack.udp.flows.touch(flow, t.clock.now) // too late: stays closed
    expect(t.stack.nextTimeout()).toBe(Infinity)
    t.send('10.0.0.1|5000', '1.1.1.1|53', Uint8Array.of(1))
    expect(t.got.at(-1)?.flow).not.toBe(flow)
  })
  test('deadlines at every fraction of a millisecond end: no rounding says "not yet" for ever', () => {
    const t = bench({ udpTimeout: 300_000 })
    for (let i = 0; i < 300; i++) {
      t.clock.advance(0.1 + i / 977)
      t.send(`10.0.0.1|${5000 + i}`, '1.1.1.1|53', Uint8Array.of(1))
    }
    t.clock.advance(400_000)
    expect(t.ended.length).toBe(300)
  })
  test('over the bound the least recently used one makes room and is told, in order', () => {
    const t = bench({ maxUdpFlows: 3 })
    for (const port of [1, 2, 3]) t.send(`10.0.0.1|${port}`, '1.1.1.1|53', Uint8Array.of(1))
    t.stack.udp.flows.touch(t.got[1].flow as UdpFlow, t.clock.now) // 2 was answered
    t.send('10.0.0.1|1', '1.1.1.1|53', Uint8Array.of(1))
    t.send('10.0.0.1|4', '1.1.1.1|53', Uint8Array.of(1))
    t.send('10.0.0.1|5', '1.1.1.1|53', Uint8Array.of(1))
    expect(t.ended.map(f => f.srcPort)).toEqual([3, 2])
    expect(t.stack.udp.flows.size).toBe(3)
    expect(t.stack.stats.udpFlowsEvicted).toBe(2)
  })
  test('a served port makes no flow where it matches; the undo undoes it', () => {
    const t = bench()
    const undo = t.stack.udp.serve(53, (_0, _1, _2, d3) => d3 === 0x01010101)
    t.send('10.0.0.1|5000', '1.1.1.1|53', Uint8Array.of(1))
    expect(t.got[0].flow).toBe(null)
    t.send('10.0.0.1|5000', '1.1.1.2|53', Uint8Array.of(1))
    expect(t.got[1].flow).not.toBe(null)
    undo()
    undo()
    t.send('10.0.0.1|5000', '1.1.1.1|53', Uint8Array.of(1))
    expect(t.got[2].flow).not.toBe(null)
  })
  test('a USO row is the datagrams it was made of', () => {
    const t = bench()
    t.send(
      '10.0.0.1|5000',
      '1.1.1.1|53',
      Uint8Array.from({ length: 25 }, (_, i) => i),
      10,
    )
    expect(t.got.map(g => g.bytes.length)).toEqual([10, 10, 5])
    expect(t.got[2].bytes[0]).toBe(20)
    expect(t.stack.stats.udp).toBe(1)
  })
  test('bad checksums, none over IPv6, source port 0 and nonsense lengths are dropped and counted; none over IPv4 is fine', () => {
    const t = bench()
    const good = t.send('10.0.0.1|5000', '1.1.1.1|53', Uint8Array.of(1, 2))
    const bad = good.slice()
    bad[29] ^= 1
    const none = good.slice()
    none.fill(0, 26, 28)
    const none6 = t.send('2001:db8::1|5000', '2001:db8::2|53', Uint8Array.of(1)).slice()
    none6.fill(0, 46, 48)
    const before = t.got.length
    for (const packet of [bad, none, none6]) t.endpoint.device.inject(packet)
    t.clock.advance(0)
    expect(t.got.length).toBe(before + 1)
    expect(t.stack.stats.drops.udpChecksum).toBe(2)
    t.send('10.0.0.1|0', '1.1.1.1|53', Uint8Array.of(1))
    expect(t.stack.stats.drops.udpMalformed).toBe(1)
  })
})

describe('a storm of multicast DNS', () => {
  const STORM = 5000
  const storm = (t: ReturnType<typeof bench>) => {
    for (let i = 0; i < STORM; i++) {
      t.send(`10.0.0.${1 + (i % 250)}|5353`, ['224.0.0.251|5353', '255.255.255.255|5353'][i & 1], new Uint8Array(300))
      t.send(`fe80::${1 + (i % 250)}|5353`, 'ff02::fb|5353', new Uint8Array(300))
    }
    return {
      out: t.out.length,
      got: t.got.length,
      flows: t.stack.udp.flows.size,
      slabs: t.stack.slabs.inUse,
      deadline: t.stack.nextTimeout(),
    }
  }
  test('costs a look at each address: no flow, no answer, no buffer, no deadline', () => {
    const t = bench()
    expect(storm(t)).toEqual({ out: 0, got: 0, flows: 0, slabs: 1, deadline: Infinity })
    expect(t.stack.stats.drops.multicast).toBe(2 * STORM)
  })
  test('with the option each is delivered, with one flow a source; refused, it is answered by nothing', () => {
    const t = bench({ multicast: true })
    const { deadline: _, ...rest } = storm(t)
    expect(rest).toEqual({ out: 0, got: 2 * STORM, flows: 500, slabs: 1 })
    t.stack.udp.reject(true, end('10.0.0.1', 5353), end('224.0.0.251', 5353), 300, t.clock.now)
    t.stack.udp.reject(true, end('10.0.0.1', 5353), end('255.255.255.255', 5353), 300, t.clock.now)
    expect([t.stack.wantsPoll, t.stack.stats.icmpWithheld]).toEqual([false, 2])
  })
})

/** Puts the fragments of one datagram together as a receiver would; answers its UDP header and payload, checksum verified. */
function reassemble(packets: Bytes[]): Bytes {
  const parts = packets.map(packet => {
    const v6 = packet[0] >> 4 === 6
    const view = new DataView(packet.buffer)
    const layout = layoutOf(packet)
    expect(headerChecksumOk(packet)).toBe(true)
    const field = view.getUint16(v6 ? 42 : 6)
    const offset = v6 ? field & 0xfff8 : (field & 0x1fff) * 8
    const more = (v6 ? field & 1 : field >> 13) & 1
    if (!v6) expect(field & 0x4000).toBe(0) // no don't-fragment
    return { id: v6 ? view.getUint32(44) : view.getUint16(4), offset, more, bytes: packet.subarray(layout.transport, layout.end) }
  })
  expect(new Set(parts.map(p => p.id)).size).toBe(1)
  let at = 0
  const all = new Uint8Array(parts.reduce((n, p) => n + p.bytes.length, 0))
  parts.forEach((p, i) => {
    expect(p.offset).toBe(at)
    expect(p.more).toBe(i < parts.length - 1 ? 1 : 0)
    all.set(p.bytes, at)
    at += p.bytes.length
  })
  const packet = packets[0]
  const addresses = packet[0] >> 4 === 6 ? naiveSum(packet, 8, 40) : naiveSum(packet, 12, 20)
  const seed = naiveSum(Uint8Array.of(0, IPPROTO_UDP, all.length >> 8, all.length & 255), 0, 4, addresses)
  expect(naiveSum(all, 0, all.length, seed)).toBe(0xffff)
  expect((all[4] << 8) | all[5]).toBe(all.length)
  return all.subarray(8)
}

describe('sending', () => {
  test.each([1500, 1280, 576, 68])(
    'datagrams of 0 … 65,507 bytes at MTU %i arrive, in fragments where they must be, with right checksums',
    mtu => {
      const t = bench({}, mtu)
      for (const v6 of mtu >= 1280 ? [false, true] : [false]) {
        const [from, to] = v6 ? ['2001:db8::2|53', '2001:db8::1|5000'] : ['10.0.0.2|53', '10.0.0.1|5000']
        for (const size of [0, 1, 20, 511, 512, 513, mtu - 48, mtu - 47, mtu - 28, mtu - 27, 2 * mtu, 9001, MAX_DATAGRAM]) {
          const payload = Uint8Array.from({ length: Math.max(0, size) }, (_, i) => i * 7 + (i >> 8))
          expect(t.reply(from, to, payload.slice())).toBe(true)
          const packets = t.out.splice(0)
          for (const packet of packets) expect(packet.length).toBeLessThanOrEqual(mtu)
          if (packets.length === 1) {
            expect(packetOk(packets[0])).toBe(true)
            expect(Buffer.compare(packets[0].subarray(v6 ? 48 : 28), payload)).toBe(0)
          } else expect(Buffer.compare(reassemble(packets), payload)).toBe(0)
        }
      }
    },
  )
  test.each([
    ['whole', false, 100],
    ['whole over IPv6', true, 100],
    ['in fragments', false, 4000],
    ['in fragments over IPv6', true, 4000],
  ])('a checksum that comes to zero travels as 0xFFFF (RFC 768), %s', (_, v6, length) => {
    const t = bench()
    const [from, to] = v6 ? ['2001:db8::2|53', '2001:db8::1|5000'] : ['10.0.0.2|53', '10.0.0.1|5000']
    const checksumOf = (payload: Bytes) => {
      t.reply(from, to, payload)
      const packets = t.out.splice(0)
      if (packets.length > 1) reassemble(packets)
      return new DataView(packets[0].buffer).getUint16(layoutOf(packets[0]).transport + 6)
    }
    const payload = new Uint8Array(length)
    new DataView(payload.buffer).setUint16(0, checksumOf(payload.slice())) // what was missing to all ones
    expect(checksumOf(payload)).toBe(0xffff)
  })
  test('a datagram of more fragments than a batch has rows does not stop the others', () => {
    const t = bench({}, 68)
    t.reply('10.0.0.2|53', '10.0.0.1|5000', new Uint8Array(MAX_DATAGRAM))
    expect(t.out.length).toBe(Math.ceil((MAX_DATAGRAM + 8) / 48))
    t.reply('10.0.0.2|53', '10.0.0.1|5000', Uint8Array.of(1))
    expect(t.stack.wantsPoll).toBe(false)
  })
  test('too large, or beyond the budget: false and counted; sending makes room again', () => {
    const t = bench({ udpSendBudget: 3000 })
    const a = end('10.0.0.2', 53)
    const b = end('10.0.0.1', 5000)
    expect(t.stack.udp.send(true, a, b, new Uint8Array(MAX_DATAGRAM + 1))).toBe(false)
    expect(t.stack.udp.send(true, a, b, new Uint8Array(1400))).toBe(true)
    expect(t.stack.udp.send(true, a, b, new Uint8Array(1400))).toBe(true)
    expect(t.stack.udp.send(true, a, b, new Uint8Array(1400))).toBe(false)
    expect(t.stack.stats.drops.udpSend).toBe(2)
    expect(t.reply('10.0.0.2|53', '10.0.0.1|5000', new Uint8Array(10))).toBe(true)
    expect(t.stack.udp.send(true, a, b, new Uint8Array(1400))).toBe(true)
  })
  test('a thousand datagrams leave in their order', () => {
    const t = bench()
    for (let i = 0; i < 1000; i++) t.stack.udp.send(true, end('10.0.0.2', 53), end('10.0.0.1', 5000), Uint8Array.of(i >> 8, i))
    t.endpoint.driver.wake()
    t.clock.advance(0)
    expect(t.out.map(p => (p[28] << 8) | p[29])).toEqual(Array.from({ length: 1000 }, (_, i) => i))
  })
})

describe('port unreachable', () => {
  test('over IPv4: type 3 code 3 from the destination, with the headers of what it is about', () => {
    const t = bench()
    t.send('10.0.0.1|5000', '1.1.1.1|53', Uint8Array.of(1, 2))
    t.stack.udp.reject(true, end('10.0.0.1', 5000), end('1.1.1.1', 53), 2, t.clock.now)
    t.endpoint.driver.wake()
    t.clock.advance(0)
    const [packet] = t.out
    expect(packetOk(packet)).toBe(true)
    expect(printHex(packet, 12, 22)).toBe('01 01 01 01 0a 00 00 01 03 03')
    expect(printHex(packet, 28)).toMatch(/^45 00 00 1e .* 11 .. .. 0a 00 00 01 01 01 01 01 13 88 00 35 00 0a 00 00$/)
    expect(printPacket(packet)).toBe('IP 1.1.1.1 > 10.0.0.1: ICMP type 3 code 3, length 36, about (10.0.0.1.5000 > 1.1.1.1.53)')
  })
  test('over IPv6: type 1 code 4', () => {
    const t = bench()
    t.stack.udp.reject(false, end('2001:db8::1', 5000), end('2001:db8::2', 53), 2, t.clock.now)
    t.endpoint.driver.wake()
    t.clock.advance(0)
    expect(packetOk(t.out[0])).toBe(true)
    expect(printPacket(t.out[0])).toBe(
      'IP6 2001:db8::2 > 2001:db8::1: ICMP6 type 1 code 4, length 56, about (2001:db8::1.5000 > 2001:db8::2.53)',
    )
  })
  test('at most a thousand a second, the rest is counted', () => {
    const t = bench()
    for (let round = 0; round < 6; round++) {
      for (let i = 0; i < 400; i++) t.stack.udp.reject(true, end('10.0.0.1', 5000), end('1.1.1.1', 53), 2, t.clock.now)
      t.endpoint.driver.wake()
      t.clock.advance(0)
    }
    expect(t.out.length).toBe(1000)
    expect(t.stack.stats.drops.replyOverflow).toBe(1400)
    t.clock.advance(100)
    for (let i = 0; i < 400; i++) t.stack.udp.reject(true, end('10.0.0.1', 5000), end('1.1.1.1', 53), 2, t.clock.now)
    t.endpoint.driver.wake()
    t.clock.advance(0)
    expect(t.out.length).toBe(1100)
  })
})
