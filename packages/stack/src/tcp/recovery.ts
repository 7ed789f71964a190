// Owns: what an acknowledgment means: bytes off the queue, a round trip measured, losses found, the window moved; and taking that back
// where the loss was none. Phases as in Linux: OPEN, RECOVERY (losses seen by ACKs), LOSS (the timer fired).
// Read first: RFC 5681 §3.2, RFC 6675 §5, RFC 6937 (PRR), RFC 6582 (peers without SACK), RFC 5682 (F-RTO),
// RFC 3522 and 4015 (Eifel), RFC 2883 (DSACK).

import type { Millis } from '../memory/slab.js'
import type { Segment } from '../wire/tcp.js'
import type { TcpConnection } from './connection.js'
import { updateSmss } from './handshake.js'
import { Delivery, DUP_THRESH } from './rack.js'
import { seqDiff, seqGeq, seqGt, seqLeq, seqLt } from './seq.js'
import { LOSS, OPEN, RECOVERY, SYN_RECEIVED, SYN_SENT, WRITABLE } from './states.js'
import { armTailProbe, NO_PROBE, PROBED_AGAIN, tailAcknowledged } from './tail-loss.js'

const delivery = new Delivery()

/** Bytes in the network: RFC 6675 §4 SetPipe; where there is no SACK, every duplicate ACK stands for a segment that left it. */
export function pipeOf(c: TcpConnection): number {
  const { sacked, lost, rexmit } = c.scoreboard
  return Math.max(0, seqDiff(c.sndNxt, c.sndUna) - sacked - lost + rexmit - c.dupBytes)
}

/**
 * An acceptable ACK, SND.UNA ≤ SEG.ACK ≤ SND.NXT. `plain`: it has no text, no FIN and tells no other window, so it may be a duplicate
 * (RFC 5681 §2).
 */
export function takeAck(c: TcpConnection, seg: Segment, plain: boolean, now: Millis): void {
  const sb = c.scoreboard
  const flight = seqDiff(c.sndNxt, c.sndUna)
  const pipe = pipeOf(c)
  const acked = seqDiff(seg.ack, c.sndUna)
  const d = delivery
  d.begin(c, seg, now)
  let duplicated = false
  if (acked > 0) advance(c, seg.ack, now)
  if (c.sackOk) {
    if (seg.sackCount > 0) duplicated = takeSacks(c, seg)
  } else countDuplicates(c, acked, flight, plain)
  if (acked > 0) {
    measure(c, flight)
    if (c.sndUna !== c.sndNxt) c.rexmitAt = now + c.rtt.rto // RFC 6298 (5.3), by the RTO of now: the back-off is over
  }
  if (c.tailProbe !== NO_PROBE && tailAcknowledged(c, seg, duplicated, plain)) {
    c.congestion.onLoss(flight, now)
    c.congestion.cwnd = c.congestion.ssthresh
  }
  const lost = sb.lost
  if (sb.sacked > 0 || (c.phase !== OPEN && acked > 0)) findOvertaken(c, now)
  if (c.phase === RECOVERY) recovering(c, seg, acked, sb.lost > lost)
  else if (c.phase === LOSS) timedOut(c, seg, acked, flight, now)
  else {
    if (duplicated && c.undoable && c.undoBytes <= 0 && !Number.isNaN(c.resentAt)) undo(c)
    if (acked > 0 && sb.lost === 0) c.congestion.onAck(acked, flight, now, c.rtt.srtt)
  }
  if (c.phase === OPEN && sb.lost > 0) enterRecovery(c, flight, pipe, acked > 0, now)
  if (acked > 0) armTailProbe(c, now)
  else if (sb.sacked > 0) c.tailAt = Infinity
}

/** SND.UNA moves: takes the bytes out of the queue; the caller restarts the timer. */
function advance(c: TcpConnection, ack: number, now: Millis): void {
  const data = Math.min(seqDiff(ack, c.sndUna), c.sndQueue.length) // the rest is our FIN
  c.scoreboard.acknowledged(ack, delivery)
  if (data > 0) {
    c.sndQueue.discard(data)
    if (c.sndQueue.length === 0) c.tcp.senders--
  }
  c.sndUna = ack
  c.retries = 0
  c.excused = false
  // `recover` goes along, or 2 GiB later it would seem to lie ahead.
  if (c.phase === OPEN && seqLt(c.recover, ack)) c.recover = ack
  c.persisting = false
  if (ack === c.sndNxt) {
    c.idleSince = now
    c.rexmitAt = Infinity // RFC 6298 (5.2)
    c.reorderAt = Infinity
    c.unansweredSince = Number.NaN
  } else c.unansweredSince = now
  if (data > 0 && c.sndQueue.length < (c.full ? c.sndLimit : c.sndLimit >> 1)) {
    c.full = false
    c.happened(WRITABLE)
  }
}

/** RFC 2018 §5; RFC 2883 §4: a first block of what is acknowledged already, or inside the second, tells of a duplicate. True: it does. */
function takeSacks(c: TcpConnection, seg: Segment): boolean {
  const { sack, sackCount } = seg
  let duplicated = false
  for (let i = 0; i < 2 * sackCount; i += 2) {
    const left = sack[i]
    const right = sack[i + 1]
    if (!seqLt(left, right) || seqGt(right, c.sndNxt)) continue // of data never sent
    if (i === 0 && (seqLeq(right, seg.ack) || (sackCount > 1 && seqGeq(left, sack[2]) && seqLeq(right, sack[3])))) {
      duplicated = true
      c.tcp.stats.tcpDsacks++
      if (c.tailProbe !== PROBED_AGAIN) c.rack.duplicated(c) // a probe that was needless says nothing of reordering
      if (c.undoable && seqGeq(left, c.undoMarker)) c.undoBytes -= seqDiff(right, left)
    } else if (seqGt(right, c.sndUna)) c.scoreboard.sack(left, right, delivery)
  }
  return duplicated
}

/** RFC 5681 §3.2 and RFC 6582 §3.2 for peers without SACK: the third duplicate of an ACK tells that the segment behind it is lost. */
function countDuplicates(c: TcpConnection, acked: number, flight: number, plain: boolean): void {
  const sb = c.scoreboard
  if (acked > 0) {
    // In recovery: one segment filled the hole, the others had sent duplicates when they arrived.
    const told = c.dupBytes
    c.dupAcks = c.phase === OPEN ? 0 : Math.max(0, c.dupAcks - Math.max(0, Math.ceil(acked / c.smss) - 1))
    c.dupBytes = Math.min(c.dupAcks * c.smss, Math.max(0, flight - acked - sb.lost))
    delivery.bytes = Math.max(0, delivery.bytes - Math.max(0, told - c.dupBytes))
    return
  }
  if (!plain || flight === 0 || c.phase === LOSS) return
  c.dupAcks++
  const told = c.dupBytes
  c.dupBytes = Math.min(c.dupAcks * c.smss, Math.max(0, flight - sb.lost - Math.min(c.smss, flight)))
  delivery.bytes += c.dupBytes - told
  // RFC 6582 §3.2 (2): duplicates of what went again after a timeout tell nothing.
  if (c.phase === OPEN && c.dupAcks === DUP_THRESH && !seqLt(c.sndUna, c.recover)) sb.markHeadLost(Math.min(c.smss, flight))
}

/** RFC 6298 §3–4. A turn that was stalled measured the process, not the path: no sample. */
function measure(c: TcpConnection, flight: number): void {
  if (c.tcp.stalled || Number.isNaN(delivery.rtt)) c.rtt.settle()
  else c.rtt.sample(delivery.rtt, Math.max(1, Math.ceil(flight / (2 * c.smss))))
}

/** The handshake's round trip. `synSentAt` NaN: the SYN went twice (Karn). */
export function measureSyn(c: TcpConnection, seg: Segment, now: Millis): void {
  const once = !Number.isNaN(c.synSentAt)
  const rtt = once ? now - c.synSentAt : (c.tsValAt(now) - seg.tsEcr) | 0
  if (!c.tcp.stalled && (once || (c.tsOk && seg.hasTimestamps && rtt >= 0))) c.rtt.sample(rtt)
  else c.rtt.fallBack()
  if (once) c.rack.minRtt = rtt
}

/** RFC 8985 §6.2 step 5. */
function findOvertaken(c: TcpConnection, now: Millis): void {
  c.reorderAt = Infinity
  if (!c.sackOk || c.scoreboard.empty || c.rack.xmitAt === -Infinity) return
  const again = c.scoreboard.markOvertaken(c.rack.xmitAt, c.rack.end, c.rack.rtt + c.rack.reoWnd(c), now)
  if (again > 0) c.reorderAt = now + Math.max(again, 1)
}

/** The reordering timer fired: what was still missing then is lost. */
export function reorderTimeout(c: TcpConnection, now: Millis): void {
  const pipe = pipeOf(c)
  findOvertaken(c, now)
  if (c.phase === OPEN && c.scoreboard.lost > 0) {
    delivery.bytes = 0
    enterRecovery(c, seqDiff(c.sndNxt, c.sndUna), pipe, false, now)
  }
  c.tcp.output(c)
}

function enterRecovery(c: TcpConnection, flight: number, pipe: number, progress: boolean, now: Millis): void {
  c.congestion.onLoss(flight, now)
  c.phase = RECOVERY
  beginEpisode(c)
  c.prrDelivered = 0
  c.prrOut = 0
  c.recoverFlight = Math.max(pipe, c.smss)
  c.rexmitDue = true
  c.tcp.stats.tcpFastRetransmits++
  reduce(c, progress)
}

/** From here on what goes again may turn out to be needless. */
function beginEpisode(c: TcpConnection): void {
  c.recover = c.sndNxt
  c.undoable = c.tcp.options.undo
  c.undoMarker = c.sndUna
  // Copies of the episode before may still be out: what they bring proves nothing.
  c.undoBytes = c.scoreboard.rexmit
  if (c.undoBytes === 0) c.resentAt = Number.NaN
  c.tailProbe = NO_PROBE
  c.tailDue = false
  c.tailAt = Infinity
}

function recovering(c: TcpConnection, seg: Segment, acked: number, lostMore: boolean): void {
  const over = acked > 0 && seqGeq(c.sndUna, c.recover)
  if (acked > 0 && needless(c, seg)) undo(c)
  else if (over) {
    c.congestion.cwnd = c.congestion.ssthresh
    c.phase = OPEN
  } else {
    if (acked > 0 && !c.sackOk) c.scoreboard.markHeadLost(Math.min(c.smss, seqDiff(c.sndNxt, c.sndUna))) // RFC 6582: a partial ACK
    reduce(c, acked > 0 && !lostMore)
  }
  if (c.phase !== OPEN) return
  c.rack.recovered()
  c.dupAcks = 0
  c.dupBytes = 0
}

/**
 * Proportional rate reduction, RFC 6937 §3 with the slow start bound: one byte out for each delivered, times β,
 * until `ssthresh` is in flight.
 */
function reduce(c: TcpConnection, safe: boolean): void {
  const cc = c.congestion
  const pipe = pipeOf(c)
  c.prrDelivered += delivery.bytes
  let send: number
  if (pipe > cc.ssthresh) send = Math.ceil((c.prrDelivered * cc.ssthresh) / c.recoverFlight) - c.prrOut
  else send = Math.min(cc.ssthresh - pipe, Math.max(c.prrDelivered - c.prrOut, delivery.bytes) + (safe ? c.smss : 0))
  cc.cwnd = pipe + Math.max(0, send)
}

/** The timer has fired, and now there is an answer. */
function timedOut(c: TcpConnection, seg: Segment, acked: number, flight: number, now: Millis): void {
  c.rexmitHeld = false
  // RFC 5682 §3.1 step 3b: what was never sent again arrives, so it was on its way. And Eifel, and DSACK.
  // Without SACK what went again may have brought the acknowledgment of what had come before.
  const original = delivery.original && (c.sackOk || !delivery.resent)
  if ((c.frto && original && c.undoable) || (acked > 0 && needless(c, seg))) {
    c.tcp.stats.tcpSpuriousTimeouts++
    return undo(c)
  }
  if (c.frto) detectSpurious(c, acked)
  if (acked > 0) c.congestion.onAck(acked, flight, now, c.rtt.srtt)
  if (acked > 0 && seqGeq(c.sndUna, c.recover)) {
    c.phase = OPEN
    c.frto = false
    c.rack.recovered()
    c.mtuBefore = 0
    c.dupAcks = 0
    c.dupBytes = 0
  }
}

/** RFC 5682 §3.1 step 2: the first ACK behind a timeout lets new text out instead of old; the answer to that shows which was needed. */
function detectSpurious(c: TcpConnection, acked: number): void {
  const probing = seqGt(c.sndNxt, c.recover)
  if (probing || acked <= 0 || seqGeq(c.sndUna, c.recover)) {
    c.frto = false // (3a), or (2a): nothing but duplicates
    return
  }
  if (c.sndQueue.length > seqDiff(c.sndNxt, c.sndUna))
    c.rexmitHeld = true // (2b)
  else c.frto = false
}

/**
 * Was nothing lost? All that went again arrived twice (DSACK), or what came was sent before we sent anything again (Eifel, RFC 3522 §3.2).
 */
function needless(c: TcpConnection, seg: Segment): boolean {
  if (!c.undoable) return false
  if (Number.isNaN(c.resentAt)) return true // it came before we had sent anything again
  if (c.undoBytes <= 0) return true
  return c.tsOk && seg.hasTimestamps && seg.tsEcr !== 0 && seqLt(seg.tsEcr, c.tsValAt(c.resentAt))
}

/** Eifel response, RFC 4015 §3.2: as if nothing had happened. */
function undo(c: TcpConnection): void {
  c.congestion.undo()
  if (c.mtuBefore > 0) {
    c.pathMtu = c.mtuBefore // the large ones had got through
    c.mtuBefore = 0
    updateSmss(c)
  }
  c.scoreboard.forgetLosses()
  c.phase = OPEN
  c.undoable = false
  c.frto = false
  c.rexmitDue = false
  c.dupAcks = 0
  c.dupBytes = 0
  c.rtt.settle()
  c.tcp.stats.tcpUndos++
}

/** The retransmission timer fired: RFC 6298 (5.4)–(5.6), RFC 5681 §3.1, RFC 8985 §6.3. */
export function retransmissionTimeout(c: TcpConnection, now: Millis): void {
  c.rtt.backOff()
  c.retries++
  c.tcp.stats.tcpTimeouts++
  if (c.state === SYN_SENT || c.state === SYN_RECEIVED) c.synDue = true
  else {
    const flight = seqDiff(c.sndNxt, c.sndUna)
    const wait = c.rack.rtt + c.rack.reoWnd(c)
    // In RECOVERY `ssthresh` is down already; and RFC 5681 (4) lowers it once for the same segment.
    if (c.phase === OPEN) {
      c.congestion.onTimeout(flight, now)
      beginEpisode(c)
    }
    c.frto = c.phase === OPEN || c.retries > 1
    c.phase = LOSS
    c.recover = c.sndNxt
    c.dupAcks = 0
    c.dupBytes = 0
    c.rexmitHeld = false
    c.rexmitDue = true
    c.tailProbe = NO_PROBE
    c.tailDue = false
    c.reorderAt = Infinity
    if (c.sackOk) c.scoreboard.markTimedOut(wait, now)
    else c.scoreboard.markAllLost()
    c.congestion.cwnd = pipeOf(c) + c.smss // loss window: RFC 5681 §3.1
  }
  c.rexmitAt = now + c.rtt.rto
  c.persisting = false
  c.tcp.output(c)
}

/**
 * The path takes smaller segments only: what is out goes again, and no window pays for it,
 * for nothing was lost to congestion (RFC 1191 §3).
 */
export function resegment(c: TcpConnection): void {
  if (c.phase === OPEN) beginEpisode(c)
  c.undoable = false
  c.phase = LOSS
  c.frto = false
  c.rexmitHeld = false
  c.recover = c.sndNxt
  c.scoreboard.markAllLost()
}

/** A window that had shut over what was out is open again: whatever had been sent into it is gone, and need not wait for the timer. */
export function reopened(c: TcpConnection): void {
  c.scoreboard.markAllLost()
  c.rexmitDue = true
  c.rtt.settle()
}
