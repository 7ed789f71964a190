// Owns: the engine of one NIC: rows in, rows out, deadlines, what happened. No clock, no chance, no I/O: node/driver.ts turns it.

import { Icmp } from './icmp.js'
import { Reassembly } from './ip/reassembly.js'
import { DeadlineHeap, type Wakeable } from './memory/deadline-heap.js'
import { CSUM_BAD, CSUM_GOOD, CSUM_PARTIAL, GSO_NONE, GSO_UDP, type PacketBatch, ROW_INVALID } from './memory/packet-batch.js'
import { type Millis, type Slab, SlabPool } from './memory/slab.js'
import { DEFAULTS, type StackOptions } from './options.js'
import { Replies } from './replies.js'
import { Stats } from './stats.js'
import { TcpConnection } from './tcp/connection.js'
import { Tcp } from './tcp/tcp.js'
import type { UdpFlow } from './udp/flow.js'
import { type Datagram, Udp } from './udp/udp.js'
import { type AddressWords, isBroadcast, isLinkLocal, isLoopback, isMapped, isMulticast, isUnspecified } from './wire/address.js'
import { pseudoSum, sumBytes } from './wire/checksum.js'
import { readTooBig, TooBig } from './wire/icmp.js'
import {
  IP_BAD_CHECKSUM,
  IP_BAD_EXTENSION,
  IP_MARTIAN,
  IP_OK,
  IpPacket,
  PROTO_ICMP,
  PROTO_ICMPV6,
  PROTO_TCP,
  PROTO_UDP,
  readIp,
} from './wire/ip.js'
import { readSegment, Segment } from './wire/tcp.js'
import { readUdp, UdpHeader } from './wire/udp.js'

/** Chance, from outside: 32 random bits, signed or not. */
export interface StackEnvironment {
  random32(): number
  /** Where received bytes lie; the driver reads into slabs of the same pool. */
  slabs?: SlabPool
}

/** Whom `drain` tells. The only calls from the engine into user code. */
export interface StackEvents {
  /** `bits` are REQUEST, CONNECTED, READABLE, WRITABLE, ENDED, GONE_EVENT. */
  tcp(connection: TcpConnection, bits: number): void
  /** The datagram's bytes are borrowed for the call. */
  datagram(datagram: Datagram): void
  /** A flow ended: idle, evicted or closed. */
  flowEnded(flow: UdpFlow): void
}

export class Stack {
  readonly options: Required<StackOptions>
  readonly stats = new Stats()
  readonly slabs: SlabPool
  readonly tcp: Tcp
  readonly udp: Udp
  private readonly heap = new DeadlineHeap<Wakeable>()
  private readonly replies = new Replies()
  private readonly reassembly: Reassembly
  private readonly ip = new IpPacket()
  private readonly seg = new Segment()
  private readonly datagram = new UdpHeader()
  private readonly tooBig = new TooBig()

  constructor(options: StackOptions, env: StackEnvironment) {
    this.options = { ...DEFAULTS, ...options }
    this.slabs = env.slabs ?? new SlabPool()
    const random32 = () => env.random32() | 0
    const icmp = new Icmp(this.replies, this.stats)
    this.tcp = new Tcp({
      options: this.options,
      stats: this.stats,
      slabs: this.slabs,
      heap: this.heap,
      replies: this.replies,
      icmp,
      random32,
    })
    this.udp = new Udp(this.options, this.stats, this.heap, icmp, random32)
    this.reassembly = new Reassembly(this.stats, random32(), random32())
  }

  /** The NIC's MTU changed: new connections announce it, all keep to it. */
  setMtu(mtu: number): void {
    this.options.mtu = mtu
    this.tcp.pathChanged()
  }

  /** Takes in every row of a batch. Never throws for what is in it. `stalled`: the process slept, nothing is measured by this turn. */
  input(rx: PacketBatch, now: Millis, stalled = false): void {
    this.tcp.now = now
    this.tcp.stalled = stalled
    const { slab, start, length, gsoType, gsoSize, flags } = rx
    for (let row = 0; row < rx.count; row++) {
      this.stats.rowsIn++
      this.stats.bytesIn += length[row]
      if (flags[row] & ROW_INVALID) this.stats.drops.deviceRow++
      else this.packet(slab, start[row], length[row], gsoType[row], gsoSize[row], flags[row], now)
    }
  }

  private packet(slab: Slab, at: number, length: number, gsoType: number, gsoSize: number, flags: number, now: Millis): void {
    const { ip, stats } = this
    const view = slab.view
    const status = readIp(view, at, length, gsoType !== GSO_NONE, ip)
    if (status !== IP_OK) return this.dropIp(status)
    if (this.isMartian()) {
      stats.drops.martian++
      return
    }
    const { d0, d1, d2, d3 } = ip
    if (isMulticast(d0, d1, d2, d3) || isBroadcast(d0, d1, d2, d3) || isLinkLocal(d0, d1, d2, d3)) {
      stats.drops.multicast++
      return
    }
    if (ip.fragment) {
      const whole = this.reassembly.take(ip, slab, now)
      if (whole === null) stats.fragments++
      else this.packet(whole, 0, whole.bytes.length, GSO_NONE, 0, 0, now) // this row counts as what it completed
      return
    }
    switch (ip.proto) {
      case PROTO_TCP:
        return this.tcpPacket(slab, gsoType, gsoSize, flags, now)
      case PROTO_UDP:
        return this.udpPacket(slab, gsoType, gsoSize, flags, now)
      case PROTO_ICMP:
      case PROTO_ICMPV6:
        return this.icmpPacket(slab, flags)
      default:
        stats.drops.protocol++
    }
  }

  private dropIp(status: number): void {
    const { drops } = this.stats
    if (status === IP_BAD_CHECKSUM) drops.ipChecksum++
    else if (status === IP_MARTIAN) drops.martian++
    else if (status === IP_BAD_EXTENSION) drops.ipv6Extension++
    else drops.ipMalformed++
  }

  /** Addresses no packet on a NIC may have: RFC 1122 §3.2.1.3, RFC 4291 §2.5.2–3; and a source that is its own destination (LAND). */
  private isMartian(): boolean {
    const { s0, s1, s2, s3, d0, d1, d2, d3 } = this.ip
    return (
      isMulticast(s0, s1, s2, s3) ||
      isLoopback(s0, s1, s2, s3) ||
      isUnspecified(s0, s1, s2, s3) ||
      isBroadcast(s0, s1, s2, s3) ||
      isLoopback(d0, d1, d2, d3) ||
      isUnspecified(d0, d1, d2, d3) ||
      (s3 === d3 && s2 === d2 && s1 === d1 && s0 === d0)
    )
  }

  private tcpPacket(slab: Slab, gsoType: number, gsoSize: number, flags: number, now: Millis): void {
    const { ip, seg, stats } = this
    if (!readSegment(slab.view, ip.payload, ip.end, seg)) {
      stats.drops.tcpMalformed++
      return
    }
    if (!this.checksumGood(slab, flags, PROTO_TCP)) {
      stats.drops.tcpChecksum++
      return
    }
    const text = seg.end - seg.data
    seg.segments = gsoType !== GSO_NONE && gsoSize > 0 ? Math.max(1, Math.ceil(text / gsoSize)) : 1
    this.tcp.input(ip, seg, slab, now)
  }

  private udpPacket(slab: Slab, gsoType: number, gsoSize: number, flags: number, now: Millis): void {
    const { ip, stats } = this
    const uso = gsoType === GSO_UDP && gsoSize > 0
    const udp = this.datagram
    if (!readUdp(slab.view, ip.payload, ip.end, uso, udp)) {
      stats.drops.udpMalformed++
      return
    }
    // No checksum: allowed over IPv4, never over IPv6 (RFC 8200 §8.1).
    const none = udp.checksum === 0 && !(flags & CSUM_PARTIAL)
    if (none ? !ip.v4 : !this.checksumGood(slab, flags, PROTO_UDP, udp.end)) {
      stats.drops.udpChecksum++
      return
    }
    if (udp.srcPort === 0) {
      stats.drops.udpMalformed++ // RFC 768 allows it for one-way traffic; nobody could be answered
      return
    }
    this.udp.input(ip, udp, slab, uso ? gsoSize : 0, now)
  }

  /** Of what ICMP may say, a path's MTU is heeded; the rest is counted. */
  private icmpPacket(slab: Slab, flags: number): void {
    const { ip, stats, tooBig } = this
    const good = (ip.proto === PROTO_ICMP) === ip.v4 && this.checksumGood(slab, flags, ip.proto)
    if (good && readTooBig(slab.view, ip.payload, ip.end, ip.v4, tooBig) && this.tcp.tooBig(tooBig)) stats.icmp++
    else stats.drops.icmp++
  }

  /** Verified natively, or a local sender left it to hardware; a device that does neither is verified here. */
  private checksumGood(slab: Slab, flags: number, proto: number, end = this.ip.end): boolean {
    if (flags & CSUM_BAD) return false
    if (flags & (CSUM_GOOD | CSUM_PARTIAL)) return true
    const { ip } = this
    if (proto === PROTO_ICMP) return sumBytes(slab.view, ip.payload, end, 0) === 0xffff // the only one without a pseudo-header
    const pseudo = pseudoSum(ip.v4, ip.s0, ip.s1, ip.s2, ip.s3, ip.d0, ip.d1, ip.d2, ip.d3, proto, end - ip.payload)
    return sumBytes(slab.view, ip.payload, end, pseudo) === 0xffff
  }

  /** Runs the deadlines that have come. */
  expire(now: Millis): void {
    this.tcp.now = now
    for (let item = this.heap.takeDue(now); item !== undefined; item = this.heap.takeDue(now)) item.wake(now)
    this.tcp.timeWait.expire(now)
    this.reassembly.expire(now)
  }

  /** Fills `tx` with what is due. True: more is waiting, write this and call again. */
  poll(now: Millis, tx: PacketBatch): boolean {
    this.tcp.now = now
    const from = tx.count
    const more = !this.replies.drainInto(tx) || this.udp.poll(tx) || this.tcp.poll(tx, now)
    this.stats.rowsOut += tx.count - from
    for (let row = from; row < tx.count; row++) this.stats.bytesOut += tx.packetLength(row)
    return more
  }

  /** Has `poll` anything to do? */
  get wantsPoll(): boolean {
    return !this.replies.empty || this.udp.wantsOutput || this.tcp.wantsOutput
  }

  /** When to call `expire` next; Infinity: not until something happens. */
  nextTimeout(): Millis {
    return Math.min(this.heap.next(), this.tcp.timeWait.nextExpiry, this.reassembly.nextExpiry)
  }

  get wantsDrain(): boolean {
    return this.tcp.eventQueue.length > 0 || this.udp.wantsDrain
  }

  /** Tells what happened. User code may do anything meanwhile, also close everything; what it causes is told in the same drain. */
  drain(events: StackEvents): void {
    const queue = this.tcp.eventQueue
    for (let i = 0; i < queue.length; i++) {
      const c = queue[i]
      const bits = c.events
      c.events = 0
      c.inEvents = false
      events.tcp(c, bits)
    }
    queue.length = 0
    this.udp.drain(
      d => events.datagram(d),
      flow => events.flowEnded(flow),
    )
  }

  /**
   * Opens a connection towards the NIC: `remote` is the peer behind it, `local` whom we pretend to be. Its CONNECTED or GONE event tells
   * the outcome. null: the flow is in use.
   */
  connect(local: AddressWords, localPort: number, remote: AddressWords, remotePort: number): TcpConnection | null {
    const v4 = isMapped(remote[0], remote[1], remote[2])
    const c = new TcpConnection(this.tcp, v4, ...remote, remotePort, ...local, localPort)
    return this.tcp.open(c) ? c : null
  }
}
