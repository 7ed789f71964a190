// TunDevice over a socket pair: no privilege needed. What the kernel does to a NIC is tested in native/test.

import { closeSync, readSync, writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import native from '@tun/native'
import { BLOCKED, CSUM_GOOD, EOF, GONE, OK, PacketBatch, Slab } from '@tun/stack'
import { afterEach, expect, it } from 'vitest'
import { openTun, type TunOptions } from './open.js'
import type { TunDevice } from './tun.js'
import { until } from './until.test-kit.js'

// 10.0.0.1:1 → 10.0.0.2:2, UDP, "hello" without a checksum.
const PACKET = Buffer.from('4500002100010000401166c90a0000010a000002000100020000d0000'.padEnd(66, '0').slice(0, 66), 'hex')
PACKET.set([0, 1, 0, 2, 0, 13, 0, 0, ...Buffer.from('hello')], 20)

let devices: TunDevice[] = []
let peers: number[] = []
afterEach(() => {
  for (const device of devices) device.close()
  for (const fd of peers) closeSync(fd)
  devices = []
  peers = []
})

function pair(options?: TunOptions) {
  const [fd, peer] = native.socketpair('seqpacket')
  const device = openTun(`fd://${fd}`, options)
  devices.push(device)
  peers.push(peer)
  return { device, peer, fd }
}

const receiving = () => new PacketBatch(new Slab(1 << 18), 8)

function sending(rows: number) {
  const tx = PacketBatch.forSending(rows)
  for (let i = 0; i < rows; i++) {
    tx.slab.bytes.set(PACKET, tx.beginRow())
    tx.finishRow(PACKET.length)
  }
  return tx
}

it('reads rows behind those a batch already has', () => {
  const { device, peer } = pair({ mtu: 9000 })
  expect(device).toMatchObject({ kind: 'socket', mtu: 9000, vnetHeader: false, isUp: true })
  const rx = receiving()
  for (let i = 0; i < 2; i++) {
    writeSync(peer, PACKET)
    expect(device.read(rx)).toBe(1)
  }
  expect([rx.count, rx.status, rx.flags[1]]).toEqual([2, BLOCKED, CSUM_GOOD])
  expect(rx.start[1]).toBeGreaterThanOrEqual(rx.start[0] + PACKET.length)
  expect(rx.used).toBe(rx.start[1] + PACKET.length)
  expect(Buffer.from(rx.slab.bytes.subarray(rx.start[1], rx.used))).toEqual(PACKET)
})

it('calls onReadable while there is something to read, and onWritable once after a write was blocked', async () => {
  const { device, peer } = pair()
  const rx = receiving()
  let readable = 0
  let writable = 0
  device.onReadable(() => {
    readable++
    device.read(rx)
  })
  device.onWritable(() => writable++)
  writeSync(peer, PACKET)
  await until(() => readable > 0)
  await sleep(20)
  expect([readable, writable, rx.count]).toEqual([1, 0, 1])

  const tx = sending(1000)
  const done = device.write(tx)
  expect([tx.status, tx.first]).toEqual([BLOCKED, done])
  await sleep(20)
  expect(writable).toBe(0)
  const buffer = Buffer.alloc(2000)
  for (let i = 0; i < done; i++) readSync(peer, buffer)
  await until(() => writable > 0)
  await sleep(20)
  expect(writable).toBe(1)
  device.write(tx)
  expect(tx.first).toBeGreaterThan(done)
})

it('reports EOF once and stays quiet', async () => {
  const { device, peer } = pair()
  const rx = receiving()
  const statuses: number[] = []
  device.onReadable(() => {
    device.read(rx)
    statuses.push(rx.status)
  })
  closeSync(peer)
  peers = []
  await until(() => statuses.length > 0)
  await sleep(30)
  expect(statuses).toEqual([EOF])
})

it('answers GONE after close, which may come twice and within a callback', async () => {
  const { device, peer } = pair()
  let calls = 0
  device.onReadable(() => {
    calls++
    device.close()
    device.close()
  })
  writeSync(peer, PACKET)
  await until(() => calls > 0)
  const rx = receiving()
  expect([calls, device.read(rx), rx.status, device.isUp]).toEqual([1, 0, GONE, false])
  const tx = sending(1)
  expect([device.write(tx), tx.status]).toEqual([0, GONE])
  device.onReadable(() => {})
})

it('counts rows the NIC would not take as done', () => {
  const { device } = pair()
  const tx = sending(3)
  tx.length[1] = 4
  expect([device.write(tx), tx.status, device.refused]).toEqual([3, OK, 1])
})

it('closes the descriptor only if it was taken', () => {
  const [fd, peer] = native.socketpair()
  peers.push(fd, peer)
  openTun(`fd://${fd}`, { ownership: 'borrow' }).close()
  openTun(`fd://${fd}`, { ownership: 'dup' }).close()
  expect(writeSync(fd, PACKET)).toBe(PACKET.length)
  peers = [peer]
  openTun(`fd://${fd}`).close()
  expect(() => writeSync(fd, PACKET)).toThrow('EBADF')
})

it('refuses what is no device with a TunError', () => {
  const attempt = (url: string, options?: TunOptions) => () => openTun(url, options)
  expect(attempt('fd://9999')).toThrow(expect.objectContaining({ code: 'ERR_TUN_BAD_DESCRIPTOR', syscall: 'fstat' }))
  expect(attempt('tap://x')).toThrow(expect.objectContaining({ code: 'ERR_TUN_DEVICE_URL' }))
  expect(attempt('dev://tun0', { mtu: 67 })).toThrow(expect.objectContaining({ code: 'ERR_TUN_MTU' }))
  const [fd, peer] = native.socketpair('stream')
  peers.push(fd, peer)
  expect(attempt(`fd://${fd}`)).toThrow(expect.objectContaining({ code: 'ERR_TUN_NOT_A_TUN' }))
})
