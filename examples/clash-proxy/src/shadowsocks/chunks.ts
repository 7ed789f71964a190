// Owns: a Shadowsocks stream as bytes, without I/O. Read SIP004, "TCP": a salt, then chunks of [length][tag][payload][tag]; the length is
// two bytes and at most 0x3FFF, and each of the two pieces has a nonce of its own.

import { randomBytes } from 'node:crypto'
import { type Secret, type Session, TAG_LENGTH } from './cipher.js'
import type { SaltFilter } from './salts.js'

export const MAX_PAYLOAD = 0x3fff
const LENGTH_PIECE = 2 + TAG_LENGTH

/** Why a stream cannot go on. */
export type Fault =
  /** A tag is wrong: another password or cipher, or somebody on the way. */
  'not sealed with our key' | 'a repetition of an earlier stream' | 'not a chunk: its length is out of bounds'

export class ChunkSealer {
  private readonly salt: Buffer
  private readonly session: Session
  private begun = false

  constructor(secret: Secret, salts: SaltFilter) {
    this.salt = randomBytes(secret.saltLength)
    salts.add(this.salt)
    this.session = secret.session(this.salt)
  }

  /** What to send for `plain`, in order; the salt goes first. */
  seal(plain: Uint8Array): Buffer[] {
    const pieces: Buffer[] = this.begun ? [] : [this.salt]
    this.begun = true
    for (let at = 0; at < plain.length; at += MAX_PAYLOAD) {
      const payload = plain.subarray(at, at + MAX_PAYLOAD)
      pieces.push(...this.session.seal(Uint8Array.of(payload.length >> 8, payload.length)), ...this.session.seal(payload))
    }
    return pieces
  }
}

// What is being waited for; each is a piece of known length.
const SALT = 0
const LENGTH = 1
const PAYLOAD = 2

export class ChunkOpener {
  private waitingFor = SALT
  private needed: number
  /** The piece so far, if it came in parts; an idle stream holds none. */
  private partial: Buffer | undefined
  private held = 0
  private salt: Uint8Array = new Uint8Array(0)
  private session: Session | undefined
  private fault: Fault | undefined

  constructor(
    private readonly secret: Secret,
    private readonly salts: SaltFilter,
  ) {
    this.needed = secret.saltLength
  }

  /** Whether the stream may end here: before anything came, or behind a chunk. */
  get complete(): boolean {
    return this.held === 0 && (this.session === undefined || this.waitingFor === LENGTH) && this.fault === undefined
  }

  /** Gives every whole payload in `bytes` to `take`, which may keep it. A fault is final. */
  feed(bytes: Uint8Array, take: (payload: Buffer) => void): Fault | undefined {
    for (let at = 0; this.fault === undefined && at < bytes.length; ) {
      const missing = this.needed - this.held
      const part = bytes.subarray(at, at + missing)
      at += part.length
      if (this.held === 0 && part.length === missing) this.fault = this.piece(part, take)
      else {
        this.partial ??= Buffer.allocUnsafe(this.needed)
        this.partial.set(part, this.held)
        this.held += part.length
        if (part.length < missing) break
        const whole = this.partial
        this.partial = undefined
        this.held = 0
        this.fault = this.piece(whole, take)
      }
    }
    return this.fault
  }

  private piece(piece: Uint8Array, take: (payload: Buffer) => void): Fault | undefined {
    switch (this.waitingFor) {
      case SALT:
        this.salt = Uint8Array.from(piece)
        this.session = this.secret.session(this.salt)
        break
      case LENGTH: {
        const plain = this.session!.open(piece)
        if (plain === undefined) return 'not sealed with our key'
        if (this.salt.length > 0 && this.salts.has(this.salt)) return 'a repetition of an earlier stream'
        if (this.salt.length > 0) this.salts.add(this.salt)
        this.salt = new Uint8Array(0)
        const length = plain.readUInt16BE(0)
        if (length === 0 || length > MAX_PAYLOAD) return 'not a chunk: its length is out of bounds'
        this.waitingFor = PAYLOAD
        this.needed = length + TAG_LENGTH
        return undefined
      }
      default: {
        const payload = this.session!.open(piece)
        if (payload === undefined) return 'not sealed with our key'
        take(payload)
      }
    }
    this.waitingFor = LENGTH
    this.needed = LENGTH_PIECE
    return undefined
  }
}
