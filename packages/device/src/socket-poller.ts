// Owns: sockets behind one descriptor of the addon (epoll), one set for each thread: a wake-up of the event loop asks which of them are
// ready, and tells each. Read epoll(7); native/src/socket_set.h.

import type { SocketSet } from '@tun/native'
import { throwLater } from '@tun/stack'

const EVENTS = 256
/** Calls of wait() of one wake-up: there is more, and the others of this thread wait, the device among them. */
const MAX_ROUNDS = 4

/** A socket of the set. What it throws is its own affair: the others are told all the same. */
interface Polled {
  /** May close itself, and others; those are told nothing any more. */
  happened(events: number): void
}

export class SocketPoller<Native extends SocketSet> {
  private readonly sockets: (Polled | null)[] = []
  private readonly events = new Int32Array(2 * EVENTS)
  private refs = 0

  constructor(readonly native: Native) {
    native.unref()
    native.watch(this.ready)
  }

  add(slot: number, socket: Polled): void {
    this.sockets[slot] = socket
    this.count(1)
  }

  /** The addon has closed it. */
  remove(slot: number, isRef: boolean): void {
    this.sockets[slot] = null
    if (isRef) this.count(-1)
  }

  /** So many more keep the process alive. */
  count(change: number): void {
    this.refs += change
    if (this.refs === 0) this.native.unref()
    else if (this.refs === change) this.native.ref()
  }

  private readonly ready = (): void => {
    const { native, events, sockets } = this
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const count = native.wait(events)
      for (let i = 0; i < count; i++) {
        try {
          sockets[events[2 * i]]?.happened(events[2 * i + 1])
        } catch (error) {
          throwLater(error)
        }
      }
      if (count < EVENTS) return
    }
  }
}
