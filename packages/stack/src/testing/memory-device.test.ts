import { describe, expect, it } from 'vitest'
import * as batch from '../memory/packet-batch.js'
import { PacketBatch } from '../memory/packet-batch.js'
import { type Bytes, Slab } from '../memory/slab.js'
import { Link } from './link.js'
import { connectDevices, MemoryDevice } from './memory-device.js'
import { fillChecksums, layoutOf, naiveSum, packetOk, pseudoHeaderSum } from './oracle.js'
import { Prng } from './prng.js'
import { VirtualClock } from './virtual-clock.js'

const V4 = '4500 0000 1234 4000 4006 0000 0a000001 0a000002'
const V6 = '60000000 0000 06 40 fd000000000000000000000000000001 fd000000000000000000000000000002'
const TCP = 'c000 0050 fffffff0 00000001 50 99 ffff 0000 0000' // sequence near the wrap; CWR ACK PSH FIN
const UDP = 'c000 0035 0000 0000'

const hex = (text: string): Bytes => Uint8Array.from(Buffer.from(text.replace(/\s/g, ''), 'hex'))

/** Headers of a packet with `payload` bytes, its lengths right and the checksum field seeded for CSUM_PARTIAL. */
function headersFor(ip: string, transport: string, payload: number): Bytes {
  const bytes = hex(ip + transport)
  const view = new DataView(bytes.buffer)
  const v4 = bytes[0] >> 4 === 4
  const ipLength = v4 ? 20 : 40
  const udp = transport === UDP
  bytes[v4 ? 9 : 6] = udp ? 17 : 6
  view.setUint16(v4 ? 2 : 4, bytes.length + payload - (v4 ? 0 : 40))
  if (udp) view.setUint16(ipLength + 4, 8 + payload)
  if (v4) view.setUint16(10, ~naiveSum(bytes, 0, 20) & 0xffff)
  const whole = new Uint8Array(bytes.length + payload)
  whole.set(bytes)
  const length = whole.length - ipLength
  view.setUint16(ipLength + (udp ? 6 : 16), pseudoHeaderSum(whole, layoutOf(whole), length))
  return bytes
}

function addRow(tx: PacketBatch, headers: Bytes, payload: Bytes[], gso?: { type: number; size: number }): void {
  const at = tx.beginRow()
  tx.slab.bytes.set(headers, at)
  const row = tx.count
  const v4 = headers[0] >> 4 === 4
  tx.flags[row] = batch.CSUM_PARTIAL
  tx.csumStart[row] = v4 ? 20 : 40
  tx.csumOffset[row] = headers[v4 ? 9 : 6] === 17 ? 6 : 16
  tx.gsoType[row] = gso?.type ?? batch.GSO_NONE
  tx.gsoSize[row] = gso?.size ?? 0
  for (const bytes of payload) tx.addPiece(bytes, 0, bytes.length, null)
  tx.finishRow(headers.length)
}

function collector(options = {}) {
  const device = new MemoryDevice({ offload: true, ...options })
  const out: Bytes[] = []
  device.ondeliver = packet => out.push(packet)
  return { device, out }
}

const payloadOf = (packet: Bytes, headers: number) => packet.subarray(headers)

describe('MemoryDevice writing', () => {
  it.each([
    ['IPv4 TCP', V4, TCP],
    ['IPv6 TCP', V6, TCP],
    ['IPv4 UDP', V4, UDP],
    ['IPv6 UDP', V6, UDP],
  ])('gathers headers and pieces (odd lengths) into one packet and completes its checksum: %s', (_, ip, transport) => {
    const { device, out } = collector()
    const tx = PacketBatch.forSending(4)
    addRow(tx, headersFor(ip, transport, 8), [Uint8Array.of(1, 2, 3), Uint8Array.of(4), Uint8Array.of(5, 6, 7, 8)])
    expect(device.write(tx)).toBe(1)
    expect(tx.first).toBe(1)
    expect(tx.status).toBe(batch.OK)
    expect([...out[0].subarray(-8)]).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    expect(packetOk(out[0])).toBe(true)
  })

  it('sends a UDP checksum that sums to zero as 0xFFFF', () => {
    const headers = headersFor(V4, UDP, 2)
    const sum = naiveSum(headers, 20)
    const { device, out } = collector()
    const tx = PacketBatch.forSending(1)
    const filler = 0xffff - sum // makes the whole sum 0xFFFF, its complement 0
    addRow(tx, headers, [Uint8Array.of(filler >> 8, filler & 255)])
    device.write(tx)
    expect([out[0][26], out[0][27]]).toEqual([0xff, 0xff])
    expect(packetOk(out[0])).toBe(true)
  })

  it.each([
    ['IPv4', V4, batch.GSO_TCP4],
    ['IPv6', V6, batch.GSO_TCP6],
  ])('cuts a TCP GSO row: lengths, sequence over the wrap, flags, ids and checksums of every packet are right: %s', (_, ip, type) => {
    const { device, out } = collector()
    const payload = Uint8Array.from({ length: 3001 }, (_, i) => (i * 7) & 255)
    const tx = PacketBatch.forSending(1)
    const headers = headersFor(ip, TCP, payload.length)
    addRow(tx, headers, [payload.slice(0, 1), payload.slice(1)], { type, size: 1000 })
    device.write(tx)
    const at = headers.length - 20
    expect(out.map(p => p.length - headers.length)).toEqual([1000, 1000, 1000, 1])
    expect(out.every(packetOk)).toBe(true)
    const seqs = out.map(p => new DataView(p.buffer).getUint32(at + 4))
    expect(seqs).toEqual([0xfffffff0, (0xfffffff0 + 1000) >>> 0, (0xfffffff0 + 2000) >>> 0, (0xfffffff0 + 3000) >>> 0])
    expect(out.map(p => p[at + 13])).toEqual([0x90, 0x10, 0x10, 0x19]) // CWR first, PSH and FIN last
    if (ip === V4) expect(out.map(p => new DataView(p.buffer).getUint16(4))).toEqual([0x1234, 0x1235, 0x1236, 0x1237])
    expect(Buffer.concat(out.map(p => payloadOf(p, headers.length)))).toEqual(Buffer.from(payload))
  })

  it('cuts a UDP GSO row into datagrams with a length and checksum each', () => {
    const { device, out } = collector()
    const tx = PacketBatch.forSending(1)
    addRow(tx, headersFor(V6, UDP, 250), [new Uint8Array(250).fill(9)], { type: batch.GSO_UDP, size: 100 })
    device.write(tx)
    expect(out.map(p => new DataView(p.buffer).getUint16(44))).toEqual([108, 108, 58])
    expect(out.every(packetOk)).toBe(true)
  })

  it('shows a wrong pseudo-header sum as a wrong checksum, as a real NIC does', () => {
    const { device, out } = collector()
    const tx = PacketBatch.forSending(2)
    const headers = headersFor(V4, TCP, 2000)
    headers[36] ^= 1
    addRow(tx, headers, [new Uint8Array(2000)], { type: batch.GSO_TCP4, size: 1000 })
    device.write(tx)
    expect(out.map(packetOk)).toEqual([false, false])
  })

  it('refuses GSO rows on a device without offload: a bug of the writer', () => {
    const { device } = collector({ offload: false })
    const tx = PacketBatch.forSending(1)
    addRow(tx, headersFor(V4, TCP, 2000), [new Uint8Array(2000)], { type: batch.GSO_TCP4, size: 1000 })
    expect(() => device.write(tx)).toThrow(/without offload/)
  })
})

describe('MemoryDevice reading', () => {
  const good = () => fillChecksums(hex(V4.replace('4500 0000', '4500 0028') + TCP))

  it('fills rows behind rx.used and says whether there may be more', () => {
    const { device } = collector()
    for (let i = 0; i < 3; i++) device.inject(good())
    const rx = new PacketBatch(new Slab(100), 8)
    rx.used = 1
    expect(device.read(rx)).toBe(2)
    expect(rx.status).toBe(batch.OK) // the slab is full
    expect([rx.start[0], rx.start[1], rx.length[1]]).toEqual([1, 41, 40])
    rx.reset()
    expect(device.read(rx)).toBe(1)
    expect(rx.status).toBe(batch.BLOCKED)
  })

  it('judges checksums as the native device does, and passes flags that are given', () => {
    const { device } = collector()
    const bad = good()
    bad[39] ^= 1
    const fragment = good()
    fragment[6] = 0x20
    for (const packet of [good(), bad, fragment, Uint8Array.of(0x45, 0)]) device.inject(packet)
    device.inject(good(), batch.CSUM_PARTIAL)
    const rx = new PacketBatch(new Slab(4096), 8)
    device.read(rx)
    expect([...rx.flags.subarray(0, 5)]).toEqual([batch.CSUM_GOOD, batch.CSUM_BAD, 0, 0, batch.CSUM_PARTIAL])
  })

  it('bounds its queue and counts what did not fit', () => {
    const { device } = collector({ queuePackets: 2 })
    expect([1, 2, 3].map(() => device.inject(good()))).toEqual([true, true, false])
    expect(device.counters.overflowed).toBe(1)
  })

  it('calls readable while there is something to read, never nested, and not while paused', () => {
    const { device } = collector()
    const rx = new PacketBatch(new Slab(4096), 1)
    let depth = 0
    let calls = 0
    device.onReadable(() => {
      expect(++depth).toBe(1)
      if (++calls === 1) device.inject(good()) // arrives while we are being told of the first
      rx.reset()
      device.read(rx)
      depth--
    })
    device.inject(good())
    expect([calls, device.waiting]).toEqual([2, 0])
    device.pause()
    device.inject(good())
    expect(calls).toBe(2)
    device.resume()
    expect([calls, device.waiting]).toEqual([3, 0])
  })
})

describe('MemoryDevice failing', () => {
  const oneRow = () => {
    const tx = PacketBatch.forSending(1)
    addRow(tx, headersFor(V4, TCP, 0), [])
    return tx
  }

  it('blocks as many writes as it is told, each followed by writable after the write has returned', () => {
    const { device, out } = collector()
    const clock = new VirtualClock()
    device.later = fn => void clock.after(0, fn)
    const tx = oneRow()
    device.onWritable(() => device.write(tx))
    device.blockWrites(2)
    expect(device.write(tx)).toBe(0)
    expect([tx.status, out.length, clock.pending]).toEqual([batch.BLOCKED, 0, 1])
    clock.runNext()
    expect([tx.status, out.length]).toEqual([batch.BLOCKED, 0])
    clock.runNext()
    expect([tx.status, out.length]).toEqual([batch.OK, 1])
  })

  it('stays blocked until unblock, which calls writable once', () => {
    const { device } = collector()
    let writable = 0
    device.onWritable(() => writable++)
    device.blockWrites()
    device.unblock()
    expect(writable).toBe(0) // nobody was blocked
    device.blockWrites()
    device.write(oneRow())
    device.unblock()
    device.unblock()
    expect(writable).toBe(1)
  })

  it('drops and counts rows while DOWN, does nothing once GONE, and comes back when told', () => {
    const { device, out } = collector()
    device.setState(batch.DOWN)
    const tx = oneRow()
    expect([device.write(tx), tx.status, tx.first, device.counters.dropped]).toEqual([1, batch.DOWN, 1, 1])
    const rx = new PacketBatch(new Slab(4096), 1)
    expect([device.read(rx), rx.status]).toEqual([0, batch.DOWN])
    device.setState(batch.OK)
    device.write(oneRow())
    expect(out.length).toBe(1)
    device.setState(batch.FAILED, 5)
    const last = oneRow()
    expect([device.write(last), last.status, last.errno, last.first]).toEqual([0, batch.FAILED, 5, 0])
  })

  it('delivers what was queued before EOF', () => {
    const { device } = collector()
    device.inject(Uint8Array.of(0x45))
    device.setState(batch.EOF)
    const rx = new PacketBatch(new Slab(4096), 4)
    expect([device.read(rx), rx.status]).toEqual([1, batch.EOF])
  })
})

describe('connectDevices', () => {
  it('carries packets both ways through links, whole GSO rows with their fields', () => {
    const clock = new VirtualClock()
    const a = new MemoryDevice({ offload: true, splitGso: false })
    const b = new MemoryDevice()
    connectDevices(a, b, new Link(clock, new Prng(1), { delayMs: 10 }), null)
    const tx = PacketBatch.forSending(1)
    addRow(tx, headersFor(V4, TCP, 2000), [new Uint8Array(2000)], { type: batch.GSO_TCP4, size: 1000 })
    a.write(tx)
    expect(b.waiting).toBe(0)
    clock.advance(10)
    const rx = new PacketBatch(new Slab(4096), 4)
    b.read(rx)
    expect([rx.length[0], rx.gsoType[0], rx.gsoSize[0], rx.flags[0], rx.csumStart[0], rx.csumOffset[0]]).toEqual([
      2040,
      batch.GSO_TCP4,
      1000,
      batch.CSUM_PARTIAL,
      20,
      16,
    ])
    tx.reset()
    addRow(tx, headersFor(V4, UDP, 0), [])
    b.write(tx)
    expect(a.waiting).toBe(1)
  })
})
