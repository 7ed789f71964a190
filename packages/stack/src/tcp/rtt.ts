// Owns: round-trip time and retransmission timeout. RFC 6298; numbers in parentheses are its clauses.

import type { Millis } from '../memory/slab.js'

const RTO_INITIAL = 1000 // ms. (2.1)
/**
 * ms. Least of the variance's part, as Linux tcp_rto_min_us has it, not of the whole as (2.4): a delayed ACK comes on top of a round trip
 * of any length. Below (2.4)'s second, for the peer is the local kernel, or one hop behind it.
 */
const RTO_MIN = 200
const RTO_FALLBACK = 3000 // ms. (5.7)
const RTO_MAX = 60_000 // ms. (2.5)

export class RttEstimator {
  srtt = 0
  rttvar = 0
  rto = RTO_INITIAL
  measured = false

  /**
   * A segment that was sent only once (Karn, §3), or its timestamp, was acknowledged after `rtt`; one of `expected` samples in this round
   * trip, by which each counts less (RFC 7323 appendix G), or a hundred ACKs would forget what a minute has taught.
   */
  sample(rtt: Millis, expected = 1): void {
    if (!this.measured) {
      this.measured = true // (2.2)
      this.srtt = rtt
      this.rttvar = rtt / 2
    } else {
      this.rttvar += (Math.abs(this.srtt - rtt) - this.rttvar) / (4 * expected) // (2.3) RTTVAR first: it needs the old SRTT
      this.srtt += (rtt - this.srtt) / (8 * expected)
    }
    this.settle()
  }

  /** New data was acknowledged: the back-off is over, also where Karn's rule leaves no sample. (5.7 and Linux) */
  settle(): void {
    if (this.measured) this.rto = Math.min(this.srtt + Math.max(4 * this.rttvar, RTO_MIN), RTO_MAX)
    else this.rto = RTO_INITIAL
  }

  /** Our SYN was lost and nothing could be measured: careful with the data. (5.7) */
  fallBack(): void {
    if (!this.measured) this.rto = RTO_FALLBACK
  }

  /** The retransmission timer fired. (5.5) */
  backOff(): void {
    this.rto = Math.min(2 * this.rto, RTO_MAX)
  }
}
