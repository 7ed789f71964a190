import { expect, test } from 'vitest'
import { PacketBatch } from './packet-batch.js'
import { Slab, SlabPool } from './slab.js'

test('a slab comes back to its pool when the last holder lets go, and is used again', () => {
  const made: Slab[] = []
  const pool = new SlabPool({ size: 4096, onNew: slab => made.push(slab) })
  const slab = pool.take()
  expect(slab.sole).toBe(true)
  slab.retain()
  expect(slab.sole).toBe(false)
  slab.release()
  expect(pool.inUse).toBe(1)
  slab.release()
  expect(pool.inUse).toBe(0)
  expect(pool.take()).toBe(slab)
  expect(slab.sole).toBe(true)
  expect(made).toEqual([slab])
})

test('over the cap nothing may be lent; after a burst the pool keeps what came back, and four once it is told to shrink', () => {
  const made: Slab[] = []
  const pool = new SlabPool({ size: 64, cap: 8, onNew: slab => made.push(slab) })
  const taken = Array.from({ length: 8 }, () => pool.take())
  expect(pool.lendable).toBe(false)
  for (const slab of taken) slab.release()
  expect(pool.lendable).toBe(true)
  for (let i = 0; i < 8; i++) taken[i] = pool.take()
  expect(made.length).toBe(8)
  for (const slab of taken) slab.release()
  pool.shrink()
  for (let i = 0; i < 8; i++) pool.take()
  expect(made.length).toBe(8 + 4)
})

test('a part that lies where another lay is the same view; any other is its own, and shows its bytes', () => {
  const slab = new Slab(4096)
  for (let i = 0; i < 4096; i++) slab.bytes[i] = i >> 4
  const part = slab.part(52, 1500)
  expect(slab.part(52, 1500)).toBe(part)
  for (const [start, end] of [
    [52, 1499],
    [53, 1500],
    [52, 1500],
    [4000, 4096],
    [0, 4096],
  ]) {
    expect(slab.part(start, end)).toEqual(slab.bytes.subarray(start, end))
  }
})

test('a row holds the owners of its pieces until the batch is reset', () => {
  const tx = PacketBatch.forSending(2, 2)
  const owner = new Slab(100)
  tx.beginRow()
  tx.addPiece(owner.bytes, 0, 10, owner)
  tx.addPiece(owner.bytes, 20, 5, owner)
  tx.finishRow(40)
  expect(owner.sole).toBe(false)
  expect(tx.packetLength(0)).toBe(55)
  expect(tx.hasRoom(2)).toBe(true)
  expect(tx.hasRoom(3)).toBe(false)
  tx.beginRow()
  tx.finishRow(40)
  expect(tx.hasRoom(0)).toBe(false)
  tx.reset()
  expect(owner.sole).toBe(true)
  expect(tx.hasRoom(0)).toBe(true)
})
