// Owns: how many connections may be before ESTABLISHED, or undecided behind a cookie: all together and of one source; and whether what
// comes beyond is a flood, which cookies answer, or a crowd, which is left to come again. A flood falls silent, or, where it repeats its
// SYNs, does not answer the few cookies that are sent to find out. Read first: RFC 4987 §3.

import { ArrivalList } from '../memory/arrival-list.js'
import { halfSipHash } from '../memory/keyed-hash.js'
import type { Millis } from '../memory/slab.js'
import type { StackOptions } from '../options.js'
import { isMapped } from '../wire/address.js'
import type { TcpConnection } from './connection.js'
import type { Seq } from './seq.js'
import { SYN_PENDING } from './states.js'

/** A source has all the room for itself unless another one of its family sent a SYN in this time: as long as an entry can last. */
const COMPANY = 60_000 // ms

/** SYNs beyond the bounds for so long, with no lull of as much between them, are more than a burst. */
const OVERFLOW_MIN = 3000 // ms
/** And a flood, rather than clients of a slow application, if this part of the entries fell silent meanwhile. */
const SILENT_PART = 1 / 4
/**
 * A flood may repeat its SYNs as clients do. So where nobody falls silent, a few SYNs beyond the bounds get a cookie:
 * who is there answers.
 */
const SAMPLES = 16
/** Most of which stay without an answer in a flood, whatever honest clients are among them. */
const ANSWERED_PART = 1 / 4
/** What has lasted for so long is more than a burst. */
const SAMPLE_AFTER = 1000 // ms
/** Not all of one burst, */
const SAMPLE_GAP = 10 // ms
/** and an answer has so long to come: longer than any round trip, or a client's first timer (RFC 6298 (2.1)) would be too short for it. */
const ANSWER_TIME = 1000 // ms
/** A crowd is asked again after this. */
const ROUND = 10_000 // ms
/** While cookies answer, a SYN takes a silent entry's place only if it does not come in a crowd. */
const CALM = 10 // ms

export class Admission {
  /** Connections in SYN-PENDING. */
  pending = 0
  /** Those in SYN-RECEIVED, the oldest first. */
  readonly halfOpen = new ArrivalList<TcpConnection>()
  /** Connections a cookie made that the application has not decided on. */
  undecided = 0
  private readonly options: Required<StackOptions>
  private readonly k0: number
  private readonly k1: number
  private readonly words = new Int32Array(2)
  /** Entries of a source, by its name; none where there are none. */
  private readonly opening = new Map<number, number>()
  private readonly deciding = new Map<number, number>()
  /** By family: whose SYN was the last, and when it was last not the same as the one before. */
  private readonly latest: (number | null)[] = [null, null]
  private readonly companyAt: Millis[] = [-Infinity, -Infinity]
  // The overflow: since when and when last; how many entries fell silent in it; cookies answer it; the last eviction meanwhile.
  private since: Millis = 0
  private lastAt: Millis = -Infinity
  private silent = 0
  private flooded = false
  /** Of this round: cookies sent to find out, the last of them, how many came back. */
  private sampled = 0
  private sampledAt: Millis = -Infinity
  private answered = 0
  /** The cookies of these samples, as far as they have not come back: an answer may be repeated, by its sender or by whoever saw it. */
  private readonly asked = new Int32Array(SAMPLES)
  private waiting = 0
  private isSample = false
  private calmAt: Millis = -Infinity

  constructor(options: Required<StackOptions>, random32: () => number) {
    this.options = options
    this.k0 = random32()
    this.k1 = random32()
  }

  /** Pending and half-open ones share a bound: an `accept` can never be one too many. */
  get full(): boolean {
    return this.pending + this.halfOpen.size >= this.options.maxPending
  }

  /**
   * A name for where a SYN comes from: an IPv4 address, or the /64 of an IPv6 one, whose other half is the host's to choose. A keyed hash,
   * so that nobody can choose what collides in a Map; two sources that share one by chance share a bound.
   */
  source(s0: number, s1: number, s2: number, s3: number): number {
    const mapped = isMapped(s0, s1, s2)
    this.words[0] = mapped ? s2 : s0
    this.words[1] = mapped ? s3 : s1
    return halfSipHash(this.words, 0, 2, this.k0, this.k1, 1, 3)
  }

  /** Notes that `source` is there. */
  heard(source: number, v4: boolean, now: Millis): void {
    const family = v4 ? 0 : 1
    if (this.latest[family] === source) return
    if (this.latest[family] !== null) this.companyAt[family] = now
    this.latest[family] = source
  }

  /** Has this source its share of what is before ESTABLISHED? */
  crowds(source: number, v4: boolean, now: Millis): boolean {
    return this.hasShare(this.opening, source, v4, now)
  }

  /** May a cookie still make a connection for this source? */
  admitsUndecided(source: number, v4: boolean, now: Millis): boolean {
    return this.undecided < this.options.maxPending && !this.hasShare(this.deciding, source, v4, now)
  }

  private hasShare(counts: Map<number, number>, source: number, v4: boolean, now: Millis): boolean {
    const { maxPending, maxPendingPerSource } = this.options
    const share = maxPendingPerSource > 0 ? maxPendingPerSource : Math.ceil(maxPending / 4)
    return (counts.get(source) ?? 0) >= share && now - this.companyAt[v4 ? 0 : 1] < COMPANY
  }

  /** Sources that have an entry. */
  get sources(): number {
    return this.opening.size + this.deciding.size
  }

  // ---- who comes and goes

  /** A SYN was taken in as a request. */
  requested(c: TcpConnection): void {
    this.pending++
    this.count(this.opening, c, 1)
  }

  /** A request was accepted. */
  accepted(c: TcpConnection): void {
    this.pending--
    this.halfOpen.add(c)
  }

  /** Simultaneous open: SYN-RECEIVED without having been a request. */
  crossed(c: TcpConnection): void {
    this.halfOpen.add(c)
    this.count(this.opening, c, 1)
  }

  /** A cookie made a connection. */
  made(c: TcpConnection): void {
    c.awaited = true
    this.undecided++
    this.count(this.deciding, c, 1)
  }

  /** The application has decided on what a cookie made. */
  decided(c: TcpConnection): void {
    if (!c.awaited) return
    c.awaited = false
    this.undecided--
    this.count(this.deciding, c, -1)
  }

  /** The handshake of `c` is over, well or not; its state is still the old one. */
  left(c: TcpConnection): void {
    if (c.state === SYN_PENDING) this.pending--
    else if (!this.halfOpen.delete(c)) return
    this.count(this.opening, c, -1)
  }

  private count(counts: Map<number, number>, c: TcpConnection, by: 1 | -1): void {
    const source = this.source(c.r0, c.r1, c.r2, c.r3)
    const n = (counts.get(source) ?? 0) + by
    if (n > 0) counts.set(source, n)
    else counts.delete(source)
  }

  // ---- flood or crowd

  /** An entry was given up because it fell silent. */
  fellSilent(): void {
    this.silent++
  }

  /** A cookie was sent for the SYN that `overflows` answered true to. */
  cookieSent(cookie: Seq): void {
    if (this.isSample && this.waiting < SAMPLES) this.asked[this.waiting++] = cookie
  }

  /** A cookie came back: its client is there, and has answered once, however often it says so. */
  cookieAnswered(cookie: Seq): void {
    for (let i = this.waiting - 1; i >= 0; i--) {
      if (this.asked[i] !== cookie) continue
      this.asked[i] = this.asked[--this.waiting]
      this.answered++
    }
  }

  /** A SYN came beyond the bounds. True: answer it by a cookie, `mayCookie` provided. */
  overflows(now: Millis, mayCookie: boolean): boolean {
    const { synCookies } = this.options
    this.isSample = false
    this.note(now)
    if (!mayCookie || synCookies === false) return false
    return synCookies === true || this.flooded || this.samples(now)
  }

  private note(now: Millis): void {
    if (now - this.lastAt >= OVERFLOW_MIN) {
      this.since = now
      this.silent = 0
      this.beginRound()
      this.flooded = false
    }
    this.lastAt = now
    this.calmAt = now
    this.flooded ||= now - this.since >= OVERFLOW_MIN && (this.silent >= this.options.maxPending * SILENT_PART || this.nobodyAnswers(now))
  }

  private beginRound(): void {
    this.sampled = 0
    this.answered = 0
    this.waiting = 0
  }

  /** Is this SYN one of those that are asked? */
  private samples(now: Millis): boolean {
    if (now - this.since < SAMPLE_AFTER || now - this.sampledAt < SAMPLE_GAP) return false
    if (this.sampled === SAMPLES) {
      if (now - this.sampledAt < ROUND) return false
      this.beginRound()
    }
    this.isSample = true
    this.sampled++
    this.sampledAt = now
    return true
  }

  private nobodyAnswers(now: Millis): boolean {
    return this.sampled === SAMPLES && now - this.sampledAt >= ANSWER_TIME && this.answered < SAMPLES * ANSWERED_PART
  }

  /** May a SYN take the place of a silent entry? Not in a flood: the cookie serves it as well, and costs the application nothing. */
  mayEvict(now: Millis): boolean {
    const { synCookies } = this.options
    const answering = synCookies === true || (synCookies === 'auto' && this.flooded && now - this.lastAt < OVERFLOW_MIN)
    if (!answering) {
      this.note(now) // an entry that must go is one too many
      return true
    }
    const calm = now - this.calmAt >= CALM
    this.calmAt = now
    return calm
  }
}
