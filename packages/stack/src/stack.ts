// Owns: the engine of one NIC: rows in, rows out, deadlines, what happened. No clock, no chance, no I/O: node/driver.ts turns it.

import { type Echo, Icmp } from './icmp.js'
import { Identification } from './ip/identification.js'
import { Output } from './ip/output.js'
import { Reassembly } from './ip/reassembly.js'
import { emptied } from './memory/byte-queue.js'
import { DeadlineHeap, type Wakeable } from './memory/deadline-heap.js'
import { CSUM_BAD, CSUM_GOOD, CSUM_PARTIAL, GSO_NONE, GSO_UDP, type PacketBatch, ROW_INVALID } from './memory/packet-batch.js'
import { type Bytes, type Millis, type Slab, SlabPool } from './memory/slab.js'
import { DEFAULTS, type StackOptions } from './options.js'
import { Replies } from './replies.js'
import { Stats } from './stats.js'
import { TcpConnection } from './tcp/connection.js'
import { Tcp } from './tcp/tcp.js'
import type { UdpFlow } from './udp/flow.js'
import { type Datagram, Udp, type Undelivered } from './udp/udp.js'
import { type AddressWords, isBroadcast, isLinkLocal, isLoopback, isMapped, isMulticast, isUnspecified } from './wire/address.js'
import { pseudoSum, sumBytes } from './wire/checksum.js'
import { ICMP_HEADER, isEchoRequest, isTooBig, isUnreachable, Reported, readReported } from './wire/icmp.js'
import {
  IP_BAD_CHECKSUM,
  IP_BAD_EXTENSION,
  IP_MARTIAN,
  IP_OK,
  IP_PROBLEM,
  IP_SOURCE_ROUTE,
  IPV4_HEADER,
  IPV6_HEADER,
  IpPacket,
  NO_NEXT_HEADER,
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
  /**
   * Asked first: takes the datagram, or all of a train (`segment`), and answers true; else `datagram` is told of each. Borrowed as well.
   */
  carry?(datagram: Datagram): boolean
  /** A flow ended: idle, evicted or closed. */
  flowEnded(flow: UdpFlow): void
  /** The application's side says that a datagram to this flow reached nobody. Valid during the call. */
  undelivered?(report: Undelivered): void
  /** An echo request to an address that is not `local`. Its bytes are borrowed for the call. Left out: refused as prohibited. */
  echo?(request: Echo): void
}

/** What becomes of a row that the hook has seen. */
export const PASS = 0
export const DROP = 1
/** Somebody else has dealt with it. */
export const HANDLED = 2
/** Sees every row before the stack does: its bytes are slab.bytes[start, start + length), borrowed; they may be changed in place. */
export type PacketHook = (slab: Slab, start: number, length: number, flags: number, gsoSize: number) => number

export class Stack {
  readonly options: Required<StackOptions>
  readonly stats = new Stats()
  readonly slabs: SlabPool
  readonly tcp: Tcp
  readonly udp: Udp
  readonly icmp: Icmp
  /** null: nobody asks. */
  hook: PacketHook | null = null
  /** Addresses that are served here, beside the gateway's: their pings are answered, and the hop limit does not end before them. */
  local: (w0: number, w1: number, w2: number, w3: number) => boolean = () => false
  private readonly heap = new DeadlineHeap<Wakeable>()
  private readonly replies = new Replies()
  private readonly output: Output
  private readonly reassembly: Reassembly
  private readonly ip = new IpPacket()
  private readonly seg = new Segment()
  private readonly datagram = new UdpHeader()
  private readonly reported = new Reported()

  constructor(options: StackOptions, env: StackEnvironment) {
    this.options = { ...DEFAULTS, ...options }
    this.slabs = env.slabs ?? new SlabPool()
    const random32 = () => env.random32() | 0
    this.output = new Output(this.options, new Identification(random32), this.slabs)
    this.icmp = new Icmp(this.options, this.replies, this.output, this.stats)
    this.tcp = new Tcp({
      options: this.options,
      stats: this.stats,
      slabs: this.slabs,
      heap: this.heap,
      replies: this.replies,
      icmp: this.icmp,
      random32,
    })
    this.udp = new Udp(this.options, this.stats, this.heap, this.icmp, this.output, random32)
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
    const { hook } = this
    for (let row = 0; row < rx.count; row++) {
      this.stats.rowsIn++
      this.stats.bytesIn += length[row]
      if (flags[row] & ROW_INVALID) this.stats.drops.deviceRow++
      else if (hook === null || this.passes(hook, rx, row))
        this.packet(slab, start[row], length[row], gsoType[row], gsoSize[row], flags[row], now)
    }
  }

  private passes(hook: PacketHook, rx: PacketBatch, row: number): boolean {
    const verdict = hook(rx.slab, rx.start[row], rx.length[row], rx.flags[row], rx.gsoType[row] === GSO_NONE ? 0 : rx.gsoSize[row])
    if (verdict === DROP) this.stats.drops.hook++
    else if (verdict === HANDLED) this.stats.handled++
    return verdict === PASS
  }

  private packet(slab: Slab, at: number, length: number, gsoType: number, gsoSize: number, flags: number, now: Millis): void {
    const { ip, stats } = this
    const status = readIp(slab.view, at, length, gsoType !== GSO_NONE, ip)
    if (status === IP_PROBLEM && !this.isMartian()) this.icmp.problem(ip, slab, now)
    if (status !== IP_OK) return this.dropIp(status)
    if (this.isMartian()) {
      stats.drops.martian++
      return
    }
    if (!this.isForUs(slab, now)) return
    if (ip.fragment) {
      const whole = this.reassembly.take(ip, slab, now)
      if (whole !== null) this.packet(whole, 0, whole.bytes.length, GSO_NONE, 0, 0, now) // this row counts as what it completed
      return
    }
    if (ip.proto === PROTO_TCP) return this.tcpPacket(slab, gsoType, gsoSize, flags, now)
    if (ip.proto === PROTO_UDP) return this.udpPacket(slab, gsoType, gsoSize, flags, now)
    if (ip.proto === (ip.v4 ? PROTO_ICMP : PROTO_ICMPV6)) return this.icmpPacket(slab, flags)
    stats.drops.protocol++
    if (ip.v4 || ip.proto !== NO_NEXT_HEADER) this.icmp.about('protocol', ip, slab, now) // RFC 8200 §4.7: after 59 nothing is wrong
  }

  /** What goes to many, or stays on its link, is dropped unless it is wanted; what has no hop left ends here unless it has arrived. */
  private isForUs(slab: Slab, now: Millis): boolean {
    const { ip, stats, options } = this
    const { d0, d1, d2, d3 } = ip
    if (isMulticast(d0, d1, d2, d3) || isBroadcast(d0, d1, d2, d3)) {
      if (options.multicast && ip.proto === PROTO_UDP) return true
      stats.drops.multicast++
      return false
    }
    if (isLinkLocal(d0, d1, d2, d3)) {
      if (options.multicast || this.isLocal(d0, d1, d2, d3)) return true
      stats.drops.linkLocal++
      return false
    }
    if (ip.ttl > 1 || this.isLocal(d0, d1, d2, d3)) return true
    stats.drops.ttl++
    this.icmp.about('ttl', ip, slab, now) // RFC 1812 §5.3.1: traceroute sees that there is a hop
    return false
  }

  private isLocal(w0: number, w1: number, w2: number, w3: number): boolean {
    return this.icmp.isGateway(w0, w1, w2, w3) || this.local(w0, w1, w2, w3)
  }

  private dropIp(status: number): void {
    const { drops } = this.stats
    if (status === IP_BAD_CHECKSUM) drops.ipChecksum++
    else if (status === IP_MARTIAN) drops.martian++
    else if (status === IP_SOURCE_ROUTE) drops.sourceRoute++
    else if (status === IP_BAD_EXTENSION || (status === IP_PROBLEM && !this.ip.v4)) drops.ipv6Extension++
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

  /** Echo requests: answered where they have arrived, else handed over. Errors about packets of ours: heeded, or counted. */
  private icmpPacket(slab: Slab, flags: number): void {
    const { ip, stats, reported } = this
    const { v4, d0, d1, d2, d3 } = ip
    if (ip.end - ip.payload < ICMP_HEADER) stats.drops.icmpMalformed++
    else if (!this.checksumGood(slab, flags, ip.proto)) stats.drops.icmpChecksum++
    else if (isEchoRequest(slab.view, ip.payload, ip.end, v4)) {
      if (this.isLocal(d0, d1, d2, d3)) this.answerEcho(slab)
      else if (!this.icmp.echo(ip, slab)) {
        stats.drops.icmpOverflow++
        return
      }
      stats.icmp++
    } else if (readReported(slab.view, ip.payload, ip.end, v4, reported) && this.heed(reported, v4)) stats.icmp++
    else stats.drops.icmp++
  }

  /** A path's MTU matters to TCP; that nobody takes a datagram is told to its flow. False: neither. */
  private heed(reported: Reported, v4: boolean): boolean {
    if (reported.proto === PROTO_TCP) return isTooBig(reported, v4) && this.tcp.tooBig(reported)
    return isUnreachable(reported, v4) && this.udp.undelivered(reported)
  }

  private answerEcho(slab: Slab): void {
    const { v4, s0, s1, s2, s3, d0, d1, d2, d3, payload, end } = this.ip
    const bytes = slab.bytes.slice(payload + ICMP_HEADER, end)
    this.icmp.reply(v4, [d0, d1, d2, d3, 0], [s0, s1, s2, s3, 0], slab.view.getInt32(payload + 4), bytes)
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
    if (this.reassembly.nextExpiry <= now) this.giveUpFragments(now)
  }

  // Apart, as is `drainEchoes`: a function that holds a closure makes an object of what that captures at each call, needed or not.
  private giveUpFragments(now: Millis): void {
    this.reassembly.expire(now, first => this.neverWhole(first, now))
  }

  private neverWhole(first: Slab, now: Millis): void {
    if (readIp(first.view, 0, first.bytes.length, true, this.ip) === IP_OK) this.icmp.about('reassembly', this.ip, first, now)
  }

  /** Fills `tx` with what is due. True: more is waiting, write this and call again. */
  poll(now: Millis, tx: PacketBatch): boolean {
    this.tcp.now = now
    const from = tx.count
    const more = this.fill(tx, now)
    this.stats.rowsOut += tx.count - from
    for (let row = from; row < tx.count; row++) this.stats.bytesOut += tx.packetLength(row)
    return more
  }

  /** Connections have half the batch for themselves, if they want it: on a NIC that blocks, a batch is all that leaves for a while. */
  private fill(tx: PacketBatch, now: Millis): boolean {
    const { capacity } = tx
    const others = this.tcp.wantsOutput ? (tx.count + capacity) >> 1 : capacity
    const more = !this.replies.drainInto(tx, others) || this.output.poll(tx, others)
    if (this.tcp.wantsOutput && this.tcp.poll(tx, now)) return true
    if (more && tx.count < capacity) return !this.replies.drainInto(tx, capacity) || this.output.poll(tx, capacity)
    return more
  }

  /** Has `poll` anything to do? */
  get wantsPoll(): boolean {
    return !this.replies.empty || !this.output.empty || this.tcp.wantsOutput
  }

  /**
   * Queues a whole IP packet for the NIC, as it stands, checksums included; the bytes are the stack's from now on. False:
   * the queue is full.
   * @throws TypeError ERR_TUN_PACKET: it is none (its header speaks of another length), or larger than the MTU
   */
  write(packet: Bytes): boolean {
    if (!isWhole(packet) || packet.length > this.options.mtu) {
      const message = `a whole IP packet of at most ${this.options.mtu} bytes is needed, not these ${packet.length} bytes`
      throw Object.assign(new TypeError(message), { code: 'ERR_TUN_PACKET' })
    }
    const taken = this.output.packet(packet)
    if (!taken) this.stats.drops.packetSend++
    return taken
  }

  /** When to call `expire` next; Infinity: not until something happens. */
  nextTimeout(): Millis {
    return Math.min(this.heap.next(), this.tcp.timeWait.nextExpiry, this.reassembly.nextExpiry)
  }

  get wantsDrain(): boolean {
    return this.tcp.eventQueue.length > 0 || this.udp.wantsDrain || this.icmp.wantsDrain
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
    emptied(queue, 512)
    this.udp.drain(events)
    if (this.icmp.wantsDrain) this.drainEchoes(events)
  }

  private drainEchoes(events: StackEvents): void {
    this.icmp.drain(request => {
      if (events.echo !== undefined) events.echo(request)
      else this.refuseEcho(request)
    })
  }

  /** Nobody carries pings on: the truth about a host behind us is not known. */
  refuseEcho(e: Echo): void {
    const from: readonly [number, number, number, number, number] = [e.s0, e.s1, e.s2, e.s3, 0]
    this.icmp.echoUnreachable('prohibited', e.v4, from, [e.d0, e.d1, e.d2, e.d3, 0], e.word, e.end - e.start, this.tcp.now)
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

/** Does its first header speak of all the bytes, and of no more? */
function isWhole(packet: Bytes): boolean {
  const length = packet.length
  if (length >= IPV4_HEADER && packet[0] >> 4 === 4) return ((packet[2] << 8) | packet[3]) === length && (packet[0] & 15) >= 5
  return length >= IPV6_HEADER && packet[0] >> 4 === 6 && ((packet[4] << 8) | packet[5]) + IPV6_HEADER === length
}
