// Owns: the UDP layer of one stack: datagrams in (queued until the turn's drain), datagrams out (queued until its poll), both bounded.
// Read first: RFC 768; ip/fragments.ts for what is larger than the MTU.

import type { Icmp } from '../icmp.js'
import { emitFragments, type Fragmented } from '../ip/fragments.js'
import type { DeadlineHeap, Wakeable } from '../memory/deadline-heap.js'
import { CSUM_PARTIAL, type PacketBatch } from '../memory/packet-batch.js'
import type { Bytes, Millis, Slab } from '../memory/slab.js'
import type { StackOptions } from '../options.js'
import type { Stats } from '../stats.js'
import { pseudoSum } from '../wire/checksum.js'
import { Offender } from '../wire/icmp.js'
import { IPV4_HEADER, IPV6_HEADER, type IpPacket, PROTO_UDP, writeIpv4, writeIpv6 } from '../wire/ip.js'
import { UDP_CSUM_OFFSET, UDP_HEADER, type UdpHeader, writeUdpHeader } from '../wire/udp.js'
import { type UdpFlow, UdpFlows } from './flow.js'

/** Datagrams one turn hands over at most; what a batch budget can bring, USO included. */
const MAX_QUEUED = 4096
/** RFC 768 over IPv4: 65,535 − 20 − 8; the same bound for IPv6, whose own is 20 higher. */
export const MAX_DATAGRAM = 65_507
const INLINE = 512

/** A datagram received: valid during the drain that hands it over. */
export class Datagram {
  /** null: hijacked by `serve`, such datagrams make no flow. */
  flow: UdpFlow | null = null
  v4 = true
  s0 = 0
  s1 = 0
  s2 = 0
  s3 = 0
  srcPort = 0
  d0 = 0
  d1 = 0
  d2 = 0
  d3 = 0
  dstPort = 0
  /** Its payload: bytes[start, end), borrowed. */
  slab: Slab | null = null
  start = 0
  end = 0
}

export class Udp {
  readonly flows: UdpFlows
  private readonly options: Required<StackOptions>
  private readonly stats: Stats
  private readonly icmp: Icmp
  private readonly offender = new Offender()
  /** Ports on which datagrams make no flow: [address or null for any]. */
  private readonly served = new Map<number, ((d0: number, d1: number, d2: number, d3: number) => boolean)[]>()
  private readonly queue: Datagram[] = []
  private queued = 0
  private readonly outgoing: Fragmented[] = []
  private outgoingHead = 0
  private outgoingBytes = 0
  /** Of the datagram at the head, as far as its fragments are out already; and the MTU they are cut for. */
  private fragmented = 0
  private fragmentMtu = 0
  private identification: number

  constructor(options: Required<StackOptions>, stats: Stats, heap: DeadlineHeap<Wakeable>, icmp: Icmp, random32: () => number) {
    this.options = options
    this.stats = stats
    this.icmp = icmp
    this.flows = new UdpFlows(heap, stats, options.maxUdpFlows, options.udpTimeout, random32(), random32())
    this.identification = random32()
  }

  /** Datagrams to `port` whose destination `matches` are handed over without a flow (DNS, services). Answers the undo. */
  serve(port: number, matches: (d0: number, d1: number, d2: number, d3: number) => boolean): () => void {
    const list = this.served.get(port) ?? []
    list.push(matches)
    this.served.set(port, list)
    return () => {
      const i = list.indexOf(matches)
      if (i >= 0) list.splice(i, 1)
      if (list.length === 0) this.served.delete(port)
    }
  }

  /** One datagram in view[udp.data, udp.end) of `slab`; a USO row holds several of `size` bytes each. */
  input(ip: IpPacket, udp: UdpHeader, slab: Slab, size: number, now: Millis): void {
    this.stats.udp++
    const served = this.served.get(udp.dstPort)
    const flow = served?.some(matches => matches(ip.d0, ip.d1, ip.d2, ip.d3))
      ? null
      : this.flows.of(ip.v4, ip.s0, ip.s1, ip.s2, ip.s3, udp.srcPort, now)
    const step = size > 0 ? size : Math.max(1, udp.end - udp.data)
    let at = udp.data
    do {
      this.enqueue(ip, udp, flow, slab, at, Math.min(at + step, udp.end))
      at += step
    } while (at < udp.end)
  }

  private enqueue(ip: IpPacket, udp: UdpHeader, flow: UdpFlow | null, slab: Slab, start: number, end: number): void {
    if (this.queued === MAX_QUEUED) {
      this.stats.drops.udpOverflow++
      return
    }
    if (this.queued === this.queue.length) this.queue.push(new Datagram())
    const d = this.queue[this.queued++]
    d.flow = flow
    d.v4 = ip.v4
    d.s0 = ip.s0
    d.s1 = ip.s1
    d.s2 = ip.s2
    d.s3 = ip.s3
    d.srcPort = udp.srcPort
    d.d0 = ip.d0
    d.d1 = ip.d1
    d.d2 = ip.d2
    d.d3 = ip.d3
    d.dstPort = udp.dstPort
    slab.retain()
    d.slab = slab
    d.start = start
    d.end = end
  }

  /** Hands over what came, then the flows that ended. */
  drain(datagram: (d: Datagram) => void, ended: (flow: UdpFlow) => void): void {
    for (let i = 0; i < this.queued; i++) {
      const d = this.queue[i]
      datagram(d)
      d.slab?.release()
      d.slab = null
      d.flow = null
    }
    this.queued = 0
    const over = this.flows.ended
    for (let i = 0; i < over.length; i++) ended(over[i])
    over.length = 0
  }

  get wantsDrain(): boolean {
    return this.queued > 0 || this.flows.ended.length > 0
  }

  get wantsOutput(): boolean {
    return this.outgoing.length > this.outgoingHead
  }

  /**
   * Queues a datagram; words and port of either end. `payload` is the stack's from now on. False: too large, or the queue is full.
   */
  send(
    v4: boolean,
    from: readonly [number, number, number, number, number],
    to: readonly [number, number, number, number, number],
    payload: Bytes,
  ): boolean {
    if (payload.length > MAX_DATAGRAM || this.outgoingBytes + payload.length > this.options.udpSendBudget) {
      this.stats.drops.udpSend++
      return false
    }
    this.outgoing.push({ v4, from, to, payload })
    this.outgoingBytes += payload.length + 64 // an empty one is not free either
    return true
  }

  /** True: more is waiting, the batch is full. */
  poll(tx: PacketBatch): boolean {
    while (this.outgoingHead < this.outgoing.length) {
      const out = this.outgoing[this.outgoingHead]
      const total = (out.v4 ? IPV4_HEADER : IPV6_HEADER) + UDP_HEADER + out.payload.length
      if (!tx.hasRoom(1)) return true
      if (total <= this.options.mtu && this.fragmented === 0) emitDatagram(tx, out)
      else if (!this.emitFragmented(tx, out)) return true
      this.outgoingBytes -= out.payload.length + 64
      if (++this.outgoingHead === 256) {
        this.outgoing.splice(0, this.outgoingHead) // a queue that never runs empty must not hold what is out
        this.outgoingHead = 0
      }
    }
    this.outgoing.length = 0
    this.outgoingHead = 0
    return false
  }

  /** False: the batch was full before all fragments were out. */
  private emitFragmented(tx: PacketBatch, out: Fragmented): boolean {
    if (this.fragmented === 0) this.fragmentMtu = this.options.mtu
    this.fragmented = emitFragments(tx, out, this.fragmentMtu, this.identification, this.fragmented)
    if (this.fragmented < UDP_HEADER + out.payload.length) return false
    this.fragmented = 0
    this.identification = (this.identification + 1) | 0
    return true
  }

  /** Tells the sender of a datagram that nobody is there: ICMP port unreachable. */
  reject(v4: boolean, source: readonly number[], destination: readonly number[], length: number, now: Millis): void {
    const p = this.offender
    p.v4 = v4
    p.proto = PROTO_UDP
    ;[p.s0, p.s1, p.s2, p.s3, p.srcPort] = source
    ;[p.d0, p.d1, p.d2, p.d3, p.dstPort] = destination
    p.length = UDP_HEADER + length
    p.word = p.length << 16
    this.icmp.unreachable('port', p, now)
  }
}

function emitDatagram(tx: PacketBatch, out: Fragmented): void {
  const { v4, from, to, payload } = out
  const view = tx.slab.view
  const at = tx.beginRow()
  const ipBytes = v4 ? IPV4_HEADER : IPV6_HEADER
  const length = UDP_HEADER + payload.length
  if (v4) writeIpv4(view, at, ipBytes + length, PROTO_UDP, from[3], to[3])
  else writeIpv6(view, at, length, PROTO_UDP, from[0], from[1], from[2], from[3], to[0], to[1], to[2], to[3])
  const udpAt = at + ipBytes
  writeUdpHeader(view, udpAt, from[4], to[4], length)
  const pseudo = pseudoSum(v4, from[0], from[1], from[2], from[3], to[0], to[1], to[2], to[3], PROTO_UDP, length)
  view.setUint16(udpAt + UDP_CSUM_OFFSET, pseudo)
  const row = tx.count
  tx.flags[row] = CSUM_PARTIAL
  tx.csumStart[row] = ipBytes
  tx.csumOffset[row] = UDP_CSUM_OFFSET
  if (payload.length <= INLINE) {
    tx.slab.bytes.set(payload, udpAt + UDP_HEADER)
    tx.finishRow(ipBytes + length)
  } else {
    tx.addPiece(payload, 0, payload.length, null)
    tx.finishRow(ipBytes + UDP_HEADER)
  }
}
