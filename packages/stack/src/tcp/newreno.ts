// Owns: Reno's window: slow start, congestion avoidance, halving. RFC 5681 §3.1; recovery itself (RFC 6582) is the sender's.

import { type Congestion, initialWindow } from './congestion.js'

/** No window grows beyond this: more than any send buffer holds. */
const CWND_MAX = 1 << 30

export class NewReno implements Congestion {
  readonly name = 'newreno'
  cwnd: number
  ssthresh = CWND_MAX
  private smss: number
  /** Nothing was acknowledged or lost yet: the window is still the initial one. */
  private fresh = true

  constructor(smss: number) {
    this.smss = smss
    this.cwnd = initialWindow(smss)
  }

  onAck(acked: number, flight: number): void {
    this.fresh = false
    // A window that was not filled says nothing about the path (RFC 7661 §4.3): do not grow it.
    if (flight * 2 < this.cwnd) return
    if (this.cwnd < this.ssthresh) {
      // Byte counting with L unbounded: one ACK of a whole batch stands for all its segments (RFC 3465 §2.3 says 2·SMSS,
      // made for ACKs that were lost; here the kernel and we both acknowledge once per batch).
      this.cwnd = Math.min(this.cwnd + acked, CWND_MAX)
    } else {
      this.cwnd = Math.min(this.cwnd + Math.max(1, (this.smss * acked) / this.cwnd), CWND_MAX)
    }
  }

  onLoss(flight: number): void {
    this.fresh = false
    this.ssthresh = Math.max(flight / 2, 2 * this.smss) // RFC 5681 (4)
  }

  onTimeout(flight: number): void {
    this.onLoss(flight)
    this.cwnd = this.smss // loss window, RFC 5681 §3.1
  }

  setSmss(smss: number): void {
    this.smss = smss
    // The peer's MSS came with its SYN, behind the constructor; later changes must not stall on a window below one segment.
    this.cwnd = this.fresh ? initialWindow(smss) : Math.max(this.cwnd, smss)
  }
}
