// Owns: the tail loss probe: when the last of a flight may be lost nothing behind it can tell, so something is sent that does.
// Read first: RFC 8985 §7.

import type { Millis } from '../memory/slab.js'
import type { Segment } from '../wire/tcp.js'
import type { TcpConnection } from './connection.js'
import { seqDiff, seqGeq, seqGt } from './seq.js'
import { ESTABLISHED, OPEN } from './states.js'

// (TLP.end_seq, TLP.is_retrans) as `connection.tailProbe`.
export const NO_PROBE = 0
export const PROBED_NEW = 1
export const PROBED_AGAIN = 2

/** A lone segment waits for the peer's delayed ACK at worst. (WCDelAckT) */
const DELAYED_ACK_WORST = 200 // ms
/**
 * More than RFC 8985 gives to several: behind a NIC of ours round trips take microseconds, delayed ACKs 40 ms (Linux TCP_DELACK_MIN). A
 * probe that overtakes them asks for nothing. RFC 8985 would probe at 2 · SRTT.
 */
const DELAYED_ACK = 50 // ms

/** Arms the probe timer if a probe could tell anything: §7.2. Call when new text was sent or acknowledged. */
export function armTailProbe(c: TcpConnection, now: Millis): void {
  c.tailAt = Infinity
  const sb = c.scoreboard
  if (!c.sackOk || c.phase !== OPEN || c.tailProbe !== NO_PROBE || sb.empty || sb.sacked > 0 || c.persisting) return
  if (c.state < ESTABLISHED || !c.rtt.measured) return
  const lone = seqDiff(c.sndNxt, c.sndUna) <= c.smss
  c.tailAt = Math.min(now + 2 * c.rtt.srtt + (lone ? DELAYED_ACK_WORST : DELAYED_ACK), c.rexmitAt)
}

/** The timer fired: §7.3. `output` sends new text if there is any, else the last segment again. */
export function tailProbeTimeout(c: TcpConnection, now: Millis): void {
  c.tailAt = Infinity
  if (c.scoreboard.empty || c.phase !== OPEN) return
  c.rexmitAt = now + c.rtt.rto // both may be due: the probe comes first, and has a timeout's time for its answer
  c.tailDue = true
  c.tcp.output(c)
}

/** The probe left; `rexmitAt` starts anew behind it. */
export function tailProbed(c: TcpConnection, again: boolean, now: Millis): void {
  c.tailDue = false
  c.tailProbe = again ? PROBED_AGAIN : PROBED_NEW
  c.tailSeq = c.sndNxt
  c.rexmitAt = now + c.rtt.rto
  c.tcp.stats.tcpLossProbes++
}

/** §7.4.2: what an ACK says of the probe. True: the probe itself repaired a loss, which congestion control has to hear of. */
export function tailAcknowledged(c: TcpConnection, seg: Segment, duplicated: boolean, plain: boolean): boolean {
  if (!seqGeq(seg.ack, c.tailSeq)) return false
  if (c.tailProbe === PROBED_NEW || duplicated)
    c.tailProbe = NO_PROBE // told of a loss by itself; or needless
  else if (seqGt(seg.ack, c.tailSeq)) {
    c.tailProbe = NO_PROBE
    return true
  } else if (plain && seg.sackCount === 0) c.tailProbe = NO_PROBE // the second copy came as well
  return false
}
