// Owns: SND.*: what may leave now (window, Nagle, silly windows, congestion), what was acknowledged, what goes out again.
// Read first: RFC 9293 §3.8 (§3.8.6.1 probes, §3.8.6.2.1 SWS, §3.7.4 Nagle), RFC 6298, RFC 5681, RFC 6582 (NewReno).

import type { PacketBatch } from '../memory/packet-batch.js'
import type { Millis } from '../memory/slab.js'
import { ACK, FIN, PSH, type Segment, SYN } from '../wire/tcp.js'
import type { TcpConnection } from './connection.js'
import { openWindow } from './receiver.js'
import { emitSegment, headerBytes, MAX_PIECES } from './segment.js'
import { seqAdd, seqDiff, seqGeq, seqGt, seqLt, seqMax } from './seq.js'
import { CLOSED, FIN_WAIT_2, SYN_PENDING, SYN_RECEIVED, SYN_SENT, WRITABLE } from './states.js'
import { schedule } from './timers.js'

/** Super-segments a connection may emit before the next one gets its turn. */
const QUANTUM = 4
/** Duplicate ACKs that count as a loss: RFC 5681 §3.2. */
const DUP_THRESH = 3
const MAX_IP_PACKET = 65_535
/** Duplicate ACKs for one batch: enough for any recovery to start, too few to amplify a flood. */
const MAX_GAP_ACKS = 16

/** Sends what is due. False: the batch is full or the quantum spent, call again. */
export function output(c: TcpConnection, tx: PacketBatch, now: Millis): boolean {
  if (c.state === CLOSED || c.state === SYN_PENDING) return true
  if (!tx.hasRoom(MAX_PIECES)) return false
  if (c.state === SYN_SENT || c.state === SYN_RECEIVED) {
    if (c.synDue) sendSyn(c, tx, now)
    else if (c.ackNow) emitSegment(c, tx, now, c.sndMax, ACK, 0) // a challenge
    schedule(c)
    return true
  }
  if (openWindow(c)) c.ackNow = true
  if (c.gapAcks > 0) sendDuplicateAcks(c, tx, now)
  if (c.rexmitDue) {
    if (!tx.hasRoom(MAX_PIECES)) return false // the duplicate ACKs took the last rows
    retransmitFirst(c, tx, now)
  }
  if (c.probeDue && tx.hasRoom(0)) sendProbe(c, tx, now)
  const done = sendData(c, tx, now)
  if (c.ackNow && tx.hasRoom(0)) emitSegment(c, tx, now, ackSeq(c), ACK, 0)
  if (c.orphan && c.state === FIN_WAIT_2 && c.lifeAt === Infinity) c.lifeAt = now + c.tcp.options.finWait2Timeout
  schedule(c)
  return done && !c.ackNow
}

/**
 * The sequence number of a pure ACK: SND.NXT as if no timeout had taken it back, or the peer would find the ACK old and ignore it; but
 * inside its window, should that have shrunk (Linux tcp_acceptable_seq).
 */
function ackSeq(c: TcpConnection): number {
  const edge = seqAdd(c.sndUna, c.sndWnd)
  return seqDiff(c.sndMax, edge) < 1 << c.sndWndShift ? c.sndMax : edge
}

/** RFC 5681 §4.2, for every segment that was out of order, within bounds. */
function sendDuplicateAcks(c: TcpConnection, tx: PacketBatch, now: Millis): void {
  for (let n = Math.min(c.gapAcks, MAX_GAP_ACKS); n > 0 && tx.hasRoom(0); n--) emitSegment(c, tx, now, ackSeq(c), ACK, 0)
  c.gapAcks = 0
}

function sendSyn(c: TcpConnection, tx: PacketBatch, now: Millis): void {
  c.synDue = false
  emitSegment(c, tx, now, c.iss, c.state === SYN_SENT ? SYN : SYN | ACK, 0)
  if (c.sndMax === c.iss) {
    c.sndNxt = seqAdd(c.iss, 1)
    c.sndMax = c.sndNxt
    startTiming(c, now)
  } else c.timedAt = Number.NaN // Karn: whichever of them will be answered
  armRetransmission(c, now)
}

/** End of everything queued, FIN not counted. While a SYN is unacknowledged the queue starts behind it. */
const queueEnd = (c: TcpConnection): number => seqAdd(c.sndUna, c.sndQueue.length)

function sendData(c: TcpConnection, tx: PacketBatch, now: Millis): boolean {
  const end = queueEnd(c)
  for (let emitted = 0; ; emitted++) {
    const remaining = seqDiff(end, c.sndNxt)
    const finLeft = c.finQueued && remaining >= 0 && !finAcknowledged(c) // remaining −1: the FIN is out
    if (remaining <= 0 && !finLeft) break
    const flight = seqDiff(c.sndNxt, c.sndUna)
    const wnd = c.sndWnd - flight
    // Limited transmit (RFC 3042): the first two duplicate ACKs let new segments out beyond the window.
    const extra = c.inRecovery ? 0 : Math.min(c.dupAcks, DUP_THRESH - 1) * c.smss
    const room = Math.min(wnd, Math.floor(c.congestion.cwnd) + extra - flight)
    const length = segmentLength(c, remaining, room)
    const fin = finLeft && length === remaining && room > length
    if (length === 0 && !fin) {
      if (flight === 0) startPersisting(c, now)
      break
    }
    if (emitted === QUANTUM || !tx.hasRoom(MAX_PIECES)) return false
    c.forceSend = false
    emit(c, tx, now, length, fin, length > 0 && length === remaining)
  }
  return true
}

/** How many bytes may go in the next segment: 0 for none. RFC 9293 §3.8.6.2.1 (sender's SWS avoidance) and §3.7.4 (Nagle). */
function segmentLength(c: TcpConnection, remaining: number, room: number): number {
  if (remaining <= 0 || room <= 0) return 0
  const most = superSegments(c) ? Math.floor((MAX_IP_PACKET - headerBytes(c)) / c.smss) * c.smss : c.smss
  let length = Math.min(remaining, room, most)
  const tail = length === remaining
  if (length >= c.smss && !tail) return length - (length % c.smss) // (1) whole segments
  if (seqLt(c.sndNxt, c.sndMax)) return length // again, after a timeout
  if (tail) {
    if (length % c.smss === 0 || c.noDelay || c.finQueued || c.sndNxt === c.sndUna) return length // (2)
    length -= length % c.smss // Nagle: the partial last segment waits for the ACK of what is out
    return length
  }
  if (length >= c.maxSndWnd / 2 || c.forceSend) return length // (3), (4)
  return 0
}

/**
 * May segments be left to the device to cut? Only for a peer that scales its window: 64 KiB have no use for super-segments, and such
 * a peer is no kernel of today, so it gets what it expects, one segment a packet.
 */
function superSegments(c: TcpConnection): boolean {
  return c.tcp.options.offload && c.rcvWndShift > 0
}

function emit(c: TcpConnection, tx: PacketBatch, now: Millis, length: number, ends: boolean, last: boolean): void {
  const seq = c.sndNxt
  const sent = emitSegment(c, tx, now, seq, ACK | (last ? PSH : 0) | (ends ? FIN : 0), length)
  const fin = ends && sent === length
  const next = seqAdd(seq, sent + (fin ? 1 : 0))
  if (seqGt(next, c.sndMax)) {
    c.bytesSent += seqDiff(next, c.sndMax) - (fin ? 1 : 0)
    if (seq === c.sndMax && Number.isNaN(c.timedAt)) {
      c.timedSeq = next
      c.timedAt = now
    }
    c.sndMax = next
  } else c.tcp.stats.tcpRetransmits++
  if (fin) c.finSent = true
  c.sndNxt = next
  if (c.rexmitAt === Infinity || c.persisting) armRetransmission(c, now)
  if (Number.isNaN(c.unansweredSince)) c.unansweredSince = now
}

/** Sends the segment at SND.UNA again: fast retransmit and partial ACKs. */
function retransmitFirst(c: TcpConnection, tx: PacketBatch, now: Millis): void {
  c.rexmitDue = false
  if (c.sndUna === c.sndMax) return // acknowledged meanwhile
  const length = Math.min(c.sndQueue.length, c.smss, seqDiff(c.sndMax, c.sndUna))
  const fin = c.finSent && length === c.sndQueue.length
  if (length <= 0 && !fin) return
  c.tcp.stats.tcpRetransmits++
  emitSegment(c, tx, now, c.sndUna, ACK | (fin ? FIN : 0), Math.max(0, length))
  c.timedAt = Number.NaN // Karn
  armRetransmission(c, now)
}

/**
 * A zero-window probe: an empty segment one below SND.UNA, unacceptable, so it must be answered by an ACK with the window
 * (RFC 9293 §3.10.7.4 first). Linux probes the same way; unlike the one byte of §3.8.6.1 it needs no rollback.
 */
function sendProbe(c: TcpConnection, tx: PacketBatch, now: Millis): void {
  c.probeDue = false
  emitSegment(c, tx, now, seqAdd(c.sndUna, -1), ACK, 0)
  if (Number.isNaN(c.unansweredSince)) c.unansweredSince = now
}

/** Nothing is in flight and the window lets nothing out: only a probe can find out that it opened. RFC 9293 §3.8.6.1. */
function startPersisting(c: TcpConnection, now: Millis): void {
  if (c.persisting) return
  c.persisting = true
  c.rexmitAt = now + c.rtt.rto
}

export function armRetransmission(c: TcpConnection, now: Millis): void {
  c.persisting = false
  c.rexmitAt = now + c.rtt.rto // RFC 6298 (5.1)
}

function startTiming(c: TcpConnection, now: Millis): void {
  c.timedSeq = c.sndNxt
  c.timedAt = now
  c.unansweredSince = now
}

/** SND.UNA < SEG.ACK ≤ SND.MAX: takes the acknowledged bytes out of the queue, measures, grows the window, restarts the timer. */
export function acknowledged(c: TcpConnection, seg: Segment, now: Millis): void {
  const flight = seqDiff(c.sndMax, c.sndUna)
  const n = seqDiff(seg.ack, c.sndUna)
  measure(c, seg, now)
  const data = Math.min(n, c.sndQueue.length) // the rest is our FIN
  const wasFull = c.sndQueue.length >= c.tcp.options.sndBuf
  if (data > 0) c.sndQueue.discard(data)
  c.sndUna = seg.ack
  c.sndNxt = seqMax(c.sndNxt, c.sndUna)
  c.retries = 0
  c.unansweredSince = Number.NaN
  recover(c, n, flight)
  c.dupAcks = 0
  // RFC 6582 `recover` goes along, or 2 GiB later it would seem to lie ahead.
  if (!c.inRecovery && seqLt(c.recover, c.sndUna)) c.recover = c.sndUna
  if (c.sndUna === c.sndMax) {
    c.rexmitAt = Infinity // RFC 6298 (5.2)
    c.persisting = false
  } else {
    armRetransmission(c, now) // (5.3)
    c.unansweredSince = now
  }
  if (data > 0 && (wasFull || c.sndQueue.length < c.tcp.options.sndBuf >> 1)) c.happened(WRITABLE)
}

/** RFC 6298 §3 and §4, RFC 7323 §4.1. A turn that was stalled measured the process, not the path: no sample. */
function measure(c: TcpConnection, seg: Segment, now: Millis): void {
  const timed = !Number.isNaN(c.timedAt) && seqGeq(seg.ack, c.timedSeq)
  if (c.tcp.stalled) {
    if (timed) c.timedAt = Number.NaN
    return
  }
  if (c.tsOk && seg.hasTimestamps && seg.tsEcr !== 0) {
    const rtt = (Math.floor(now) + c.tsOffset - seg.tsEcr) | 0
    if (rtt >= 0 && rtt < 600_000) c.rtt.sample(rtt)
    else c.rtt.settle()
  } else if (timed) c.rtt.sample(now - c.timedAt)
  else c.rtt.settle()
  if (timed) c.timedAt = Number.NaN
}

/** The handshake's round trip. */
export function measureSyn(c: TcpConnection, seg: Segment, now: Millis): void {
  const timed = !Number.isNaN(c.timedAt)
  const rtt = timed ? now - c.timedAt : (Math.floor(now) + c.tsOffset - seg.tsEcr) | 0
  if (!c.tcp.stalled && (timed || (c.tsOk && seg.hasTimestamps && rtt >= 0))) c.rtt.sample(rtt)
  else c.rtt.fallBack()
  c.timedAt = Number.NaN
}

/** NewReno: RFC 6582 §3.2. */
function recover(c: TcpConnection, acked: number, flight: number): void {
  const cc = c.congestion
  if (!c.inRecovery) return cc.onAck(acked, flight)
  if (seqGeq(c.sndUna, c.recover)) {
    // Full acknowledgment (3): the window comes down to what recovery left.
    c.inRecovery = false
    cc.cwnd = Math.min(cc.ssthresh, Math.max(flight - acked, c.smss) + c.smss)
    return
  }
  // Partial acknowledgment: the next hole is the new SND.UNA.
  c.rexmitDue = true
  cc.cwnd = Math.max(cc.cwnd - acked, c.smss) + (acked >= c.smss ? c.smss : 0)
}

/** The same ACK again, nothing else in it, while data is out. RFC 5681 §2 and §3.2. */
export function duplicateAck(c: TcpConnection): void {
  c.dupAcks++
  const cc = c.congestion
  if (c.inRecovery) {
    cc.cwnd += c.smss // the segment that left the network makes room for another
    return
  }
  if (c.dupAcks !== DUP_THRESH) return
  if (seqLt(c.sndUna, c.recover)) return // RFC 6582 §3.2 (2): duplicates of what went again after a timeout
  const flight = seqDiff(c.sndMax, c.sndUna)
  cc.onLoss(flight)
  cc.cwnd = cc.ssthresh + DUP_THRESH * c.smss
  c.inRecovery = true
  c.recover = c.sndMax
  c.rexmitDue = true
  c.tcp.stats.tcpFastRetransmits++
}

/** The retransmission timer fired: RFC 6298 (5.4)–(5.6), RFC 5681 §3.1. What is out counts as lost and goes again from SND.UNA. */
export function retransmissionTimeout(c: TcpConnection, now: Millis): void {
  c.rtt.backOff()
  c.retries++
  c.tcp.stats.tcpTimeouts++
  c.timedAt = Number.NaN
  if (c.state === SYN_SENT || c.state === SYN_RECEIVED) c.synDue = true
  else {
    if (c.retries === 1) c.congestion.onTimeout(seqDiff(c.sndMax, c.sndUna))
    else c.congestion.cwnd = c.smss
    c.inRecovery = false
    c.dupAcks = 0
    c.recover = c.sndMax
    c.sndNxt = c.sndUna
  }
  armRetransmission(c, now)
  c.tcp.output(c)
}

/** The persist timer fired: a probe into a closed window, or one small segment into a small one (SWS override). */
export function persistTimeout(c: TcpConnection, now: Millis): void {
  c.rtt.backOff()
  c.probes++
  if (c.sndWnd === 0) c.probeDue = true
  else c.forceSend = true
  c.persisting = true
  c.rexmitAt = now + c.rtt.rto
  c.tcp.output(c)
}

/** All of ours is acknowledged, the FIN too. */
export const finAcknowledged = (c: TcpConnection): boolean => c.finSent && c.sndUna === c.sndMax
