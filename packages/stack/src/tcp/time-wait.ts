// Owns: connections in TIME-WAIT, as rows of a table instead of objects: they only answer stray segments and block old ones.
// Read first: RFC 9293 §3.10.7.4 (TIME-WAIT in each step), RFC 6191 (reuse), RFC 1337 (a RST must not end it).

import { FlowTable, KEY_WORDS } from '../memory/flow-table.js'
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

/** `kind` of a row: its peer's FIN came again, the 2 MSL began anew. */
const RENEWED = 4

/**
 * A ring: entries leave in the order they came, for all stay equally long; one that was renewed goes to the end of it then. 61 bytes a row,
 * and two to eight slots of the index, whose keys take 36 each.
 */
export class TimeWaitTable {
  readonly capacity: number
  private readonly index: FlowTable<number>
  // Grown on demand up to the capacity: an idle stack holds nothing.
  private rows = 0
  private keys = new Int32Array(0)
  private sndNxt = new Int32Array(0)
  private rcvNxt = new Int32Array(0)
  private tsRecent = new Int32Array(0)
  private tsOffset = new Int32Array(0)
  private expires = new Float64Array(0)
  /** 0 free, 1 in use, 2 in use with timestamps, 3 given up before its time; with RENEWED. */
  private kind = new Uint8Array(0)
  private head = 0
  private used = 0

  constructor(capacity: number, k0: number, k1: number) {
    this.capacity = capacity
    this.index = new FlowTable(k0, k1)
  }

  get size(): number {
    return this.index.size
  }

  /** The flow as in FlowTable.setKey. */
  get key(): Int32Array {
    return this.index.key
  }

  /** Adds the flow in `key`. The table full: the oldest leaves. */
  add(entry: TimeWaitEntry, expires: Millis): void {
    this.delete()
    if (this.used === this.rows && this.rows < this.capacity) this.grow()
    if (this.used === this.rows) {
      const key = this.key.slice()
      this.dropHead()
      this.key.set(key)
    }
    const row = (this.head + this.used++) % this.rows
    this.keys.set(this.key, row * KEY_WORDS)
    this.sndNxt[row] = entry.sndNxt
    this.rcvNxt[row] = entry.rcvNxt
    this.tsRecent[row] = entry.tsRecent
    this.tsOffset[row] = entry.tsOffset
    this.expires[row] = expires
    this.kind[row] = entry.tsOk ? 2 : 1
    this.index.add(row)
  }

  /** Looks the flow in `key` up; false if it is not in TIME-WAIT. */
  find(entry: TimeWaitEntry): boolean {
    const row = this.index.find()
    if (row === undefined) return false
    entry.sndNxt = this.sndNxt[row]
    entry.rcvNxt = this.rcvNxt[row]
    entry.tsOk = (this.kind[row] & 3) === 2
    entry.tsRecent = this.tsRecent[row]
    entry.tsOffset = this.tsOffset[row]
    return true
  }

  /** The flow in `key` stays until `expires`, later than before. It keeps its row: a peer that repeats its FIN uses up no others'. */
  renew(expires: Millis): void {
    const row = this.index.find()
    if (row === undefined) return
    this.expires[row] = expires
    this.kind[row] |= RENEWED
  }

  /** Forgets the flow in `key`. */
  delete(): void {
    const row = this.index.find()
    if (row === undefined) return
    this.index.delete()
    this.kind[row] = 3
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
    if (this.used === 0 && this.rows > 0) {
      this.rows = 0
      this.head = 0
      this.resize(0, 0)
    }
  }

  private dropHead(): void {
    const row = this.head
    if (this.kind[row] !== 3) {
      this.key.set(this.keys.subarray(row * KEY_WORDS, (row + 1) * KEY_WORDS))
      this.index.delete()
    }
    this.kind[row] = 0
    this.head = (this.head + 1) % this.rows
    this.used--
  }

  private headToTail(): void {
    const from = this.head
    const to = (from + this.used) % this.rows
    this.key.set(this.keys.subarray(from * KEY_WORDS, (from + 1) * KEY_WORDS))
    this.keys.copyWithin(to * KEY_WORDS, from * KEY_WORDS, (from + 1) * KEY_WORDS)
    for (const column of [this.sndNxt, this.rcvNxt, this.tsRecent, this.tsOffset, this.expires]) column[to] = column[from]
    const kind = this.kind[from] & ~RENEWED
    this.kind[from] = 0
    this.kind[to] = kind
    this.index.delete()
    this.index.add(to)
    this.head = (from + 1) % this.rows
  }

  private grow(): void {
    const key = this.key.slice()
    const rows = Math.min(this.capacity, Math.max(64, this.rows * 2))
    this.resize(rows, this.used)
    this.rows = rows
    this.key.set(key)
  }

  /** New arrays with the `keep` rows from the head on, unrolled to the front; the index follows. */
  private resize(rows: number, keep: number): void {
    const old = { keys: this.keys, expires: this.expires, kind: this.kind }
    const ints = [this.sndNxt, this.rcvNxt, this.tsRecent, this.tsOffset].map(from => {
      const to = new Int32Array(rows)
      for (let i = 0; i < keep; i++) to[i] = from[(this.head + i) % this.rows]
      return to
    })
    const keys = new Int32Array(rows * KEY_WORDS)
    const expires = new Float64Array(rows)
    const kind = new Uint8Array(rows)
    for (let i = 0; i < keep; i++) {
      const row = (this.head + i) % this.rows
      keys.set(old.keys.subarray(row * KEY_WORDS, (row + 1) * KEY_WORDS), i * KEY_WORDS)
      expires[i] = old.expires[row]
      kind[i] = old.kind[row]
      if (kind[i] === 3) continue
      this.key.set(keys.subarray(i * KEY_WORDS, (i + 1) * KEY_WORDS))
      this.index.delete()
      this.index.add(i)
    }
    ;[this.sndNxt, this.rcvNxt, this.tsRecent, this.tsOffset] = ints
    this.keys = keys
    this.expires = expires
    this.kind = kind
    this.head = 0
  }
}

/** RFC 6191 §2: may a SYN open the flow again? A newer timestamp, or a sequence number beyond the last one received. */
export function mayReuse(entry: TimeWaitEntry, seq: Seq, hasTimestamps: boolean, tsVal: number): boolean {
  if (entry.tsOk && hasTimestamps && ((tsVal - entry.tsRecent) | 0) !== 0) return ((tsVal - entry.tsRecent) | 0) > 0
  return seqGt(seq, entry.rcvNxt)
}
