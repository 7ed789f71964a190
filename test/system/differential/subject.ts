// Owns: what a situation may do to a TCP, whichever it is: packets in and out, time, and the verbs of an application on its socket.

import type { Bytes } from '@tun/stack'
import type { Ends } from './notation.js'

export interface SubjectOptions {
  v6?: boolean
  /** Nobody listens on the port. */
  closed?: boolean
  /** SO_RCVBUF of the listener, as given to setsockopt; of our stack its `rcvBuf`. Default: as delivered. */
  rcvBuf?: number
}

/** One situation's own TCP end: a listening (or closed) port at an address, and one connection. */
export interface Subject {
  readonly ends: Ends
  /** What the subject has sent and nobody has looked at yet. */
  readonly outbox: Bytes[]
  inject(packet: Bytes): void
  /** Lets `ms` go by, less if `enough` says so. */
  pass(ms: number, enough?: () => boolean): Promise<void>
  /**
   * An application's verb; answers what it saw, '' for nothing:
   * `accept` `connect` `read` (all there is) `write N` `shutdown` `close` `abort` (linger 0) `nodelay 0|1` `oobinline`.
   */
  app(verb: string): Promise<string>
  close(): Promise<void>
}
