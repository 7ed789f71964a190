// Owns: a dial as the outbounds of this package do it for relay() and relayDatagrams(): an object that is told once. A promise, an
// AbortSignal and the listeners that `Outbound.dial` needs cost a fifth of a whole connection.

import { abortReason } from './outbound.js'

/** Who dials. Told at most once, perhaps before the call that starts the attempt has returned. */
export interface Caller<T> {
  /** A stream has no listeners and is taken within this call: it may end in the next. */
  succeeded(result: T): void
  failed(error: Error): void
}

export interface Attempt {
  /** Closes what is under way; the caller is not told any more. Idempotent, and nothing once the caller was told. */
  cancel(): void
}

/** Begins a dial of `subject`: a destination, a flow. */
export type Start<S, T> = (caller: Caller<T>, subject: S) => Attempt

/** For what is there at once: the caller gets what `make` makes, or what it throws. */
export function tell<T>(caller: Caller<T>, make: () => T): void {
  let made: T
  try {
    made = make()
  } catch (error) {
    return caller.failed(error as Error)
  }
  caller.succeeded(made)
}

// biome-ignore lint/suspicious/noExplicitAny: the key is the very function, so what it takes and gives is its caller's to know
const starts = new WeakMap<(...args: any[]) => Promise<unknown>, Start<any, any>>()

/**
 * `dial` with a promise and a signal, as `Outbound` has it, made of `start`. Whoever gets hold of `dial` itself finds `start` again
 * (`startOf`); whoever wraps it has a function of his own, which is called as it is.
 */
export function promising<S, T>(start: Start<S, T>, handOver: (result: T) => void = () => {}) {
  const dial = (subject: S, signal?: AbortSignal): Promise<T> => promised(caller => start(caller, subject), signal, handOver)
  starts.set(dial, start)
  return dial
}

export function startOf<S, T>(dial: (subject: S, signal?: AbortSignal) => Promise<T>): Start<S, T> | undefined {
  return starts.get(dial)
}

/** `handOver` is called in the turn in which the promise resolves, before whoever awaits it goes on. */
export function promised<T>(
  start: (caller: Caller<T>) => Attempt,
  signal: AbortSignal | undefined,
  handOver: (result: T) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(abortReason(signal))
    let isTold = false
    const letGo = () => {
      isTold = true
      signal?.removeEventListener('abort', onAbort)
    }
    const onAbort = () => {
      letGo()
      attempt.cancel()
      reject(abortReason(signal as AbortSignal))
    }
    const attempt = start({
      succeeded: result => {
        letGo()
        handOver(result)
        resolve(result)
      },
      failed: error => {
        letGo()
        reject(error)
      },
    })
    if (!isTold) signal?.addEventListener('abort', onAbort) // it may be told within `start`: nobody would remove the listener
  })
}
