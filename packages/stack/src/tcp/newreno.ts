// Owns: Reno's window: slow start, congestion avoidance, halving. RFC 5681 §3.1.

import type { Millis } from '../memory/slab.js'
import { type Congestion, CWND_MAX, decayed, filled, initialWindow, inNetwork, slowStart } from './congestion.js'

export class NewReno implements Congestion {
  readonly name = 'newreno'
  cwnd: number
  ssthresh = CWND_MAX
  private smss: number
  /** Nothing was acknowledged or lost yet: the window is still the initial one. */
  private fresh = true
  private priorCwnd = 0
  private priorSsthresh = 0

  constructor(smss: number) {
    this.smss = smss
    this.cwnd = initialWindow(smss)
  }

  onAck(acked: number, flight: number): void {
    this.fresh = false
    if (!filled(this.cwnd, flight)) return
    if (this.cwnd < this.ssthresh) this.cwnd = slowStart(this.cwnd, acked, this.ssthresh)
    else this.cwnd = Math.min(this.cwnd + Math.max(1, (this.smss * acked) / this.cwnd), CWND_MAX)
  }

  onLoss(flight: number): void {
    this.fresh = false
    this.priorCwnd = this.cwnd
    this.priorSsthresh = this.ssthresh
    this.ssthresh = Math.max(inNetwork(this.cwnd, flight) / 2, 2 * this.smss) // RFC 5681 (4)
  }

  onTimeout(flight: number): void {
    this.onLoss(flight)
  }

  undo(): void {
    this.cwnd = Math.max(this.cwnd, this.priorCwnd)
    this.ssthresh = Math.max(this.ssthresh, this.priorSsthresh)
  }

  onIdle(idle: Millis, rto: Millis): void {
    this.cwnd = decayed(this.cwnd, this.smss, idle, rto)
  }

  setSmss(smss: number): void {
    this.smss = smss
    // The peer's MSS came with its SYN, behind the constructor; later changes must not stall on a window below one segment.
    this.cwnd = this.fresh ? initialWindow(smss) : Math.max(this.cwnd, smss)
    this.ssthresh = Math.max(this.ssthresh, 2 * smss) // a recovery ends there
  }
}
