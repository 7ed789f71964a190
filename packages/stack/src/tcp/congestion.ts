// Owns: the seam of congestion control: it answers how much may be in flight and never sends. RFC 5681, RFC 6928 (initial window).

/** Bytes everywhere. `flight` is SND.NXT − SND.UNA before the event. */
export interface Congestion {
  readonly name: string
  cwnd: number
  ssthresh: number
  /** `acked` new bytes were acknowledged outside recovery. */
  onAck(acked: number, flight: number): void
  /** A loss was seen by duplicate ACKs; entering recovery. */
  onLoss(flight: number): void
  /** The retransmission timer fired. */
  onTimeout(flight: number): void
  /** The path takes another segment size. */
  setSmss(smss: number): void
}

/** RFC 6928: min(10 · SMSS, max(2 · SMSS, 14600)). */
export function initialWindow(smss: number): number {
  return Math.min(10 * smss, Math.max(2 * smss, 14_600))
}
