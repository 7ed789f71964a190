// Owns: connections in TIME-WAIT, as rows of a table instead of objects: they only answer stray segments and block old ones.
// Read first: RFC 9293 §3.10.7.4 (TIME-WAIT in each step), RFC 6191 (reuse), RFC 1337 (a RST must not end it).

import { KEY_WORDS } from '../memory/flow-table.js'
import { halfSipHash } from '../memory/keyed-hash.js'
import type { Millis } from '../memory/slab.js'
import { type Seq, seqGt } from './seq.js'

/** What a row knows, as `find` answers it: the reused record. */
export class TimeWaitEntry {
  sndNxt: Seq = 0
  rcvNxt: Seq = 0
  tsOk = false
  tsRecent = 0
  tsOffset = 0
}

const FREE = 0
const PLAIN = 1
const STAMPED = 2
/** Given up before its time; the row stays in the ring until its turn. */
const DEAD = 3
const KIND = 3
/** With PLAIN or STAMPED: its peer's FIN came again, the 2 MSL began anew. */
const RENEWED = 4

const MIN_ROWS = 64

/**
 * A ring: entries leave in the order they came, for all stay equally long; one that was renewed goes to the end of it then.
 *
 * 41 bytes an entry when full, whatever the family: a row of 33 and two slots of 4 in the index, which holds row numbers. A row does not
 * hold its flow (36 bytes) but two keyed hashes of it. That another flow has the same 64 bits cannot be arranged without the secrets, and
 * by chance happens once in 10^15 segments of a full table; such a segment would be answered by an ACK, or its SYN not at once.
 */
export class TimeWaitTable {
  readonly capacity: number
  /** Fill in the flow as FlowTable.setKey does, then call. */
  readonly key = new Int32Array(KEY_WORDS)
  size = 0
  private readonly k0: number
  private readonly k1: number
  private readonly k2: number
  private readonly k3: number
  // Grown on demand up to the capacity: an idle stack holds nothing.
  private rows = 0
  /** Where the flow's slot would be, and the other half of its name. */
  private home = new Int32Array(0)
  private print = new Int32Array(0)
  private sndNxt = new Int32Array(0)
  private rcvNxt = new Int32Array(0)
  private tsRecent = new Int32Array(0)
  private tsOffset = new Int32Array(0)
  private expires = new Float64Array(0)
  private kind = new Uint8Array(0)
  private head = 0
  private used = 0
  /** Open addressing: row + 1, or 0; deletion by backward shift, as in FlowTable. */
  private slots = new Int32Array(0)

  constructor(capacity: number, k0: number, k1: number) {
    this.capacity = capacity
    this.k0 = k0
    this.k1 = k1
    this.k2 = halfSipHash(Int32Array.of(0), 0, 1, k0, k1, 2, 4)
    this.k3 = halfSipHash(Int32Array.of(1), 0, 1, k0, k1, 2, 4)
  }

  /** Of all its arrays. */
  get bytes(): number {
    return [...this.columns, this.kind, this.slots].reduce((sum, array) => sum + array.byteLength, 0)
  }

  /** Adds the flow in `key`. The table full: the oldest leaves. */
  add(entry: TimeWaitEntry, expires: Millis): void {
    if (this.capacity === 0) return
    this.delete()
    if (this.used === this.rows && this.rows < this.capacity) this.resize(Math.min(this.capacity, Math.max(MIN_ROWS, this.rows * 2)))
    if (this.used === this.rows) this.dropHead()
    const row = (this.head + this.used++) % this.rows
    this.home[row] = this.homeOfKey()
    this.print[row] = this.printOfKey()
    this.sndNxt[row] = entry.sndNxt
    this.rcvNxt[row] = entry.rcvNxt
    this.tsRecent[row] = entry.tsRecent
    this.tsOffset[row] = entry.tsOffset
    this.expires[row] = expires
    this.kind[row] = entry.tsOk ? STAMPED : PLAIN
    this.enlist(row)
  }

  /** Looks the flow in `key` up; false if it is not in TIME-WAIT. */
  find(entry: TimeWaitEntry): boolean {
    const row = this.rowOfKey()
    if (row < 0) return false
    entry.sndNxt = this.sndNxt[row]
    entry.rcvNxt = this.rcvNxt[row]
    entry.tsOk = (this.kind[row] & KIND) === STAMPED
    entry.tsRecent = this.tsRecent[row]
    entry.tsOffset = this.tsOffset[row]
    return true
  }

  /** The flow in `key` stays until `expires`, later than before. It keeps its row: a peer that repeats its FIN uses up no others'. */
  renew(expires: Millis): void {
    const row = this.rowOfKey()
    if (row < 0) return
    this.expires[row] = expires
    this.kind[row] |= RENEWED
  }

  /** Forgets the flow in `key`. */
  delete(): void {
    const row = this.rowOfKey()
    if (row < 0) return
    this.delist(row)
    this.kind[row] = DEAD
  }

  /** When to look for entries that leave, or Infinity. */
  get nextExpiry(): Millis {
    return this.used > 0 ? this.expires[this.head] : Infinity
  }

  /** Drops what is over. */
  expire(now: Millis): void {
    // Whoever was renewed goes behind the rest, or it would hold them up. There it may stay up to one time longer.
    while (this.used > 0 && (this.expires[this.head] <= now || this.kind[this.head] & RENEWED)) {
      if (this.expires[this.head] <= now) this.dropHead()
      else this.headToTail()
    }
    if (this.used === 0 && this.rows > 0) this.resize(0)
  }

  private dropHead(): void {
    const row = this.head
    if (this.kind[row] !== DEAD) this.delist(row)
    this.kind[row] = FREE
    this.head = (row + 1) % this.rows
    this.used--
  }

  private headToTail(): void {
    const from = this.head
    const to = (from + this.used) % this.rows // in a full ring the head itself
    this.delist(from)
    const kind = this.kind[from] & ~RENEWED
    this.kind[from] = FREE
    for (const column of this.columns) column[to] = column[from]
    this.kind[to] = kind
    this.head = (from + 1) % this.rows
    this.enlist(to)
  }

  /** All but `kind`. */
  private get columns(): (Int32Array | Float64Array)[] {
    return [this.home, this.print, this.sndNxt, this.rcvNxt, this.tsRecent, this.tsOffset, this.expires]
  }

  /** New arrays with the rows there are from the head on, unrolled to the front; the index follows. */
  private resize(rows: number): void {
    const { head, used } = this
    const unrolled = <T extends Int32Array | Float64Array | Uint8Array>(from: T, to: T): T => {
      for (let i = 0; i < used; i++) to[i] = from[(head + i) % from.length]
      return to
    }
    this.home = unrolled(this.home, new Int32Array(rows))
    this.print = unrolled(this.print, new Int32Array(rows))
    this.sndNxt = unrolled(this.sndNxt, new Int32Array(rows))
    this.rcvNxt = unrolled(this.rcvNxt, new Int32Array(rows))
    this.tsRecent = unrolled(this.tsRecent, new Int32Array(rows))
    this.tsOffset = unrolled(this.tsOffset, new Int32Array(rows))
    this.expires = unrolled(this.expires, new Float64Array(rows))
    this.kind = unrolled(this.kind, new Uint8Array(rows))
    this.rows = rows
    this.head = 0
    // A power of two, at most half full.
    this.slots = new Int32Array(rows === 0 ? 0 : 2 ** Math.ceil(Math.log2(2 * rows)))
    this.size = 0
    for (let row = 0; row < used; row++) if (this.kind[row] !== DEAD) this.enlist(row)
  }

  // ---- the index

  private homeOfKey(): number {
    return halfSipHash(this.key, 0, KEY_WORDS, this.k0, this.k1, 1, 3)
  }

  private printOfKey(): number {
    return halfSipHash(this.key, 0, KEY_WORDS, this.k2, this.k3, 1, 3)
  }

  /** −1: there is none. */
  private rowOfKey(): number {
    if (this.size === 0) return -1
    const { slots } = this
    const mask = slots.length - 1
    const home = this.homeOfKey()
    let print = 0
    let printed = false
    for (let i = home & mask; slots[i] !== 0; i = (i + 1) & mask) {
      const row = slots[i] - 1
      if (this.home[row] !== home) continue
      if (!printed) print = this.printOfKey()
      printed = true
      if (this.print[row] === print) return row
    }
    return -1
  }

  private enlist(row: number): void {
    const { slots } = this
    const mask = slots.length - 1
    let i = this.home[row] & mask
    while (slots[i] !== 0) i = (i + 1) & mask
    slots[i] = row + 1
    this.size++
  }

  private delist(row: number): void {
    const { slots } = this
    const mask = slots.length - 1
    let hole = this.home[row] & mask
    while (slots[hole] !== row + 1) hole = (hole + 1) & mask
    for (let i = (hole + 1) & mask; slots[i] !== 0; i = (i + 1) & mask) {
      // Move i into the hole unless its home lies (cyclically) behind the hole.
      if (((i - this.home[slots[i] - 1]) & mask) < ((i - hole) & mask)) continue
      slots[hole] = slots[i]
      hole = i
    }
    slots[hole] = 0
    this.size--
  }
}

/** RFC 6191 §2: may a SYN open the flow again? A newer timestamp, or a sequence number beyond the last one received. */
export function mayReuse(entry: TimeWaitEntry, seq: Seq, hasTimestamps: boolean, tsVal: number): boolean {
  if (entry.tsOk && hasTimestamps && ((tsVal - entry.tsRecent) | 0) !== 0) return ((tsVal - entry.tsRecent) | 0) > 0
  return seqGt(seq, entry.rcvNxt)
}
