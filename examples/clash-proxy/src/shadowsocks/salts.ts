// Owns: which salts were seen, so that what somebody recorded and sends again is not taken a second time (SIP004). Bounded: two
// generations, the older of which is forgotten when the younger one is full.

import { randomBytes } from 'node:crypto'

const CAPACITY = 65_536 // salts of a generation: a table of 1 MiB, made when the first one comes

export class SaltFilter {
  private young: Generation | undefined
  private old: Generation | undefined

  /** `capacity` is a power of two. At least that many of the latest salts are known, at most twice as many. */
  constructor(private readonly capacity = CAPACITY) {}

  has(salt: Uint8Array): boolean {
    return this.young !== undefined && (this.young.has(salt) || this.old?.has(salt) === true)
  }

  /** Call it for salts that stood before something authentic, and for our own: a server's words are not ours come back. */
  add(salt: Uint8Array): void {
    if (this.young === undefined || this.young.count === this.capacity) {
      this.old = this.young
      this.young = new Generation(this.capacity)
    }
    this.young.add(salt)
  }
}

/** The first eight bytes of salts, by open addressing: they are random, so that two alike are one in 2^47 with all of them there. */
class Generation {
  count = 0
  /** Two words a slot, half of the slots used at most; zeros: empty. */
  private readonly words: Uint32Array
  private readonly mask: number
  /** Whoever has the key can choose salts; where they land is not for him to say. */
  private readonly factors = new Uint32Array(new Uint8Array(randomBytes(8)).buffer).map(word => word | 1)

  constructor(capacity: number) {
    this.words = new Uint32Array(4 * capacity)
    this.mask = 2 * capacity - 1
  }

  has(salt: Uint8Array): boolean {
    return this.words[2 * this.slotOf(salt)] !== 0
  }

  add(salt: Uint8Array): void {
    const at = 2 * this.slotOf(salt)
    if (this.words[at] !== 0) return
    this.words[at] = first(salt)
    this.words[at + 1] = second(salt)
    this.count++
  }

  /** Where it is, or the empty slot where it belongs. */
  private slotOf(salt: Uint8Array): number {
    const { words, mask, factors } = this
    const a = first(salt)
    const b = second(salt)
    const mixed = (Math.imul(a, factors[0]) + Math.imul(b, factors[1])) | 0
    let slot = (mixed ^ (mixed >>> 15)) & mask
    while (words[2 * slot] !== 0 && (words[2 * slot] !== a || words[2 * slot + 1] !== b)) slot = (slot + 1) & mask
    return slot
  }
}

/** Never 0, which marks an empty slot. */
const first = (salt: Uint8Array) => wordAt(salt, 0) || 1
const second = (salt: Uint8Array) => wordAt(salt, 4)

function wordAt(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0
}
