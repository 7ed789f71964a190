// Owns: the TCP layer of one stack: which segment belongs to which connection, what answers where there is none, and the
// queues between the engine and its driver (who has something to send, who has something to tell).

import type { Icmp } from '../icmp.js'
import { emptied } from '../memory/byte-queue.js'
import type { DeadlineHeap, Wakeable } from '../memory/deadline-heap.js'
import { FlowTable } from '../memory/flow-table.js'
import type { PacketBatch } from '../memory/packet-batch.js'
import type { Millis, Slab, SlabPool } from '../memory/slab.js'
import { RCV_WND_SHIFT, type StackOptions } from '../options.js'
import type { Replies } from '../replies.js'
import type { Stats } from '../stats.js'
import { Offender, type Reported } from '../wire/icmp.js'
import { IPV4_HEADER, IPV6_HEADER, type IpPacket } from '../wire/ip.js'
import { ACK, FIN, RST, type Segment, SYN, segLen, TCP_HEADER } from '../wire/tcp.js'
import { arrives } from './arrives.js'
import type { TcpConnection } from './connection.js'
import { Handshake, offeredMss, updateSmss } from './handshake.js'
import { takePathMtu } from './path-mtu.js'
import { windowField } from './receiver.js'
import { LoneSegment, writeLoneSegment } from './segment.js'
import { output as emitDue } from './sender.js'
import { seqAdd } from './seq.js'
import { CLOSED, GONE_EVENT, SYN_RECEIVED } from './states.js'
import { stampOptions } from './syn-cookies.js'
import { mayReuse, TimeWaitEntry, TimeWaitTable } from './time-wait.js'

/** Windows opened in one poll once the receive queues are within their budget again. */
const HELD_TOLD = 64

/** What the TCP layer needs of its stack. */
export interface TcpEnvironment {
  readonly options: Required<StackOptions>
  readonly stats: Stats
  readonly slabs: SlabPool
  readonly heap: DeadlineHeap<Wakeable>
  readonly replies: Replies
  readonly icmp: Icmp
  random32(): number
}

export class Tcp {
  readonly options: Required<StackOptions>
  readonly stats: Stats
  readonly slabs: SlabPool
  readonly heap: DeadlineHeap<Wakeable>
  readonly icmp: Icmp
  readonly offender = new Offender()
  readonly flows: FlowTable<TcpConnection>
  readonly handshake: Handshake
  readonly timeWait: TimeWaitTable
  readonly random32: () => number
  readonly eventQueue: TcpConnection[] = []
  private readonly outputQueue: TcpConnection[] = []
  private outputHead = 0
  private readonly held = new Set<TcpConnection>()
  private readonly replies: Replies
  private readonly lone = new LoneSegment()
  private readonly waiting = new TimeWaitEntry()
  /** The turn's time, for verbs the application calls. */
  now: Millis = 0
  /** The turn came too late to measure anything by it. */
  stalled = false
  /** Bytes in all receive queues and reassembly lists. */
  receiveQueued = 0
  /** Connections with something in their send queue. */
  senders = 0
  /** Set by the handshake: the old connection made way, the SYN counts as a new one. */
  again = false

  constructor(env: TcpEnvironment) {
    this.options = env.options
    this.stats = env.stats
    this.slabs = env.slabs
    this.heap = env.heap
    this.icmp = env.icmp
    this.replies = env.replies
    this.random32 = env.random32
    this.flows = new FlowTable(env.random32(), env.random32())
    this.timeWait = new TimeWaitTable(env.options.maxTimeWait, env.random32(), env.random32())
    this.handshake = new Handshake(this)
  }

  get overBudget(): boolean {
    return this.receiveQueued > this.options.receiveBudget
  }

  /** Windows overcommit: what they let in has gone a quarter beyond the budget. */
  get exhausted(): boolean {
    return this.receiveQueued > this.options.receiveBudget * 1.25
  }

  /** `c` could open its window but for the budget: it is told when there is room again. */
  hold(c: TcpConnection): void {
    this.held.add(c)
  }

  /** MSS we announce: RFC 9293 §3.7.1, of the NIC's MTU, without options (RFC 6691). */
  ownMss(v4: boolean): number {
    return this.options.mtu - (v4 ? IPV4_HEADER : IPV6_HEADER) - TCP_HEADER
  }

  /** Another MTU: what is queued is cut anew. */
  pathChanged(): void {
    for (const c of this.flows) updateSmss(c)
  }

  /** A router could not pass a segment on. True: it was one of ours, and is heeded. */
  tooBig(p: Reported): boolean {
    this.flows.setKey(p.d0, p.d1, p.d2, p.d3, p.s0, p.s1, p.s2, p.s3, p.dstPort, p.srcPort)
    const c = this.flows.find()
    return c !== undefined && takePathMtu(c, p.mtu, p.seq)
  }

  /** A segment with good checksum. `slab` holds it. */
  input(ip: IpPacket, seg: Segment, slab: Slab, now: Millis): void {
    const { stats } = this
    this.flows.setKey(ip.s0, ip.s1, ip.s2, ip.s3, ip.d0, ip.d1, ip.d2, ip.d3, seg.srcPort, seg.dstPort)
    const c = this.flows.find()
    if (c !== undefined) {
      if (c.state <= SYN_RECEIVED && this.handshake.crossesCookie(c, seg, now)) this.again = true
      else arrives(c, seg, slab, now)
      if (!this.again) {
        stats.tcp++
        return
      }
      this.again = false
      this.flows.setKey(ip.s0, ip.s1, ip.s2, ip.s3, ip.d0, ip.d1, ip.d2, ip.d3, seg.srcPort, seg.dstPort)
    }
    if (this.timeWait.size > 0 && this.arrivesInTimeWait(ip, seg, now)) return
    if (seg.flags & RST) {
      stats.drops.tcpStray++ // §3.10.7.1 and .2: never answered
      return
    }
    if ((seg.flags & (SYN | ACK | FIN)) === SYN) this.handshake.syn(ip, seg, now)
    else if ((seg.flags & (SYN | ACK)) === ACK) this.acknowledges(ip, seg, slab, now)
    else this.refuse(ip, seg)
  }

  /** An ACK for a flow we do not know: for a cookie, or for nothing. */
  private acknowledges(ip: IpPacket, seg: Segment, slab: Slab, now: Millis): void {
    const c = this.handshake.fromCookie(ip, seg, now)
    if (c === 'unknown') this.refuse(ip, seg)
    else if (c !== 'later') {
      this.stats.tcp++
      arrives(c, seg, slab, now)
    }
  }

  /** §3.10.7.4 as far as it concerns TIME-WAIT. True: the segment is dealt with. */
  private arrivesInTimeWait(ip: IpPacket, seg: Segment, now: Millis): boolean {
    this.timeWait.key.set(this.flows.key)
    if (!this.timeWait.find(this.waiting)) return false
    const opens = (seg.flags & (SYN | ACK | FIN | RST)) === SYN
    if (opens && mayReuse(this.waiting, seg.seq, seg.hasTimestamps, seg.tsVal)) {
      if (!this.handshake.syn(ip, seg, now, this.waiting)) return true // it comes again, and finds the same
      this.timeWait.key.set(this.flows.key)
      this.timeWait.delete()
      return true
    }
    this.stats.tcp++
    if (seg.flags & RST) return true // RFC 1337
    const w = this.waiting
    // What both sides' TIME-WAITs would tell each other for ever: nothing new, in place.
    if (segLen(seg) === 0 && seg.seq === w.rcvNxt) return true
    // The FIN again, and no other: our ACK was lost, 2 MSL anew.
    const again = (seg.flags & (SYN | FIN)) === FIN && seqAdd(seg.seq, segLen(seg)) === w.rcvNxt
    if (again) this.timeWait.renew(now + this.options.timeWait)
    const p = this.answerTo(ip, seg)
    p.seq = w.sndNxt
    p.ack = w.rcvNxt
    p.flags = ACK
    p.wnd = 0xffff
    p.hasTimestamps = w.tsOk
    p.tsVal = (Math.floor(now) + w.tsOffset) | 0
    p.tsEcr = w.tsRecent
    this.sendLone()
    return true
  }

  /** RFC 9293 §3.10.7.1: a segment for a connection that does not exist. */
  private refuse(ip: IpPacket, seg: Segment): void {
    const p = this.answerTo(ip, seg)
    if (seg.flags & ACK) {
      p.seq = seg.ack
      p.ack = 0
      p.flags = RST
    } else {
      p.seq = 0
      p.ack = seqAdd(seg.seq, segLen(seg))
      p.flags = RST | ACK
    }
    this.stats.tcpResetsSent++
    this.stats.tcpAnswered++
    this.sendLone()
  }

  /** A SYN for which there is no room: a SYN-ACK that remembers it for us. RFC 4987 §3.6; the flow's key is set. */
  replyCookie(ip: IpPacket, seg: Segment, now: Millis): void {
    const { cookies, admission } = this.handshake
    const { key } = this.flows
    const p = this.answerTo(ip, seg)
    const ownMss = this.ownMss(ip.v4)
    p.seq = cookies.make(key, seg.seq, offeredMss(seg, ip.v4), ownMss, now)
    admission.cookieSent(p.seq)
    p.ack = seqAdd(seg.seq, 1)
    p.flags = SYN | ACK
    p.wnd = Math.min(this.options.rcvBuf, 0xffff)
    p.mss = ownMss
    // Without timestamps nothing remembers the other options, so they are not agreed on.
    p.hasTimestamps = seg.hasTimestamps
    p.sackPermitted = seg.hasTimestamps && seg.sackPermitted && this.options.sack
    p.wndShift = seg.hasTimestamps && seg.wndShift >= 0 ? RCV_WND_SHIFT : -1
    p.tsVal = stampOptions((Math.floor(now) + cookies.tsOffset(key)) | 0, seg.wndShift, p.sackPermitted)
    p.tsEcr = seg.tsVal
    this.stats.tcpCookiesSent++
    this.stats.tcpAnswered++
    this.sendLone()
  }

  private answerTo(ip: IpPacket, seg: Segment): LoneSegment {
    const p = this.lone
    p.v4 = ip.v4
    p.s0 = ip.d0
    p.s1 = ip.d1
    p.s2 = ip.d2
    p.s3 = ip.d3
    p.srcPort = seg.dstPort
    p.d0 = ip.s0
    p.d1 = ip.s1
    p.d2 = ip.s2
    p.d3 = ip.s3
    p.dstPort = seg.srcPort
    p.wnd = 0
    p.hasTimestamps = false
    return p
  }

  private sendLone(own = false): void {
    const at = own ? this.replies.ownRoom : this.replies.room
    if (at < 0) this.stats.drops.replyOverflow++
    else this.replies.add(writeLoneSegment(this.replies.view, at, this.lone))
    this.lone.mss = 0
  }

  /** A segment without text from `c`, outside its stream of rows. `own`: we wanted it, no stranger caused it. */
  replyLone(c: TcpConnection, seq: number, ack: number, flags: number, own = true): void {
    const p = this.lone
    p.v4 = c.v4
    p.s0 = c.l0
    p.s1 = c.l1
    p.s2 = c.l2
    p.s3 = c.l3
    p.srcPort = c.localPort
    p.d0 = c.r0
    p.d1 = c.r1
    p.d2 = c.r2
    p.d3 = c.r3
    p.dstPort = c.remotePort
    p.seq = seq
    p.ack = ack
    p.flags = flags
    p.wnd = flags & RST ? 0 : windowField(c)
    p.hasTimestamps = c.tsOk && !(flags & RST)
    p.tsVal = (Math.floor(this.now) + c.tsOffset) | 0
    p.tsEcr = c.tsRecent
    if (flags & RST) this.stats.tcpResetsSent++
    this.sendLone(own)
  }

  /** <SEQ=SEG.ACK><CTL=RST>: §3.5.2 group 2, an ACK that makes no sense. */
  replyReset(c: TcpConnection, ack: number): void {
    this.replyLone(c, ack, 0, RST, false)
  }

  /** A reset of an established connection: <SEQ=SND.NXT><ACK=RCV.NXT>, exact for the peer (RFC 5961 §3). */
  sendReset(c: TcpConnection): void {
    this.replyLone(c, c.sndNxt, c.rcvNxt, RST | ACK)
  }

  /** The flow key of a connection, in `flows.key`. */
  keyOf(c: TcpConnection): Int32Array {
    this.flows.setKey(c.r0, c.r1, c.r2, c.r3, c.l0, c.l1, c.l2, c.l3, c.remotePort, c.localPort)
    return this.flows.key
  }

  /** Opens a connection towards the NIC; false if the flow is in use, TIME-WAIT included: RFC 9293 §3.10.1. */
  open(c: TcpConnection): boolean {
    this.timeWait.key.set(this.keyOf(c))
    if (this.flows.find() !== undefined || this.timeWait.find(this.waiting)) return false
    this.flows.add(c)
    this.handshake.open(c)
    return true
  }

  /** `c` has something to send. */
  output(c: TcpConnection): void {
    if (c.inOutput || c.state === CLOSED) return
    c.inOutput = true
    this.outputQueue.push(c)
  }

  /** Anything to send? */
  get wantsOutput(): boolean {
    return this.outputQueue.length > this.outputHead || (this.held.size > 0 && !this.overBudget)
  }

  /** Lets connections send, each its quantum, in turn. True: more is waiting, the batch is full. */
  poll(tx: PacketBatch, now: Millis): boolean {
    this.tellHeld()
    const queue = this.outputQueue
    while (this.outputHead < queue.length) {
      const c = queue[this.outputHead]
      const before = tx.count
      const done = emitDue(c, tx, now)
      if (!done && tx.count === before) return true // no room at all
      this.outputHead++
      if (done) c.inOutput = false
      else queue.push(c) // its quantum is spent: behind the others
      if (this.outputHead > 256 && this.outputHead * 2 > queue.length) {
        queue.splice(0, this.outputHead)
        this.outputHead = 0
      }
    }
    emptied(queue, 512)
    this.outputHead = 0
    return false
  }

  /** Not all at once: each of them may fill a window before the next one's turn. */
  private tellHeld(): void {
    if (this.held.size === 0 || this.overBudget) return
    let n = HELD_TOLD
    for (const c of this.held) {
      if (n-- === 0) return
      this.held.delete(c)
      this.output(c)
    }
  }

  /** Both FINs are exchanged, ours first: the flow lives on as a row of the table, and the last ACK goes out. */
  enterTimeWait(c: TcpConnection, now: Millis): void {
    const w = this.waiting
    w.sndNxt = c.sndNxt
    w.rcvNxt = c.rcvNxt
    w.tsOk = c.tsOk
    w.tsRecent = c.tsRecent
    w.tsOffset = c.tsOffset
    if (c.ackNow) this.replyLone(c, c.sndNxt, c.rcvNxt, ACK)
    this.remove(c, '')
    this.timeWait.key.set(this.keyOf(c))
    this.timeWait.add(w, now + this.options.timeWait)
  }

  /** Forgets a connection. What it received can still be read. */
  remove(c: TcpConnection, error: string): void {
    if (c.state === CLOSED) return
    this.handshake.admission.left(c)
    this.handshake.admission.decided(c)
    this.held.delete(c)
    c.state = CLOSED
    c.error = error
    c.deadline = Infinity
    c.rexmitAt = Infinity
    c.ackAt = Infinity
    c.keepAt = Infinity
    c.tailAt = Infinity
    c.reorderAt = Infinity
    c.lifeAt = Infinity
    c.ackNow = false
    this.heap.remove(c)
    if (c.sndQueue.length > 0) this.senders--
    c.sndQueue.clear()
    c.scoreboard.begin(c.sndUna)
    if (c.reassembly !== null) {
      this.receiveQueued -= c.reassembly.bytes
      c.reassembly = null
    }
    if (c.orphan) c.dropReceived()
    this.keyOf(c)
    if (this.flows.find() === c) this.flows.delete()
    c.happened(GONE_EVENT)
  }
}
