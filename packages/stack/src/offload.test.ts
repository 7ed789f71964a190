import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import type { End } from './ip/fragments.js'
import { CSUM_PARTIAL, GSO_NONE, GSO_TCP4, GSO_TCP6, GSO_UDP } from './memory/packet-batch.js'
import type { Bytes } from './memory/slab.js'
import type { StackOptions } from './options.js'
import { checksumOffset, fillChecksums, fillHeaderChecksum, layoutOf, packetOk, pseudoHeaderSum } from './testing/oracle.js'
import { Endpoint, type TestStream } from './testing/pair.js'
import { Prng } from './testing/prng.js'
import { type Offload, segment } from './testing/segmentation.js'
import { VirtualClock } from './testing/virtual-clock.js'
import { formatAddress } from './wire/address.js'

// A longer run: TUN_SEEDS=2000 npx vitest run --project unit packages/stack/src/offload.test.ts
const SEEDS = Number(process.env.TUN_SEEDS ?? 80)
const FIRST_SEED = Number(process.env.TUN_FIRST_SEED ?? 1)

/** What one end's NIC and stack can do, and what the kernel behind the NIC makes of it. */
interface Ways {
  mtu: number
  /** Rows may be up to 64 KiB, of TCP and UDP; false: no virtio-net header at all. */
  offload: boolean
  /** Of what is handed up: whole as it is with TSO4, TSO6 and USO; 0: cut before. */
  tso4: boolean
  tso6: boolean
  uso: boolean
  /** Bytes of payload in a row handed up at most: the sender's gso_max_size. */
  limit: number
  /** Share of packets handed up whose checksum only the pseudo-header is in: NEEDS_CSUM. */
  partial: number
  /** Share of packets on the way up whose ECN field, and whose ECE and CWR, somebody has set. */
  ecn: number
  stack: StackOptions
}

function ways(prng: Prng): Ways {
  const offload = prng.chance(0.7)
  return {
    mtu: [1280, 1500, 1500, 1501, 4000, 9000, 65_535][prng.below(7)],
    offload,
    tso4: offload && prng.chance(0.7),
    tso6: offload && prng.chance(0.7),
    uso: offload && prng.chance(0.6),
    limit: prng.chance(0.5) ? 65_535 : 2000 + prng.below(60_000),
    partial: offload ? [0, 0.5, 1][prng.below(3)] : 0,
    ecn: [0, 0, 0.1, 1][prng.below(4)],
    stack: {
      prediction: prng.chance(0.5),
      sack: prng.chance(0.7),
      congestion: prng.chance(0.5) ? 'cubic' : 'newreno',
      rcvBuf: [20_000, 1 << 20, 4 << 20][prng.below(3)],
      sndBuf: [20_000, 1 << 20, 4 << 20][prng.below(3)],
    },
  }
}

/** All that leaves `from` is right for a reader that knows no offload, and goes up at `to` as its NIC would hand it. */
function join(clock: VirtualClock, prng: Prng, from: Endpoint, fromMtu: number, to: Endpoint, way: Ways): void {
  const handUp = (packet: Bytes, offload: Offload | null) => {
    const layout = layoutOf(packet)
    if (prng.chance(way.ecn)) setEcn(packet, layout.transport, layout.protocol === 6 && !layout.fragment, offload === null)
    const csumOffset = checksumOffset(layout.protocol)
    if (offload === null && !layout.fragment && (layout.protocol === 6 || layout.protocol === 17) && prng.chance(way.partial)) {
      const sum = pseudoHeaderSum(packet, layout, layout.end - layout.transport)
      new DataView(packet.buffer).setUint16(layout.transport + csumOffset, sum)
      to.device.inject(packet, CSUM_PARTIAL, { gsoType: GSO_NONE, gsoSize: 0, csumStart: layout.transport, csumOffset })
    } else if (offload === null) to.device.inject(packet)
    else to.device.inject(packet, CSUM_PARTIAL, offload)
  }
  from.device.ondeliver = (packet, offload) => {
    const { family, protocol } = layoutOf(packet)
    const gsoType = protocol === 17 ? GSO_UDP : family === 4 ? GSO_TCP4 : GSO_TCP6
    if (offload !== null && offload.gsoType !== gsoType) throw new Error(`a row of type ${offload.gsoType} should be of ${gsoType}`)
    if (packet.length > 65_575) throw new Error(`a row of ${packet.length} bytes`)
    const plain = offload === null ? [packet] : segment(packet, offload)
    for (const piece of plain) {
      if (piece.length > fromMtu) throw new Error(`${piece.length} bytes, the MTU is ${fromMtu}`)
      if (!packetOk(piece)) throw new Error('a plain reader finds a checksum or a length that is wrong')
    }
    const rows = offload === null ? [{ packet, offload }] : cut(packet, offload, way)
    for (const row of rows) clock.after(1, () => handUp(row.packet.slice(), row.offload))
  }
}

/** A row, in rows of what `way` takes. */
function cut(packet: Bytes, offload: Offload, way: Ways): { packet: Bytes; offload: Offload | null }[] {
  const { family, protocol } = layoutOf(packet)
  const whole = protocol === 17 ? way.uso : family === 4 ? way.tso4 : way.tso6
  const segments = whole ? Math.max(1, Math.floor(way.limit / offload.gsoSize)) : 1
  const headers = packet.length - payloadOf(packet, offload)
  return segment(packet, { ...offload, gsoSize: offload.gsoSize * segments }).map(piece => ({
    packet: piece,
    offload: piece.length - headers > offload.gsoSize ? offload : null,
  }))
}

function payloadOf(packet: Bytes, { csumStart, csumOffset }: Offload): number {
  return packet.length - csumStart - (csumOffset === 6 ? 8 : (packet[csumStart + 12] >> 4) * 4)
}

/** Congestion experienced, and of TCP that the other end has heard of it: nobody here has asked for ECN. RFC 3168. */
function setEcn(packet: Bytes, transport: number, tcp: boolean, complete: boolean): void {
  const v4 = packet[0] >> 4 === 4
  packet[1] |= v4 ? 0x03 : 0x30
  if (tcp) packet[transport + 13] |= 0xc0
  if (complete) fillChecksums(packet)
  else if (v4) fillHeaderChecksum(packet) // the transport's is partial
}

const sha = (...parts: Uint8Array[]) => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest('hex')
}

function noise(prng: Prng, length: number): Bytes {
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) bytes[i] = prng.random32()
  return bytes
}

const endOf = (v4: boolean, host: number, port: number): End =>
  v4 ? [0, 0, 0xffff, 0x0a000000 + host, port] : [0x20010db8, 0, 0, host, port]

/** One world: TCP both ways and echoed datagrams, over v4 and v6, until all is over. Throws what is wrong; answers what went whole. */
function run(seed: number) {
  const prng = new Prng(seed)
  const clock = new VirtualClock(1000)
  const [wayA, wayB] = [ways(prng), ways(prng)]
  const make = (way: Ways) => {
    const { mtu, offload } = way
    return new Endpoint(clock, prng.fork(), { ...way.stack, timeWait: 1000 }, { mtu, offload, splitGso: false, queuePackets: 1e6 })
  }
  const [a, b] = [make(wayA), make(wayB)]
  join(clock, prng.fork(), a, wayA.mtu, b, wayB)
  join(clock, prng.fork(), b, wayB.mtu, a, wayA)

  // Streams, each with bytes of its own in either direction.
  const streams = Array.from({ length: 1 + prng.below(4) }, (_, i) => {
    const v6 = prng.chance(0.5)
    const size = () => prng.below([1, 5000, 100_000, 600_000][prng.below(4)])
    const port = 40_000 + i
    const stream = v6 ? a.connect('2001:db8::1', port, '2001:db8::2', 80) : a.connect('10.0.0.1', port, '10.0.0.2', 80)
    return { port, stream, up: noise(prng, size()), down: noise(prng, size()), server: null as TestStream | null }
  })
  b.onrequest = server => {
    const one = streams.find(({ port }) => port === server.connection.remotePort)!
    one.server = server
    server.connection.accept()
    server.write(one.down)
    server.end()
  }
  for (const { stream, up } of streams) {
    stream.write(up)
    stream.end()
  }

  // Datagrams: bursts of one size, as trains are made of, and any; `a` sends each back to where it came from, as its own.
  const sent: string[] = []
  const came: string[] = []
  const key = (v4: boolean, from: readonly number[], to: readonly number[], bytes: Uint8Array) =>
    `${v4} ${formatAddress(from[0], from[1], from[2], from[3])} ${from[4]} ${formatAddress(to[0], to[1], to[2], to[3])} ${to[4]} ${sha(bytes)}`
  a.ondatagram = d => {
    const answer = d.slab!.bytes.slice(d.start, d.end)
    a.stack.udp.sendTo(d.flow!, [d.d0, d.d1, d.d2, d.d3, d.dstPort], answer, clock.now)
  }
  b.ondatagram = d =>
    came.push(key(d.v4, [d.s0, d.s1, d.s2, d.s3, d.srcPort], [d.d0, d.d1, d.d2, d.d3, d.dstPort], d.slab!.bytes.subarray(d.start, d.end)))
  const burst = () => {
    const v4 = prng.chance(0.5)
    const [app, peer] = [endOf(v4, 7, 5000 + prng.below(3)), endOf(v4, 9, 53)]
    const size = [0, 1, 64, 512, 1200, 1232, 1472, 4000][prng.below(8)]
    for (let n = 1 + prng.below(90); n > 0; n--) {
      const bytes = noise(prng, prng.chance(0.05) ? prng.below(1400) : size)
      if (b.stack.udp.send(v4, app, peer, bytes)) sent.push(key(v4, peer, app, bytes))
    }
    b.driver.wake()
  }
  for (let i = prng.below(6); i > 0; i--) clock.after(prng.below(300), burst)

  const end = clock.now + 600_000
  while (clock.next() <= end && clock.runNext()) {} // to the last timer
  for (const { stream, server, up, down } of streams) {
    stream.drain()
    server?.drain()
    if (stream.error !== '' || server?.error !== '') throw new Error(`a connection ended with '${stream.error}' and '${server?.error}'`)
    if (!stream.ended || !server.ended) throw new Error('a connection has no end')
    if (sha(server.data) !== sha(up)) throw new Error(`up: ${server.receivedBytes} of ${up.length} bytes, or others`)
    if (sha(stream.data) !== sha(down)) throw new Error(`down: ${stream.receivedBytes} of ${down.length} bytes, or others`)
  }
  if (came.sort().join() !== sent.sort().join()) throw new Error(`${came.length} datagrams came back of ${sent.length}, or others`)
  for (const { stack, device } of [a, b]) {
    const { rowsIn, accounted, droppedIn, tcpRetransmits } = stack.stats
    const held = { rows: rowsIn - accounted, dropped: droppedIn, slabs: stack.slabs.inUse - 1, queued: stack.tcp.receiveQueued }
    const wrong = { ...held, retransmitted: tcpRetransmits, oversized: device.counters.oversized, overflowed: device.counters.overflowed }
    for (const [what, n] of Object.entries(wrong)) if (n !== 0) throw new Error(`${what}: ${n}`)
  }
  return { wayA, wayB, datagrams: came.length }
}

test('whatever either NIC offloads, and however what it hands up is cut, the same bytes arrive and every row is accounted for', () => {
  let [cells, datagrams] = [0, 0]
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
    try {
      const done = run(seed)
      datagrams += done.datagrams
      if (done.wayA.offload !== done.wayB.offload) cells++
    } catch (error) {
      const prng = new Prng(seed)
      const drawn = JSON.stringify([ways(prng), ways(prng)])
      throw new Error(`TUN_FIRST_SEED=${seed} TUN_SEEDS=1: ${(error as Error).message}\n${drawn}`, { cause: error })
    }
  }
  if (SEEDS < 80) return
  expect(cells).toBeGreaterThan(10)
  expect(datagrams).toBeGreaterThan(1000)
}, 300_000)
