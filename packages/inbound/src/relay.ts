// Owns: relay(): one application's connection to one upstream, both ways, until both have ended or either has failed.
// Ends are told as they are: a FIN becomes a FIN, a reset a reset, a failed dial the errno of the application's connect().

import type { Duplex } from 'node:stream'
import { errnoError, isConnecting, TunSocket, whenConnected } from '@tun/stack'
import { type Attempt, type Caller, startOf } from './attempt.js'
import type { Destination, Outbound } from './outbound.js'
import { Pump } from './pump.js'

export interface RelayOptions {
  /** What an outbound is to dial. Default: the socket's `destination`. */
  destination?: Destination
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

/** Where it goes: a stream, an outbound, or a function that dials. */
export type Upstream = Duplex | Outbound | ((signal: AbortSignal) => Duplex | Promise<Duplex>)

const HALF_CLOSE_TIMEOUT = 60_000 // Linux tcp_fin_timeout, here as an idle time
const ignore = () => {}

/**
 * Carries `socket` to `upstream`. An outbound, or a function that dials, is called at once, unless the application is gone already, and
 * is told when it goes: a function by a signal that aborts. An outbound of this package costs least if it is given as it is. A pending
 * socket is accepted once the upstream is there; if dialling fails it is rejected by the error's `code`. Never rejects for what the
 * network does. Owns both ends from the call on.
 */
export function relay(socket: TunSocket, upstream: Upstream, options: RelayOptions = {}): Promise<RelayResult> {
  return new Promise((resolve, reject) => new Joining(socket, options, resolve, reject).begin(upstream))
}

/** From the call until the upstream is there; then it is the pump's. */
class Joining implements Caller<Duplex> {
  private attempt: Attempt | null = null
  private far: Duplex | null = null
  private over = false
  private readonly onClose = () => this.aborted()

  constructor(
    private readonly socket: TunSocket,
    private readonly options: RelayOptions,
    private readonly resolve: (result: RelayResult) => void,
    private readonly reject: (mistake: unknown) => void,
  ) {}

  begin(upstream: Upstream): void {
    const { socket } = this
    socket.on('error', ignore)
    socket.on('close', this.onClose)
    try {
      this.dial(upstream)
    } catch (error) {
      this.mistaken(error)
    }
  }

  private dial(upstream: Upstream): void {
    const { socket } = this
    if (typeof upstream === 'object' && !isOutbound(upstream)) return this.succeeded(upstream)
    if (socket.destroyed) return this.aborted()
    const destination = this.options.destination ?? socket.destination
    const start = typeof upstream === 'object' ? startOf(upstream.dial) : undefined
    if (start !== undefined) {
      const attempt = start(this, destination)
      if (!this.over && this.far === null) this.attempt = attempt
      return
    }
    const dialled = typeof upstream === 'object' ? upstream.dial(destination, socket.signal) : upstream(socket.signal)
    Promise.resolve(dialled)
      .then(stream => this.succeeded(stream))
      .catch(error => this.mistaken(error))
  }

  /** Something threw, or a dial was rejected. */
  private mistaken(error: unknown): void {
    if (this.over) this.reject(error)
    else this.failed(error)
  }

  succeeded(far: Duplex): void {
    far.on('error', ignore)
    if (this.over) return void far.destroy() // a stream that comes when nobody waits any more
    this.far = far
    this.attempt = null
    if (this.socket.destroyed) return this.aborted()
    if (far instanceof TunSocket) far.accept() // one that came in as well: nobody else would
    if (!isConnecting(far)) return this.connected()
    // Behind all listeners of 'connect': who writes a header there writes first, who checks a certificate may refuse.
    whenConnected(far, error => {
      if (error === null) queueMicrotask(() => this.connected())
      else this.failed(error ?? errnoError('ECONNREFUSED', 'connect'))
    })
  }

  failed(failure: unknown): void {
    if (this.over) return
    const error = failure instanceof Error ? failure : new Error(String(failure))
    if (this.socket.destroyed) return this.aborted()
    this.leave()
    this.far?.destroy()
    this.socket.destroy(error)
    this.resolve({ up: 0, down: 0, reason: 'dial-failed', error })
  }

  private connected(): void {
    const { far, socket, options } = this
    if (this.over || far === null) return
    if (socket.destroyed) return this.aborted() // its 'close' is told in the next turn
    if (far.destroyed) return this.failed(far.errored ?? errnoError('ECONNREFUSED', 'connect'))
    this.leave()
    new Pump(socket, far, options.halfCloseTimeout ?? HALF_CLOSE_TIMEOUT, this.resolve).start()
  }

  private aborted(): void {
    if (this.over) return
    this.leave()
    this.attempt?.cancel()
    this.far?.destroy()
    this.resolve({ up: 0, down: 0, reason: 'aborted' })
  }

  private leave(): void {
    this.over = true
    this.socket.off('close', this.onClose)
  }
}

/** A stream that has a `dial` of its own stays a stream. */
function isOutbound(upstream: Duplex | Outbound): upstream is Outbound {
  return typeof (upstream as Partial<Outbound>).dial === 'function' && typeof (upstream as Partial<Duplex>).pipe !== 'function'
}
