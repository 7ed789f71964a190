import { describe, expect, test } from 'vitest'
import type { End } from '../ip/fragments.js'
import { Pair } from '../testing/pair.js'
import { Prng } from '../testing/prng.js'
import { formatAddress } from '../wire/address.js'
import type { UdpFlow } from './flow.js'
import type { Datagram } from './udp.js'

/** Sizes that come again and again, as those of transfers and games do; and any. */
const SIZES = [0, 1, 64, 64, 512, 513, 1200, 1200, 1200, 1472, 1473, 4000]

const end = (v4: boolean, host: number, port: number): End =>
  v4 ? [0, 0, 0xffff, 0x0a000000 + host, port] : [0x20010db8, 0, 0, host, port]

const keyOf = (d: Datagram) =>
  `${formatAddress(d.s0, d.s1, d.s2, d.s3)} ${d.srcPort} > ${formatAddress(d.d0, d.d1, d.d2, d.d3)} ${d.dstPort}`

/** What arrived of each flow and sender, in order: length and a number that only that datagram has. */
class Arrivals {
  readonly lists = new Map<string, string[]>()

  add(key: string, bytes: Uint8Array): void {
    const list = this.lists.get(key) ?? []
    this.lists.set(key, list)
    list.push(textOf(bytes))
  }
  take(d: Datagram): void {
    for (let at = d.start, step = d.segment || d.end - d.start; at < d.end || at === d.start; at += Math.max(1, step)) {
      this.add(keyOf(d), d.slab!.bytes.subarray(at, Math.min(at + step, d.end)))
    }
  }
}

/** Every byte is 7 × its place + the number, so a few say whether it is whole. */
function textOf(bytes: Uint8Array): string {
  const n = bytes.length
  return [n, ...bytes.subarray(0, 6), bytes[n >> 1], bytes[n - 1]].join(' ')
}

let serial = 0
function payload(length: number): Uint8Array {
  serial++
  return Uint8Array.from({ length }, (_, i) => (i < 4 ? serial >>> (8 * i) : i * 7 + serial))
}

interface Ways {
  offload: boolean
  splitGso: boolean
  carried: boolean
}

/** Bursts in both directions, MTUs that change while datagrams wait, NICs that block: who should have got what, and who has. */
function run(seed: number, { offload, splitGso, carried }: Ways) {
  serial = 0
  const prng = new Prng(seed)
  const t = new Pair({ seed, device: { offload, splitGso, queuePackets: 1e6 } })
  const sent = new Arrivals()
  const got = new Arrivals()
  const answers: boolean[] = []
  const flows: UdpFlow[] = []
  t.a.ondatagram = d => {
    if (d.flow !== null && !flows.includes(d.flow)) flows.push(d.flow)
    got.take(d)
  }
  t.b.ondatagram = d => got.take(d)
  const taken = (d: Datagram) => {
    got.take(d)
    return true
  }
  if (carried) {
    t.b.oncarry = taken
    t.a.oncarry = d => d.flow !== null && flows.includes(d.flow) && taken(d)
  }
  const up = (v4: boolean, from: End, to: End, bytes: Uint8Array) => {
    const taken = t.b.stack.udp.send(v4, from, to, bytes)
    if (taken) sent.add(`${textual(from)} > ${textual(to)}`, bytes)
    answers.push(taken)
  }
  const down = (flow: UdpFlow, from: End, bytes: Uint8Array) => {
    const around = prng.below(2) * 7 // bytes in the middle of others
    const padded = new Uint8Array(bytes.length + 2 * around)
    padded.set(bytes, around)
    const taken = t.a.stack.udp.sendTo(flow, from, padded, t.clock.now, around, around + bytes.length)
    padded.fill(255) // it has been copied
    if (taken) sent.add(`${textual(from)} > ${textual(flow.source)}`, bytes)
    answers.push(taken)
  }
  for (const v4 of [true, false]) for (let i = 0; i < 3; i++) up(v4, end(v4, 1, 5000 + i), end(v4, 2, 53), payload(10))
  t.b.driver.wake()
  t.clock.advance(20)
  expect(flows.length).toBe(6)
  for (let round = 0; round < 12; round++) {
    for (let burst = 1 + prng.below(6); burst > 0; burst--) {
      const flow = flows[prng.below(flows.length)]
      const peer = end(flow.v4, 2 + prng.below(2), 53)
      const size = SIZES[prng.below(SIZES.length)]
      for (let n = 1 + prng.below(100); n > 0; n--) {
        const bytes = payload(prng.below(20) === 0 ? prng.below(1400) : size)
        if (burst % 3 === 0) up(flow.v4, flow.source, peer, bytes)
        else down(flow, peer, bytes)
      }
    }
    // While datagrams wait, but not with a batch that is filled already.
    if (prng.below(3) === 0) t.a.device.mtu = [1280, 1500, 9000][prng.below(3)]
    else if (prng.below(4) === 0) t.a.device.blockWrites(1 + prng.below(3))
    t.a.driver.wake()
    t.b.driver.wake()
    t.clock.advance(1 + prng.below(3))
  }
  t.clock.advance(100)
  return { t, sent, got, answers, flows }
}

const textual = (e: End) => `${formatAddress(e[0], e[1], e[2], e[3])} ${e[4]}`

describe('trains', () => {
  const ways: Ways[] = [
    { offload: true, splitGso: false, carried: true },
    { offload: true, splitGso: false, carried: false },
    { offload: true, splitGso: true, carried: true },
    { offload: false, splitGso: true, carried: true },
  ]
  test.each([1, 2])(
    'with and without offload, carried or told, the same datagrams arrive in the same order, flow by flow (seed %i)',
    seed => {
      const plain = run(seed, { offload: false, splitGso: true, carried: false })
      expect(plain.got.lists).toEqual(plain.sent.lists)
      for (const way of ways) {
        const { t, sent, got, answers, flows } = run(seed, way)
        expect(answers).toEqual(plain.answers)
        expect(sent.lists).toEqual(plain.sent.lists)
        expect(got.lists).toEqual(plain.sent.lists)
        // Nothing is held any more, and nothing was lost on the way.
        expect([t.a.stack.slabs.inUse, t.b.stack.slabs.inUse, ...flows.map(flow => flow.waiting)]).toEqual([1, 1, 0, 0, 0, 0, 0, 0])
        expect(t.b.stack.stats.droppedIn + t.a.stack.stats.droppedIn).toBe(0)
        if (way.offload && !way.splitGso) expect(t.a.stack.stats.rowsOut * 1.2).toBeLessThan(plain.t.a.stack.stats.rowsOut)
        expect(t.a.device.counters.oversized).toBe(0)
      }
    },
    120_000,
  )

  test('what one turn queues is counted in datagrams; a train that does not fit is dropped as the row that it is', () => {
    const { t } = run(1, { offload: true, splitGso: false, carried: false })
    const got: number[] = []
    t.b.ondatagram = d => got.push(d.end - d.start)
    const [from, to] = [end(true, 2, 53), end(true, 1, 6000)]
    for (let i = 0; i < 5000; i++) t.a.stack.udp.send(true, from, to, new Uint8Array(30))
    const before = t.b.stack.stats.rowsIn
    t.b.freeze(50) // all of it is there when it reads
    t.a.driver.wake()
    t.clock.advance(100)
    expect(t.b.stack.stats.rowsIn - before).toBeLessThan(100)
    expect(got.length).toBe(4096)
    expect(t.b.stack.stats.drops.udpOverflow).toBe(Math.ceil(904 / 64))
  })
})
