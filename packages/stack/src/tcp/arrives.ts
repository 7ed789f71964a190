// Owns: SEGMENT ARRIVES, RFC 9293 §3.10.7.3 and §3.10.7.4, its steps in its order, a function a step.
// Read beside it: RFC 5961 (blind attacks), RFC 7323 §5 (PAWS).

import type { Millis, Slab } from '../memory/slab.js'
import { ACK, FIN, PSH, RST, type Segment, SYN, segLen } from '../wire/tcp.js'
import type { TcpConnection } from './connection.js'
import { acceptable, DELAYED_ACK, takeSegmentText, tellDuplicate } from './receiver.js'
import { measureSyn, reopened, takeAck } from './recovery.js'
import { finAcknowledged } from './sender.js'
import { seqAdd, seqDiff, seqGeq, seqGt, seqLeq, seqLt } from './seq.js'
import {
  CLOSE_WAIT,
  CLOSING,
  CONNECTED,
  ENDED,
  ESTABLISHED,
  FIN_WAIT_1,
  FIN_WAIT_2,
  LAST_ACK,
  LOSS,
  OPEN,
  SYN_PENDING,
  SYN_RECEIVED,
  SYN_SENT,
} from './states.js'
import { NO_PROBE } from './tail-loss.js'
import { schedule } from './timers.js'

/** RFC 7323 §5.5: behind 24 days of silence TS.Recent says nothing. */
const TS_RECENT_MAX_AGE = 24 * 86_400_000

/** RFC 5961 §7: at most so many challenge ACKs in so many milliseconds. */
const MAX_CHALLENGES = 10
const CHALLENGE_SPAN = 5000

/** A step answers false when nothing is left to do with the segment. `slab` holds its text. */
export function arrives(c: TcpConnection, seg: Segment, slab: Slab, now: Millis): void {
  if (c.state === SYN_PENDING) return c.tcp.handshake.arrivesWhilePending(c, seg, now)
  c.heardAt = now
  c.keepProbes = 0
  if (c.tcp.options.prediction && predicted(c, seg, slab, now)) {
    // all is done
  } else if (c.state === SYN_SENT) arrivesInSynSent(c, seg, slab, now)
  else synchronized(c, seg, slab, now)
  if (c.ackNow || c.rexmitDue || c.sndQueue.length > 0 || c.synDue || c.finQueued) c.tcp.output(c)
  schedule(c)
}

/**
 * Header prediction: the next text in order, or an ACK of what is out, and nothing else about it. Does what `synchronized` would do and
 * leaves out what could not apply. False: it is not that case. That both agree, the simulation shows on every field.
 */
function predicted(c: TcpConnection, seg: Segment, slab: Slab, now: Millis): boolean {
  if (c.state !== ESTABLISHED || (seg.flags & ~PSH) !== ACK || seg.seq !== c.rcvNxt || seg.wnd << c.sndWndShift !== c.sndWnd) return false
  if (c.phase !== OPEN || c.persisting || c.tailProbe !== NO_PROBE || c.scoreboard.sacked > 0 || seg.sackCount > 0) return false
  if (c.tsOk && (!seg.hasTimestamps || seqLt(seg.tsVal, c.tsRecent))) return false
  const length = seg.end - seg.data
  if (length === 0) {
    if (!(seqGt(seg.ack, c.sndUna) && seqLeq(seg.ack, c.sndNxt))) return false
    if (c.tsOk) takeTimestamp(c, seg, now)
    takeAck(c, seg, false, now)
  } else {
    if (seg.ack !== c.sndUna || seqLt(seg.seq, c.sndWl1) || c.sndWnd === 0 || c.finSeen || c.orphan || length > seqDiff(c.rcvAdv, c.rcvNxt))
      return false
    if (c.tsOk) takeTimestamp(c, seg, now)
    takeSegmentText(c, seg, slab, now)
  }
  c.sndWl1 = seg.seq
  c.sndWl2 = seg.ack
  return true
}

function synchronized(c: TcpConnection, seg: Segment, slab: Slab, now: Millis): void {
  if (!checkSequence(c, seg, now)) return // first
  if (!checkReset(c, seg, now)) return // second; third (security) has no meaning here
  if (!checkSyn(c, seg, now)) return // fourth
  if (!checkAck(c, seg, now)) return // fifth; sixth (urgent) stays in line, RFC 6093
  if (!takeText(c, seg, slab, now)) return // seventh
  checkFin(c, seg, now) // eighth
}

function checkSequence(c: TcpConnection, seg: Segment, now: Millis): boolean {
  // The client did not get our SYN-ACK: its SYN again, which the window test would let pass as an old duplicate.
  if (c.state === SYN_RECEIVED && seg.flags & SYN && !(seg.flags & ACK) && seg.seq === c.irs) {
    if (seg.hasTimestamps) c.tsRecent = seg.tsVal
    c.synDue = true
    c.tcp.output(c)
    return false
  }
  if (c.tsOk && !checkTimestamp(c, seg, now)) return false
  if (acceptable(c, seg.seq, segLen(seg))) {
    if (c.tsOk && seg.hasTimestamps) takeTimestamp(c, seg, now)
    return true
  }
  if (seg.data < seg.end) {
    c.ackNow = true // text again, because our ACK was lost: no ACK loop is made of that
    const end = seqAdd(seg.seq, seg.end - seg.data)
    if (seqLeq(end, c.rcvNxt)) tellDuplicate(c, seg.seq, end)
  } else if (!(seg.flags & RST)) challenge(c, now)
  return false
}

/** PAWS, RFC 7323 §5.3 R1. */
function checkTimestamp(c: TcpConnection, seg: Segment, now: Millis): boolean {
  // §3.2: without the option, dropped in silence, but for a RST; and a SYN, which a peer that has forgotten us sends: challenged.
  if (!seg.hasTimestamps) return (seg.flags & (RST | SYN)) !== 0
  if (seg.flags & RST || !seqLt(seg.tsVal, c.tsRecent) || now - c.tsRecentAt >= TS_RECENT_MAX_AGE) return true
  c.tcp.stats.tcpPawsDropped++
  if (seg.data < seg.end) c.ackNow = true
  else challenge(c, now)
  return false
}

/** TS.Recent, RFC 7323 §5.3 R3: of segments in the window only (R2), or a blind one could make PAWS drop all that follow. */
function takeTimestamp(c: TcpConnection, seg: Segment, now: Millis): void {
  if (seg.flags & RST || seqGt(seg.seq, c.lastAckSent)) return
  if (seqLt(seg.tsVal, c.tsRecent) && now - c.tsRecentAt < TS_RECENT_MAX_AGE) return
  c.tsRecent = seg.tsVal
  c.tsRecentAt = now
}

/**
 * An ACK with the numbers as they are: the answer to what cannot be taken. Limited as RFC 5961 §7 says, or two ends that disagree would
 * challenge each other at full speed; for each connection by itself, or the limit would tell a stranger of the others (CVE-2016-5696).
 */
function challenge(c: TcpConnection, now: Millis): void {
  if (now - c.challengedAt >= CHALLENGE_SPAN) {
    c.challengedAt = now
    c.challenges = 0
  }
  if (++c.challenges > MAX_CHALLENGES) {
    c.tcp.stats.tcpChallengesWithheld++
    return
  }
  c.tcp.stats.tcpChallengeAcks++
  c.ackNow = true
}

function checkReset(c: TcpConnection, seg: Segment, now: Millis): boolean {
  if (!(seg.flags & RST)) return true
  if (seg.seq !== c.rcvNxt) {
    challenge(c, now) // RFC 5961 §3.2: in the window but not exact
    return false
  }
  c.tcp.remove(c, c.state === SYN_RECEIVED && c.active ? 'ECONNREFUSED' : 'ECONNRESET')
  return false
}

function checkSyn(c: TcpConnection, seg: Segment, now: Millis): boolean {
  if (!(seg.flags & SYN)) return true
  // Simultaneous open: the SYN-ACK that answers ours in SYN-RECEIVED carries our number, its SYN is old news.
  if (c.state === SYN_RECEIVED && seg.flags & ACK && seg.seq === c.irs) {
    seg.seq = c.rcvNxt // its text, if any, begins behind the SYN
    return true
  }
  challenge(c, now) // RFC 5961 §4.2
  return false
}

function checkAck(c: TcpConnection, seg: Segment, now: Millis): boolean {
  if (!(seg.flags & ACK)) return false
  if (c.state === SYN_RECEIVED) {
    if (!(seqGt(seg.ack, c.sndUna) && seqLeq(seg.ack, c.sndNxt))) {
      c.tcp.replyReset(c, seg.ack)
      return false
    }
    establish(c, seg, now)
  } else if (seqGt(seg.ack, c.sndNxt) || seqDiff(c.sndUna, seg.ack) > Math.min(c.maxSndWnd, c.sndQueue.headAt + 1)) {
    challenge(c, now) // of data never sent, or older than the window (RFC 5961 §5.2), or than the connection
    return false
  }
  if (seqGt(seg.ack, c.sndUna)) {
    takeAck(c, seg, false, now)
    updateWindow(c, seg)
  } else if (seg.ack === c.sndUna) {
    // Before the window is taken: a window update is no duplicate (5 % spurious retransmits else); nor is the answer to a probe.
    const plain = windowOf(c, seg) === c.sndWnd && seg.data === seg.end && !(seg.flags & FIN) && !c.persisting
    takeAck(c, seg, plain, now)
    if (c.persisting)
      c.unansweredSince = Number.NaN // the probe was answered
    else if (c.sndWnd === 0 && !Number.isNaN(c.unansweredSince)) c.unansweredSince = now // so was what asks a shut window
    if (seqLt(c.sndWl1, seg.seq) || (c.sndWl1 === seg.seq && seqLeq(c.sndWl2, seg.ack))) updateWindow(c, seg)
  }
  return finStates(c, now)
}

/** RFC 7323 §2.2: never scaled in a SYN. */
const windowOf = (c: TcpConnection, seg: Segment): number => (seg.flags & SYN ? seg.wnd : seg.wnd << c.sndWndShift)

/**
 * SND.WND is taken from the newest segment only: §3.10.7.4 fifth, ESTABLISHED. One that acknowledges more is newer whatever its sequence
 * number (a retransmission, say): else the right edge would move with SND.UNA although nobody granted that.
 */
function updateWindow(c: TcpConnection, seg: Segment): void {
  const was = c.sndWnd
  c.sndWnd = windowOf(c, seg)
  c.sndWl1 = seg.seq
  c.sndWl2 = seg.ack
  if (c.sndWnd > c.maxSndWnd) c.maxSndWnd = c.sndWnd
  if (was === 0 && c.sndWnd > 0 && c.phase === LOSS) reopened(c)
  if (c.persisting && c.sndWnd > was) {
    c.persisting = false
    c.probes = 0
    c.rexmitAt = Infinity
    c.rtt.settle()
    c.tcp.output(c)
  }
}

function establish(c: TcpConnection, seg: Segment, now: Millis): void {
  c.tcp.handshake.admission.left(c)
  c.state = ESTABLISHED
  c.sndWnd = windowOf(c, seg)
  c.maxSndWnd = c.sndWnd
  c.sndWl1 = seg.seq
  c.sndWl2 = seg.ack
  // Our SYN is acknowledged: one number that is not in the queue. It is all there is, data waits for this.
  measureSyn(c, seg, now)
  if (c.retries > 1) c.congestion.cwnd = c.smss // SYNs are being lost: RFC 6928 §2, RFC 5681 §3.1
  c.retries = 0
  c.excused = false
  c.sndUna = seqAdd(c.iss, 1)
  c.scoreboard.begin(c.sndUna)
  c.rack.begin(c.sndUna)
  c.recover = c.sndUna
  c.idleSince = now
  c.rexmitAt = Infinity
  c.unansweredSince = Number.NaN
  if (c.finQueued) c.state = FIN_WAIT_1
  c.happened(CONNECTED)
}

/** What the acknowledgment of our FIN means in the closing states. False: the connection is gone. */
function finStates(c: TcpConnection, now: Millis): boolean {
  if (c.state < FIN_WAIT_1 || !finAcknowledged(c)) return true
  switch (c.state) {
    case FIN_WAIT_1:
      c.state = FIN_WAIT_2
      if (c.orphan) c.tcp.output(c) // arms the deadline of FIN-WAIT-2
      return true
    case CLOSING:
      c.tcp.enterTimeWait(c, now)
      return false
    case LAST_ACK:
      c.tcp.remove(c, '')
      return false
  }
  return true
}

function takeText(c: TcpConnection, seg: Segment, slab: Slab, now: Millis): boolean {
  if (c.state !== ESTABLISHED && c.state !== FIN_WAIT_1 && c.state !== FIN_WAIT_2) {
    if (segLen(seg) > 0) c.ackNow = true // after their FIN: ignored; sent again because our ACK was lost
    return true
  }
  if (seg.end > seg.data && c.orphan && seqGt(seqAdd(seg.seq, seg.end - seg.data), c.rcvNxt)) {
    // Nobody will read it: RFC 9293 §3.6.1, RFC 2525 §2.17.
    c.tcp.sendReset(c)
    c.tcp.remove(c, '')
    return false
  }
  if (seg.flags & FIN && c.finSeen)
    c.ackNow = true // again: the first one came ahead of a gap, which this may fill
  else if (seg.flags & FIN) {
    const finSeq = seqAdd(seg.seq, seg.end - seg.data)
    if (seqGeq(finSeq, c.rcvNxt) && seqLeq(finSeq, seqGt(c.rcvAdv, c.rcvNxt) ? c.rcvAdv : c.rcvNxt)) {
      c.finSeen = true
      c.finSeq = finSeq
    }
  }
  takeSegmentText(c, seg, slab, now)
  if (seg.flags & FIN && !(c.finSeen && c.rcvNxt === c.finSeq)) c.ackNow = true // ahead of a gap, or beyond the window
  return true
}

function checkFin(c: TcpConnection, seg: Segment, now: Millis): void {
  if (!c.finSeen || c.rcvNxt !== c.finSeq) return
  switch (c.state) {
    case ESTABLISHED:
      c.state = CLOSE_WAIT
      // Whoever is told of their end mostly ends, too, and that FIN carries the acknowledgment: so does Linux (tcp_fin, pingpong mode).
      // One that came ahead of a gap, which is filled, is acknowledged at once: RFC 5681 §4.2.
      if (!(seg.flags & FIN)) c.ackNow = true
      else if (c.ackAt === Infinity) c.ackAt = now + DELAYED_ACK
      break
    case FIN_WAIT_1:
      c.state = CLOSING // finStates would have made it FIN-WAIT-2, had our FIN been acknowledged
      c.ackNow = true
      break
    case FIN_WAIT_2:
      c.ackNow = true
      break
    default:
      return
  }
  c.rcvNxt = seqAdd(c.rcvNxt, 1)
  if (seqLt(c.rcvAdv, c.rcvNxt)) c.rcvAdv = c.rcvNxt
  c.happened(ENDED)
  if (c.state === FIN_WAIT_2) c.tcp.enterTimeWait(c, now)
}

/** §3.10.7.3: we sent a SYN. */
function arrivesInSynSent(c: TcpConnection, seg: Segment, slab: Slab, now: Millis): void {
  const hasAck = (seg.flags & ACK) !== 0
  if (hasAck && (seqLeq(seg.ack, c.iss) || seqGt(seg.ack, c.sndNxt))) {
    if (!(seg.flags & RST)) c.tcp.replyReset(c, seg.ack)
    return
  }
  if (seg.flags & RST) {
    if (hasAck) c.tcp.remove(c, 'ECONNREFUSED')
    return
  }
  if (!(seg.flags & SYN)) return
  c.tcp.handshake.takeSynOptions(c, seg, now)
  c.irs = seg.seq
  c.rcvNxt = seqAdd(seg.seq, 1)
  c.lastAckSent = c.rcvNxt
  c.rcvAdv = seqAdd(c.rcvNxt, Math.min(c.rcvSpace, 0xffff))
  if (!hasAck) {
    c.state = SYN_RECEIVED // simultaneous open, §3.5 figure 8
    c.tcp.handshake.admission.crossed(c)
    c.synDue = true
    return
  }
  establish(c, seg, now)
  c.ackNow = true
  seg.seq = c.rcvNxt
  if (takeText(c, seg, slab, now)) checkFin(c, seg, now)
}
