// Owns: CUBIC's window: a cubic of the time since the last loss, with its plateau where that loss was. RFC 9438; clauses in parentheses.
// Slow start is RFC 5681's: HyStart++ (§4.10) reads congestion from delays, which on a NIC of ours are the process's own.

import type { Millis } from '../memory/slab.js'
import { type Congestion, CWND_MAX, decayed, filled, initialWindow, inNetwork, slowStart } from './congestion.js'

const C = 0.4 // segments/s³ (§5, §4.1.2)
const BETA = 0.7 // (§4.6)
/** Makes the additive increase as strong as Reno's with its halving (§4.3). */
const ALPHA = (3 * (1 - BETA)) / (1 + BETA)

export class Cubic implements Congestion {
  readonly name = 'cubic'
  cwnd: number
  ssthresh = CWND_MAX
  private smss: number
  private fresh = true
  /** Window at the last loss, the plateau (§4.1.2). */
  private wMax = 0
  /** Start of the present congestion avoidance; NaN: begins with the next ACK. */
  private epochAt: Millis = Number.NaN
  /** Seconds from there to the plateau (§4.2). */
  private k = 0
  /** The window Reno would have (§4.3). */
  private wEst = 0
  /** Window before the last reduction: from there on `wEst` grows by one segment a round trip (§4.3). */
  private cwndPrior = 0
  /** When the last ACK came. */
  private ackedAt: Millis = Number.NaN
  private prior = { cwnd: 0, ssthresh: 0, wMax: 0, epochAt: Number.NaN, k: 0, wEst: 0, cwndPrior: 0 }

  constructor(smss: number) {
    this.smss = smss
    this.cwnd = initialWindow(smss)
  }

  onAck(acked: number, flight: number, now: Millis, srtt: Millis): void {
    this.fresh = false
    const since = now - this.ackedAt
    this.ackedAt = now
    if (!filled(this.cwnd, flight)) {
      if (since > 0) this.epochAt += since // time in which the window was not needed does not count (§5.8)
      return
    }
    if (this.cwnd < this.ssthresh) this.cwnd = slowStart(this.cwnd, acked, this.ssthresh)
    else this.avoid(acked, now, srtt)
  }

  private avoid(acked: number, now: Millis, srtt: Millis): void {
    const { smss, cwnd } = this
    if (Number.isNaN(this.epochAt)) {
      this.epochAt = now
      this.wEst = cwnd
      if (cwnd < this.wMax) this.k = Math.cbrt((this.wMax - cwnd) / smss / C)
      else {
        this.k = 0
        this.wMax = cwnd
      }
    }
    const t = (now - this.epochAt) / 1000
    this.wEst += ((this.wEst >= this.cwndPrior ? 1 : ALPHA) * smss * acked) / cwnd
    if (this.cubic(t) < this.wEst) {
      this.cwnd = Math.min(Math.max(cwnd, this.wEst), CWND_MAX) // Reno-friendly region (§4.3)
      return
    }
    const target = Math.min(Math.max(this.cubic(t + srtt / 1000), cwnd), 1.5 * cwnd) // (§4.2)
    this.cwnd = Math.min(cwnd + ((target - cwnd) * acked) / cwnd, CWND_MAX) // concave and convex regions (§4.4, §4.5)
  }

  /** W_cubic(t) in bytes (figure 1). */
  private cubic(t: number): number {
    return C * (t - this.k) ** 3 * this.smss + this.wMax
  }

  onLoss(flight: number): void {
    this.reduce(flight)
    // Fast convergence (§4.7): the plateau sinks, somebody else needs room.
    this.wMax = this.cwnd < this.wMax ? (this.cwnd * (1 + BETA)) / 2 : this.cwnd
  }

  onTimeout(flight: number): void {
    this.reduce(flight)
    this.wMax = 0 // the next epoch begins at its own plateau (§4.8)
  }

  private reduce(flight: number): void {
    this.fresh = false
    const { cwnd, ssthresh, wMax, epochAt, k, wEst, cwndPrior, prior } = this
    prior.cwnd = cwnd
    prior.ssthresh = ssthresh
    prior.wMax = wMax
    prior.epochAt = epochAt
    prior.k = k
    prior.wEst = wEst
    prior.cwndPrior = cwndPrior
    this.cwndPrior = cwnd
    this.ssthresh = Math.max(inNetwork(cwnd, flight) * BETA, 2 * this.smss) // (§4.6)
    this.epochAt = Number.NaN
  }

  undo(): void {
    const { prior } = this
    this.cwnd = Math.max(this.cwnd, prior.cwnd)
    this.ssthresh = Math.max(this.ssthresh, prior.ssthresh)
    this.wMax = prior.wMax
    this.epochAt = prior.epochAt
    this.k = prior.k
    this.wEst = prior.wEst
    this.cwndPrior = prior.cwndPrior
  }

  onIdle(idle: Millis, rto: Millis): void {
    this.epochAt += idle // nor does time without sending (§5.8)
    this.ackedAt += idle
    this.cwnd = decayed(this.cwnd, this.smss, idle, rto)
  }

  setSmss(smss: number): void {
    this.smss = smss
    this.cwnd = this.fresh ? initialWindow(smss) : Math.max(this.cwnd, smss)
    this.ssthresh = Math.max(this.ssthresh, 2 * smss) // a recovery ends there
  }
}
