// Owns: how many associations all UDP flows of this process have at a time. A flow may have several, and each costs descriptors, of which
// TCP keeps half: beyond the bound the one that has been idle for longest is closed. Read first: proc_pid_limits(5).

import { descriptorLimit } from './descriptor-limit.js'

/** DIRECT opens a socket for either family; of SOCKS5 there is a socket, and the stream that it lives by. */
const DESCRIPTORS = 2
/** The order need not be better than this: moving one for every datagram would cost more than it is worth. */
const COARSE = 1000 // ms

export interface Bounded {
  /** Its own end; `leave` is not needed for it. */
  evict(): void
}

export class AssociationBound<A extends Bounded> {
  private readonly limit: number
  /** When each was last used, the idlest first. */
  private readonly members = new Map<A, number>()

  /** `limit`: of associations, at least 1. */
  constructor(limit: number) {
    this.limit = limit
  }

  get size(): number {
    return this.members.size
  }

  /** One more; the idlest makes room. */
  enter(association: A, now: number): void {
    for (const idlest of this.members.keys()) {
      if (this.members.size < this.limit) break
      this.members.delete(idlest)
      idlest.evict()
    }
    this.members.set(association, now)
  }

  used(association: A, now: number): void {
    const at = this.members.get(association)
    if (at === undefined || now - at < COARSE) return
    this.members.delete(association)
    this.members.set(association, now)
  }

  /** It is over; idempotent. */
  leave(association: A): void {
    this.members.delete(association)
  }
}

/** As many as half of the descriptors this process may have are enough for; no bound where those have none. */
export function associationLimit(descriptors = descriptorLimit()): number {
  return descriptors === undefined ? Infinity : Math.max(1, Math.floor(descriptors / 2 / DESCRIPTORS))
}
