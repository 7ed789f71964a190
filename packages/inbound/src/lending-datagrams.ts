// Owns: LendingDatagrams, what our own outbounds can do besides the public contract: datagrams go through them where they lie, without an
// object for each. Whatever wraps such an outbound is none, and gets copies.

import { Buffer } from 'node:buffer'
import type { Slab } from '@tun/stack'
import type { DatagramOutbound, Destination, Endpoint } from './outbound.js'

/**
 * A host's own hop limit is 64 or more, and it comes from near by: one below this was asked for (traceroute, a hole punched no farther
 * than the NAT), and goes on, with one less. All others leave with the kernel's, in trains.
 */
export const ASKED_FOR = 48

export interface LentReceiver {
  /** A datagram that came back: bytes[start, end) are borrowed for the call; the same `from` means the same sender. */
  receiveLent(bytes: Uint8Array, start: number, end: number, from: Endpoint): void
}

export abstract class LendingDatagrams implements DatagramOutbound {
  abstract readonly closed: Promise<Error | undefined>
  private receive: ((payload: Buffer, from: Endpoint) => void) | null = null
  private receiver: LentReceiver | null = null

  abstract send(payload: Uint8Array, to: Destination, ttl?: number): boolean

  /**
   * Sends the datagram, or the train of datagrams of `segment` bytes each, that lies in [start, end) of the slab, which is lent for the
   * call. False: not all of it was taken.
   */
  abstract sendLent(slab: Slab, start: number, end: number, segment: number, to: Destination): boolean

  abstract close(): void

  onMessage(fn: (payload: Buffer, from: Endpoint) => void): void {
    this.receive = fn
  }

  /** In place of `onMessage`. */
  onLent(receiver: LentReceiver): void {
    this.receiver = receiver
  }

  protected give(bytes: Buffer, start: number, end: number, from: Endpoint): void {
    if (this.receiver !== null) this.receiver.receiveLent(bytes, start, end, from)
    else this.receive?.(copyOf(bytes, start, end), from)
  }
}

function copyOf(bytes: Buffer, start: number, end: number): Buffer {
  const copy = Buffer.allocUnsafe(end - start)
  bytes.copy(copy, 0, start, end)
  return copy
}
