import { expect, test } from 'vitest'
import type { Bytes } from '../memory/slab.js'
import type { StackOptions } from '../options.js'
import { fillChecksums } from '../testing/oracle.js'
import { Endpoint } from '../testing/pair.js'
import { Prng } from '../testing/prng.js'
import { VirtualClock } from '../testing/virtual-clock.js'
import { parseAddress } from '../wire/address.js'
import type { UdpFlow } from './flow.js'

const APP = 0x0a000001
const PEER = 0xc0000201 // 192.0.2.1
const OTHER = 0xc0000202

/** An application at 10.0.0.1:5000 that writes, and whoever writes to it. */
function bench(options: StackOptions) {
  const clock = new VirtualClock(1000)
  const endpoint = new Endpoint(clock, new Prng(1), options)
  const { stack } = endpoint
  let flow: UdpFlow | null = null
  let got = 0
  endpoint.device.ondeliver = () => got++
  endpoint.ondatagram = d => {
    flow = d.flow
  }
  return {
    clock,
    stack,
    flow: () => flow as unknown as UdpFlow,
    write(to: number, port: number) {
      const packet: Bytes = new Uint8Array(29)
      const view = new DataView(packet.buffer)
      view.setUint16(0, 0x4500)
      view.setUint16(2, 29)
      view.setUint16(8, 0x4011)
      view.setUint32(12, APP)
      view.setUint32(16, to)
      view.setUint16(20, 5000)
      view.setUint16(22, port)
      view.setUint16(24, 9)
      endpoint.device.inject(fillChecksums(packet))
      clock.advance(0)
    },
    /** Does a datagram from there reach the application? */
    reaches(from: number, port: number): boolean {
      const before = got
      const taken = stack.udp.sendTo(flow as unknown as UdpFlow, [0, 0, 0xffff, from | 0, port], Uint8Array.of(1), clock.now)
      endpoint.driver.wake()
      clock.advance(0)
      expect(got - before).toBe(taken ? 1 : 0)
      return taken
    },
  }
}

test.each([
  ['endpoint-independent', [true, true, true]],
  ['address-dependent', [true, true, false]],
  ['address-and-port-dependent', [true, false, false]],
] as const)('RFC 4787 §5, %s: whose datagrams reach the application (peer, peer’s other port, stranger)', (udpFilter, reached) => {
  const t = bench({ udpFilter })
  t.write(PEER, 80)
  expect([t.reaches(PEER, 80), t.reaches(PEER, 81), t.reaches(OTHER, 80)]).toEqual(reached)
  expect(t.stack.stats.drops.udpFiltered).toBe(reached.filter(r => !r).length)
  t.write(OTHER, 80)
  expect(t.reaches(OTHER, 80)).toBe(true)
})

test('an entry lives as long as a mapping, and only the application keeps it alive; with the flow all are gone', () => {
  const t = bench({ udpFilter: 'address-dependent', udpTimeout: 1000 })
  t.write(PEER, 80)
  t.clock.advance(600)
  t.write(OTHER, 80)
  expect(t.reaches(PEER, 80)).toBe(true)
  t.clock.advance(600)
  expect([t.reaches(PEER, 80), t.reaches(OTHER, 80)]).toEqual([false, true])
  expect(t.stack.udp.flows.contacts?.size).toBe(2)
  t.clock.advance(5000)
  expect(t.stack.udp.flows.contacts?.size).toBe(0)
})

test('a flow that scans an address range keeps its newest 1,024', () => {
  const t = bench({ udpFilter: 'address-dependent' })
  for (let i = 0; i < 1100; i++) t.write(PEER + i, 80)
  t.write(PEER + 76, 80) // the oldest left is used again
  t.write(PEER + 5000, 80)
  expect(t.stack.udp.flows.contacts?.size).toBe(1024)
  expect([t.reaches(PEER + 75, 80), t.reaches(PEER + 76, 80), t.reaches(PEER + 77, 80), t.reaches(PEER + 78, 80)]).toEqual([
    false,
    true,
    false,
    true,
  ])
})

test('a flow that only asks nameservers ends after 30 s; anything else it sends makes it a flow like others', () => {
  const t = bench({})
  t.write(PEER, 53)
  t.clock.advance(29_000)
  t.write(OTHER, 53)
  t.clock.advance(29_000)
  expect(t.stack.udp.flows.size).toBe(1)
  t.clock.advance(2000)
  expect(t.stack.udp.flows.size).toBe(0)
  t.write(PEER, 53)
  t.write(PEER, 443)
  t.write(PEER, 53)
  t.clock.advance(299_000)
  expect(t.stack.udp.flows.size).toBe(1)
  t.clock.advance(2000)
  expect(t.stack.udp.flows.size).toBe(0)
  t.write(PEER, 53)
  t.stack.udp.flows.setIdleTimeout(t.flow(), 100_000) // somebody knows better
  t.write(PEER, 53)
  t.clock.advance(99_000)
  expect(t.stack.udp.flows.size).toBe(1)
})

test('one flow gets a quarter of the send budget, others the rest', () => {
  const t = bench({ udpSendBudget: 40_000 })
  t.write(PEER, 80)
  const send = () => t.stack.udp.sendTo(t.flow(), [0, 0, 0xffff, PEER | 0, 80], new Uint8Array(1000), t.clock.now)
  let taken = 0
  while (send()) taken++
  expect(taken).toBe(9) // 9 × 1,064 < 10,000
  const [a, b] = [parseAddress('10.0.0.9'), parseAddress('10.0.0.1')] as [number, number, number, number][]
  expect(t.stack.udp.send(true, [...a, 1], [...b, 2], new Uint8Array(1000))).toBe(true)
})
