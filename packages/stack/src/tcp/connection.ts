// Owns: the transmission control block and the verbs of the application (accept, reject, send, read, end, close, reset).
// Names are RFC 9293 §3.3.1's. What arrives is arrives.ts, what may leave sender.ts, what was received receiver.ts.

import type { Listed } from '../memory/arrival-list.js'
import { takeBlock } from '../memory/block-pool.js'
import { ByteQueue, type ByteRange, type ByteRanges } from '../memory/byte-queue.js'
import type { Wakeable } from '../memory/deadline-heap.js'
import { DOUBLE } from '../memory/double.js'
import type { Bytes, Millis, Owner } from '../memory/slab.js'
import { BUFFER_AT_FIRST, fetchSize, sendLimit, took } from './buffers.js'
import type { Congestion } from './congestion.js'
import { Cubic } from './cubic.js'
import { NewReno } from './newreno.js'
import { Rack } from './rack.js'
import type { Reassembly } from './reassembly.js'
import { RttEstimator } from './rtt.js'
import { Scoreboard } from './scoreboard.js'
import type { Seq } from './seq.js'
import { CLOSE_WAIT, CLOSED, ESTABLISHED, FIN_WAIT_1, GONE_EVENT, LAST_ACK, OPEN, SYN_PENDING, SYN_RECEIVED, SYN_SENT } from './states.js'
import { NO_PROBE } from './tail-loss.js'
import type { Tcp } from './tcp.js'
import { schedule, wakeConnection } from './timers.js'

/** Why a pending connection is not accepted: what the application sees as errno. */
export type RejectReason = 'refused' | 'host-unreachable' | 'net-unreachable' | 'prohibited' | 'drop'

export class TcpConnection implements Wakeable, Listed<TcpConnection> {
  readonly tcp: Tcp
  readonly v4: boolean
  // The remote end is the one behind the NIC (the application); the local end is the address it dialled, which we stand in for.
  readonly r0: number
  readonly r1: number
  readonly r2: number
  readonly r3: number
  readonly l0: number
  readonly l1: number
  readonly l2: number
  readonly l3: number
  readonly remotePort: number
  readonly localPort: number
  state = CLOSED

  iss: Seq = 0
  sndUna: Seq = 0
  sndNxt: Seq = 0
  sndWnd = 0
  sndWl1: Seq = 0
  sndWl2: Seq = 0
  maxSndWnd = 0
  sndWndShift = 0
  /** The peer's MSS option as it stands (default RFC 9293 §3.7.1), and SMSS: payload bytes of a full segment, options deducted. */
  peerMss: number
  smss: number
  /** What a router told of the path; the NIC's own MTU counts besides. */
  pathMtu = 0xffff
  /** What it was before timeouts made it suspect a black hole; 0: they do not. */
  mtuBefore = 0

  irs: Seq = 0
  rcvNxt: Seq = 0
  /** RCV.NXT + RCV.WND as last advertised: the right edge, which never moves left. */
  rcvAdv: Seq = 0
  rcvWndShift = 0
  /** ACK number we sent last: Last.ACK.sent of RFC 7323 §4.3. */
  lastAckSent: Seq = 0

  tsOk = false
  tsRecent = 0
  tsRecentAt: Millis = 0
  tsOffset = 0
  sackOk = false

  /** Unacknowledged and unsent bytes. Its head is at SND.UNA. */
  readonly sndQueue = new ByteQueue(takeBlock)
  /** `send` has answered false: the application waits for WRITABLE. */
  full = false
  /** The application has ended its side: a FIN follows the queue. */
  finQueued = false
  /** It was sent at least once: SND.NXT counts it. */
  finSent = false
  noDelay = true
  /** We opened it. */
  active = false
  /** A SYN (or SYN-ACK) is to be sent (again). */
  synDue = false
  /** One lost segment is to be sent again whatever the congestion window says: a recovery begins. */
  rexmitDue = false
  /** Behind a timeout new text goes first, to find out whether anything was lost (F-RTO). */
  rexmitHeld = false
  /** The persist timer allows one segment smaller than silly-window avoidance would send. */
  forceSend = false
  /** A zero-window probe is to be sent. */
  probeDue = false
  /** Times the persist timer has fired since the window opened, or the application let go. */
  probes = 0
  /** What is in flight and became of it. */
  readonly scoreboard = new Scoreboard()
  readonly rack = new Rack()
  /** OPEN, RECOVERY or LOSS: recovery.ts. */
  phase = OPEN
  /** SND.NXT when the recovery began: acknowledged, it is over. */
  recover: Seq = 0
  /** Duplicate ACKs of a peer without SACK, and the bytes they stand for. */
  dupAcks = 0
  dupBytes = 0
  // PRR, RFC 6937 §3: bytes delivered and sent during this recovery, and in the network when it began (RecoverFS).
  prrDelivered = 0
  prrOut = 0
  recoverFlight = 0
  /** The reduction of the window may still prove needless: how much went again since `undoMarker`, less what arrived twice. */
  undoable = false
  undoMarker: Seq = 0
  undoBytes = 0
  /** When the first of them went; NaN: nothing did yet. */
  resentAt: Millis = Number.NaN
  /** The timeout is being looked into: RFC 5682. */
  frto = false
  /** Tail loss probe: NO_PROBE, PROBED_NEW or PROBED_AGAIN, SND.NXT then; one is to be sent. */
  tailProbe = NO_PROBE
  tailSeq: Seq = 0
  tailDue = false
  readonly rtt = new RttEstimator()
  readonly congestion: Congestion
  /** When our SYN was sent; NaN: more than once. */
  synSentAt: Millis = Number.NaN
  /** When all that was out had been acknowledged; by the turn that read it, so that a process which stood still was not idle. */
  idleSince: Millis = 0

  /** Receive buffer at present, and what the application took out of it since `roundAt`: receiver.ts, `took`. */
  rcvSpace: number
  tookBytes = 0
  roundAt: Millis = 0
  /** In order, not read yet. */
  readonly rcvQueue = new ByteQueue()
  /** Out of order; null while there is nothing. */
  reassembly: Reassembly | null = null
  /** What came twice last, to be told in the next ACK: RFC 2883. Empty: nothing. */
  dsackLeft: Seq = 0
  dsackRight: Seq = 0
  /** The peer's FIN was seen at this sequence number (maybe ahead of missing data). */
  finSeen = false
  finSeq: Seq = 0
  /** An ACK is owed now; or at `ackAt`. */
  ackNow = false
  /** Segments ahead of a gap since the last output: each is owed a duplicate ACK. */
  gapAcks = 0
  /** Payload bytes received since the last ACK was sent. */
  unackedBytes = 0
  /** Challenge ACKs asked for since `challengedAt`: RFC 5961 §7. */
  challenges = 0
  challengedAt: Millis = -Infinity
  /** The application has let go: what arrives has no reader any more. */
  orphan = false

  // Deadlines; Infinity: not armed. `rexmitAt` is one slot for retransmission and persist, which exclude each other.
  rexmitAt: Millis = Infinity
  persisting = false
  ackAt: Millis = Infinity
  /** Tail loss probe; RACK's look at what was out of order. */
  tailAt: Millis = Infinity
  reorderAt: Millis = Infinity
  /** Keepalive (RFC 9293 §3.8.4): silence that is looked into, 0 for any; when the peer was last heard, how often it was asked since. */
  keepAlive: Millis = 0
  keepAt: Millis = Infinity
  keepProbes = 0
  heardAt: Millis = 0
  /** Pending or FIN-WAIT-2 over. */
  lifeAt: Millis = Infinity
  /** When the oldest thing not answered since was sent (data, FIN, SYN, probe): for the user timeout. NaN: nothing. */
  unansweredSince: Millis = Number.NaN
  retries = 0
  /** The deadlines of loss came while the process stood still, and were put off: once. */
  excused = false
  deadline: Millis = Infinity
  heapIndex = -1

  /** A cookie made it: established before the application heard of it, which may not have decided yet. See admission.ts. */
  cookie = false
  awaited = false
  /** SEG.SEQ + SEG.LEN of the peer's SYN: what a reset acknowledges, also text that came with it. */
  synEnd: Seq = 0
  // While pending: when the SYN came first, last, and the largest gap between two.
  synAt: Millis = 0
  synLastAt: Millis = 0
  synGap: Millis = 0
  /** Neighbours in SYN-RECEIVED: admission.ts. */
  older: TcpConnection | null = null
  newer: TcpConnection | null = null

  /** Event bits since the last drain. */
  events = 0
  inEvents = false
  inOutput = false
  /** POSIX code of what ended it, '' for none. */
  error = ''
  /** Bytes carried, for the user's books. */
  bytesReceived = DOUBLE
  bytesSent = DOUBLE
  /** Whatever the layer above hangs on it (its socket). */
  user: unknown = null
  /** Addresses that the layer above holds for it: here, for a table from connections to addresses would be as a Set in arrival-list.ts. */
  pinned: string | Set<string> | null = null

  constructor(
    tcp: Tcp,
    v4: boolean,
    r0: number,
    r1: number,
    r2: number,
    r3: number,
    remotePort: number,
    l0: number,
    l1: number,
    l2: number,
    l3: number,
    localPort: number,
  ) {
    this.tcp = tcp
    this.v4 = v4
    this.r0 = r0
    this.r1 = r1
    this.r2 = r2
    this.r3 = r3
    this.remotePort = remotePort
    this.l0 = l0
    this.l1 = l1
    this.l2 = l2
    this.l3 = l3
    this.localPort = localPort
    this.bytesReceived = 0
    this.bytesSent = 0
    this.peerMss = v4 ? 536 : 1220
    this.smss = this.peerMss
    this.rcvSpace = Math.min(tcp.options.rcvBuf, BUFFER_AT_FIRST)
    this.congestion = tcp.options.congestion === 'newreno' ? new NewReno(this.smss) : new Cubic(this.smss)
  }

  /** The application has neither accepted nor rejected it: its SYN is not answered, or a cookie was the answer. */
  get undecided(): boolean {
    return this.state === SYN_PENDING || this.awaited
  }

  /** Answers a pending SYN with a SYN-ACK. */
  accept(): void {
    if (this.undecided) this.tcp.handshake.accept(this)
  }

  /** Refuses a pending connection so that the application sees the reason as its errno. One that a cookie made can only be reset. */
  reject(reason: RejectReason): void {
    if (!this.undecided) return
    this.tcp.handshake.reject(this, reason)
  }

  /** The peer's FIN was reached: nothing more will come behind what is queued. */
  get peerEnded(): boolean {
    return this.finSeen && this.rcvNxt === ((this.finSeq + 1) | 0)
  }

  /** Data may be queued: not ended, not closed. */
  get sendable(): boolean {
    return (
      !this.finQueued && (this.state === ESTABLISHED || this.state === CLOSE_WAIT || this.state === SYN_RECEIVED || this.state === SYN_SENT)
    )
  }

  /**
   * Queues bytes[start, end) for sending. With an `owner` by reference: the caller passes one reference on and leaves the bytes
   * alone until it is released; without, they are copied. Answers false when the queue is full: wait for WRITABLE.
   */
  send(bytes: Bytes, start: number, end: number, owner: Owner | null): boolean {
    if (!this.sendable) {
      owner?.release()
      return true // too late for data; the GONE event tells
    }
    if (this.sndQueue.length === 0 && end > start) this.tcp.senders++
    if (owner) this.sndQueue.push(bytes, start, end, owner)
    else this.sndQueue.copy(bytes, start, end)
    this.tcp.output(this)
    this.full = this.sndQueue.length >= this.sndLimit
    return !this.full
  }

  /** Ends our side: a FIN follows what is queued. */
  end(): void {
    if (this.finQueued) return
    if (this.state === ESTABLISHED) this.state = FIN_WAIT_1
    else if (this.state === CLOSE_WAIT) this.state = LAST_ACK
    else if (this.state !== SYN_RECEIVED && this.state !== SYN_SENT) return // there it waits for the handshake
    this.finQueued = true
    this.tcp.output(this)
  }

  /** Takes the next chunk received; its owner's reference passes to the caller. False if there is none. */
  read(out: ByteRange): boolean {
    if (!this.rcvQueue.shift(out)) return false
    this.left(out.end - out.start)
    return true
  }

  /** Shows what was received without taking it, the first ranges at once: for one system call. `skip` takes what that took. */
  peek(out: ByteRanges): void {
    this.rcvQueue.peek(out)
  }

  /** Takes the first `n` bytes received: somebody has them. Nothing if they were dropped meanwhile, by a reset. */
  skip(n: number): void {
    if (n === 0 || n > this.rcvQueue.length) return
    this.rcvQueue.discard(n)
    this.left(n)
  }

  /** The application has taken `n` bytes. */
  private left(n: number): void {
    this.tcp.receiveQueued -= n
    took(this, n)
    this.tcp.output(this) // the window may open
  }

  /** Whoever reads gives everything back soon: what is copied on arrival goes to blocks that come back, not to fresh memory. */
  lend(): void {
    this.rcvQueue.take = takeBlock
  }

  /** Turns Nagle's algorithm off (true, the default here) or on. RFC 9293 §3.7.4. */
  setNoDelay(noDelay: boolean): void {
    this.noDelay = noDelay
    if (noDelay) this.tcp.output(this)
  }

  /**
   * Asks a peer that is silent for `idle` ms whether it is still there, and gives up behind 9 questions without an answer, 30 s apart;
   * 0: never (the default, as RFC 9293 §3.8.4 has it).
   */
  setKeepAlive(idle: Millis): void {
    this.keepAlive = idle
    this.keepAt = idle > 0 && this.state !== CLOSED ? this.tcp.now + idle : Infinity
    this.keepProbes = 0
    if (this.state !== CLOSED) schedule(this)
  }

  /**
   * The application lets go, as close(2): pending is refused; unread data is answered by a reset (RFC 9293 §3.6.1, RFC 2525
   * §2.17); else the FIN follows what is queued and the rest happens without it.
   */
  close(): void {
    if (this.undecided) return this.reject('refused')
    if (this.state === CLOSED) return this.dropReceived()
    if (this.orphan) return
    if (this.rcvQueue.length > 0 || this.state < SYN_RECEIVED) return this.reset()
    this.orphan = true
    this.probes = 0
    this.end()
    this.tcp.output(this) // in FIN-WAIT-2 its deadline is armed there
  }

  /** Ends the connection at once with a reset: RFC 9293 §3.10.5 ABORT. */
  reset(): void {
    if (this.undecided) return this.reject('refused')
    this.orphan = true
    if (this.state === CLOSED) return this.dropReceived()
    this.tcp.sendReset(this)
    this.tcp.remove(this, '')
  }

  /** Gives back what nobody will read. */
  dropReceived(): void {
    this.tcp.receiveQueued -= this.rcvQueue.length
    this.rcvQueue.clear()
  }

  wake(now: Millis): void {
    wakeConnection(this, now)
  }

  /** Notes what happened for the next drain. */
  happened(bits: number): void {
    if (this.orphan && bits !== GONE_EVENT) return
    this.events |= bits
    if (!this.inEvents) {
      this.inEvents = true
      this.tcp.eventQueue.push(this)
    }
  }

  /** Bytes that can still be queued before `send` answers false. */
  get sendRoom(): number {
    return this.sndLimit - this.sndQueue.length
  }

  /** Of `most` bytes, those worth fetching from elsewhere at once to `send` them: fewer only where all send queues together are long. */
  fetchSize(most: number): number {
    return fetchSize(this, most)
  }

  /** Bytes queued, unacknowledged ones included, from which on the application is to wait. */
  get sndLimit(): number {
    return sendLimit(this)
  }

  /** TSval at a time: RFC 7323 §5.4: milliseconds, from a random offset per flow. */
  tsValAt(at: Millis): number {
    return (Math.floor(at) + this.tsOffset) | 0
  }
}
