// Owns: looking at the first bytes of a receive queue without taking them, and waiting until there are enough.

import { Buffer } from 'node:buffer'
import { type ByteQueue, ByteRange } from '../memory/byte-queue.js'

/** Those who wait. */
export class Peeks {
  private readonly waiting = new Set<() => void>()

  /** Resolves when `enough`, looked at again with each `look`, or after `timeout` milliseconds. */
  wait(enough: () => boolean, timeout: number | undefined): Promise<void> {
    if (enough()) return Promise.resolve()
    return new Promise(resolve => {
      const settle = () => {
        clearTimeout(timer)
        this.waiting.delete(look)
        resolve()
      }
      const look = () => {
        if (enough()) settle()
      }
      const timer = timeout === undefined ? undefined : setTimeout(settle, timeout)
      this.waiting.add(look)
    })
  }

  /** Something has happened. */
  look(): void {
    for (const look of this.waiting) look()
  }
}

/** Throws ERR_TUN_PEEK if `n` bytes cannot be shown, 0 to `most` can, or if reading has `begun`. */
export function checkPeek(n: number, most: number, begun: boolean): void {
  if (!(n >= 0 && n <= most)) throw misuse(new RangeError(`peek can show 0 to ${most} bytes, not ${n}`))
  if (begun) throw misuse(new Error('reading has begun: there is no first byte'))
}

function misuse<E extends Error>(error: E): E & { code: string } {
  return Object.assign(error, { code: 'ERR_TUN_PEEK' })
}

/** A copy of the first bytes queued, at most `most`. */
export function firstBytes(queue: ByteQueue, most: number): Buffer {
  const range = new ByteRange()
  const bytes = Buffer.allocUnsafe(Math.min(queue.length, most))
  for (let at = 0; at < bytes.length; ) {
    queue.rangeAt(queue.indexOf(at), at, range)
    const end = Math.min(range.end, range.start + bytes.length - at)
    bytes.set(range.bytes.subarray(range.start, end), at)
    at += end - range.start
  }
  return bytes
}
