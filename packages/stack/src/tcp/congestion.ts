// Owns: the seam of congestion control: it answers how much may be in flight and never sends. RFC 5681, RFC 6928 (initial window).

import type { Millis } from '../memory/slab.js'

/** No window grows beyond this: more than any send buffer holds. */
export const CWND_MAX = 1 << 30

/** Bytes everywhere. `flight` is SND.NXT − SND.UNA before the event. How a recovery spends the window is recovery.ts's. */
export interface Congestion {
  readonly name: string
  cwnd: number
  ssthresh: number
  /** `acked` new bytes were acknowledged outside fast recovery. */
  onAck(acked: number, flight: number, now: Millis, srtt: Millis): void
  /** The network dropped something: sets `ssthresh`, and remembers what was for `undo`. */
  onLoss(flight: number, now: Millis): void
  /** The retransmission timer fired: likewise; the caller sets `cwnd`. */
  onTimeout(flight: number, now: Millis): void
  /** The last of these was a mistake: RFC 4015 §3.2 (7), RFC 9438 §4.9. */
  undo(): void
  /** Nothing was sent for `idle`, at least one `rto`: RFC 5681 §4.1. */
  onIdle(idle: Millis, rto: Millis): void
  /** The path takes another segment size. */
  setSmss(smss: number): void
}

/** RFC 6928: min(10 · SMSS, max(2 · SMSS, 14600)). */
export function initialWindow(smss: number): number {
  return Math.min(10 * smss, Math.max(2 * smss, 14_600))
}

/**
 * What a window is worth behind a pause: half for every RTO, down to the initial one. RFC 5681 §4.1 drops at once; this is RFC 2861 §2.1.
 */
export function decayed(cwnd: number, smss: number, idle: Millis, rto: Millis): number {
  const floor = Math.min(initialWindow(smss), cwnd)
  return Math.max(floor, cwnd / 2 ** Math.min(Math.floor(idle / rto), 30))
}

/**
 * Slow start: byte counting with L unbounded: one ACK of a whole batch stands for all its segments (RFC 3465 §2.3 says 2 · SMSS, made for
 * ACKs that were lost; here the kernel and we both acknowledge once per batch).
 */
export function slowStart(cwnd: number, acked: number, ssthresh: number): number {
  return Math.min(cwnd + acked, ssthresh) // one ACK of much must not carry it beyond
}

/**
 * What was in the network when a loss was seen. RFC 5681 (4) says FlightSize; while reordering was waited for, text that the peer holds
 * already let new text out, and FlightSize has grown beyond the window. Nor does what limited transmit sent count:
 * RFC 5681 §3.2 (2), RFC 6675 §5 (4.2).
 */
export const inNetwork = (cwnd: number, flight: number): number => Math.min(cwnd, flight)

/** A window that was not filled says nothing about the path (RFC 7661 §4.3): it does not grow. */
export const filled = (cwnd: number, flight: number): boolean => flight * 2 >= cwnd
