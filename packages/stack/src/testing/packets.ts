// Owns: random packets for the fuzz test: noise, and packets that are almost right, of few flows,
// with numbers near those of the connections.

import type { Bytes } from '../memory/slab.js'
import type { TcpConnection } from '../tcp/connection.js'
import { fillChecksums, layoutOf } from './oracle.js'
import type { Prng } from './prng.js'

const HOSTS = 3
const PORTS = 4

/** Packets that are almost right: of few flows, with numbers near those of the connections there are. */
export class PacketGenerator {
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
