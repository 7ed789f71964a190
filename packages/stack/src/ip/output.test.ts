import { expect, test } from 'vitest'
import { PacketBatch } from '../memory/packet-batch.js'
import { SlabPool } from '../memory/slab.js'
import { DEFAULTS } from '../options.js'
import { Stack } from '../stack.js'
import { Prng } from '../testing/prng.js'
import type { End } from './fragments.js'
import { Identification } from './identification.js'
import { Output } from './output.js'

const A: End = [0, 0, 0xffff, 0x0a000001, 1]
const B: End = [0, 0, 0xffff, 0x0a000002, 2]
/** Whose share it is. */
const FLOW = { waiting: 0 }
const C: End = [0x20010db8, 0, 0, 3, 3]

test('identification (RFC 7739 §5.3): no repetition within 65,536 of a pair; one pair’s tells nothing about another’s', () => {
  const prng = new Prng(7)
  const ids = new Identification(() => prng.random32())
  const seen = new Set<number>()
  for (let i = 0; i < 65_536; i++) seen.add(ids.next(A, B) & 0xffff)
  expect(seen.size).toBe(65_536)
  const first = new Set<number>()
  for (let host = 0; host < 4000; host++) first.add(ids.next(A, [...C.slice(0, 3), host, 3] as unknown as End))
  expect([...first].filter(id => first.has((id + 1) | 0)).length).toBeLessThan(3) // pairs that share a counter do not show it
  const again = new Identification(() => prng.random32())
  expect(again.next(A, B)).not.toBe(new Identification(() => prng.random32()).next(A, B))
})

function output(options = {}, slabs = new SlabPool()) {
  return new Output({ ...DEFAULTS, ...options }, new Identification(() => 5), slabs)
}

test('rows stop at the limit, fragments too, and go on where they stopped', () => {
  const out = output({ mtu: 1280 })
  out.udp(true, A, B, new Uint8Array(6000), null)
  out.udp(true, A, B, new Uint8Array(10), null)
  const tx = PacketBatch.forSending(64)
  expect(out.poll(tx, 2)).toBe(true)
  expect(tx.count).toBe(2)
  expect(out.poll(tx, 64)).toBe(false)
  expect(tx.count).toBe(6)
  const ids = new Set([0, 1, 2, 3, 4].map(row => tx.slab.view.getUint16(tx.start[row] + 4)))
  expect(ids.size).toBe(1)
})

test('a whole packet leaves as it came, in whatever pieces', () => {
  const out = output()
  for (const length of [20, 40, 41, 552, 553, 1500]) {
    const packet = Uint8Array.from({ length }, (_, i) => i * 3)
    out.packet(packet)
    const tx = PacketBatch.forSending(4)
    out.poll(tx, 4)
    const { slab, start } = tx
    const head = slab.bytes.slice(start[0], start[0] + tx.length[0])
    const tail = tx.pieceCount[0] === 1 ? tx.pieces[0].subarray(tx.pieceStart[0], tx.pieceStart[0] + tx.pieceLength[0]) : []
    expect([...head, ...tail]).toEqual([...packet])
    expect(tx.flags[0]).toBe(0)
  }
})

test('on a NIC that blocks datagrams do not starve connections, nor these them: each has half of a batch', () => {
  const prng = new Prng(3)
  const stack = new Stack({ udpSendBudget: 1 << 20 }, prng)
  for (let i = 0; i < 1000; i++) stack.udp.send(true, [A[0], A[1], A[2], A[3], 1 + i], B, new Uint8Array(10)) // no trains
  for (let i = 0; i < 300; i++) stack.connect([0, 0, 0xffff, 0x0a000002], 80, [0, 0, 0xffff, 0x0a000001], 1000 + i)
  const tx = PacketBatch.forSending(64)
  const protocols = () => {
    const counts = { 6: 0, 17: 0 } as Record<number, number>
    for (let row = 0; row < tx.count; row++) counts[tx.slab.bytes[tx.start[row] + 9]]++
    return counts
  }
  expect(stack.poll(0, tx)).toBe(true)
  expect(protocols()).toEqual({ 6: 32, 17: 32 })
  // Once the connections have nothing more, datagrams have it all.
  for (let i = 0; i < 10; i++) {
    tx.reset()
    stack.poll(0, tx)
  }
  tx.reset()
  expect(stack.poll(0, tx)).toBe(true)
  expect(protocols()).toEqual({ 6: 0, 17: 64 })
})

/** Rows as length of payload, and what they are cut into. */
function rowsOf(out: Output, limit = 64): string[] {
  const tx = PacketBatch.forSending(64)
  out.poll(tx, limit)
  const rows = Array.from(
    { length: tx.count },
    (_, row) => `${tx.packetLength(row) - 28}${tx.gsoSize[row] > 0 ? ` / ${tx.gsoSize[row]}` : ''}`,
  )
  tx.reset()
  return rows
}

test('neighbours of one size between the same ends are a train; a shorter one ends it, anything else begins anew', () => {
  const pool = new SlabPool()
  const out = output({}, pool)
  const put = (length: number, from = A, to = B, sender = FLOW) => out.udp(true, from, to, new Uint8Array(length).fill(length), sender)
  for (const length of [100, 100, 100, 40, 100, 100, 101, 0, 0, 1200]) put(length)
  put(1200, [...A] as unknown as End) // the same in other words
  put(1200, [...A.slice(0, 4), 9] as unknown as End)
  put(1200, A, [...B.slice(0, 4), 9] as unknown as End)
  put(1200)
  put(1200, A, B, { waiting: 0 })
  expect(rowsOf(out)).toEqual(['340 / 100', '200 / 100', '101', '0', '0', '2400 / 1200', '1200', '1200', '1200', '1200'])
  for (let i = 0; i < 150; i++) put(10)
  for (let i = 0; i < 60; i++) put(1472)
  for (let i = 0; i < 3; i++) put(1473)
  const rows = rowsOf(out)
  expect(rows.slice(0, 5)).toEqual(['640 / 10', '640 / 10', '220 / 10', `${44 * 1472} / 1472`, `${16 * 1472} / 1472`])
  expect(rows.length).toBe(5 + 6) // the last three in two fragments each
  expect([pool.inUse, FLOW.waiting]).toEqual([0, 0])
})

test('a train that waits while the MTU shrinks leaves datagram by datagram, in fragments', () => {
  const options = { ...DEFAULTS, mtu: 1500 }
  const out = new Output(options, new Identification(() => 5))
  for (const length of [1400, 1400, 600]) out.udp(true, A, B, new Uint8Array(length), FLOW)
  options.mtu = 1280
  expect(rowsOf(out, 3).length).toBe(3)
  out.udp(true, A, B, new Uint8Array(600), FLOW)
  expect(rowsOf(out).length).toBe(3)
  expect(FLOW.waiting).toBe(0)
})

test('where the device does not cut there are no trains', () => {
  const out = output({ offload: false })
  for (let i = 0; i < 3; i++) out.udp(true, A, B, new Uint8Array(100), FLOW)
  expect(rowsOf(out)).toEqual(['100', '100', '100'])
})

test('a datagram larger than a slab has memory of its own', () => {
  const pool = new SlabPool({ size: 1000 })
  const out = output({ mtu: 9000 }, pool)
  for (const length of [600, 600, 5000, 600]) out.udp(true, A, B, new Uint8Array(length), FLOW)
  expect(rowsOf(out)).toEqual(['600', '600', '5000', '600'])
  expect(pool.inUse).toBe(0)
})
