// Owns: what is in flight: ranges of sequence space, when each was sent last and what became of it; from that the pipe.
// Read first: RFC 6675 §3–4 (scoreboard, pipe), RFC 2018 §5 and §8 (reneging), RFC 8985 §5.2 (what RACK keeps of a segment).
//
//   SND.UNA                                            SND.NXT
//      [      )[ SACKED )[ LOST )[ LOST REXMIT )[      )        ranges touch each other; what is sent in one turn is one range

import { emptied } from '../memory/byte-queue.js'
import type { Millis } from '../memory/slab.js'
import type { Delivery } from './rack.js'
import { type Seq, seqDiff, seqGt, seqLt, seqMax, seqMin } from './seq.js'

/** The peer holds it (RFC 2018): never sent again. */
export const SACKED = 1
/** Taken for lost: it has left the network. */
export const LOST = 2
/** Sent again, and that copy is in flight. */
export const REXMIT = 4
/** Was sent again at some time: what it measures is ambiguous (Karn). */
export const EVER = 8

/** Ranges kept. A peer that acknowledges every second byte gets no further than this (CVE-2019-11478), a window of whole segments does. */
const MAX_RANGES = 4096

export class Scoreboard {
  /** Where the first range begins: SND.UNA. */
  una: Seq = 0
  /** Bytes (SYN not, FIN as one) with the flag of that name. */
  sacked = 0
  lost = 0
  rexmit = 0
  /** LOST, and not sent again yet. */
  waiting = 0
  private readonly ends: number[] = []
  private readonly sentAts: number[] = []
  private readonly flags: number[] = []
  private head = 0

  get empty(): boolean {
    return this.head === this.ends.length
  }

  get count(): number {
    return this.ends.length - this.head
  }

  /** Nothing is out: the next byte sent has number `una`. */
  begin(una: Seq): void {
    this.una = una
    this.sacked = 0
    this.lost = 0
    this.rexmit = 0
    this.waiting = 0
    this.truncate()
  }

  /** New text up to `end` left. */
  sent(end: Seq, now: Millis): void {
    const last = this.ends.length - 1
    if (last >= this.head && this.flags[last] === 0 && (this.sentAts[last] === now || this.count >= MAX_RANGES)) {
      this.ends[last] = end
      this.sentAts[last] = now
      return
    }
    this.ends.push(end)
    this.sentAts.push(now)
    this.flags.push(0)
  }

  /** The cumulative acknowledgment moved to `una`. What that delivers goes to `delivery`. */
  acknowledged(una: Seq, delivery: Delivery): void {
    while (this.head < this.ends.length && seqLt(this.una, una)) {
      const i = this.head
      const end = seqMin(this.ends[i], una)
      const n = seqDiff(end, this.una)
      const flags = this.flags[i]
      this.tally(flags, -n)
      if (!(flags & SACKED)) {
        delivery.sentAt = this.sentAts[i]
        delivery.take(n, end, flags, true)
      }
      this.una = end
      if (end === this.ends[i]) this.dropHead()
    }
    this.una = una
  }

  /** A SACK block. Marks what of it is in flight. */
  sack(left: Seq, right: Seq, delivery: Delivery): void {
    let i = this.find(seqMax(left, this.una))
    while (i < this.ends.length) {
      const start = this.startOf(i)
      if (!seqLt(start, right)) return
      if (this.flags[i] & SACKED) {
        i++
        continue
      }
      if (seqLt(start, left)) {
        if (!this.split(i, left)) return
        i++
      }
      if (seqGt(this.ends[i], right) && !this.split(i, right)) return
      i = this.markSacked(i, delivery)
    }
  }

  private markSacked(i: number, delivery: Delivery): number {
    delivery.sentAt = this.sentAts[i]
    delivery.take(this.sizeOf(i), this.ends[i], this.flags[i], false)
    this.turn(i, SACKED)
    // Neighbours that the peer holds are one range: as many as there are gaps.
    if (i + 1 < this.ends.length && this.flags[i + 1] & SACKED) this.remove(i)
    if (i > this.head && this.flags[i - 1] & SACKED) {
      this.remove(i - 1)
      return i
    }
    return i + 1
  }

  /**
   * RFC 8985 §6.2 step 5: whatever left before the delivered segment (`xmitAt`, `end`) and is out longer than `wait` is lost. Answers in
   * how many milliseconds to look again, 0 for not at all.
   */
  markOvertaken(xmitAt: Millis, end: Seq, wait: Millis, now: Millis): Millis {
    let timeout = 0
    for (let i = this.head; i < this.ends.length; i++) {
      const flags = this.flags[i]
      if (flags & SACKED || (flags & LOST && !(flags & REXMIT))) continue
      const sentAt = this.sentAts[i]
      if (sentAt > xmitAt || (sentAt === xmitAt && !seqLt(this.ends[i], end))) {
        if (!(flags & EVER)) break // all behind it left later still
        continue
      }
      const remaining = sentAt + wait - now
      if (remaining <= 0) this.markLost(i)
      else if (remaining > timeout) timeout = remaining
    }
    return timeout
  }

  /** RFC 8985 §6.3: the timer fired. The first range is lost, and every other one that is out longer than `wait`. */
  markTimedOut(wait: Millis, now: Millis): void {
    if (!this.empty && this.flags[this.head] & SACKED) this.forgetSacks() // the peer has thrown away what it held: RFC 2018 §8
    for (let i = this.head; i < this.ends.length; i++) {
      if (this.flags[i] & SACKED) continue
      if (i === this.head || this.sentAts[i] + wait <= now) this.markLost(i)
    }
  }

  /** The first `n` bytes are lost: all that a peer without SACK can tell (RFC 6582). */
  markHeadLost(n: number): void {
    if (this.empty) return
    const end = (this.una + n) | 0
    if (seqLt(end, this.ends[this.head])) this.split(this.head, end)
    this.markLost(this.head)
  }

  /** Everything the peer does not hold goes again: the path takes smaller segments only. */
  markAllLost(): void {
    for (let i = this.head; i < this.ends.length; i++) if (!(this.flags[i] & SACKED)) this.markLost(i)
  }

  private markLost(i: number): void {
    this.turn(i, (this.flags[i] | LOST) & ~REXMIT)
  }

  /** Nothing was lost after all. */
  forgetLosses(): void {
    for (let i = this.head; i < this.ends.length; i++) this.turn(i, this.flags[i] & ~LOST)
  }

  private forgetSacks(): void {
    for (let i = this.head; i < this.ends.length; i++) this.turn(i, this.flags[i] & ~SACKED)
  }

  private turn(i: number, flags: number): void {
    const n = this.sizeOf(i)
    this.tally(this.flags[i], -n)
    this.tally(flags, n)
    this.flags[i] = flags
  }

  private tally(flags: number, n: number): void {
    if (flags === 0) return
    if (flags & SACKED) this.sacked += n
    if (flags & LOST) this.lost += n
    if (flags & REXMIT) this.rexmit += n
    if ((flags & (LOST | REXMIT)) === LOST) this.waiting += n
  }

  /** Index of the first range to send again, −1 if there is none. Ranges keep their index until the next call that changes one. */
  nextLost(): number {
    if (this.waiting === 0) return -1
    for (let i = this.head; i < this.ends.length; i++) if ((this.flags[i] & (LOST | REXMIT)) === LOST) return i
    return -1
  }

  /** Index of the first range. */
  get first(): number {
    return this.head
  }

  /** Index of the last range, −1 if nothing is out. */
  get last(): number {
    return this.empty ? -1 : this.ends.length - 1
  }

  startOf(i: number): Seq {
    return i === this.head ? this.una : this.ends[i - 1]
  }

  private sizeOf(i: number): number {
    return seqDiff(this.ends[i], this.startOf(i))
  }

  endOf(i: number): Seq {
    return this.ends[i]
  }

  /** Of range `i` the bytes [start, end) were sent again. Either lies at its edge: splits where the bound allows. */
  resent(i: number, start: Seq, end: Seq, now: Millis): void {
    let at = i
    if (start !== this.startOf(at) && this.split(at, start)) at++
    if (end !== this.ends[at]) this.split(at, end)
    this.turn(at, this.flags[at] | REXMIT | EVER)
    this.sentAts[at] = now
    if (at > this.head && this.flags[at - 1] === this.flags[at] && this.sentAts[at - 1] === now) this.remove(at - 1)
  }

  /** First range that ends behind `seq`. */
  private find(seq: Seq): number {
    let low = this.head
    let high = this.ends.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (seqGt(this.ends[middle], seq)) high = middle
      else low = middle + 1
    }
    return low
  }

  /** Range `i` becomes two that meet at `at`. False: the bound is reached. */
  private split(i: number, at: Seq): boolean {
    if (this.count >= MAX_RANGES) return false
    this.ends.splice(i, 0, at)
    this.sentAts.splice(i, 0, this.sentAts[i])
    this.flags.splice(i, 0, this.flags[i])
    return true
  }

  /** Range `i` goes up in the next one. */
  private remove(i: number): void {
    this.ends.splice(i, 1)
    this.sentAts.splice(i, 1)
    this.flags.splice(i, 1)
  }

  private dropHead(): void {
    this.head++
    if (this.head === this.ends.length) this.truncate()
    else if (this.head > 64 && this.head * 2 > this.ends.length) this.compact()
  }

  /** The dead front half goes in one move, and the arrays keep their room. */
  private compact(): void {
    const { ends, sentAts, flags, head } = this
    for (let i = head; i < ends.length; i++) {
      ends[i - head] = ends[i]
      sentAts[i - head] = sentAts[i]
      flags[i - head] = flags[i]
    }
    for (let i = 0; i < head; i++) {
      ends.pop()
      sentAts.pop()
      flags.pop()
    }
    this.head = 0
  }

  private truncate(): void {
    emptied(this.ends)
    emptied(this.sentAts)
    emptied(this.flags)
    this.head = 0
  }
}
