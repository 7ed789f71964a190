// Owns: events whose listeners decide about something. Each listener is called by itself, its throw or rejection is told to whoever
// dispatches; and an 'error' that nobody listens to is thrown, which eventemitter3 alone would swallow.

import { EventEmitter } from 'eventemitter3'

type Listener = (...args: unknown[]) => unknown

export class DecidingEmitter<Events extends EventEmitter.ValidEventTypes> extends EventEmitter<Events> {
  /** Calls the listeners of `event`, one by one, in order; `failed` gets what one throws or rejects with. False: there are none. */
  protected decide(event: EventEmitter.EventNames<Events>, args: readonly unknown[], failed: (error: Error) => void): boolean {
    const listeners = this.listeners(event) as unknown as Listener[]
    for (const listener of listeners) attempt(() => listener.apply(this, [...args]), failed)
    return listeners.length > 0
  }

  /** Emits 'error'; without a listener it is thrown from a microtask, as node:events would throw it. */
  protected report(error: Error): void {
    const name = 'error' as EventEmitter.EventNames<Events>
    if (this.listenerCount(name) > 0) (this.emit as unknown as Listener).call(this, name, error)
    else
      queueMicrotask(() => {
        throw error
      })
  }
}

/** Runs `fn`, now or as a promise to its end; `failed` gets what it throws or rejects with. */
export function attempt(fn: () => unknown, failed: (error: Error) => void): void {
  try {
    const answer = fn()
    if (answer instanceof Promise) answer.catch(error => failed(asError(error)))
  } catch (error) {
    failed(asError(error))
  }
}

function asError(value: unknown): Error {
  return value instanceof Error ? value : new Error(String(value))
}
