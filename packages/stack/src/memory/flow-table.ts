// Owns: the map from a flow (two addresses, two ports) to what it belongs to. Open addressing, keyed hash, no strings, no objects.
// Linear probing with deletion by backward shift (Knuth 6.4 R), so there are no tombstones and a miss stays short.

import { halfSipHash } from './keyed-hash.js'

/** Words of a key: source address, destination address, both ports in one word. */
export const KEY_WORDS = 9
const MIN_SLOTS = 64

export class FlowTable<T> {
  /** Fill this in, then call find, set or delete. */
  readonly key = new Int32Array(KEY_WORDS)
  size = 0
  private readonly k0: number
  private readonly k1: number
  private mask = MIN_SLOTS - 1
  private keys = new Int32Array(MIN_SLOTS * KEY_WORDS)
  private values: (T | undefined)[] = new Array(MIN_SLOTS).fill(undefined)
  /** Where the last one was found: packets come in trains, and comparing nine words is cheaper than hashing them. */
  private recent = 0

  constructor(k0: number, k1: number) {
    this.k0 = k0
    this.k1 = k1
  }

  setKey(
    s0: number,
    s1: number,
    s2: number,
    s3: number,
    d0: number,
    d1: number,
    d2: number,
    d3: number,
    srcPort: number,
    dstPort: number,
  ): void {
    const key = this.key
    key[0] = s0
    key[1] = s1
    key[2] = s2
    key[3] = s3
    key[4] = d0
    key[5] = d1
    key[6] = d2
    key[7] = d3
    key[8] = (srcPort << 16) | dstPort
  }

  find(): T | undefined {
    return this.values[this.slot()]
  }

  /** The key must not be there yet. */
  add(value: T): void {
    if (++this.size * 2 > this.mask) this.resize((this.mask + 1) * 2)
    const slot = this.slot()
    this.keys.set(this.key, slot * KEY_WORDS)
    this.values[slot] = value
  }

  delete(): boolean {
    let hole = this.slot()
    if (this.values[hole] === undefined) return false
    for (let i = (hole + 1) & this.mask; this.values[i] !== undefined; i = (i + 1) & this.mask) {
      const home = this.home(this.keys, i * KEY_WORDS)
      // Move i into the hole unless its home lies (cyclically) behind the hole.
      if (((i - home) & this.mask) >= ((i - hole) & this.mask)) {
        this.keys.copyWithin(hole * KEY_WORDS, i * KEY_WORDS, (i + 1) * KEY_WORDS)
        this.values[hole] = this.values[i]
        hole = i
      }
    }
    this.values[hole] = undefined
    this.size--
    if (this.mask >= MIN_SLOTS && this.size * 8 < this.mask) this.resize((this.mask + 1) / 2)
    return true
  }

  *[Symbol.iterator](): IterableIterator<T> {
    for (const value of this.values) if (value !== undefined) yield value
  }

  private home(keys: Int32Array, at: number): number {
    return halfSipHash(keys, at, KEY_WORDS, this.k0, this.k1, 1, 3) & this.mask
  }

  /** Where `key` is, or the empty slot where it would go. */
  private slot(): number {
    const { values, mask } = this
    if (values[this.recent] !== undefined && this.holdsKey(this.recent)) return this.recent
    let i = this.home(this.key, 0)
    for (; values[i] !== undefined; i = (i + 1) & mask) {
      if (!this.holdsKey(i)) continue
      this.recent = i
      return i
    }
    return i
  }

  private holdsKey(slot: number): boolean {
    const { key, keys } = this
    const at = slot * KEY_WORDS
    let w = 0
    while (w < KEY_WORDS && keys[at + w] === key[w]) w++
    return w === KEY_WORDS
  }

  private resize(slots: number): void {
    const { keys, values } = this
    const wanted = this.key.slice()
    this.keys = new Int32Array(slots * KEY_WORDS)
    this.values = new Array(slots).fill(undefined)
    this.mask = slots - 1
    this.recent = 0
    for (let i = 0; i < values.length; i++) {
      const value = values[i]
      if (value === undefined) continue
      this.key.set(keys.subarray(i * KEY_WORDS, (i + 1) * KEY_WORDS))
      const slot = this.slot()
      this.keys.set(this.key, slot * KEY_WORDS)
      this.values[slot] = value
    }
    this.key.set(wanted)
  }
}
