// Owns: relay(): one application's connection to one upstream, both ways, until both have ended or either has failed.
// Ends are told as they are: a FIN becomes a FIN, a reset a reset, a failed dial the errno of the application's connect().

import { Buffer } from 'node:buffer'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { ByteRange, type ConnectionSink, errnoError, type Owner, type TcpConnection, type TunSocket } from '@tun/stack'
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
 * Carries `socket` to `upstream`, which may be a function that dials: it is called at once, unless the application is gone already, with a signal
 * that aborts when it goes. A pending socket is accepted once the upstream is there; if dialling fails it is rejected by the error's `code`.
 * Never rejects for what the network does. Owns both ends from the call on.
 */
export async function relay(socket: TunSocket, upstream: Upstream, options: RelayOptions = {}): Promise<RelayResult> {
  socket.on('error', ignore)
  if (socket.destroyed) {
    if (typeof upstream !== 'function') upstream.destroy()
    return { up: 0, down: 0, reason: 'aborted' }
  }
  let far: Duplex
  try {
    far = typeof upstream === 'function' ? await upstream(socket.signal) : upstream
    far.on('error', ignore)
    if ((far as Socket).connecting) await connected(far as Socket, socket.signal)
  } catch (error) {
    if (typeof upstream !== 'function') upstream.destroy()
    const gone = socket.destroyed
    socket.destroy(error instanceof Error ? error : new Error(String(error)))
    return gone ? { up: 0, down: 0, reason: 'aborted' } : { up: 0, down: 0, reason: 'dial-failed', error: error as Error }
  }
  if (socket.destroyed) {
    far.destroy()
    return { up: 0, down: 0, reason: 'aborted' }
  }
  return new Promise(resolve => new Pump(socket, far, options.halfCloseTimeout ?? HALF_CLOSE_TIMEOUT, resolve).start())
}

/** Resolves at 'connect'; rejects with the stream's error, or when the signal aborts. */
function connected(stream: Socket, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (error?: Error) => {
      stream.off('connect', onConnect).off('error', settle).off('close', onClose)
      signal.removeEventListener('abort', onAbort)
      if (error) {
        stream.destroy()
        reject(error)
      } else resolve()
    }
    const onConnect = () => settle()
    const onClose = () => settle(errnoError('ECONNREFUSED', 'connect'))
    const onAbort = () => settle(errnoError('ECONNABORTED', 'connect'))
    stream.on('connect', onConnect).on('error', settle).on('close', onClose)
    signal.addEventListener('abort', onAbort)
    if (signal.aborted) onAbort()
  })
}

/** A Buffer that net.Socket has emitted is read into no more: nobody has to give it back. */
const KEPT: Owner = { retain: ignore, release: ignore }

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
  /** The application has sent its FIN; it was passed on. */
  private sourceEnded = false
  private upEnded = false
  private downEnded = false
  private done = false
  private halfTimer: NodeJS.Timeout | null = null

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
    // What somebody has peeked at or read into the Duplex goes first.
    let early: Buffer | null = null
    if (socket.readableLength > 0) early = socket.read() as Buffer | null
    this.tcp = socket.detach(this)
    socket.on('close', () => this.sourceClosed())
    upstream.on('drain', () => {
      this.upBlocked = false
      this.pumpUp()
    })
    const reads = lentReadsOf(upstream)
    if (reads === undefined) upstream.on('data', (chunk: Buffer) => this.pumpDown(chunk))
    upstream.on('end', () => this.upstreamEnded())
    upstream.on('error', error => this.fail('upstream-error', error))
    upstream.on('close', () => this.upstreamClosed())
    if (early !== null) {
      this.up += early.length
      this.upBlocked = !upstream.write(early)
    }
    socket.accept()
    if (reads !== undefined) {
      for (let chunk = upstream.read() as Buffer | null; chunk !== null; chunk = upstream.read() as Buffer | null) this.pumpDown(chunk)
      reads.takeOver(this)
      if (!upstream.isPaused()) upstream.resume() // flowing, for its 'end'
    }
    if (upstream.readableEnded) this.upstreamEnded()
    else if (upstream.destroyed) return this.upstreamClosed()
    this.sourceEnded = this.tcp.peerEnded
    this.pumpUp()
  }

  // ---- the application's side, from the engine

  connected(): void {}

  readable(): void {
    this.pumpUp()
  }

  writable(): void {
    if (this.upstream.isPaused() && this.tcp.sendRoom > 0) this.upstream.resume()
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
      upstream.end()
      this.oneEnded()
    }
  }

  // ---- the upstream's side

  private pumpDown(chunk: Buffer): void {
    if (this.done) return
    this.down += chunk.length
    this.halfTimer?.refresh()
    const room = this.tcp.send(chunk as Uint8Array<ArrayBuffer>, 0, chunk.length, this.lend ? KEPT : null)
    if (!room) this.upstream.pause()
    this.socket.wake()
  }

  /** As `pumpDown`, from a socket of our dialers: by reference where it is worth it. */
  read(bytes: Uint8Array<ArrayBuffer>, length: number, owner: Owner | null): boolean {
    if (this.done) return true
    this.down += length
    this.halfTimer?.refresh()
    owner?.retain()
    if (!this.tcp.send(bytes, 0, length, owner)) this.upstream.pause()
    this.socket.wake()
    return true
  }

  private upstreamEnded(): void {
    if (this.downEnded || this.done) return
    this.downEnded = true
    this.tcp.end()
    this.socket.wake()
    this.oneEnded()
  }

  private upstreamClosed(): void {
    if (!this.downEnded || !this.upEnded) this.fail('upstream-error', this.upstream.errored ?? errnoError('ECONNRESET', 'read'))
  }

  private sourceClosed(): void {
    if (!this.done) this.fail('source-error', this.socket.errored ?? errnoError('ECONNABORTED', 'read'))
  }

  // ---- the end

  private oneEnded(): void {
    if (this.upEnded && this.downEnded) return this.finish('end')
    this.halfTimer = setTimeout(() => {
      this.fail('half-close-timeout', errnoError('ETIMEDOUT', 'read'))
    }, this.halfCloseTimeout)
    this.halfTimer.unref()
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
    // The engine sends what is queued and its FIN; the upstream destroys itself when both its sides are through.
    if (reason === 'end') this.socket.destroy()
    this.resolve(error ? { up: this.up, down: this.down, reason, error } : { up: this.up, down: this.down, reason })
  }
}

function reset(stream: Duplex): void {
  const socket = stream as Partial<Socket> & Duplex
  if (!socket.destroyed && socket.resetAndDestroy && !socket.connecting) socket.resetAndDestroy()
  else stream.destroy()
}
