// Owns: connections before they are established: pending requests (accept, reject), SYN options, cookies, initial sequence numbers.
// Read first: RFC 9293 §3.5, §3.10.7.2 (LISTEN); RFC 6528 (ISN); RFC 7323 §2.2 and RFC 2018 §2 (options only when offered).
// Bounds: admission.ts.

import { KEY_WORDS } from '../memory/flow-table.js'
import { halfSipHash } from '../memory/keyed-hash.js'
import type { Millis } from '../memory/slab.js'
import { RCV_WND_SHIFT } from '../options.js'
import type { Offender, Unreachable } from '../wire/icmp.js'
import { type IpPacket, PROTO_TCP } from '../wire/ip.js'
import { ACK, MAX_WINDOW_SHIFT, RST, type Segment, SYN, segLen } from '../wire/tcp.js'
import { Admission } from './admission.js'
import { type RejectReason, TcpConnection } from './connection.js'
import { headerBytes } from './segment.js'
import { type Seq, seqAdd, seqGt } from './seq.js'
import { REQUEST, SYN_PENDING, SYN_RECEIVED, SYN_SENT } from './states.js'
import { Remembered, readStamp, SynCookies } from './syn-cookies.js'
import type { Tcp } from './tcp.js'
import type { TimeWaitEntry } from './time-wait.js'
import { pendingDeadline, schedule } from './timers.js'

/** Linux TCP_MIN_SND_MSS: a peer that offers less makes every byte cost a packet (CVE-2019-11479). */
const MSS_MIN = 48

/** Even where the MTU leaves no room at all: a segment without text would be sent for ever. RFC 791's smallest MTU, less headers. */
const SMSS_MIN = 8

/**
 * The ISN of a flow that TIME-WAIT still knew is at least so far beyond what the old connection sent: a window without scale. As Linux.
 */
const REUSE_GAP = 0x10001

/** Longer than any round trip a client has to answer a SYN-ACK in; both have repeated by then. */
const HALF_OPEN_MIN = 2000 // ms

const UNREACHABLE = {
  'host-unreachable': 'host',
  'net-unreachable': 'net',
  prohibited: 'prohibited',
} satisfies Partial<Record<RejectReason, Unreachable>>

export class Handshake {
  readonly admission: Admission
  readonly cookies: SynCookies
  private readonly tcp: Tcp
  private readonly k0: number
  private readonly k1: number
  private readonly remembered = new Remembered()

  constructor(tcp: Tcp) {
    this.tcp = tcp
    this.k0 = tcp.random32()
    this.k1 = tcp.random32()
    this.admission = new Admission(tcp.options, tcp.random32)
    this.cookies = new SynCookies(tcp.random32)
  }

  /** Connections in SYN-PENDING. */
  get pending(): number {
    return this.admission.pending
  }

  /** And in SYN-RECEIVED. */
  get halfOpen(): { readonly size: number } {
    return this.admission.halfOpen
  }

  /**
   * A SYN for a flow we know nothing of: §3.10.7.2 third. The flow's key is set in `tcp.flows`. `old` is what TIME-WAIT knows of it and
   * the SYN may take the place of. False: there was no room.
   */
  syn(ip: IpPacket, seg: Segment, now: Millis, old: TimeWaitEntry | null = null): boolean {
    const { tcp } = this
    if (!this.hasRoom(ip, now)) {
      // No cookie reaches beyond what an old connection has sent: there the SYN comes again.
      if (this.admission.overflows(now, old === null)) tcp.replyCookie(ip, seg, now)
      else tcp.stats.drops.synOverflow++ // unanswered: the client repeats it
      return false
    }
    tcp.stats.tcp++
    tcp.flows.setKey(ip.s0, ip.s1, ip.s2, ip.s3, ip.d0, ip.d1, ip.d2, ip.d3, seg.srcPort, seg.dstPort)
    const c = connectionOf(tcp, ip, seg)
    c.state = SYN_PENDING
    c.irs = seg.seq
    c.rcvNxt = seqAdd(seg.seq, 1)
    c.synEnd = seqAdd(seg.seq, segLen(seg))
    c.lastAckSent = c.rcvNxt
    c.iss = this.isn(now)
    this.takeSynOptions(c, seg, now)
    if (old !== null) {
      // RFC 9293 §3.10.7.4 first (TIME-WAIT), RFC 6191: no number of the old connection's may come again; nor may the time.
      const least = seqAdd(old.sndNxt, REUSE_GAP)
      if (seqGt(least, c.iss)) c.iss = least
      if (old.tsOk) c.tsOffset = old.tsOffset
    }
    c.synAt = now
    c.synLastAt = now
    c.lifeAt = pendingDeadline(c)
    tcp.flows.add(c)
    this.admission.requested(c)
    c.happened(REQUEST)
    schedule(c)
    return true
  }

  private hasRoom(ip: IpPacket, now: Millis): boolean {
    const { admission } = this
    const source = admission.source(ip.s0, ip.s1, ip.s2, ip.s3)
    admission.heard(source, ip.v4, now)
    if (admission.crowds(source, ip.v4, now)) return false
    return !admission.full || this.evict(now)
  }

  /**
   * Makes room by giving up the oldest connection whose SYN-ACK stays without an answer: in a flood of SYNs from addresses that are not
   * theirs (RFC 4987 §3.2) those are the flood's. Whoever may still be about to answer is left alone. False: there is none.
   */
  private evict(now: Millis): boolean {
    if (!this.admission.mayEvict(now)) return false
    const { oldest } = this.admission.halfOpen
    if (oldest === null || !(now - oldest.unansweredSince >= HALF_OPEN_MIN)) return false // NaN: not even sent
    this.admission.fellSilent()
    this.tcp.remove(oldest, 'ECONNABORTED')
    return true
  }

  // ---- cookies: a connection that the stack has answered for the application

  /**
   * Does a segment prove that its sender got a cookie of ours? The flow's key is set in `tcp.flows`. It is the third of the handshake, or
   * the first text if that was lost: what comes later carries another number.
   */
  private cookieMss(seg: Segment, v4: boolean, now: Millis): number {
    return this.cookies.check(this.tcp.flows.key, seqAdd(seg.seq, -1), seqAdd(seg.ack, -1), this.tcp.ownMss(v4), now)
  }

  /**
   * A segment of a flow nobody knows, with ACK and without SYN: the connection its cookie stands for, which becomes established by
   * processing the segment. 'unknown': it answers no cookie. 'later': there is no room, its sender will repeat it.
   */
  fromCookie(ip: IpPacket, seg: Segment, now: Millis): TcpConnection | 'unknown' | 'later' {
    const { tcp, cookies, admission } = this
    if (!cookies.expected(now)) return 'unknown'
    const mss = this.cookieMss(seg, ip.v4, now)
    if (mss === 0) {
      tcp.stats.tcpCookiesBad++
      return 'unknown'
    }
    admission.cookieAnswered(seqAdd(seg.ack, -1))
    if (!admission.admitsUndecided(admission.source(ip.s0, ip.s1, ip.s2, ip.s3), ip.v4, now)) {
      tcp.stats.drops.synOverflow++
      return 'later'
    }
    const c = connectionOf(tcp, ip, seg)
    c.state = SYN_RECEIVED
    c.cookie = true
    c.irs = seqAdd(seg.seq, -1)
    c.rcvNxt = seg.seq
    c.lastAckSent = seg.seq
    c.iss = seqAdd(seg.ack, -1)
    this.remember(c, seg, mss, now)
    this.begin(c)
    c.sndNxt = seg.ack
    c.lifeAt = now + tcp.options.pendingTimeout
    tcp.flows.add(c)
    admission.made(c)
    tcp.stats.tcpCookiesAccepted++
    c.happened(REQUEST)
    return c
  }

  /** The options as they were agreed on. */
  private remember(c: TcpConnection, seg: Segment, mss: number, now: Millis): void {
    const { remembered } = this
    c.peerMss = mss
    c.tsOk = seg.hasTimestamps
    if (c.tsOk) {
      readStamp(seg.tsEcr, remembered)
      c.sackOk = remembered.sackPermitted
      if (remembered.wndShift >= 0) {
        c.sndWndShift = Math.min(remembered.wndShift, MAX_WINDOW_SHIFT)
        c.rcvWndShift = RCV_WND_SHIFT
      }
      c.tsRecent = seg.tsVal
      c.tsRecentAt = now
      c.tsOffset = this.cookies.tsOffset(this.tcp.flows.key)
    }
    updateSmss(c)
  }

  /**
   * A flow before ESTABLISHED gets the answer to a cookie: an earlier SYN of its client was answered by one, a later one made the request.
   * The client knows the cookie's number only, so that request is over; the segment is to be looked at anew.
   */
  crossesCookie(c: TcpConnection, seg: Segment, now: Millis): boolean {
    if (c.state !== SYN_PENDING && c.state !== SYN_RECEIVED) return false
    if ((seg.flags & (ACK | SYN | RST)) !== ACK || !this.cookies.expected(now) || this.cookieMss(seg, c.v4, now) === 0) return false
    this.drop(c, 'ECONNABORTED')
    return true
  }

  /** The options of the peer's SYN; ours are offered back only if they were in it. */
  takeSynOptions(c: TcpConnection, seg: Segment, now: Millis): void {
    c.peerMss = offeredMss(seg, c.v4)
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

  /** The application wants it: SYN-ACK, §3.10.7.2; unless a cookie was that. */
  accept(c: TcpConnection): void {
    const { tcp } = this
    tcp.stats.tcpAccepted++
    c.lifeAt = Infinity
    if (c.cookie) return this.admission.decided(c)
    this.admission.accepted(c)
    c.state = SYN_RECEIVED
    this.start(c)
  }

  /** Active open, §3.10.1: a SYN leaves with the next poll. */
  open(c: TcpConnection): void {
    c.state = SYN_SENT
    c.active = true
    this.tcp.keyOf(c)
    c.iss = this.isn(this.tcp.now)
    // Offered; `takeSynOptions` settles what came back.
    c.tsOk = true
    c.sackOk = this.tcp.options.sack
    c.rcvWndShift = RCV_WND_SHIFT
    c.tsOffset = this.tcp.random32()
    this.start(c)
  }

  private start(c: TcpConnection): void {
    this.begin(c)
    c.synDue = true
    this.tcp.output(c)
  }

  private begin(c: TcpConnection): void {
    c.sndUna = c.iss
    c.sndNxt = c.iss
    c.recover = c.iss
    c.rcvAdv = seqAdd(c.rcvNxt, Math.min(c.rcvSpace, 0xffff))
  }

  reject(c: TcpConnection, reason: RejectReason): void {
    const { tcp } = this
    tcp.stats.tcpRejected++
    if (c.cookie) {
      this.admission.decided(c)
      return c.reset()
    }
    if (reason === 'refused') tcp.replyLone(c, 0, c.synEnd, RST | ACK)
    else if (reason !== 'drop') tcp.icmp.unreachable(UNREACHABLE[reason], offender(tcp.offender, c), tcp.now)
    this.drop(c, '')
  }

  /** Nobody decided in time, or the client has stopped asking: silence; but not to one that is connected. */
  giveUp(c: TcpConnection): void {
    if (c.cookie) this.tcp.sendReset(c)
    else if (this.tcp.now - c.synAt < this.tcp.options.pendingTimeout) this.admission.fellSilent()
    this.drop(c, 'ECONNABORTED')
  }

  private drop(c: TcpConnection, error: string): void {
    this.tcp.remove(c, error)
  }

  /** RFC 6528 §3: ISN = M + F(flow, secret), M a clock of 4 µs. The flow's key is set in `tcp.flows`. */
  private isn(now: Millis): Seq {
    const f = halfSipHash(this.tcp.flows.key, 0, KEY_WORDS, this.k0, this.k1, 2, 4)
    return (Math.floor((now * 250) % 4294967296) + f) | 0
  }
}

function connectionOf(tcp: Tcp, ip: IpPacket, seg: Segment): TcpConnection {
  return new TcpConnection(tcp, ip.v4, ip.s0, ip.s1, ip.s2, ip.s3, seg.srcPort, ip.d0, ip.d1, ip.d2, ip.d3, seg.dstPort)
}

/** The MSS of a SYN, or the default: RFC 9293 §3.7.1. */
export function offeredMss(seg: Segment, v4: boolean): number {
  if (seg.mss > 0) return Math.max(seg.mss, MSS_MIN)
  return v4 ? 536 : 1220
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
