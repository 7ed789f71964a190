// Owns: what waits in a UDP socket: a datagram, or a train of them in one piece, with the header each of them gets; pooled, because at
// full speed one is made for every datagram.

import type { Owner } from '@tun/stack'
import type { UdpPeer } from './udp-peer.js'

const NOTHING = new Uint8Array(0)
/** Kept for the next ones, a thread. */
const MAX_SPARE = 256

export class Queued<Peer extends UdpPeer> {
  /** payload[start, end): one datagram, or, if `segment` is not 0, several of that length, of which the last may be shorter. */
  payload: Uint8Array = NOTHING
  start = 0
  end = 0
  segment = 0
  peer: Peer | null = null
  header: Uint8Array | null = null
  /** What each datagram is charged. */
  cost = 0
  /** Hop limit; 0: the kernel's own. */
  ttl = 0
  /** Whose the payload is; null: the queue's own by now. */
  owner: Owner | null = null

  get count(): number {
    return this.segment === 0 ? 1 : Math.ceil((this.end - this.start) / this.segment)
  }

  /** The payload of one of them, to keep. */
  datagram(index: number): Uint8Array {
    const { payload, start, end, segment, owner } = this
    if (segment === 0 && owner === null && start === 0 && end === payload.length) return payload
    const from = start + index * segment
    return Uint8Array.prototype.slice.call(payload, from, segment === 0 ? end : Math.min(from + segment, end))
  }

  /** Gives back what was lent. */
  copy(): void {
    const { owner } = this
    this.payload = Uint8Array.prototype.slice.call(this.payload, this.start, this.end)
    this.end -= this.start
    this.start = 0
    this.owner = null
    owner?.release()
  }

  /** The first `gone` datagrams are done with. True: that was all, the object is somebody else's from now on. */
  leave(gone: number): boolean {
    if (gone < this.count) {
      this.start += gone * this.segment
      return false
    }
    const { owner } = this
    this.payload = NOTHING
    this.peer = null
    this.header = null
    this.owner = null
    if (spare.length < MAX_SPARE) spare.push(this)
    owner?.release()
    return true
  }
}

const spare: Queued<UdpPeer>[] = []

export function takeQueued<Peer extends UdpPeer>(
  payload: Uint8Array,
  start: number,
  end: number,
  segment: number,
  peer: Peer | null,
  header: Uint8Array | null,
  cost: number,
  ttl: number,
): Queued<Peer> {
  const queued = (spare.pop() ?? new Queued()) as Queued<Peer>
  queued.payload = payload
  queued.start = start
  queued.end = end
  queued.segment = segment
  queued.peer = peer
  queued.header = header
  queued.cost = cost
  queued.ttl = ttl
  return queued
}
