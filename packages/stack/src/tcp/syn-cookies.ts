// Owns: SYN cookies: the initial sequence number and the timestamp that remember a SYN for us, and how they are read from the ACK.
// Read first: RFC 4987 §3.6 and its appendix A. What a cookie cannot remember is lost: window scale and SACK without timestamps, the MSS
// between two of the table's, and that the application could have refused.

import { KEY_WORDS } from '../memory/flow-table.js'
import { halfSipHash } from '../memory/keyed-hash.js'
import type { Millis } from '../memory/slab.js'
import type { Seq } from './seq.js'

/** A cookie is good in the minute of its making and in the next: at most two. As Linux. */
const PERIOD = 60_000
const MAX_AGE = 2 // periods
const LIFETIME = PERIOD * MAX_AGE

/** What is kept of the peer's MSS: the largest of these that is not above it; the eighth is our own, for all that could take more. */
const MSS = [48, 536, 1220, 1300, 1400, 1440, 1460]

const MAC_BITS = 21
const MAC_MASK = (1 << MAC_BITS) - 1
/** Low bits of TSval: the peer's window shift (15: none), and whether SACK is permitted. */
const TS_BITS = 5
const TS_MASK = (1 << TS_BITS) - 1
const NO_SHIFT = 15

/** What a cookie remembered: the reused record. */
export class Remembered {
  mss = 0
  /** −1: the SYN had no window scale. */
  wndShift = -1
  sackPermitted = false
}

/**
 * A cookie is, with K the flow's addresses and ports, t the minute's number and i the MSS's index:
 *
 *   iss = hash1(K) + irs + (t << 24) + (i << 21) + hash2(K, irs, t, i) mod 2^21
 *
 * It grows with the peer's numbers (give or take 2^21) and with time, as an ISN should. A guess is right once in 2^28, and what is off by
 * a little is as wrong as any other.
 */
export class SynCookies {
  private readonly secrets: Int32Array
  private readonly words = new Int32Array(KEY_WORDS + 3)
  private sentAt: Millis = -Infinity

  constructor(random32: () => number) {
    this.secrets = Int32Array.from({ length: 6 }, random32)
  }

  /** The ISN for a SYN with the flow `key`, number `irs` and MSS `mss`. */
  make(key: Int32Array, irs: Seq, mss: number, ownMss: number, now: Millis): Seq {
    this.sentAt = now
    const minute = Math.floor(now / PERIOD)
    let index = MSS.length
    if (mss < ownMss)
      do index--
      while (index > 0 && MSS[index] > mss)
    return (this.base(key) + irs + (minute << 24) + (index << MAC_BITS) + this.mac(key, irs, minute, index)) | 0
  }

  /** Can there be an answer to a cookie at all? */
  expected(now: Millis): boolean {
    return now - this.sentAt < LIFETIME
  }

  /** Is `iss` the cookie we made for this flow and `irs`, not too long ago? Then the MSS it stands for, else 0. */
  check(key: Int32Array, irs: Seq, iss: Seq, ownMss: number, now: Millis): number {
    const minute = Math.floor(now / PERIOD)
    const cookie = (iss - this.base(key) - irs) | 0
    const age = (minute - (cookie >>> 24)) & 0xff
    if (age >= MAX_AGE) return 0
    const index = (cookie >>> MAC_BITS) & 7
    if ((cookie & MAC_MASK) !== this.mac(key, irs, minute - age, index)) return 0
    return index === MSS.length ? ownMss : Math.min(MSS[index], ownMss)
  }

  /** Our timestamps of this flow count from here. */
  tsOffset(key: Int32Array): number {
    return halfSipHash(key, 0, KEY_WORDS, this.secrets[4], this.secrets[5], 2, 4)
  }

  private base(key: Int32Array): number {
    return halfSipHash(key, 0, KEY_WORDS, this.secrets[0], this.secrets[1], 2, 4)
  }

  private mac(key: Int32Array, irs: Seq, minute: number, index: number): number {
    const { words, secrets } = this
    words.set(key)
    words[KEY_WORDS] = irs
    words[KEY_WORDS + 1] = minute
    words[KEY_WORDS + 2] = index
    return halfSipHash(words, 0, KEY_WORDS + 3, secrets[2], secrets[3], 2, 4) & MAC_MASK
  }
}

/** The newest TSval not after `tsVal` whose low bits hold the options. `wndShift` −1: none. */
export function stampOptions(tsVal: number, wndShift: number, sackPermitted: boolean): number {
  const bits = (wndShift < 0 ? NO_SHIFT : wndShift) | (sackPermitted ? 1 << 4 : 0)
  const stamped = (tsVal & ~TS_MASK) | bits
  return ((stamped - tsVal) | 0) > 0 ? (stamped - (1 << TS_BITS)) | 0 : stamped
}

/** What `stampOptions` has put into the TSval that comes back as `tsEcr`. */
export function readStamp(tsEcr: number, out: Remembered): void {
  const shift = tsEcr & 15
  out.wndShift = shift === NO_SHIFT ? -1 : shift
  out.sackPermitted = (tsEcr & 16) !== 0
}
