// The data path of macOS, compiled for Linux and run over a socket pair: the kernel control socket of a utun is read and written like one.
// What only macOS has – making the utun, its MTU and addresses – is compiled elsewhere (test/long/cross.mjs) and was never run.

import { closeSync, existsSync, readSync, writeSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { findBinary } from '../../scripts/peers.mjs'
import native from '../index.cjs'
import { compile, root } from '../scripts/build.mjs'
import { sourcesFor } from '../scripts/sources.mjs'
import { address, BLOCKED, bytes, CSUM_GOOD, csum, EOF, GONE, GSO_TCP4, GSO_TCP6, OK, ROW_INVALID, Rows, tcp, udp } from './packets.mjs'

const A4 = address('10.0.0.1')
const B4 = address('10.0.0.2')
const A6 = address('fd00::1')
const B6 = address('fd00::2')

const INET = [0, 0, 0, 2]
const INET6 = [0, 0, 0, 30]

const output = path.join(root, 'build', 'utun', 'tun_native.node')
let darwin: typeof native

let opened: { close(): void }[] = []
let peers: number[] = []
afterEach(() => {
  for (const tun of opened) tun.close()
  for (const fd of peers) closeSync(fd)
  opened = []
  peers = []
})

function utun(type: 'dgram' | 'seqpacket' = 'seqpacket') {
  const [ours, peer] = native.socketpair(type)
  const tun = darwin.open({ name: `utun:${ours}` })
  opened.push(tun)
  peers.push(peer)
  return { tun, peer }
}

const framed = (family: number[], packet: Uint8Array) => Uint8Array.of(...family, ...packet)

function readOne(peer: number): Uint8Array {
  const buffer = new Uint8Array(70_000)
  return buffer.slice(0, readSync(peer, buffer))
}

describe.skipIf(process.platform !== 'linux' || !findBinary('g++'))('a utun', () => {
  beforeAll(() => {
    const linux = sourcesFor('linux').filter(name => !/\/(tun|open)_linux\.cc$/.test(name))
    compile(output, ['-O1'], [...linux, 'src/tun_darwin.cc', 'test/ports/utun_on_linux.cc'])
    expect(existsSync(output)).toBe(true)
    darwin = createRequire(import.meta.url)(output)
  }, 240_000)

  it('gives packets without their family header, aligned and verified', () => {
    const { tun, peer } = utun()
    expect(tun).toMatchObject({ kind: 'tun', offload: false, name: 'utun9' })
    const packets = [udp([A4, 1], [B4, 2], bytes(40)), udp([A6, 1], [B6, 2], bytes(1400)), udp([A4, 1], [B4, 2], bytes(3))]
    for (const [i, packet] of packets.entries()) writeSync(peer, framed(i === 1 ? INET6 : INET, packet))
    const rows = new Rows()
    expect([rows.read(tun), rows.status]).toEqual([3, BLOCKED])
    for (const [i, packet] of packets.entries()) {
      expect(rows.packet(i)).toEqual(packet)
      expect(rows.row(i)).toMatchObject({ flags: CSUM_GOOD, gsoType: 0, gsoSize: 0 })
      expect(rows.row(i).start % 16).toBe(0)
    }
  })

  it('marks a row whose family and version contradict each other, or that is shorter than the header', () => {
    const { tun, peer } = utun()
    const packet = udp([A4, 1], [B4, 2], bytes(40))
    for (const wrong of [framed(INET6, packet), framed([0, 0, 0, 10], packet), framed([2, 0, 0, 0], packet), framed(INET, [] as never)]) {
      writeSync(peer, wrong)
    }
    writeSync(peer, Uint8Array.of(0, 0))
    const rows = new Rows()
    expect(rows.read(tun)).toBe(5)
    expect([0, 1, 2, 3, 4].map(i => rows.row(i).flags)).toEqual([ROW_INVALID, ROW_INVALID, ROW_INVALID, ROW_INVALID, ROW_INVALID])
    expect([3, 4].map(i => rows.row(i).length)).toEqual([0, 0])
  })

  it('is written what a socket device is written, cut and summed, with the family before each packet', () => {
    const payload = bytes(5001)
    const rowsFor = () => {
      const rows = new Rows()
      const tcp4 = tcp([A4, 1], [B4, 2], { seq: 0xfffffff0, ack: 7, flags: 0x99 }, payload, true)
      const tcp6 = tcp([A6, 1], [B6, 2], { seq: 1, ack: 7, flags: 0x18 }, payload, true)
      const small = udp([A6, 1], [B6, 2], payload.subarray(0, 100), true)
      rows.add(tcp4.slice(0, 40), { ...csum(tcp4), gsoType: GSO_TCP4, gsoSize: 999 }, [payload])
      rows.add(tcp6.slice(0, 63), { ...csum(tcp6), gsoType: GSO_TCP6, gsoSize: 1000 }, [payload.subarray(3, 70), payload.subarray(70)])
      return rows.add(small.slice(0, 48), csum(small), [payload.subarray(0, 100)])
    }
    const { tun, peer } = utun()
    const [ours, plain] = native.socketpair()
    const oracle = native.open({ fd: ours, ownership: 'take' })
    opened.push(oracle)
    peers.push(plain)
    const got = rowsFor()
    const expected = rowsFor()
    expect([got.write(tun), expected.write(oracle), got.status]).toEqual([3, 3, OK])
    const segments = 6 + 6 + 1
    for (let i = 0; i < segments; i++) expect(readOne(peer)).toEqual(framed(i < 6 ? INET : INET6, readOne(plain)))
  })

  it('blocks, is called when there is room, and goes on with the row where it was', { timeout: 20_000 }, async () => {
    const { tun, peer } = utun()
    const payload = bytes(60_000)
    const packet = tcp([A4, 1], [B4, 2], { seq: 1, flags: 0x18 }, payload, true)
    const rows = new Rows()
    for (let i = 0; i < 10; i++) rows.add(packet.slice(0, 40), { ...csum(packet), gsoType: GSO_TCP4, gsoSize: 500 }, [payload])
    rows.write(tun)
    expect([rows.status, rows.table[4] > 0]).toEqual([BLOCKED, true])
    let segments = 0
    const lengths = new Set<number>()
    while (rows.first < rows.count) {
      const writable = new Promise<void>(resolve => {
        tun.watch(2, () => {
          tun.watch(0)
          resolve()
        })
      })
      const out = rows.first * 120 + rows.table[4]
      for (; segments < out; segments++) lengths.add(readOne(peer).length)
      await writable
      rows.write(tun)
    }
    for (; segments < 10 * 120; segments++) lengths.add(readOne(peer).length)
    expect([rows.table[3], ...lengths]).toEqual([0, 4 + 40 + 500])
    tun.close()
    expect(readSync(peer, new Uint8Array(10))).toBe(0)
  })

  it('is gone, and stays so, when its control is disconnected; a socket device has ended', () => {
    const { tun, peer } = utun()
    const [ours, end] = native.socketpair('dgram')
    const socket = darwin.open({ fd: ours })
    opened.push(socket)
    writeSync(end, udp([A4, 1], [B4, 2], bytes(5)))
    closeSync(end)
    closeSync(peer)
    peers = []
    const rows = new Rows()
    expect([rows.read(tun), rows.status, rows.read(tun), rows.status]).toEqual([0, GONE, 0, GONE])
    const last = new Rows()
    expect(last.read(socket)).toBe(1)
    expect(last.row(0).flags).toBe(CSUM_GOOD)
    last.read(socket)
    expect([EOF, BLOCKED]).toContain(last.status) // Linux tells it by ECONNRESET or not at all
  })
})
