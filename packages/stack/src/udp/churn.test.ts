import { expect, test } from 'vitest'
import type { Stack } from '../stack.js'
import { Pair } from '../testing/pair.js'
import { parseAddress } from '../wire/address.js'
import type { UdpFlow } from './flow.js'

const DAY = 86_400_000 // ms
const PEERS = 40

type End = readonly [number, number, number, number, number]

function end(address: string, port: number): End {
  return [...(parseAddress(address) as [number, number, number, number]), port]
}

/** Everything a stack could still hold. */
function held(stack: Stack) {
  const { udp, slabs, stats, wantsPoll, wantsDrain } = stack
  const { heap, reassembly } = stack as unknown as { heap: { size: number }; reassembly: { held: number; sources: { size: number } } }
  return {
    flows: udp.flows.size,
    contacts: udp.flows.contacts?.size,
    slabs: slabs.inUse - 1,
    heap: heap.size,
    fragments: [stats.fragmentsWaiting, reassembly.held, reassembly.sources.size],
    queued: [wantsPoll, wantsDrain],
    unaccounted: stats.rowsIn - stats.accounted,
    nextTimeout: stack.nextTimeout(),
  }
}

test.each([
  ['endpoint-independent', 1],
  ['address-dependent', 2],
  ['address-and-port-dependent', 3],
] as const)(
  'a day of datagrams (%s), in virtual time, leaves no flow, no buffer and no deadline',
  (udpFilter, seed) => {
    const options = { udpFilter, maxUdpFlows: 100, udpTimeout: 300_000, udpSendBudget: 300_000 }
    const link = { delayMs: 20, jitterMs: 30, loss: 0.02, reorder: 0.05, duplicate: 0.02 }
    const pair = new Pair({ seed, a: options, b: options, link })
    const { clock, prng, a, b } = pair
    const started = clock.now
    const flows = new Set<UdpFlow>()
    const ended: UdpFlow[] = []
    const sizes = () => (prng.chance(0.1) ? prng.below(40_000) : prng.below(1400)) // some in fragments
    b.onflowended = flow => ended.push(flow)
    b.ondatagram = ({ flow, v4, s0, s1, s2, s3, srcPort, d0, d1, d2, d3, dstPort }) => {
      if (flow === null) return
      flows.add(flow)
      const to = [d0, d1, d2, d3, dstPort] as const
      const what = prng.below(20)
      if (what < 10) b.stack.udp.sendTo(flow, to, new Uint8Array(sizes()), clock.now)
      else if (what < 12)
        b.stack.udp.sendTo(flow, [d0, d1, d2, (d3 ^ 1) | 2, 9], new Uint8Array(9), clock.now) // from where nobody wrote to
      else if (what < 14) b.stack.udp.reject(v4, [s0, s1, s2, s3, srcPort], to, 10, clock.now)
      else if (what === 14) b.stack.udp.flows.close(flow)
      else if (what === 15) b.stack.udp.flows.setIdleTimeout(flow, prng.below(600_000))
    }
    while (clock.now < started + DAY) {
      // Quiet hours, and bursts that evict.
      for (let n = prng.chance(0.02) ? 150 : 1; n > 0; n--) {
        const v6 = prng.chance(0.3)
        const port = 10_000 + prng.below(3000)
        const last = 1 + prng.below(PEERS)
        const from = end(v6 ? '2001:db8::1' : '10.0.0.1', port)
        a.stack.udp.send(
          !v6,
          from,
          end(v6 ? `2001:db8::2:${last}` : `10.0.2.${last}`, prng.chance(0.3) ? 53 : 443),
          new Uint8Array(sizes()),
        )
      }
      a.driver.wake()
      if (prng.chance(0.05)) b.device.blockWrites(prng.below(4))
      if (prng.chance(0.01)) b.freeze(prng.below(30_000))
      clock.advance(prng.chance(0.01) ? prng.below(3_600_000) : prng.below(10_000))
    }
    const { stats } = b.stack
    for (const n of [stats.udp, stats.fragments, stats.drops.reassembly, stats.udpFlowsEvicted, stats.icmpErrors])
      expect(n).toBeGreaterThan(100)
    if (udpFilter !== 'endpoint-independent') expect(stats.drops.udpFiltered).toBeGreaterThan(100)
    clock.advance(1_200_000)
    expect([new Set(ended).size, ended.length]).toEqual([flows.size, flows.size]) // each was told, once
    const nothing = { flows: 0, slabs: 0, heap: 0, fragments: [0, 0, 0], queued: [false, false], unaccounted: 0 }
    const contacts = udpFilter === 'endpoint-independent' ? undefined : 0
    for (const { stack } of [a, b]) expect(held(stack)).toEqual({ ...nothing, contacts, nextTimeout: Infinity })
    expect(clock.next()).toBe(Infinity)
  },
  120_000,
)
