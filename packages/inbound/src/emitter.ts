// Owns: events whose listeners decide about something. Each listener is called by itself, its throw or rejection is told to whoever
// dispatches; and an 'error' that nobody listens to is thrown, which eventemitter3 alone would swallow.

import { throwLater } from '@tun/stack'
import { EventEmitter } from 'eventemitter3'

type Listener = (...args: unknown[]) => unknown

/** Calls the listeners of `event`, one by one, in order; `failed` gets what one throws or rejects with. False: there are none. */
export function decide<Events extends EventEmitter.ValidEventTypes, E extends EventEmitter.EventNames<Events>>(
  emitter: EventEmitter<Events>,
  event: E,
  args: EventEmitter.EventArgs<Events, E>,
  failed: (error: Error) => void,
): boolean {
  const listeners = emitter.listeners(event)
  for (const listener of listeners) {
    emitter.off(event, listener, undefined, true) // if it came by `once`
    attempt(() => (listener as unknown as Listener).apply(emitter, [...args]), failed)
  }
  return listeners.length > 0
}

type Name<Events extends EventEmitter.ValidEventTypes> = EventEmitter.EventNames<Events>
type ListenerOf<Events extends EventEmitter.ValidEventTypes, E extends Name<Events>> = EventEmitter.EventListener<Events, E>

export class ReportingEmitter<Events extends EventEmitter.ValidEventTypes> extends EventEmitter<Events> {
  /** Somebody began or ceased to listen to `event`; undefined: to any. */
  protected listenersChanged(_event: Name<Events> | undefined): void {}

  override on<E extends Name<Events>>(event: E, fn: ListenerOf<Events, E>, context?: unknown): this {
    super.on(event, fn, context)
    this.listenersChanged(event)
    return this
  }

  override addListener<E extends Name<Events>>(event: E, fn: ListenerOf<Events, E>, context?: unknown): this {
    return this.on(event, fn, context)
  }

  override once<E extends Name<Events>>(event: E, fn: ListenerOf<Events, E>, context?: unknown): this {
    super.once(event, fn, context)
    this.listenersChanged(event)
    return this
  }

  override off<E extends Name<Events>>(event: E, fn?: ListenerOf<Events, E>, context?: unknown, once?: boolean): this {
    super.off(event, fn, context, once)
    this.listenersChanged(event)
    return this
  }

  override removeListener<E extends Name<Events>>(event: E, fn?: ListenerOf<Events, E>, context?: unknown, once?: boolean): this {
    return this.off(event, fn, context, once)
  }

  override removeAllListeners(event?: Name<Events>): this {
    super.removeAllListeners(event)
    this.listenersChanged(event)
    return this
  }

  /** Emits 'error'; without a listener it is thrown from a microtask, as node:events would throw it. */
  protected report(error: Error): void {
    const name = 'error' as EventEmitter.EventNames<Events>
    const args = [error] as unknown as EventEmitter.EventArgs<Events, typeof name>
    if (!decide(this, name, args, throwLater)) throwLater(error)
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
