import { expect, test } from 'vitest'
import { PacketBatch } from '../memory/packet-batch.js'
import { DEFAULTS } from '../options.js'
import { Stack } from '../stack.js'
import { Prng } from '../testing/prng.js'
import type { End } from './fragments.js'
import { Identification } from './identification.js'
import { Output } from './output.js'

const A: End = [0, 0, 0xffff, 0x0a000001, 1]
const B: End = [0, 0, 0xffff, 0x0a000002, 2]
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

function output(options = {}) {
  return new Output({ ...DEFAULTS, ...options }, new Identification(() => 5))
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
  for (let i = 0; i < 1000; i++) stack.udp.send(true, A, B, new Uint8Array(10))
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
