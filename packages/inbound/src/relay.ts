// Owns: relay(): one application's connection to one upstream, both ways, until both have ended or either has failed.
// Ends are told as they are: a FIN becomes a FIN, a reset a reset, a failed dial the errno of the application's connect().

import { Buffer } from 'node:buffer'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import {
  ByteRange,
  type ConnectionSink,
  errnoError,
  isConnecting,
  type Owner,
  type TcpConnection,
  type TunSocket,
  whenConnected,
} from '@tun/stack'
import { lentReadsOf, type ReadSink } from './lent-reads.js'

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
    if (typeof upstream === 'function') far = await dialled(upstream, socket.signal)
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

/** What `dial` brings; rejects as soon as the signal aborts, and a stream that comes later all the same is destroyed. */
function dialled(dial: (signal: AbortSignal) => Duplex | Promise<Duplex>, signal: AbortSignal): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(gone())
    signal.addEventListener('abort', onAbort)
    const dialling = (async () => dial(signal))()
    dialling
      .then(stream => {
        stream.on('error', ignore)
        if (signal.aborted) stream.destroy()
        resolve(stream)
      })
      .catch(reject)
      .finally(() => signal.removeEventListener('abort', onAbort))
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

/** A Buffer that net.Socket has emitted is read into no more: nobody has to give it back. */
const KEPT: Owner = { retain: ignore, release: ignore }
/** Smaller ones are copied together: a flood of tiny pieces must not cost an object each. */
const WORTH_KEEPING = 2048

/**
 * Exactly a net.Socket: its 'data' is a fresh buffer each time, and its write callback means that the kernel has the bytes. A stranger's
 * callback does not (a PassThrough hands the very same bytes on), so strangers get and give copies.
 */
function byReference(stream: Duplex): boolean {
  return Object.getPrototypeOf(stream) === Socket.prototype && !Object.hasOwn(stream, 'write') && !Object.hasOwn(stream, '_write')
}

class Pump implements ConnectionSink, ReadSink {
  private readonly socket: TunSocket
  private readonly upstream: Duplex
  private readonly resolve: (result: RelayResult) => void
  private readonly halfCloseTimeout: number
  private readonly lend: boolean
  private readonly range = new ByteRange()
  private tcp!: TcpConnection
  private up = 0
  private down = 0
  /** The upstream's buffer is full. */
  private upBlocked = false
  /** The connection's send queue is full. */
  private downBlocked = false
  /** The application has sent its FIN; the upstream was told; and has sent all that was before it. */
  private sourceEnded = false
  private upEnded = false
  private upFinished = false
  private downEnded = false
  private done = false
  private halfTimer: NodeJS.Timeout | null = null
  private halfMark = 0

  constructor(socket: TunSocket, upstream: Duplex, halfCloseTimeout: number, resolve: (result: RelayResult) => void) {
    this.socket = socket
    this.upstream = upstream
    this.halfCloseTimeout = halfCloseTimeout
    this.resolve = resolve
    this.lend = byReference(upstream)
  }

  start(): void {
    const { socket, upstream } = this
    upstream.allowHalfOpen = true
    this.tcp = socket.detach(this)
    socket.on('close', () => this.sourceClosed())
    upstream.on('drain', () => {
      this.upBlocked = false
      this.pumpUp()
    })
    const reads = lentReadsOf(upstream)
    if (reads === undefined) upstream.on('data', (chunk: Buffer) => this.pumpDown(chunk))
    upstream.on('end', () => this.upstreamEnded())
    upstream.on('finish', () => this.upstreamFinished())
    upstream.on('error', error => this.fail('upstream-error', error))
    upstream.on('close', () => this.upstreamClosed())
    // What somebody has read into the Duplex goes first.
    for (let early = socket.read() as Buffer | null; early !== null; early = socket.read() as Buffer | null) {
      this.up += early.length
      this.upBlocked = !upstream.write(early)
    }
    socket.accept()
    if (reads !== undefined) {
      for (let chunk = upstream.read() as Buffer | null; chunk !== null; chunk = upstream.read() as Buffer | null) this.pumpDown(chunk)
      reads.takeOver(this)
    }
    if (!this.downBlocked) upstream.resume() // whoever had it before may have paused it
    if (upstream.readableEnded) this.upstreamEnded()
    this.sourceEnded = this.tcp.peerEnded
    this.pumpUp()
  }

  // ---- the application's side, from the engine

  connected(): void {}

  readable(): void {
    this.pumpUp()
  }

  writable(): void {
    if (!this.downBlocked || this.tcp.sendRoom <= 0) return
    this.downBlocked = false
    this.upstream.resume()
  }

  ended(): void {
    this.sourceEnded = true
    this.pumpUp()
  }

  gone(code: string): void {
    if (this.done) return
    if (code !== '') return this.fail('source-error', errnoError(code, 'read'))
    this.sourceEnded = true
    this.pumpUp()
  }

  private pumpUp(): void {
    const { tcp, upstream, range } = this
    if (this.done) return
    let took = false
    while (!this.upBlocked && tcp.read(range)) {
      took = true
      const { bytes, start, end, owner } = range
      this.up += end - start
      if (owner === null || this.lend) {
        const chunk = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start)
        this.upBlocked = !(owner === null ? upstream.write(chunk) : upstream.write(chunk, () => owner.release()))
      } else {
        const chunk = Buffer.allocUnsafe(end - start)
        chunk.set(bytes.subarray(start, end))
        owner.release()
        this.upBlocked = !upstream.write(chunk)
      }
    }
    if (took) {
      this.halfTimer?.refresh()
      this.socket.wake()
    }
    if (this.sourceEnded && tcp.rcvQueue.length === 0 && !this.upEnded && !this.done) {
      this.upEnded = true
      if (upstream.writableFinished) this.upFinished = true
      else upstream.end()
      this.oneEnded()
    }
  }

  // ---- the upstream's side

  private pumpDown(chunk: Buffer): void {
    if (this.done) return
    this.down += chunk.length
    this.halfTimer?.refresh()
    const owner = this.lend && chunk.length >= WORTH_KEEPING ? KEPT : null
    this.sent(this.tcp.send(chunk as Uint8Array<ArrayBuffer>, 0, chunk.length, owner))
  }

  private sent(room: boolean): void {
    if (!room) {
      this.downBlocked = true
      this.upstream.pause()
    }
    this.socket.wake()
  }

  /** As `pumpDown`, from a socket of our dialers: by reference where it is worth it. */
  read(bytes: Uint8Array<ArrayBuffer>, length: number, owner: Owner | null): boolean {
    if (this.done) return true
    this.down += length
    this.halfTimer?.refresh()
    owner?.retain()
    this.sent(this.tcp.send(bytes, 0, length, owner))
    return true
  }

  private upstreamEnded(): void {
    if (this.downEnded || this.done) return
    this.downEnded = true
    this.tcp.end()
    this.socket.wake()
    this.oneEnded()
  }

  /** Everything is written: not before that is its way over. */
  private upstreamFinished(): void {
    this.upFinished = true
    if (this.upEnded && !this.done) this.oneEnded()
  }

  private upstreamClosed(): void {
    if (!this.done) this.fail('upstream-error', this.upstream.errored ?? errnoError('ECONNRESET', 'read'))
  }

  private sourceClosed(): void {
    if (!this.done) this.fail('source-error', this.socket.errored ?? errnoError('ECONNABORTED', 'read'))
  }

  // ---- the end

  private oneEnded(): void {
    if (this.upFinished && this.upEnded && this.downEnded) return this.finish('end')
    if (this.halfTimer !== null) return
    this.halfMark = this.progress
    this.halfTimer = setTimeout(() => this.halfTime(), this.halfCloseTimeout).unref()
  }

  /** Bytes that either end has taken: what still drains from our queues is not idle. */
  private get progress(): number {
    return this.up - this.upstream.writableLength + this.down + this.tcp.sndQueue.headAt
  }

  private halfTime(): void {
    if (this.progress === this.halfMark) return this.fail('half-close-timeout', errnoError('ETIMEDOUT', 'read'))
    this.halfMark = this.progress
    this.halfTimer?.refresh()
  }

  private fail(reason: RelayReason, error: Error): void {
    if (this.done) return
    this.finish(reason, error)
    reset(this.upstream)
    this.socket.resetAndDestroy()
  }

  private finish(reason: RelayReason, error?: Error): void {
    this.done = true
    if (this.halfTimer !== null) clearTimeout(this.halfTimer)
    if (reason === 'end') {
      this.socket.destroy() // the engine sends what is queued and the FIN
      this.upstream.destroy() // both its sides are through, whether it destroys itself or not
    }
    this.resolve(error ? { up: this.up, down: this.down, reason, error } : { up: this.up, down: this.down, reason })
  }
}

function reset(stream: Duplex): void {
  const socket = stream as Partial<Socket> & Duplex
  if (!socket.destroyed && socket.resetAndDestroy && !socket.connecting) socket.resetAndDestroy()
  else stream.destroy()
}
