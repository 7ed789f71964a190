// The data path of Windows, compiled for Linux and run over a ring that takes its packets from a socket: rows, the ring's errors, and
// waiting on another thread. wintun.dll and the IP helper (open_windows.cc, wintun_windows.cc) are only compiled (test/long/cross.mjs).

import { closeSync, readSync, writeSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { findBinary } from '../../scripts/peers.mjs'
import native from '../index.cjs'
import { compile, root } from '../scripts/build.mjs'
import { sourcesFor } from '../scripts/sources.mjs'
import { address, BLOCKED, bytes, CSUM_GOOD, csum, GONE, GSO_TCP4, OK, Rows, tcp, udp } from './packets.mjs'

const A4 = address('10.0.0.1')
const B4 = address('10.0.0.2')
const A6 = address('fd00::1')
const B6 = address('fd00::2')

const output = path.join(root, 'build', 'wintun', 'tun_native.node')
let windows: typeof native

let opened: { close(): void }[] = []
let peers: number[] = []
afterEach(() => {
  for (const tun of opened) tun.close()
  for (const fd of peers) closeSync(fd)
  opened = []
  peers = []
})

function wintun() {
  const [ours, peer] = native.socketpair('seqpacket')
  const tun = windows.open({ name: `wintun:${ours}` })
  opened.push(tun)
  peers.push(peer)
  return { tun, peer }
}

function readOne(peer: number): Uint8Array {
  const buffer = new Uint8Array(70_000)
  return buffer.slice(0, readSync(peer, buffer))
}

async function until(condition: () => boolean) {
  while (!condition()) await sleep(1)
}

describe.skipIf(process.platform !== 'linux' || !findBinary('g++'))('a Wintun adapter', () => {
  beforeAll(() => {
    const linux = sourcesFor('linux').filter(name => !/\/(tun|open)_linux\.cc$/.test(name))
    compile(output, ['-O1', '-DTUN_HAS_RINGS'], [...linux, 'src/tun_windows.cc', 'test/ports/wintun_on_linux.cc'])
    windows = createRequire(import.meta.url)(output)
  }, 240_000)

  it('gives each packet of its ring as a row, aligned and verified, and the packet back to the ring', () => {
    const { tun, peer } = wintun()
    expect(tun).toMatchObject({ kind: 'tun', offload: false, mtu: 1500, isUp: true, fd: -1 })
    const packets = [udp([A4, 1], [B4, 2], bytes(40)), udp([A6, 1], [B6, 2], bytes(65_487)), udp([A4, 1], [B4, 2], bytes(3))]
    for (const packet of packets) writeSync(peer, packet)
    const rows = new Rows()
    expect([rows.read(tun), rows.status]).toEqual([3, BLOCKED])
    for (const [i, packet] of packets.entries()) {
      expect(rows.packet(i)).toEqual(packet)
      expect(rows.row(i)).toMatchObject({ flags: CSUM_GOOD, gsoType: 0, gsoSize: 0 })
      expect(rows.row(i).start % 16).toBe(0)
    }
    const answer = udp([A4, 1], [B4, 2], bytes(7))
    expect(new Rows().add(answer).write(tun)).toBe(1)
    expect(readOne(peer)).toEqual(answer)
  })

  it('is written whole packets of at most 65,535 bytes, cut as for a socket device; a longer one is refused alone', () => {
    const payload = bytes(65_500)
    const rowsFor = () => {
      const rows = new Rows()
      const big = tcp([A4, 1], [B4, 2], { seq: 9, ack: 7, flags: 0x99 }, payload.subarray(0, 5001), true)
      rows.add(big.slice(0, 45), { ...csum(big), gsoType: GSO_TCP4, gsoSize: 999 }, [payload.subarray(5, 70), payload.subarray(70, 5001)])
      return rows
    }
    const { tun, peer } = wintun()
    const [ours, plain] = native.socketpair()
    const oracle = native.open({ fd: ours, ownership: 'take' })
    opened.push(oracle)
    peers.push(plain)
    const long = udp([A6, 1], [B6, 2], payload)
    const small = udp([A4, 1], [B4, 2], bytes(9))
    const got = rowsFor().add(long.slice(0, 48), {}, [payload]).add(small)
    expect([got.write(tun), got.status, got.table[3]]).toEqual([3, OK, 1])
    rowsFor().add(small).write(oracle)
    for (let i = 0; i < 7; i++) expect(readOne(peer)).toEqual(readOne(plain))
  })

  it('calls while there is something to read, once more for what is left, and not after', { timeout: 20_000 }, async () => {
    const { tun, peer } = wintun()
    const rows = new Rows(1)
    let calls = 0
    const got: number[] = []
    tun.watch(1, events => {
      expect(events).toBe(1)
      calls++
      rows.clear()
      if (rows.read(tun) > 0) got.push(rows.row(0).length)
    })
    await sleep(20)
    for (const length of [1, 2, 3]) writeSync(peer, udp([A4, 1], [B4, 2], bytes(length)))
    await until(() => got.length === 3)
    await sleep(20)
    const settled = calls
    await sleep(50)
    expect([got, calls]).toEqual([[29, 30, 31], settled])
    writeSync(peer, udp([A4, 1], [B4, 2], bytes(4)))
    await until(() => got.length === 4)
    tun.watch(0)
    const stopped = calls
    writeSync(peer, udp([A4, 1], [B4, 2], bytes(5)))
    await sleep(30)
    expect(calls).toBe(stopped)
  })

  it('calls for a packet whose event was taken by a wait that was then given up', { timeout: 20_000 }, async () => {
    const { tun, peer } = wintun()
    const rows = new Rows()
    const got: number[] = []
    const read = () => {
      rows.clear()
      for (let row = 0, count = rows.read(tun); row < count; row++) got.push(rows.row(row).length)
    }
    tun.watch(1, read)
    await sleep(20)
    writeSync(peer, udp([A4, 1], [B4, 2], bytes(1)))
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100) // meanwhile the other thread takes the event, and nobody is called
    tun.watch(0)
    await sleep(20)
    expect(got).toEqual([])
    tun.watch(1, read)
    await until(() => got.length > 0)
    expect(got).toEqual([29])
  })

  it('blocks when its ring is full, and is asked again until there is room', { timeout: 20_000 }, async () => {
    const { tun, peer } = wintun()
    const packet = udp([A4, 1], [B4, 2], bytes(1000))
    const rows = new Rows(2048, 0, 4 << 20)
    for (let i = 0; i < 2048; i++) rows.add(packet)
    const done = rows.write(tun)
    expect([rows.status, done < 2048]).toEqual([BLOCKED, true])
    const writable = new Promise<number>(resolve => {
      tun.watch(2, events => {
        tun.watch(0)
        resolve(events)
      })
    })
    for (let i = 0; i < done; i++) readOne(peer)
    expect(await writable).toBe(2)
    expect(rows.write(tun)).toBeGreaterThan(0)
  })

  it('is gone, and stays so, when the adapter was removed; closed, it is gone as well', () => {
    const { tun, peer } = wintun()
    writeSync(peer, udp([A4, 1], [B4, 2], bytes(5)))
    closeSync(peer)
    peers = []
    const rows = new Rows()
    expect([rows.read(tun), rows.status, rows.read(tun), rows.status]).toEqual([1, GONE, 0, GONE])
    tun.close()
    expect([rows.read(tun), rows.status, rows.write(tun), rows.status]).toEqual([0, GONE, 0, GONE])
    tun.close()
    expect(tun.isUp).toBe(false)
  })

  it('holds the loop only while it is watched, and ends with its worker', { timeout: 30_000 }, async () => {
    const [ours, peer] = native.socketpair('seqpacket')
    peers.push(peer)
    const source = `const { parentPort, workerData } = require('node:worker_threads')
      const tun = require(workerData.output).open({ name: 'wintun:' + workerData.fd })
      const called = () => { tun.read(new Uint8Array(200000), 0, new Int32Array(17), 0, 1); parentPort.postMessage('called') }
      if (workerData.watch) tun.watch(1, called)
      parentPort.postMessage('open')`
    const watching = new Worker(source, { eval: true, workerData: { output, fd: ours, watch: true } })
    const said: string[] = []
    watching.on('message', message => said.push(message))
    await until(() => said.includes('open') && said.includes('called'))
    await watching.terminate()
    expect(readSync(peer, new Uint8Array(10))).toBe(0)

    const [idle, other] = native.socketpair('seqpacket')
    peers.push(other)
    const finished = new Worker(source, { eval: true, workerData: { output, fd: idle, watch: false } })
    await new Promise(resolve => finished.once('exit', resolve))
    expect(readSync(other, new Uint8Array(10))).toBe(0)
  })
})
