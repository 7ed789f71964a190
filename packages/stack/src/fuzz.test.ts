import { expect, test } from 'vitest'
import { CSUM_GOOD, CSUM_PARTIAL, ROW_INVALID } from './memory/packet-batch.js'
import type { TcpConnection } from './tcp/connection.js'
import { connectDevices } from './testing/memory-device.js'
import { fillChecksums, layoutOf, packetOk } from './testing/oracle.js'
import { Pair, type TestStream } from './testing/pair.js'
import { Prng } from './testing/prng.js'

const PACKETS = Number(process.env.TUN_FUZZ ?? 100_000)
const HOSTS = 3
const PORTS = 4

type Bytes = Uint8Array<ArrayBuffer>

/** Packets that are almost right: of few flows, with numbers near those of the connections there are. */
class Generator {
  private readonly prng: Prng
  private readonly connections: () => TcpConnection[]

  constructor(prng: Prng, connections: () => TcpConnection[]) {
    this.prng = prng
    this.connections = connections
  }

  packet(): Bytes {
    const { prng } = this
    const kind = prng.below(100)
    if (kind < 3) return this.noise(prng.below(200))
    const v6 = prng.chance(0.4)
    if (kind < 70) return this.tcp(v6)
    if (kind < 85) return this.udp(v6)
    if (kind < 90) return this.ip(v6, v6 ? 58 : 1, this.noise(8 + prng.below(60)))
    if (kind < 94) return this.ip(v6, prng.below(256), this.noise(prng.below(80)))
    return this.fragment(v6)
  }

  private noise(n: number): Bytes {
    const bytes = new Uint8Array(n)
    for (let i = 0; i < n; i++) bytes[i] = this.prng.random32()
    if (n > 0 && this.prng.chance(0.7)) bytes[0] = this.prng.chance(0.5) ? 0x45 : 0x60
    return bytes
  }

  private ip(v6: boolean, proto: number, body: Bytes, source = this.prng.below(HOSTS), extension: number[] = [], fragment = 0): Bytes {
    const header = v6 ? 40 : 20
    const packet = new Uint8Array(header + extension.length + body.length)
    const view = new DataView(packet.buffer)
    packet.set(extension, header)
    packet.set(body, header + extension.length)
    if (v6) {
      view.setUint32(0, 0x60000000)
      view.setUint16(4, packet.length - 40)
      packet[6] = proto
      packet[7] = 64
      view.setUint32(8, 0x20010db8)
      packet[23] = 10 + source
      view.setUint32(24, 0x20010db8)
      packet[39] = 2
    } else {
      packet[0] = 0x45
      view.setUint16(2, packet.length)
      view.setUint16(4, this.prng.below(3))
      view.setUint16(6, fragment)
      packet[8] = 64
      packet[9] = proto
      view.setUint32(12, this.prng.chance(0.02) ? 0x7f000001 : 0x0a000010 + source)
      view.setUint32(16, this.prng.chance(0.02) ? 0xe0000001 : 0x0a000002)
    }
    if (layoutOf(packet).protocol >= 0 && this.prng.chance(0.95)) fillChecksums(packet)
    return packet
  }

  private tcp(v6: boolean): Bytes {
    const { prng } = this
    const list = this.connections()
    const c = list.length > 0 && prng.chance(0.7) ? list[prng.below(list.length)] : null
    const optionBytes = prng.chance(0.4) ? 4 * prng.below(11) : 0
    const text = prng.chance(0.5) ? 0 : prng.below(prng.chance(0.1) ? 9000 : 300)
    const body = this.noise(20 + optionBytes + text)
    const view = new DataView(body.buffer)
    view.setUint16(0, c ? c.remotePort : 1000 + prng.below(PORTS))
    view.setUint16(2, c ? c.localPort : 80)
    const near = () => (prng.chance(0.6) ? 0 : prng.chance(0.7) ? prng.below(3000) - 1500 : prng.random32())
    view.setInt32(4, c ? c.rcvNxt + near() : prng.random32())
    view.setInt32(8, c ? c.sndUna + (prng.chance(0.5) ? (c.sndNxt - c.sndUna) | 0 : near()) : 0)
    body[12] = prng.chance(0.97) ? (20 + optionBytes) << 2 : prng.random32()
    const common = [16, 24, 16, 24, 17, 25, 2, 18, 4, 20, 1, 0]
    body[13] = c === null && prng.chance(0.8) ? 2 : prng.chance(0.9) ? common[prng.below(common.length)] : prng.random32()
    view.setUint16(14, prng.chance(0.2) ? 0 : prng.random32())
    if (optionBytes > 0 && prng.chance(0.8)) this.options(body, 20, 20 + optionBytes, c)
    return this.ip(c ? !c.v4 : v6, 6, body, c ? (c.v4 ? c.r3 & 15 : (c.r3 & 255) - 10) : undefined)
  }

  private options(body: Bytes, from: number, end: number, c: TcpConnection | null): void {
    const { prng } = this
    const view = new DataView(body.buffer)
    body.fill(1, from, end)
    for (let at = from; at < end; ) {
      const kind = [0, 1, 2, 3, 4, 5, 8, 8, 8, 30, 253][prng.below(11)]
      const length = { 2: 4, 3: 3, 4: 2, 5: 10, 8: 10 }[kind] ?? prng.below(6)
      if (kind > 1 && at + Math.max(2, length) > end) break
      body[at] = kind
      if (kind < 2) {
        at++
        continue
      }
      body[at + 1] = prng.chance(0.97) ? length : prng.random32()
      if (kind === 8) {
        view.setInt32(at + 2, (c?.tsRecent ?? 0) + prng.below(20) - (prng.chance(0.1) ? 10 : 0))
        view.setInt32(at + 6, prng.random32())
      }
      at += Math.max(2, length)
    }
  }

  private udp(v6: boolean): Bytes {
    const { prng } = this
    const body = this.noise(8 + prng.below(300))
    const view = new DataView(body.buffer)
    view.setUint16(0, prng.below(2000))
    view.setUint16(2, prng.chance(0.3) ? 53 : prng.below(65_536))
    view.setUint16(4, prng.chance(0.95) ? body.length : prng.random32())
    return this.ip(v6, 17, body)
  }

  private fragment(v6: boolean): Bytes {
    const { prng } = this
    const body = this.noise(8 * (1 + prng.below(40)))
    const offset = prng.chance(0.4) ? 0 : prng.below(prng.chance(0.9) ? 40 : 8192)
    const more = prng.chance(0.6) ? 1 : 0
    if (!v6) return this.ip(false, 17, body, 0, [], (more << 13) | offset)
    const chain = prng.chance(0.3) ? [44, prng.below(3), 0, 0, 0, 0, 0, 0] : []
    const header = [17, 0, offset >> 5, ((offset & 31) << 3) | more, 0, 0, 0, prng.below(3)]
    return this.ip(true, chain.length > 0 ? [0, 43, 60][prng.below(3)] : 44, body, 0, [...chain, ...header])
  }
}

/** Anything an application may do, at any moment. */
function act(prng: Prng, stream: TestStream) {
  const c = stream.connection
  switch (prng.below(9)) {
    case 0:
    case 1:
      return c.accept()
    case 2:
      return c.reject((['refused', 'host-unreachable', 'net-unreachable', 'prohibited', 'drop'] as const)[prng.below(5)])
    case 3:
      return stream.write(new Uint8Array(prng.below(5000)))
    case 4:
      return stream.drain()
    case 5:
      return prng.chance(0.3) ? stream.end() : undefined
    case 6:
      return prng.chance(0.3) ? c.close() : undefined
    case 7:
      return prng.chance(0.2) ? c.reset() : undefined
    case 8:
      return c.setNoDelay(prng.chance(0.5))
  }
}

test('packets of every kind and of none: nothing throws, all is counted, bounded and given back; the stack still works', () => {
  const limits = { maxPending: 8, maxTimeWait: 6, maxUdpFlows: 20, rcvBuf: 50_000, pendingTimeout: 5000, receiveBudget: 200_000 }
  const pair = new Pair({ seed: 5, b: limits })
  const prng = new Prng(Number(process.env.TUN_FIRST_SEED ?? 99))
  const { clock, b } = pair
  const { stack } = b
  const live: TestStream[] = []
  const connections = () => live.map(s => s.connection)
  const generator = new Generator(prng, connections)
  let sent = 0
  b.device.ondeliver = packet => {
    sent++
    if (!packetOk(packet)) throw new Error(`a bad packet was sent`)
  }
  b.onrequest = stream => {
    stream.reading = prng.chance(0.5)
    live.push(stream)
    if (prng.chance(0.6)) act(prng, stream) // from inside the drain
  }
  b.ondatagram = d => {
    if (prng.chance(0.2)) {
      const source = [d.s0, d.s1, d.s2, d.s3, d.srcPort] as const
      const destination = [d.d0, d.d1, d.d2, d.d3, d.dstPort] as const
      if (prng.chance(0.5)) stack.udp.reject(d.v4, source, destination, d.end - d.start, clock.now)
      else stack.udp.send(d.v4, destination, source, new Uint8Array(prng.below(4000)))
    }
  }
  const unserve = stack.udp.serve(53, () => true)
  for (let i = 0; i < PACKETS; i++) {
    let packet = generator.packet()
    if (prng.chance(0.15) && packet.length > 0) {
      packet = packet.slice()
      for (let n = 1 + prng.below(4); n > 0; n--) packet[prng.below(packet.length)] ^= 1 << prng.below(8)
    }
    if (prng.chance(0.03)) packet = packet.slice(0, prng.below(packet.length + 1))
    const gso = { gsoType: prng.below(5), gsoSize: prng.below(3000) - 500, csumStart: prng.below(99), csumOffset: prng.below(99) }
    const flags = prng.chance(0.5) ? 0 : [CSUM_GOOD, CSUM_PARTIAL, ROW_INVALID, CSUM_GOOD][prng.below(4)]
    b.device.inject(packet, flags, prng.chance(0.05) ? gso : null)
    if (!prng.chance(0.3)) continue
    clock.advance(prng.chance(0.02) ? prng.below(20_000) : prng.chance(0.3) ? prng.below(50) : 0)
    if (live.length > 0 && prng.chance(0.3)) {
      act(prng, live[prng.below(live.length)])
      b.driver.wake()
    }
    for (let n = live.length - 1; n >= 0; n--)
      if (live[n].connection.state === 0 && prng.chance(0.2)) live.splice(n, 1)[0].connection.close()
    const { rowsIn, tcp, udp, icmp, fragments, droppedIn } = stack.stats
    if (tcp + udp + icmp + fragments + droppedIn !== rowsIn)
      throw new Error(`packet ${i}: ${rowsIn} rows in, ${JSON.stringify(stack.stats)}`)
    if (stack.tcp.handshake.pending > limits.maxPending || stack.tcp.handshake.pending < 0) throw new Error('pending')
    if (stack.tcp.timeWait.size > limits.maxTimeWait) throw new Error('TIME-WAIT')
    if (stack.udp.flows.size > limits.maxUdpFlows) throw new Error('UDP flows')
    if (stack.tcp.receiveQueued < 0) throw new Error('receiveQueued')
  }
  clock.advance(10)
  // It was deep enough: every part of it has seen traffic.
  const { stats } = stack
  expect(stats.tcpAccepted).toBeGreaterThan(100)
  expect(stats.tcpRejected).toBeGreaterThan(100)
  expect(stats.tcpOutOfOrder).toBeGreaterThan(100)
  expect(stats.tcpChallengeAcks).toBeGreaterThan(1000)
  for (const n of [stats.udp, stats.drops.ipMalformed, stats.drops.ipChecksum, stats.drops.tcpChecksum, stats.drops.martian])
    expect(n).toBeGreaterThan(10)
  expect(sent).toBeGreaterThan(1000)
  for (const c of [...stack.tcp.flows]) c.reset()
  for (const stream of live) stream.connection.dropReceived()
  for (const stream of b.accepted) stream.connection.dropReceived()
  unserve()
  clock.advance(1_000_000)
  expect(stack.tcp.flows.size).toBe(0)
  expect(stack.tcp.timeWait.size).toBe(0)
  expect(stack.udp.flows.size).toBe(0)
  expect(stack.tcp.receiveQueued).toBe(0)
  expect(stack.slabs.inUse).toBe(1)
  expect(stack.nextTimeout()).toBe(Infinity)

  connectDevices(pair.a.device, b.device, pair.ab, pair.ba)
  const data = new Uint8Array(100_000).map((_, i) => i * 31)
  b.onrequest = stream => {
    stream.connection.accept()
    stream.write(data)
    stream.end()
  }
  const before = b.accepted.length
  const client = pair.connect()
  client.write(data)
  client.end()
  expect(pair.until(() => client.gone && b.accepted[before]?.gone)).toBe(true)
  expect(Buffer.compare(client.data, data)).toBe(0)
  expect(Buffer.compare(b.accepted[before].data, data)).toBe(0)
}, 60_000)
