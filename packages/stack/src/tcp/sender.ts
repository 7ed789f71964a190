// Owns: SND.*: what may leave now (window, Nagle, silly windows, congestion), new or again, probes and ACKs.
// Read first: RFC 9293 §3.8 (§3.8.6.1 probes, §3.8.6.2.1 SWS, §3.7.4 Nagle), RFC 6675 §5 (what goes first).
// Acknowledgments are recovery.ts's.

import type { PacketBatch } from '../memory/packet-batch.js'
import type { Millis } from '../memory/slab.js'
import { ACK, FIN, PSH, SYN } from '../wire/tcp.js'
import type { TcpConnection } from './connection.js'
import { openWindow } from './receiver.js'
import { pipeOf } from './recovery.js'
import { emitSegment, headerBytes, MAX_PIECES } from './segment.js'
import { seqAdd, seqDiff, seqGt } from './seq.js'
import { CLOSED, FIN_WAIT_2, OPEN, RECOVERY, SYN_PENDING, SYN_RECEIVED, SYN_SENT } from './states.js'
import { armTailProbe, tailProbed } from './tail-loss.js'
import { schedule } from './timers.js'

/** Super-segments a connection may emit before the next one gets its turn. */
const QUANTUM = 4
const MAX_IP_PACKET = 65_535
/** What a near path adds to the size of super-segments halves with so much of its round trip. */
const NEAR: Millis = 0.512
/** Duplicate ACKs for one batch: enough for any recovery to start, too few to amplify a flood. */
const MAX_GAP_ACKS = 16

/** Sends what is due. False: the batch is full or the quantum spent, call again. */
export function output(c: TcpConnection, tx: PacketBatch, now: Millis): boolean {
  if (c.state === CLOSED || c.state === SYN_PENDING) return true
  if (!tx.hasRoom(MAX_PIECES)) return false
  if (c.state === SYN_SENT || c.state === SYN_RECEIVED) {
    if (c.synDue) sendSyn(c, tx, now)
    else if (c.ackNow) emitSegment(c, tx, now, c.sndNxt, ACK, 0) // a challenge
    schedule(c)
    return true
  }
  if (openWindow(c)) c.ackNow = true
  if (c.gapAcks > 0) sendDuplicateAcks(c, tx, now)
  // Text carries no SACK blocks, and a duplicate may be told in the next segment only: RFC 2883 §4 (1).
  if (c.sackOk && c.dsackLeft !== c.dsackRight && c.ackNow && tx.hasRoom(0)) emitSegment(c, tx, now, ackSeq(c), ACK, 0)
  if (c.probeDue && tx.hasRoom(0)) sendProbe(c, tx, now)
  let done = c.rexmitHeld || resendLost(c, tx, now)
  if (done) done = sendData(c, tx, now)
  if (done && c.rexmitHeld && !seqGt(c.sndNxt, c.recover)) {
    // RFC 5682 §2.1 (2b): no new text may go (window, Nagle), so nothing would ever answer the question.
    c.rexmitHeld = false
    c.frto = false
    done = resendLost(c, tx, now)
  }
  if (done && c.tailDue) done = probeTail(c, tx, now)
  if (c.ackNow && tx.hasRoom(0)) emitSegment(c, tx, now, ackSeq(c), ACK, 0)
  if (c.orphan && c.state === FIN_WAIT_2 && c.lifeAt === Infinity) c.lifeAt = now + c.tcp.options.finWait2Timeout
  schedule(c)
  return done && !c.ackNow
}

/** The sequence number of a pure ACK: SND.NXT, but inside the peer's window, should that have shrunk (Linux tcp_acceptable_seq). */
function ackSeq(c: TcpConnection): number {
  const edge = seqAdd(c.sndUna, c.sndWnd)
  return seqDiff(c.sndNxt, edge) < 1 << c.sndWndShift ? c.sndNxt : edge
}

/** RFC 5681 §4.2, for every segment that was out of order, within bounds. */
function sendDuplicateAcks(c: TcpConnection, tx: PacketBatch, now: Millis): void {
  for (let n = Math.min(c.gapAcks, MAX_GAP_ACKS); n > 0 && tx.hasRoom(0); n--) emitSegment(c, tx, now, ackSeq(c), ACK, 0)
  c.gapAcks = 0
}

function sendSyn(c: TcpConnection, tx: PacketBatch, now: Millis): void {
  c.synDue = false
  emitSegment(c, tx, now, c.iss, c.state === SYN_SENT ? SYN : SYN | ACK, 0)
  if (c.sndNxt === c.iss) {
    c.sndNxt = seqAdd(c.iss, 1)
    c.synSentAt = now
    c.unansweredSince = now
  } else c.synSentAt = Number.NaN // Karn: whichever of them will be answered
  armRetransmission(c, now)
}

/** End of everything queued, FIN not counted. */
const queueEnd = (c: TcpConnection): number => seqAdd(c.sndUna, c.sndQueue.length)

function sendData(c: TcpConnection, tx: PacketBatch, now: Millis): boolean {
  const end = queueEnd(c)
  let fresh = false
  let done = true
  for (let emitted = 0; ; emitted++) {
    const remaining = seqDiff(end, c.sndNxt)
    const finLeft = c.finQueued && !c.finSent
    if (remaining <= 0 && !finLeft) break
    const flight = seqDiff(c.sndNxt, c.sndUna)
    if (flight === 0 && !fresh) restartIdle(c, now)
    // A tail loss probe goes out beyond the congestion window: RFC 8985 §7.3.
    let cwnd = Math.floor(c.congestion.cwnd) - pipeOf(c)
    if (c.rexmitHeld) cwnd = Math.min(cwnd, 2 * c.smss - seqDiff(c.sndNxt, c.recover)) // RFC 5682 §2.1 (2b)
    const length = segmentLength(c, remaining, Math.min(c.sndWnd - flight, c.tailDue ? Math.max(cwnd, c.smss) : cwnd))
    const fin = finLeft && length === remaining && c.sndWnd > flight + length // it takes no room in the network
    if (length === 0 && !fin) {
      if (flight === 0) startPersisting(c, now)
      break
    }
    if (emitted === QUANTUM || !tx.hasRoom(MAX_PIECES)) {
      done = false
      break
    }
    c.forceSend = false
    emit(c, tx, now, length, fin, length > 0 && length === remaining)
    fresh = true
    if (c.tailDue) tailProbed(c, false, now)
  }
  if (fresh) armTailProbe(c, now)
  return done
}

/** Behind a pause the window is not what the path bears any more: RFC 5681 §4.1. */
function restartIdle(c: TcpConnection, now: Millis): void {
  const idle = now - c.idleSince
  if (idle < c.rtt.rto) return
  c.congestion.onIdle(idle, c.rtt.rto)
  c.idleSince = now // if nothing can go yet, the same time does not count twice
}

/** How many bytes may go in the next segment: 0 for none. RFC 9293 §3.8.6.2.1 (sender's SWS avoidance) and §3.7.4 (Nagle). */
function segmentLength(c: TcpConnection, remaining: number, room: number): number {
  if (remaining <= 0 || room <= 0) return 0
  let length = Math.min(remaining, room, largest(c))
  const tail = length === remaining
  if (length >= c.smss && !tail) return length - (length % c.smss) // (1) whole segments
  if (tail) {
    if (length % c.smss === 0 || c.noDelay || c.finQueued || c.sndNxt === c.sndUna) return length // (2)
    length -= length % c.smss // Nagle: the partial last segment waits for the ACK of what is out
    return length
  }
  if (length >= c.maxSndWnd / 2 || c.forceSend) return length // (3), (4)
  return 0
}

/**
 * Payload bytes of the largest (super-)segment. On a near path as much as a packet holds: super-segments are what makes a turn cheap, and
 * no queue but the peer's takes the burst. A far path gets what it carries in a millisecond, two segments at least, so that a slow flow's
 * turn is short and its bursts are small (Linux tcp_tso_autosize() and net.ipv4.tcp_tso_rtt_log in ip-sysctl.rst: the same two terms).
 */
function largest(c: TcpConnection): number {
  const { smss } = c
  if (!superSegments(c)) return smss
  const most = MAX_IP_PACKET - headerBytes(c)
  const halvings = Math.min(c.rack.minRtt / NEAR, 31) // none is known: 31, and a rate without bound
  const length = Math.min(most, (most >> halvings) + c.congestion.cwnd / c.rtt.srtt)
  return Math.max(Math.floor(length / smss), Math.min(2, Math.floor(most / smss))) * smss
}

/**
 * May segments be left to the device to cut? Only for a peer that scales its window: 64 KiB have no use for super-segments, and such
 * a peer is no kernel of today, so it gets what it expects, one segment a packet.
 */
function superSegments(c: TcpConnection): boolean {
  return c.tcp.options.offload && c.rcvWndShift > 0
}

function emit(c: TcpConnection, tx: PacketBatch, now: Millis, length: number, ends: boolean, last: boolean): void {
  const sent = emitSegment(c, tx, now, c.sndNxt, ACK | (last ? PSH : 0) | (ends ? FIN : 0), length)
  const fin = ends && sent === length
  c.bytesSent += sent
  if (fin) c.finSent = true
  c.sndNxt = seqAdd(c.sndNxt, sent + (fin ? 1 : 0))
  c.scoreboard.sent(c.sndNxt, now)
  if (c.phase === RECOVERY) c.prrOut += sent
  if (c.rexmitAt === Infinity || c.persisting) armRetransmission(c, now)
  if (Number.isNaN(c.unansweredSince)) c.unansweredSince = now
}

/** What is lost goes first: RFC 6675 §5 (C), NextSeg (1). The first of a recovery goes whatever the window says (§5 (4.3)). */
function resendLost(c: TcpConnection, tx: PacketBatch, now: Millis): boolean {
  const sb = c.scoreboard
  for (let emitted = 0; sb.waiting > 0; emitted++) {
    const i = sb.nextLost()
    const start = sb.startOf(i)
    const left = seqDiff(sb.endOf(i), start)
    let room = Math.floor(c.congestion.cwnd) - pipeOf(c)
    if (c.rexmitDue) room = Math.max(room, c.smss)
    else if (room < Math.min(left, c.smss)) return true
    // Not into a window that the peer has taken back (RFC 9293 §3.8.6); if nothing is left of it, the first segment asks for it.
    let wnd = seqDiff(seqAdd(c.sndUna, c.sndWnd), start)
    if (wnd <= 0 && start === c.sndUna) wnd = c.smss
    if (wnd <= 0) return true
    const most = superSegments(c) ? Math.max(c.smss, room - (room % c.smss)) : c.smss
    if (emitted === QUANTUM || !tx.hasRoom(MAX_PIECES)) return false
    resend(c, tx, now, i, start, Math.min(left, wnd, most, largest(c)))
    c.rexmitDue = false
  }
  c.rexmitDue = false
  return true
}

/** Sends `length` numbers of range `i` again, from `start` on; the FIN is one of them. */
function resend(c: TcpConnection, tx: PacketBatch, now: Millis, i: number, start: number, length: number): void {
  const behind = seqDiff(queueEnd(c), start)
  const text = Math.min(length, behind)
  const sent = emitSegment(c, tx, now, start, ACK | (text > 0 && text === behind ? PSH : 0) | (text < length ? FIN : 0), text)
  const covered = sent === text ? length : sent
  c.scoreboard.resent(i, start, seqAdd(start, covered), now)
  c.tcp.stats.tcpRetransmits++
  if (c.phase === OPEN)
    c.undoable = false // a probe: what the last recovery knew is history
  else {
    c.undoBytes += covered
    if (Number.isNaN(c.resentAt)) c.resentAt = now
    if (c.phase === RECOVERY) c.prrOut += covered
  }
  if (start === c.sndUna || c.rexmitAt === Infinity || c.persisting) armRetransmission(c, now)
}

/** A tail loss probe, and there was nothing new to send: the last segment again. RFC 8985 §7.3. */
function probeTail(c: TcpConnection, tx: PacketBatch, now: Millis): boolean {
  const i = c.scoreboard.last
  if (i < 0 || c.phase !== OPEN) {
    c.tailDue = false
    return true
  }
  if (!tx.hasRoom(MAX_PIECES)) return false
  const end = c.scoreboard.endOf(i)
  const length = Math.min(seqDiff(end, c.scoreboard.startOf(i)), c.smss)
  resend(c, tx, now, i, seqAdd(end, -length), length)
  tailProbed(c, true, now)
  return true
}

/**
 * A zero-window probe: an empty segment one below SND.UNA, unacceptable, so it must be answered by an ACK with the window
 * (RFC 9293 §3.10.7.4 first). Linux probes the same way; unlike the one byte of §3.8.6.1 it needs no rollback.
 */
function sendProbe(c: TcpConnection, tx: PacketBatch, now: Millis): void {
  c.probeDue = false
  emitSegment(c, tx, now, seqAdd(c.sndUna, -1), ACK, 0)
  if (c.persisting && Number.isNaN(c.unansweredSince)) c.unansweredSince = now // keepalive counts its questions by itself
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
export const finAcknowledged = (c: TcpConnection): boolean => c.finSent && c.sndUna === c.sndNxt
