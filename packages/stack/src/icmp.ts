// Owns: which ICMP errors leave, and how many. RFC 1812 §4.3.2.8 and RFC 4443 §2.4(f) (rate), §2.4(e) (never to what must not be answered).

import type { Millis } from './memory/slab.js'
import type { Replies } from './replies.js'
import type { Stats } from './stats.js'
import { type Offender, type Unreachable, writeUnreachable } from './wire/icmp.js'

/** A token bucket: this many errors at once, refilled over a second. */
const ERRORS_PER_SECOND = 1000

export class Icmp {
  private readonly replies: Replies
  private readonly stats: Stats
  private tokens = ERRORS_PER_SECOND
  private refilledAt: Millis = 0

  constructor(replies: Replies, stats: Stats) {
    this.replies = replies
    this.stats = stats
  }

  /** Queues a destination-unreachable error about `offender`; over the rate it is dropped and counted. */
  unreachable(why: Unreachable, offender: Offender, now: Millis): void {
    this.tokens = Math.min(ERRORS_PER_SECOND, this.tokens + (Math.max(0, now - this.refilledAt) * ERRORS_PER_SECOND) / 1000)
    this.refilledAt = Math.max(now, this.refilledAt)
    const at = this.replies.room
    if (this.tokens < 1 || at < 0) {
      this.stats.drops.replyOverflow++
      return
    }
    this.tokens--
    this.replies.add(writeUnreachable(this.replies.view, at, why, offender))
  }
}
