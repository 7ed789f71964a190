import { closeSync, readSync, writeSync } from 'node:fs'
import native from '@tun/native'
import { PacketBatch, Slab } from '@tun/stack'
import { expect, it } from 'vitest'
import { openTun } from './open.js'
import { pcapTap } from './pcap-tap.js'

it('records packets of both directions whole, pieces gathered, with microseconds', () => {
  const [fd, peer] = native.socketpair()
  const written: Uint8Array[] = []
  const device = pcapTap(openTun(`fd://${fd}`), { write: bytes => written.push(bytes), now: () => 1_700_000_000_123.5 })

  const incoming = new Uint8Array(30).fill(0x45)
  writeSync(peer, incoming)
  const rx = new PacketBatch(new Slab(1 << 18), 4)
  expect(device.read(rx)).toBe(1)

  const tx = PacketBatch.forSending(2)
  const at = tx.beginRow()
  tx.slab.bytes.fill(0x46, at, at + 20)
  tx.addPiece(Uint8Array.of(1, 2, 3, 4), 1, 2, null)
  tx.addPiece(Uint8Array.of(7), 0, 1, null)
  tx.finishRow(20)
  expect(device.write(tx)).toBe(1)
  expect(readSync(peer, Buffer.alloc(100))).toBe(23)

  const [header, first, second] = written.map(bytes => Buffer.from(bytes))
  expect(header.toString('hex')).toBe('a1b2c3d400020004000000000000000000010027' + '00000065')
  expect(first.subarray(0, 16).toString('hex')).toBe('6553f1000001e26c' + '0000001e0000001e')
  expect(first.subarray(16)).toEqual(Buffer.from(incoming))
  expect(second.subarray(16)).toEqual(Buffer.concat([Buffer.alloc(20, 0x46), Buffer.of(2, 3, 7)]))
  expect(written).toHaveLength(3)
  device.close()
  closeSync(peer)
})
