// Owns: the UDP layer of one stack: datagrams in (queued until the turn's drain, bounded), datagrams out (to ip/output.ts), rejections.
// Read first: RFC 768; flow.ts for whose they are.

import type { Icmp, PathError } from '../icmp.js'
import type { End } from '../ip/fragments.js'
import type { Output } from '../ip/output.js'
import type { DeadlineHeap, Wakeable } from '../memory/deadline-heap.js'
import type { Millis, Slab } from '../memory/slab.js'
import type { StackOptions } from '../options.js'
import type { Stats } from '../stats.js'
import { Offender, type Reported, type Unreachable } from '../wire/icmp.js'
import { type IpPacket, PROTO_UDP } from '../wire/ip.js'
import { UDP_HEADER, type UdpHeader } from '../wire/udp.js'
import { type UdpFlow, UdpFlows } from './flow.js'

/** Datagrams one turn hands over at most; what a batch budget can bring, USO included. */
const MAX_QUEUED = 4096
/** ICMP errors about our datagrams that one turn hands over at most. */
const MAX_UNDELIVERED = 512
/** RFC 768 over IPv4: 65,535 − 20 − 8; the same bound for IPv6, whose own is 20 higher. */
export const MAX_DATAGRAM = 65_507

/** Whom the drain tells; see StackEvents. */
interface UdpEvents {
  datagram(datagram: Datagram): void
  carry?(datagram: Datagram): boolean
  flowEnded(flow: UdpFlow): void
  undelivered?(report: Undelivered): void
}

/** A datagram received, or a train of them: valid during the drain that hands it over. */
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
  /** The hop limit it came with. */
  ttl = 0
  /** Its payload: bytes[start, end), borrowed. */
  slab: Slab | null = null
  start = 0
  end = 0
  /** 0, or these are several datagrams of so many bytes each, of which the last may have fewer (USO). */
  segment = 0
}

/** What ICMP said of a datagram to `flow`, of which it quotes where it seemed to come from. */
export interface Undelivered {
  readonly flow: UdpFlow
  readonly from: End
  readonly type: number
  readonly code: number
}

export class Udp {
  readonly flows: UdpFlows
  private readonly stats: Stats
  private readonly icmp: Icmp
  private readonly offender = new Offender()
  /** Ports on which datagrams make no flow: [address or null for any]. */
  private readonly served = new Map<number, ((d0: number, d1: number, d2: number, d3: number) => boolean)[]>()
  /** Those in [0, rows) wait, `queued` datagrams altogether. */
  private readonly queue: Datagram[] = []
  private rows = 0
  private queued = 0
  private readonly reports: Undelivered[] = []
  private readonly output: Output

  constructor(
    options: Required<StackOptions>,
    stats: Stats,
    heap: DeadlineHeap<Wakeable>,
    icmp: Icmp,
    output: Output,
    random32: () => number,
  ) {
    this.stats = stats
    this.icmp = icmp
    this.output = output
    this.flows = new UdpFlows(heap, stats, options, random32)
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
    const { data, end } = udp
    const count = size > 0 && end - data > size ? Math.ceil((end - data) / size) : 1
    // A train is a row, and rows are what is counted: all of it or nothing.
    if (this.queued + count > MAX_QUEUED) {
      this.stats.drops.udpOverflow++
      return
    }
    this.stats.udp++
    const served = this.served.get(udp.dstPort)
    const flow = served?.some(matches => matches(ip.d0, ip.d1, ip.d2, ip.d3))
      ? null
      : this.flows.of(ip.v4, ip.s0, ip.s1, ip.s2, ip.s3, udp.srcPort, udp.dstPort, now)
    if (flow !== null) this.flows.contacts?.note(flow, ip.d0, ip.d1, ip.d2, ip.d3, udp.dstPort, now)
    this.queued += count
    this.enqueue(ip, udp, flow, slab, data, end, count > 1 ? size : 0)
  }

  private enqueue(ip: IpPacket, udp: UdpHeader, flow: UdpFlow | null, slab: Slab, start: number, end: number, segment: number): void {
    if (this.rows === this.queue.length) this.queue.push(new Datagram())
    const d = this.queue[this.rows++]
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
    d.ttl = ip.ttl
    slab.retain()
    d.slab = slab
    d.start = start
    d.end = end
    d.segment = segment
  }

  /** Destination unreachable, from the application's side. False: there is no such flow, or there are too many to tell of. */
  undelivered({ d0, d1, d2, d3, dstPort, s0, s1, s2, s3, srcPort, type, code }: Reported): boolean {
    const flow = this.flows.find(d0, d1, d2, d3, dstPort)
    if (flow === undefined || this.reports.length === MAX_UNDELIVERED) return false
    this.reports.push({ flow, from: [s0, s1, s2, s3, srcPort], type, code })
    return true
  }

  /** Hands over what came, then what did not arrive, then the flows that ended. */
  drain(events: UdpEvents): void {
    for (let i = 0; i < this.rows; i++) {
      const d = this.queue[i]
      if (events.carry?.(d) !== true) {
        if (d.segment === 0) events.datagram(d)
        else handOverEach(d, events)
      }
      d.slab?.release()
      d.slab = null
      d.flow = null
    }
    this.rows = 0
    this.queued = 0
    if (this.reports.length > 0) for (const report of this.reports.splice(0)) events.undelivered?.(report)
    const over = this.flows.ended
    for (let i = 0; i < over.length; i++) events.flowEnded(over[i])
    over.length = 0
  }

  get wantsDrain(): boolean {
    return this.queued > 0 || this.reports.length > 0 || this.flows.ended.length > 0
  }

  /**
   * Sends a datagram, bytes[start, end), which is copied; words and port of either end. False: too large, or the queue is full.
   */
  send(v4: boolean, from: End, to: End, bytes: Uint8Array, flow: UdpFlow | null = null, start = 0, end = bytes.length): boolean {
    const sent = end - start <= MAX_DATAGRAM && this.output.udp(v4, from, to, bytes, flow, start, end)
    if (!sent) this.stats.drops.udpSend++
    return sent
  }

  /** The same to the flow's source. False as well if the filter keeps datagrams from `from` out. */
  sendTo(flow: UdpFlow, from: End, bytes: Uint8Array, now: Millis, start = 0, end = bytes.length): boolean {
    const { contacts } = this.flows
    if (contacts !== null && !contacts.permits(flow, from[0], from[1], from[2], from[3], from[4], now)) {
      this.stats.drops.udpFiltered++
      return false
    }
    return this.send(flow.v4, from, flow.source, bytes, flow, start, end)
  }

  /** Tells the sender of a datagram that nobody is there: by default ICMP port unreachable. */
  reject(
    v4: boolean,
    source: readonly number[],
    destination: readonly number[],
    length: number,
    now: Millis,
    why: Unreachable = 'port',
  ): void {
    this.icmp.unreachable(why, this.offenderOf(v4, source, destination, length), now)
  }

  /** Passes on what the path said of a datagram of the flow that began with `payload`; see Icmp.fromPath. */
  fromPath(flow: UdpFlow, error: PathError, to: End, payload: Uint8Array, now: Millis): void {
    const { v4, s0, s1, s2, s3, srcPort } = flow
    this.icmp.fromPath(error, this.offenderOf(v4, [s0, s1, s2, s3, srcPort], to, payload.length), payload, now)
  }

  private offenderOf(v4: boolean, source: readonly number[], destination: readonly number[], length: number): Offender {
    const p = this.offender
    p.v4 = v4
    p.proto = PROTO_UDP
    ;[p.s0, p.s1, p.s2, p.s3, p.srcPort] = source
    ;[p.d0, p.d1, p.d2, p.d3, p.dstPort] = destination
    p.length = UDP_HEADER + length
    p.word = p.length << 16
    return p
  }
}

/** A train that nobody takes as a whole. */
function handOverEach(d: Datagram, events: UdpEvents): void {
  const { segment, start, end } = d
  d.segment = 0
  for (let at = start; at < end; at += segment) {
    d.start = at
    d.end = Math.min(at + segment, end)
    events.datagram(d)
  }
}
