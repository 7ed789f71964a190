// Socket devices: packets and messages, segmentation against a naive model, the other end gone. No root needed.

import { writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import * as model from './packets.mjs'
import { BLOCKED, bytes, CSUM_GOOD, csum, EOF, GSO_TCP4, GSO_TCP6, GSO_UDP, OK, Rows, tcp, udp } from './packets.mjs'
import { A4, A6, B4, B6, closePeer, pair, readAll } from './socket.test-kit.js'

/** What RFC 9293 and RFC 768 say the row means: one packet per gsoSize bytes, each whole and with its own checksum. */
function naiveSegments(packet: Uint8Array, headerLength: number, gsoSize: number): Uint8Array[] {
  const v4 = packet[0] >> 4 === 4
  const at = v4 ? 20 : 40
  const isUdp = packet[v4 ? 9 : 6] === 17
  const source = v4 ? packet.subarray(12, 16) : packet.subarray(8, 24)
  const destination = v4 ? packet.subarray(16, 20) : packet.subarray(24, 40)
  const view = new DataView(packet.buffer, packet.byteOffset)
  const payload = packet.subarray(headerLength)
  const out: Uint8Array[] = []
  for (let from = 0; from < payload.length; from += gsoSize) {
    const part = payload.slice(from, from + gsoSize)
    const last = from + gsoSize >= payload.length
    let segment: Uint8Array
    if (isUdp) {
      segment = udp([source, view.getUint16(at)], [destination, view.getUint16(at + 2)], part)
    } else {
      const flags = packet[at + 13] & ~(last ? 0 : 0x09) & ~(from === 0 ? 0 : 0x80)
      const fields = { seq: view.getUint32(at + 4) + from, ack: view.getUint32(at + 8), flags }
      segment = tcp([source, view.getUint16(at)], [destination, view.getUint16(at + 2)], fields, part)
    }
    if (v4) {
      segment[5] = 1 + out.length
      segment.fill(0, 10, 12)
      const sum = model.naiveChecksum(segment.subarray(0, 20))
      segment.set([sum >> 8, sum & 255], 10)
    }
    out.push(segment)
  }
  return out
}

describe('a socket device', () => {
  it.each(['dgram', 'seqpacket'] as const)('carries one packet per %s message, verified natively', type => {
    const { tun, peer } = pair(type)
    expect(tun).toMatchObject({ kind: 'socket', offload: false, mtu: 1500, created: false, isUp: true })
    const packets = [udp([A4, 1], [B4, 2], bytes(40)), udp([A6, 1], [B6, 2], bytes(1400))]
    for (const packet of packets) writeSync(peer, packet)
    const rows = new Rows()
    expect(rows.read(tun)).toBe(2)
    expect(rows.status).toBe(BLOCKED)
    for (const i of [0, 1]) {
      expect(rows.packet(i)).toEqual(packets[i])
      expect(rows.row(i)).toMatchObject({ flags: CSUM_GOOD, gsoSize: 0 })
      expect(rows.row(i).start % 16).toBe(0)
    }
  })

  it('completes CSUM_PARTIAL over headers and odd pieces, and leaves the row as it was', () => {
    const { tun, peer } = pair()
    const payload = bytes(333)
    const packet = udp([A4, 1], [B4, 2], payload, true)
    const header = packet.slice(0, 28)
    const rows = new Rows().add(header, csum(packet), [payload.subarray(0, 1), payload.subarray(1, 8), payload.subarray(8)])
    expect(rows.write(tun)).toBe(1)
    rows.first = 0
    expect(rows.write(tun)).toBe(1)
    expect(readAll(peer, 2)).toEqual([udp([A4, 1], [B4, 2], payload), udp([A4, 1], [B4, 2], payload)])
    expect(rows.slab.subarray(0, 28)).toEqual(header)
  })

  it('writes a UDP checksum of zero as 0xffff (RFC 768)', () => {
    const { tun, peer } = pair()
    for (let low = 0; low < 65_536; low += 1) {
      const payload = Uint8Array.of(low >> 8, low & 255)
      const packet = udp([A4, 1], [B4, 2], payload)
      if (packet[26] !== 0xff || packet[27] !== 0xff) continue
      const partial = udp([A4, 1], [B4, 2], payload, true)
      new Rows().add(partial, csum(partial)).write(tun)
      expect(readAll(peer, 1)[0]).toEqual(packet)
      return
    }
    expect.unreachable()
  })

  const cases = [
    ['TCP over IPv4', tcp, A4, B4, GSO_TCP4, 40],
    ['TCP over IPv6', tcp, A6, B6, GSO_TCP6, 60],
    ['UDP over IPv4', udp, A4, B4, GSO_UDP, 28],
    ['UDP over IPv6', udp, A6, B6, GSO_UDP, 48],
  ] as const
  it.each(cases)(
    'cuts %s as the naive model does: sequence, identification, flags, lengths, sums',
    (_, make, from, to, gsoType, headerLength) => {
      for (const [size, gsoSize] of [
        [5000, 1000],
        [5001, 999],
        [1001, 1000],
        [7, 1],
        [1000, 1000],
        [10, 1000],
      ]) {
        const { tun, peer } = pair()
        const payload = bytes(size, size)
        const fields = { seq: 0xfffffff0, ack: 77, flags: 0x99 } // CWR, ACK, PSH, FIN
        const packet = make === tcp ? tcp([from, 1], [to, 2], fields, payload, true) : udp([from, 1], [to, 2], payload, true)
        const inHeader = Math.min(3, size)
        const row = { ...csum(packet), gsoType, gsoSize }
        const rows = new Rows().add(packet.slice(0, headerLength + inHeader), row, [payload.subarray(inHeader, 5), payload.subarray(5)])
        rows.write(tun)
        const expected = naiveSegments(packet, headerLength, gsoSize)
        expect(rows.table[3]).toBe(0)
        expect(readAll(peer, expected.length)).toEqual(expected)
        tun.close()
      }
    },
  )

  it('goes on with a half-cut row where it was blocked, and forgets it when the batch is reset', async () => {
    const { tun, peer } = pair()
    const payload = bytes(60_000)
    const packet = tcp([A4, 1], [B4, 2], { seq: 1, flags: 0x18 }, payload, true)
    const expected = naiveSegments(packet, 40, 500)
    const row = { ...csum(packet), gsoType: GSO_TCP4, gsoSize: 500 }
    const rows = new Rows()
    for (let i = 0; i < 10; i++) rows.add(packet.slice(0, 40), row, [payload])
    const got: Uint8Array[] = []
    const blockedInside: number[] = []
    for (let i = 0; i < 1000 && rows.first < rows.count; i++) {
      rows.write(tun)
      if (rows.status === BLOCKED) {
        blockedInside.push(rows.table[4])
        got.push(...readAll(peer, 7))
      }
    }
    const total = 10 * expected.length
    got.push(...readAll(peer, total - got.length))
    expect(blockedInside.some(n => n > 0)).toBe(true)
    expect(rows.status).toBe(OK)
    const all = Array.from({ length: 10 }, () => expected).flat()
    expect(got.map(segment => segment.length)).toEqual(all.map(segment => segment.length))
    expect(Buffer.concat(got).equals(Buffer.concat(all))).toBe(true)

    rows.first = 0
    rows.write(tun)
    expect([rows.status, rows.table[4] > 0]).toEqual([BLOCKED, true])
    const stuck = rows.table[4] + rows.first * expected.length
    readAll(peer, stuck)
    rows.clear()
    rows.add(packet.slice(0, 40), row, [payload]).write(tun)
    expect(readAll(peer, 1)[0]).toEqual(expected[0])
  })

  it('is BLOCKED when the other end does not read, and calls once it does', async () => {
    const { tun, peer } = pair()
    const packet = udp([A4, 1], [B4, 2], bytes(1000))
    const rows = new Rows(2048, 0, 4 << 20)
    for (let i = 0; i < 2048; i++) rows.add(packet)
    const done = rows.write(tun)
    expect(rows.status).toBe(BLOCKED)
    expect(done).toBeLessThan(2048)
    const writable = new Promise<number>(resolve => {
      tun.watch(2, events => {
        tun.watch(0)
        resolve(events)
      })
    })
    readAll(peer, done)
    expect(await writable).toBe(2)
    rows.write(tun)
    expect(rows.first).toBeGreaterThan(done)
  })

  it('ends with EOF after the last packet when the other end closes, and is not polled any more', async () => {
    const { tun, peer } = pair('seqpacket')
    writeSync(peer, udp([A4, 1], [B4, 2], bytes(10)))
    closePeer(peer)
    const rows = new Rows()
    let calls = 0
    tun.watch(1, () => {
      calls++
      rows.read(tun)
    })
    await sleep(30)
    expect([rows.count, rows.status, calls]).toEqual([1, EOF, 1])
    rows.clear()
    rows.add(udp([A4, 1], [B4, 2], bytes(10))).write(tun)
    expect(rows.status).toBe(EOF)
  })

  it('notices on writing that the other end of a datagram socket is gone', () => {
    const { tun, peer } = pair('dgram')
    closePeer(peer)
    const rows = new Rows().add(udp([A4, 1], [B4, 2], bytes(10)))
    rows.write(tun)
    expect(rows.status).toBe(EOF)
  })

  it('takes an empty datagram for no packet and no end', () => {
    const { tun, peer } = pair('dgram')
    const packet = udp([A4, 1], [B4, 2], bytes(10))
    writeSync(peer, new Uint8Array(0))
    writeSync(peer, packet)
    const rows = new Rows()
    rows.read(tun)
    if (rows.status === OK) rows.read(tun)
    expect([rows.count, rows.status]).toEqual([1, BLOCKED])
  })

  it('counts a row that makes no sense as refused and writes the others', () => {
    const { tun, peer } = pair()
    const good = udp([A4, 1], [B4, 2], bytes(10))
    const partial = udp([A4, 1], [B4, 2], bytes(10), true)
    const rows = new Rows()
      .add(good.slice(0, 10))
      .add(partial, { ...csum(partial), csumOffset: 4000 })
      .add(partial, { ...csum(partial), gsoType: GSO_TCP4, gsoSize: 2 })
      .add(partial, { ...csum(partial), start: 1 << 30 })
      .add(partial, { ...csum(partial), pieceCount: 5 })
      .add(good)
    rows.table[8 + 8 * rows.capacity + 4] = 5
    expect(rows.write(tun)).toBe(6)
    expect([rows.status, rows.table[3]]).toEqual([OK, 5])
    expect(readAll(peer, 1)[0]).toEqual(good)
  })

  it('stops at a full batch and at a full slab with OK, for there may be more', () => {
    const { tun, peer } = pair()
    for (let i = 0; i < 5; i++) writeSync(peer, udp([A4, 1], [B4, 2], bytes(1000)))
    const few = new Rows(3)
    expect([few.read(tun), few.status]).toEqual([3, OK])
    const small = new Rows(10, 0, 65_535 + 64 + 500)
    expect([small.read(tun), small.status]).toEqual([1, OK])
  })
})
