// What every device is handed: a PacketBatch, arrays, descriptors; and what it refuses. No root needed.

import { openSync, readFileSync, readSync, writeSync } from 'node:fs'
import { PacketBatch, Slab } from '@tun/stack'
import { describe, expect, it } from 'vitest'
import native from '../index.cjs'
import * as model from './packets.mjs'
import { BLOCKED, bytes, CSUM_GOOD, csum, OK, Rows, udp } from './packets.mjs'
import { A4, B4, index, pair, peers, readAll } from './socket.test-kit.js'

describe('a PacketBatch', () => {
  it('has the columns the addon writes to and reads from', () => {
    const { tun, peer } = pair()
    const payload = bytes(100)
    const packet = udp([A4, 1], [B4, 2], payload, true)
    const tx = PacketBatch.forSending(4)
    const at = tx.beginRow()
    tx.slab.bytes.set(packet.subarray(0, 28), at)
    tx.flags[0] = model.CSUM_PARTIAL
    tx.csumStart[0] = 20
    tx.csumOffset[0] = 6
    tx.addPiece(payload, 0, 60, null)
    tx.addPiece(payload, 60, 40, null)
    tx.finishRow(28)
    expect(tun.write(tx.slab.bytes, tx.table, tx.capacity, tx.pieceCapacity, 0, 1, tx.pieces)).toBe(1)
    const complete = udp([A4, 1], [B4, 2], payload)
    expect(readAll(peer, 1)[0]).toEqual(complete)

    writeSync(peer, complete)
    const rx = new PacketBatch(new Slab(1 << 18), 8)
    expect(tun.read(rx.slab.bytes, 100, rx.table, 2, rx.capacity)).toBe(1)
    expect(rx.slab.bytes.slice(rx.start[2], rx.start[2] + rx.length[2])).toEqual(complete)
    expect([rx.flags[2], rx.gsoType[2], rx.status, rx.table[2]]).toEqual([CSUM_GOOD, 0, BLOCKED, rx.start[2] + rx.length[2]])
  })
})

describe('arguments', () => {
  it('refuses detached and too small arrays', () => {
    const { tun } = pair()
    const detached = new Uint8Array(1 << 18)
    structuredClone(detached.buffer, { transfer: [detached.buffer] })
    const table = new Int32Array(8 + 9 * 4)
    const goneTable = new Int32Array(8 + 9 * 4)
    structuredClone(goneTable.buffer, { transfer: [goneTable.buffer] })
    const slab = new Uint8Array(1 << 18)
    const refused = expect.objectContaining({ code: 'ERR_TUN_BUFFER' })
    expect(() => tun.read(detached, 0, table, 0, 4)).toThrow(refused)
    expect(() => tun.read(slab, 0, goneTable, 0, 4)).toThrow(refused)
    expect(() => tun.read(slab, 0, table, 0, 5)).toThrow(refused)
    expect(() => tun.read(slab, slab.length + 1, table, 0, 4)).toThrow(refused)
    expect(() => tun.read(slab, 0, table, -1, 4)).toThrow(refused)
    expect(() => tun.write(detached, table, 4, 0, 0, 1, [])).toThrow(refused)
    expect(() => tun.write(slab, table, 4, 1, 0, 1, [])).toThrow(refused)
    expect(() => tun.write(slab, table, 4, 0, 0, 1, [1 as never])).toThrow(refused)
    const claims = Object.assign([] as Uint8Array[], { length: 2 ** 32 - 1 })
    expect(() => tun.write(slab, table, 4, 0, 0, 0, claims)).toThrow(refused)
    expect(() => tun.read.call({} as never, slab, 0, table, 0, 4)).toThrow(TypeError)
  })

  it('counts a row whose piece was detached as refused', () => {
    const { tun } = pair()
    const payload = bytes(100)
    const packet = udp([A4, 1], [B4, 2], payload, true)
    const rows = new Rows().add(packet.slice(0, 28), csum(packet), [payload])
    structuredClone(payload.buffer, { transfer: [payload.buffer as ArrayBuffer] })
    rows.write(tun)
    expect([rows.status, rows.table[3]]).toEqual([OK, 1])
  })

  it('says what a descriptor is that is no device, and leaves it open', () => {
    const failure = (fd: number) => {
      try {
        native.open({ fd, ownership: 'take' }).close()
      } catch (error) {
        const { code, detail } = error as { code: string; detail?: string }
        return `${code} ${detail ?? ''}`.trim()
      }
    }
    const file = openSync(index, 'r')
    const [streamA, streamB] = native.socketpair('stream')
    peers.push(file, streamA, streamB)
    expect(failure(99_999)).toBe('EBADF')
    expect(failure(file)).toBe('ENOTTY file')
    expect(failure(streamA)).toBe('EINVAL stream-socket')
    expect(readSync(file, new Uint8Array(1))).toBe(1)
    expect(writeSync(streamA, new Uint8Array(1))).toBe(1)
  })

  it('puts O_NONBLOCK of a lent descriptor back as it was', () => {
    const blocking = (fd: number) =>
      (parseInt(/flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))![1], 8) & 0o4000) === 0
    for (const ownership of ['borrow', 'dup'] as const) {
      const [ours, peer] = native.socketpair()
      peers.push(ours, peer)
      const tun = native.open({ fd: ours, ownership })
      expect(blocking(ours)).toBe(false)
      tun.close()
      expect(blocking(ours)).toBe(true)
    }
  })
})
