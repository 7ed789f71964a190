// Owns: losses seen by time: what was sent before something that has arrived, and is late by more than reordering explains, is lost.
// Read first: RFC 8985 §5–6 (RACK); names in parentheses are its variables. The tail loss probe (§7) is tail-loss.ts.

import type { Millis } from '../memory/slab.js'
import type { Segment } from '../wire/tcp.js'
import type { TcpConnection } from './connection.js'
import { EVER } from './scoreboard.js'
import { type Seq, seqGt, seqLeq, seqLt } from './seq.js'
import { OPEN } from './states.js'

/** Segments held ahead of a gap that count as a loss while no reordering was ever seen: RFC 5681 §3.2. */
export const DUP_THRESH = 3
/** A minimum older than this is replaced by what is measured now. Linux tcp_min_rtt_wlen. */
const MIN_RTT_AGE = 300_000 // ms
/** Recoveries a widened window outlives: RFC 8985 §6.2 step 4. */
const REO_WND_PERSIST = 16
const REO_WND_MULT_MAX = 16

export class Rack {
  /** (RACK.xmit_ts, RACK.end_seq) The segment sent last of all that have arrived. −Infinity: none has. */
  xmitAt: Millis = -Infinity
  end: Seq = 0
  /** (RACK.rtt) Of that segment. */
  rtt: Millis = 0
  /** (RACK.min_RTT) */
  minRtt: Millis = Infinity
  private minRttAt: Millis = 0
  /** (RACK.fack) The highest number that has arrived. */
  fack: Seq = 0
  /** (RACK.reordering_seen) */
  reorderingSeen = false
  private reoWndMult = 1
  private reoWndPersist = 0
  /** (RACK.dsack_round) One DSACK a round trip counts. */
  private dsackRound: Seq = 0
  private inDsackRound = false

  begin(una: Seq): void {
    this.fack = una
  }

  /** §6.2 steps 1–3 for a segment that has arrived. `ambiguous`: sent again, and maybe the first copy arrived. */
  arrived({ sentAt, now }: Delivery, end: Seq, flags: number, ambiguous: boolean): void {
    const rtt = now - sentAt
    if (flags & EVER && (ambiguous || rtt < this.minRtt)) return // an ACK of the first copy
    if (!(flags & EVER)) {
      if (rtt <= this.minRtt || now - this.minRttAt > MIN_RTT_AGE) {
        this.minRtt = rtt
        this.minRttAt = now
      }
      if (seqGt(end, this.fack)) this.fack = end
    }
    this.rtt = rtt
    if (sentAt > this.xmitAt || (sentAt === this.xmitAt && seqGt(end, this.end))) {
      this.xmitAt = sentAt
      this.end = end
    }
  }

  /** §6.2 step 4: the peer got something twice: the window was too narrow. */
  duplicated(c: TcpConnection): void {
    // Not beyond sndNxt either: 2 GiB later the round lies ahead again.
    if (this.inDsackRound && seqLt(c.sndUna, this.dsackRound) && seqLeq(this.dsackRound, c.sndNxt)) return
    this.inDsackRound = true
    this.dsackRound = c.sndNxt
    this.reoWndMult = Math.min(this.reoWndMult + 1, REO_WND_MULT_MAX)
    this.reoWndPersist = REO_WND_PERSIST
  }

  /** A recovery is over. */
  recovered(): void {
    if (this.reoWndPersist > 0 && --this.reoWndPersist === 0) this.reoWndMult = 1
  }

  /** (RACK.reo_wnd) Later than this, and it is lost. */
  reoWnd(c: TcpConnection): Millis {
    if (!this.reorderingSeen && (c.phase !== OPEN || c.scoreboard.sacked >= DUP_THRESH * c.smss)) return 0
    return Math.min((this.reoWndMult * this.minRtt) / 4, c.rtt.srtt)
  }
}

/** What one ACK says: the reused record. */
export class Delivery {
  /** Bytes it is the first to acknowledge, in order or not. (DeliveredData of RFC 6937) */
  bytes = 0
  /** Some of them by SACK. */
  sacked = false
  /** Something sent before `recover` has arrived that was never sent again: whoever thought it lost was wrong. RFC 5682. */
  original = false
  /** Round trip of the oldest segment it acknowledges in order; NaN: it cannot be told. */
  rtt: Millis = Number.NaN
  /** Among what it acknowledges in order is something that was sent again: maybe the rest waited for that. */
  resent = false
  /** When what `take` is told of was sent: a field, for a double that is handed on as an argument is an object unless all is inlined. */
  sentAt: Millis = Number.NaN
  now: Millis = Number.NaN
  /** RACK.fack before it: its blocks are in no order of time. */
  private fack: Seq = 0
  private c!: TcpConnection
  private tsEcr = 0
  private hasTimestamps = false

  begin(c: TcpConnection, seg: Segment, now: Millis): void {
    this.bytes = 0
    this.sacked = false
    this.original = false
    this.rtt = Number.NaN
    this.resent = false
    this.c = c
    this.now = now
    this.hasTimestamps = c.tsOk && seg.hasTimestamps
    this.tsEcr = seg.tsEcr
    this.fack = c.rack.fack
  }

  /** `n` bytes up to `end` that left at `sentAt` have arrived. */
  take(n: number, end: Seq, flags: number, inOrder: boolean): void {
    const { c, now, sentAt } = this
    this.bytes += n
    if (!inOrder) this.sacked = true
    const ambiguous = !this.hasTimestamps || seqLt(this.tsEcr, c.tsValAt(sentAt))
    if (inOrder && flags & EVER) {
      // Karn (RFC 6298 §3): only an echo of the last copy says which one is meant; of the first, that its ACK was lost, perhaps long ago.
      if (!this.resent) this.rtt = ambiguous ? Number.NaN : now - sentAt
      this.resent = true
    } else if (inOrder && !this.resent && Number.isNaN(this.rtt)) this.rtt = now - sentAt
    if (!(flags & EVER)) {
      if (seqLeq(end, c.recover)) this.original = true
      if (seqLt(end, this.fack)) c.rack.reorderingSeen = true
    }
    c.rack.arrived(this, end, flags, this.hasTimestamps && ambiguous)
  }
}
