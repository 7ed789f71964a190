// Owns: DNS over a byte stream: two bytes of length before each message, cut anywhere. RFC 1035 §4.2.2, RFC 7766 §8.

import { misuse } from './errors.js'

export const MAX_MESSAGE_BYTES = 65535

/** Collects messages out of a stream's chunks; holds one unfinished message at most, and only as many bytes of it as have come. */
export class TcpFramer {
  /** A message was longer than allowed: nothing more is read, close the connection. */
  failed = false
  private readonly limit: number
  private buffer = new Uint8Array(0)
  private used = 0

  /** @param limit bytes of the longest message accepted */
  constructor(limit = MAX_MESSAGE_BYTES) {
    this.limit = limit
  }

  /** Bytes kept of an unfinished message, its length included. */
  get pending(): number {
    return this.used
  }

  /** The messages completed by `chunk`, copied (the chunk is only borrowed). Empty ones are passed over. */
  push(chunk: Uint8Array): Uint8Array[] {
    const messages: Uint8Array[] = []
    let at = 0
    while (at < chunk.length && !this.failed) {
      if (this.used < 2) this.keep(chunk, at++, 1)
      if (this.used < 2) continue
      const length = (this.buffer[0] << 8) | this.buffer[1]
      if (length > this.limit) {
        this.failed = true
        this.buffer = new Uint8Array(0)
        this.used = 0
        break
      }
      const part = Math.min(2 + length - this.used, chunk.length - at)
      this.keep(chunk, at, part)
      at += part
      if (this.used < 2 + length) continue
      if (length > 0) messages.push(this.buffer.slice(2, this.used))
      this.used = 0
    }
    if (this.used === 0 && this.buffer.length > KEEP_BYTES) this.buffer = new Uint8Array(0)
    return messages
  }

  private keep(chunk: Uint8Array, at: number, count: number): void {
    const need = this.used + count
    if (need > this.buffer.length) {
      const grown = new Uint8Array(Math.max(need, Math.min(2 * this.buffer.length, 2 + this.limit), 64))
      grown.set(this.buffer.subarray(0, this.used))
      this.buffer = grown
    }
    this.buffer.set(chunk.subarray(at, at + count), this.used)
    this.used = need
  }
}

/** Between messages a connection keeps no more than this. */
const KEEP_BYTES = 512

/** @throws RangeError `ERR_TUN_DNS_LENGTH` for more than 65,535 bytes */
export function frame(message: Uint8Array): Uint8Array {
  if (message.length > MAX_MESSAGE_BYTES) throw misuse('ERR_TUN_DNS_LENGTH', `a DNS message of ${message.length} bytes cannot be framed`)
  const out = new Uint8Array(2 + message.length)
  out[0] = message.length >> 8
  out[1] = message.length & 255
  out.set(message, 2)
  return out
}
