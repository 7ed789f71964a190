// Owns: relay(): one application's connection to one upstream, both ways, until both have ended or either has failed.
// Ends are told as they are: a FIN becomes a FIN, a reset a reset, a failed dial the errno of the application's connect().

import type { Duplex } from 'node:stream'
import { errnoError, isConnecting, type TunSocket, whenConnected } from '@tun/stack'
import { Pump } from './pump.js'

export interface RelayOptions {
  /** Milliseconds without traffic after which a connection that is closed in one direction is ended. Default 60,000. */
  halfCloseTimeout?: number
}

export type RelayReason =
  /** Both sides have ended. */
  | 'end'
  /** The application was gone before there was an upstream. */
  | 'aborted'
  /** There was no upstream: the application was refused. */
  | 'dial-failed'
  /** The application reset the connection, or vanished. */
  | 'source-error'
  | 'upstream-error'
  /** Closed in one direction, and nothing came in the other for too long. */
  | 'half-close-timeout'

export interface RelayResult {
  /** Bytes from the application to the upstream, and back. */
  up: number
  down: number
  reason: RelayReason
  error?: Error
}

export type Upstream = Duplex | ((signal: AbortSignal) => Duplex | Promise<Duplex>)

const HALF_CLOSE_TIMEOUT = 60_000 // Linux tcp_fin_timeout, here as an idle time
const ignore = () => {}

/**
 * Carries `socket` to `upstream`, which may be a function that dials: it is called at once, unless the application is gone already, with a
 * signal that aborts when it goes. A pending socket is accepted once the upstream is there; if dialling fails it is rejected by the error's
 * `code`. Never rejects for what the network does. Owns both ends from the call on.
 */
export async function relay(socket: TunSocket, upstream: Upstream, options: RelayOptions = {}): Promise<RelayResult> {
  socket.on('error', ignore)
  let far: Duplex | null = null
  try {
    if (typeof upstream !== 'function') far = upstream.on('error', ignore)
    if (socket.destroyed) throw gone()
    if (typeof upstream === 'function') far = await dialled(upstream, socket)
    far = far as Duplex
    if (isConnecting(far)) await connected(far, socket.signal)
    if (socket.destroyed) throw gone()
    if (far.destroyed) throw far.errored ?? errnoError('ECONNREFUSED', 'connect')
  } catch (failure) {
    const error = failure instanceof Error ? failure : new Error(String(failure))
    const aborted = socket.destroyed
    far?.destroy()
    socket.destroy(error)
    return aborted ? { up: 0, down: 0, reason: 'aborted' } : { up: 0, down: 0, reason: 'dial-failed', error }
  }
  const stream = far
  return new Promise(resolve => new Pump(socket, stream, options.halfCloseTimeout ?? HALF_CLOSE_TIMEOUT, resolve).start())
}

const gone = () => errnoError('ECONNABORTED', 'connect')

/** What `dial` brings; rejects as soon as the application has gone, and a stream that comes later all the same is destroyed. */
function dialled(dial: (signal: AbortSignal) => Duplex | Promise<Duplex>, socket: TunSocket): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const onClose = () => reject(gone())
    const fail = (error: unknown) => {
      socket.off('close', onClose)
      reject(error)
    }
    const take = (stream: Duplex) => {
      socket.off('close', onClose)
      stream.on('error', ignore)
      if (socket.destroyed) stream.destroy()
      resolve(stream)
    }
    socket.on('close', onClose)
    try {
      Promise.resolve(dial(socket.signal)).then(take).catch(fail)
    } catch (error) {
      fail(error)
    }
  })
}

/** Resolves when the stream has connected; rejects with its error, or when the signal aborts. */
function connected(stream: Duplex, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (error?: Error) => {
      undo()
      signal.removeEventListener('abort', onAbort)
      if (error) reject(error)
      else resolve()
    }
    const undo = whenConnected(stream, error => settle(error === null ? undefined : (error ?? errnoError('ECONNREFUSED', 'connect'))))
    const onAbort = () => settle(gone())
    signal.addEventListener('abort', onAbort)
    if (signal.aborted) onAbort()
  })
}
