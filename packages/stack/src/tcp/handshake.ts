// Owns: connections before they are established: pending requests (accept, reject, bounds), SYN options, initial sequence numbers.
// Read first: RFC 9293 §3.5, §3.10.7.2 (LISTEN); RFC 6528 (ISN); RFC 7323 §2.2 and RFC 2018 §2 (options only when offered).

import { KEY_WORDS } from '../memory/flow-table.js'
import { halfSipHash } from '../memory/keyed-hash.js'
import type { Millis } from '../memory/slab.js'
import { RCV_WND_SHIFT } from '../options.js'
import type { Offender, Unreachable } from '../wire/icmp.js'
import { type IpPacket, PROTO_TCP } from '../wire/ip.js'
import { ACK, RST, type Segment, SYN } from '../wire/tcp.js'
import { type RejectReason, TcpConnection } from './connection.js'
import { headerBytes } from './segment.js'
import { type Seq, seqAdd } from './seq.js'
import { REQUEST, SYN_PENDING, SYN_RECEIVED, SYN_SENT } from './states.js'
import type { Tcp } from './tcp.js'
import { pendingDeadline, schedule } from './timers.js'

/** Linux TCP_MIN_SND_MSS: a peer that offers less makes every byte cost a packet (CVE-2019-11479). */
const MSS_MIN = 48

/** Even where the MTU leaves no room at all: a segment without text would be sent for ever. RFC 791's smallest MTU, less headers. */
const SMSS_MIN = 8

/** Longer than any round trip a client has to answer a SYN-ACK in; both have repeated by then. */
const HALF_OPEN_MIN = 2000 // ms

const UNREACHABLE = {
  'host-unreachable': 'host',
  'net-unreachable': 'net',
  prohibited: 'prohibited',
} satisfies Partial<Record<RejectReason, Unreachable>>

export class Handshake {
  /** Connections in SYN_PENDING. */
  pending = 0
  /** And in SYN_RECEIVED, the oldest first. */
  readonly halfOpen = new Set<TcpConnection>()
  private readonly tcp: Tcp
  private readonly k0: number
  private readonly k1: number

  constructor(tcp: Tcp) {
    this.tcp = tcp
    this.k0 = tcp.random32()
    this.k1 = tcp.random32()
  }

  /** A SYN for a flow we know nothing of: §3.10.7.2 third. The flow's key is set in `tcp.flows`. */
  syn(ip: IpPacket, seg: Segment, now: Millis): void {
    const { tcp } = this
    if (this.pending + this.halfOpen.size >= tcp.options.maxPending) {
      if (!this.evict(now)) {
        tcp.stats.drops.synOverflow++ // unanswered: the client repeats it
        return
      }
      tcp.flows.setKey(ip.s0, ip.s1, ip.s2, ip.s3, ip.d0, ip.d1, ip.d2, ip.d3, seg.srcPort, seg.dstPort)
    }
    const c = new TcpConnection(tcp, ip.v4, ip.s0, ip.s1, ip.s2, ip.s3, seg.srcPort, ip.d0, ip.d1, ip.d2, ip.d3, seg.dstPort)
    c.state = SYN_PENDING
    c.irs = seg.seq
    c.rcvNxt = seqAdd(seg.seq, 1)
    c.lastAckSent = c.rcvNxt
    this.takeSynOptions(c, seg, now)
    c.synAt = now
    c.synLastAt = now
    c.lifeAt = pendingDeadline(c)
    tcp.flows.add(c)
    this.pending++
    c.happened(REQUEST)
    schedule(c)
  }

  /**
   * Makes room by giving up the oldest connection whose SYN-ACK stays without an answer: in a flood of SYNs from addresses that are not theirs
   * (RFC 4987 §3.2) those are the flood's. Whoever may still be about to answer is left alone. False: there is none.
   */
  private evict(now: Millis): boolean {
    for (const oldest of this.halfOpen) {
      if (!(now - oldest.unansweredSince >= HALF_OPEN_MIN)) return false // NaN: not even sent
      this.tcp.remove(oldest, 'ECONNABORTED')
      return true
    }
    return false
  }

  /** The options of the peer's SYN; ours are offered back only if they were in it. */
  takeSynOptions(c: TcpConnection, seg: Segment, now: Millis): void {
    if (seg.mss > 0) c.peerMss = Math.max(seg.mss, MSS_MIN)
    const active = c.state === SYN_SENT
    if (seg.wndShift >= 0) {
      c.sndWndShift = seg.wndShift
      c.rcvWndShift = RCV_WND_SHIFT
    } else {
      c.sndWndShift = 0
      c.rcvWndShift = 0
    }
    c.sackOk = seg.sackPermitted && this.tcp.options.sack
    c.tsOk = seg.hasTimestamps
    c.tsRecent = seg.tsVal
    c.tsRecentAt = now
    if (!active) c.tsOffset = this.tcp.random32()
    updateSmss(c)
  }

  /** Segments of a flow that waits for the application's decision. */
  arrivesWhilePending(c: TcpConnection, seg: Segment, now: Millis): void {
    if (seg.flags & RST) {
      if (seg.seq === c.rcvNxt || seg.seq === c.irs) this.drop(c, 'ECONNABORTED')
      return
    }
    if (!(seg.flags & SYN) || seg.flags & ACK) return
    if (seg.seq !== c.irs) {
      // Another connection on the same 4-tuple: the old one is history. Its key is still set in the table.
      this.drop(c, 'ECONNABORTED')
      this.tcp.again = true
      return
    }
    c.synGap = Math.max(c.synGap, now - c.synLastAt)
    c.synLastAt = now
    if (seg.hasTimestamps) c.tsRecent = seg.tsVal
    c.lifeAt = pendingDeadline(c)
    schedule(c)
  }

  /** The application wants it: SYN-ACK, §3.10.7.2. */
  accept(c: TcpConnection): void {
    const { tcp } = this
    this.pending--
    this.halfOpen.add(c)
    tcp.stats.tcpAccepted++
    c.state = SYN_RECEIVED
    c.lifeAt = Infinity
    c.iss = this.isn(c, tcp.now)
    this.start(c)
  }

  /** Active open, §3.10.1: a SYN leaves with the next poll. */
  open(c: TcpConnection): void {
    c.state = SYN_SENT
    c.iss = this.isn(c, this.tcp.now)
    // Offered; `takeSynOptions` settles what came back.
    c.tsOk = true
    c.sackOk = this.tcp.options.sack
    c.rcvWndShift = RCV_WND_SHIFT
    c.tsOffset = this.tcp.random32()
    this.start(c)
  }

  private start(c: TcpConnection): void {
    c.sndUna = c.iss
    c.sndNxt = c.iss
    c.recover = c.iss
    c.rcvAdv = seqAdd(c.rcvNxt, Math.min(c.rcvSpace, 0xffff))
    c.synDue = true
    this.tcp.output(c)
  }

  reject(c: TcpConnection, reason: RejectReason): void {
    const { tcp } = this
    tcp.stats.tcpRejected++
    if (reason === 'refused') tcp.replyLone(c, 0, c.rcvNxt, RST | ACK)
    else if (reason !== 'drop') tcp.icmp.unreachable(UNREACHABLE[reason], offender(tcp.offender, c), tcp.now)
    this.drop(c, '')
  }

  /** Nobody decided in time, or the client has stopped asking: silence. */
  giveUp(c: TcpConnection): void {
    this.drop(c, 'ECONNABORTED')
  }

  private drop(c: TcpConnection, error: string): void {
    this.tcp.remove(c, error)
  }

  /**
   * RFC 6528 §3: ISN = M + F(flow, secret), M a clock of 4 µs.
   */
  isn(c: TcpConnection, now: Millis): Seq {
    const key = this.tcp.keyOf(c)
    const f = halfSipHash(key, 0, KEY_WORDS, this.k0, this.k1, 2, 4)
    return (Math.floor((now * 250) % 4294967296) + f) | 0
  }
}

/** SMSS: what the peer takes and NIC and path carry, less our options. RFC 9293 §3.7.1, RFC 6691. */
export function updateSmss(c: TcpConnection): void {
  const options = c.tsOk ? 12 : 0
  c.smss = Math.max(SMSS_MIN, Math.min(c.peerMss - options, Math.min(c.tcp.options.mtu, c.pathMtu) - headerBytes(c)))
  c.congestion.setSmss(c.smss)
}

function offender(p: Offender, c: TcpConnection): Offender {
  p.v4 = c.v4
  p.proto = PROTO_TCP
  p.s0 = c.r0
  p.s1 = c.r1
  p.s2 = c.r2
  p.s3 = c.r3
  p.srcPort = c.remotePort
  p.d0 = c.l0
  p.d1 = c.l1
  p.d2 = c.l2
  p.d3 = c.l3
  p.dstPort = c.localPort
  p.word = c.irs
  p.length = 40 // a SYN with the usual options
  return p
}
