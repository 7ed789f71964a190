// What a row meets before any protocol: the hook, addresses of many, and that whatever comes is accounted for.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bench, echo4, echo6, GATEWAY, ip, udp } from './icmp.test-kit.js'
import type { Bytes } from './memory/slab.js'
import { DROP, HANDLED, PASS } from './stack.js'

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
