// Owns: TunSocket, the Duplex over a TCP connection, with net.Socket's own surface. It is handed out before the SYN is answered.
// Read first: the connection's verbs in tcp/connection.ts. What needs which method: docs/architecture.md, "A stream like any other".

import { Buffer } from 'node:buffer'
import type { Writable } from 'node:stream'
import { ByteRange } from '../memory/byte-queue.js'
import type { RejectReason, TcpConnection } from '../tcp/connection.js'
import { CONNECTED, ENDED, GONE_EVENT, READABLE, WRITABLE } from '../tcp/states.js'
import { formatAddress } from '../wire/address.js'
import { isConnecting, whenConnected } from './connecting.js'
import type { ConnectionSink } from './connection-sink.js'
import type { Driver } from './driver.js'
import { errnoError, isNetworkError, isPolite, rejectReason, throwLater } from './errno.js'
import { IdleTimer } from './idle-timer.js'
import { type Destination, type Endpoint, NetSurface } from './net-surface.js'
import { checkPeek, firstBytes, Peeks } from './peek.js'

const HIGH_WATER_MARK = 64 * 1024
const KEEP_ALIVE = 60_000 // ms. Under the idle times of most NATs and firewalls.
/** Bytes written and not acknowledged, of one who waits for no 'drain': beyond, their sequence numbers could not be told apart. */
const MAX_QUEUED = 2 ** 31 - 1
/** One for all: it is valid until the next read. */
const range = new ByteRange()
let nextId = 1
const ignore = () => {}
/** Why `signal` aborts. One for all: making a DOMException for each connection costs more than any segment of it. */
const OVER = errnoError('ECONNABORTED', 'connect')

/**
 * A TCP connection that an application opened through the NIC.
 *
 * While `connecting`, the SYN has not been answered. `accept()`, any `write` or `end`, and reading accept it, except that reading waits
 * while the socket is piped into a stream that is itself connecting; `reject(reason)` and `destroy(error)` refuse it (by `error.code`).
 * 'connect' is emitted at ESTABLISHED. Failures of the network reach 'error' listeners with a POSIX `code`; where there is no listener the
 * socket is only destroyed ('close', `errored`): what a peer does must not end the process. `destroy()` sends what was written and a FIN,
 * unless something received was not read; `destroy(error)` resets: a FIN would tell the peer that all is complete. Node's own ways of
 * ending a stream politely with an error (`for await`, http.Server's 408) are known and end politely.
 */
export class TunSocket extends NetSurface {
  /** Unique within the process. */
  readonly id = nextId++
  /** Wall clock, milliseconds since 1970. */
  readonly startedAt = Date.now()
  /** The application's end. */
  readonly source: Endpoint
  /** What it dialled, and the name behind it. */
  readonly destination: Destination
  /** Where `destination.host` comes from. */
  hostSource: 'fake-ip' | 'dns' | 'sni' | undefined = undefined
  /**
   * 'pending': the SYN is answered when you accept. 'cookie': in a flood of SYNs the stack has answered it (StackOptions.synCookies);
   * the socket is connected when you get it ('connect' follows at once), and `reject` can only reset it.
   */
  readonly handshake: 'pending' | 'cookie'
  /** Yours. */
  context: unknown = undefined
  /** Milliseconds without traffic after which 'timeout' is emitted; 0: never. */
  timeout = 0
  protected readonly tcp: TcpConnection
  private readonly driver: Driver
  private sink: ConnectionSink | null = null
  private wantsData = false
  private endedByPeer = false
  private waitingWrite: ((error?: Error | null) => void) | null = null
  private waitingFor: Set<NodeJS.WritableStream> | null = null
  private peeks: Peeks | null = null
  /** Acknowledgments are no events here, but they are traffic: a slow reader is not an idle one. */
  private idle: IdleTimer | null = null
  private controller: AbortController | null = null

  constructor(tcp: TcpConnection, driver: Driver) {
    super({ allowHalfOpen: true, readableHighWaterMark: HIGH_WATER_MARK, writableHighWaterMark: HIGH_WATER_MARK })
    this.tcp = tcp
    this.driver = driver
    tcp.user = this
    this.handshake = tcp.cookie ? 'cookie' : 'pending'
    this.isConnected = tcp.cookie
    const family = tcp.v4 ? 4 : 6
    this.source = { address: formatAddress(tcp.r0, tcp.r1, tcp.r2, tcp.r3), port: tcp.remotePort, family }
    this.destination = { address: formatAddress(tcp.l0, tcp.l1, tcp.l2, tcp.l3), port: tcp.localPort, family }
  }

  // ---- the decision

  /** Nobody has decided yet: neither accepted nor rejected. */
  get undecided(): boolean {
    return this.tcp.undecided
  }

  /** Answers the SYN. Idempotent. */
  accept(): this {
    if (this.undecided) {
      this.tcp.accept()
      this.driver.wake()
      if (this.wantsData && this.tcp.cookie) this.pull() // it may have come meanwhile
    }
    return this
  }

  /**
   * Refuses: the application's connect() fails with ECONNREFUSED ('refused'), EHOSTUNREACH, ENETUNREACH, EACCES or EHOSTUNREACH
   * ('prohibited', IPv6 and IPv4), or runs into its own time-out ('drop'). Too late for a connection already accepted, or made by a cookie
   * (`handshake`): then it is reset.
   */
  reject(reason: RejectReason = 'refused'): this {
    if (this.undecided) this.tcp.reject(reason)
    else this.tcp.reset()
    this.driver.wake()
    return this.destroy()
  }

  // ---- net.Socket's verbs; its properties: net-surface.ts

  /** Nagle's algorithm is off by default; `false` turns it on. */
  setNoDelay(noDelay = true): this {
    this.tcp.setNoDelay(noDelay)
    this.driver.wake()
    return this
  }
  /**
   * Asks the application's end behind `initialDelay` ms of silence (0: 60 s), and destroys with ETIMEDOUT if it does not answer for 4.5
   * minutes. Off by default: its own kernel answers as long as the connection exists, so this finds machines that vanished behind a
   * router of the TUN.
   */
  setKeepAlive(enable = false, initialDelay = 0): this {
    this.tcp.setKeepAlive(enable ? initialDelay || KEEP_ALIVE : 0)
    this.driver.wake()
    return this
  }
  /** 'timeout' after `ms` without traffic; what to do then is the listener's business. 0: never. */
  setTimeout(ms: number, callback?: () => void): this {
    this.idle ??= new IdleTimer(
      () => this.tcp.bytesReceived + this.tcp.sndQueue.headAt,
      () => this.emit('timeout'),
    )
    this.idle.set(ms)
    if (this.destroyed) this.idle.clear()
    this.timeout = ms
    if (callback) {
      if (ms > 0) this.once('timeout', callback)
      else this.off('timeout', callback)
    }
    return this
  }
  destroySoon(): void {
    if (this.undecided) return void this.destroy()
    if (this.writable) this.end()
    if (this.writableFinished) this.destroy()
    else this.once('finish', () => this.destroy())
  }
  /** Sends a reset (a pending connection: refuses) and destroys. */
  resetAndDestroy(): this {
    this.tcp.reset()
    this.driver.wake()
    return this.destroy()
  }

  // ---- beyond net.Socket

  /** Aborts when the connection is over, also while it is pending: the application has gone. */
  get signal(): AbortSignal {
    if (this.controller === null) {
      this.controller = new AbortController()
      if (this.destroyed) this.controller.abort(OVER)
    }
    return this.controller.signal
  }

  /**
   * What was received so far, up to 64 KiB, without taking it: as soon as it is `n` bytes, the peer ends, the connection is gone or
   * `timeout` (ms) passes. Accepts the connection, for only then do bytes come. Rejects with ERR_TUN_PEEK if `n` is over 65,536, or if
   * reading has begun.
   */
  async peek(n: number, options: { timeout?: number } = {}): Promise<Buffer> {
    checkPeek(n, HIGH_WATER_MARK, this.sink !== null || this.wantsData || this.readableLength > 0)
    this.accept()
    const { rcvQueue } = this.tcp
    this.peeks ??= new Peeks()
    await this.peeks.wait(() => rcvQueue.length >= n || this.endedByPeer || this.destroyed, options.timeout)
    return firstBytes(rcvQueue, HIGH_WATER_MARK)
  }

  /**
   * Hands the connection's events to `sink` and the connection out: what the relay does. The Duplex must not be used any more, but for
   * `destroy` and for `read()`, which takes out what it has buffered: that comes before anything in the connection's queue. What was
   * written to it goes before what the sink sends.
   */
  detach(sink: ConnectionSink): TcpConnection {
    if (this.waitingWrite !== null) this.written(this.waitingWrite) // and all that waits behind it comes by one `_writev`
    this.sink = sink
    this.wantsData = false
    return this.tcp
  }

  /** Wakes the driver, as it must be after using a detached connection's verbs. */
  wake(): void {
    this.idle?.refresh()
    this.driver.wake()
  }

  // ---- events of the engine

  /** What the drain tells. For the facade only. A listener that throws does so when the drain is over. */
  happened(bits: number): void {
    if (this.destroyed) return
    this.idle?.refresh()
    if (bits & CONNECTED) this.connected()
    if (this.destroyed) return
    if (this.sink !== null) this.tellSink(this.sink, bits)
    else this.advance(bits)
  }

  private connected(): void {
    this.isConnected = true
    try {
      this.sink?.connected()
      this.emit('connect')
      if (!this.destroyed) this.emit('ready')
    } catch (error) {
      throwLater(error)
    }
  }

  private tellSink(sink: ConnectionSink, bits: number): void {
    this.tellWritten(bits) // before it was detached
    try {
      if (bits & READABLE) sink.readable()
      if (bits & ENDED) sink.ended()
      if (bits & WRITABLE) sink.writable()
      if (bits & GONE_EVENT) sink.gone(this.tcp.error)
    } catch (error) {
      throwLater(error)
    }
    if (bits & GONE_EVENT) this.abort()
  }

  private advance(bits: number): void {
    if (bits & ENDED) this.endedByPeer = true
    if (bits & (READABLE | ENDED)) {
      this.peeks?.look()
      if (this.wantsData && !(this.undecided && this.waitingFor !== null)) this.pull()
    }
    this.tellWritten(bits)
    if (bits & GONE_EVENT && !this.destroyed) this.lost()
  }

  private tellWritten(bits: number): void {
    if (bits & (WRITABLE | CONNECTED) && this.waitingWrite !== null && this.tcp.sendRoom > 0) this.written(this.waitingWrite)
  }

  private written(callback: () => void): void {
    this.waitingWrite = null
    try {
      callback() // 'drain' and the callbacks of writes are called from within
    } catch (error) {
      throwLater(error)
    }
  }

  private lost(): void {
    const code = this.tcp.error
    if (code === '') return this.over()
    if (!this.isConnected && code === 'ECONNABORTED') this.destroy()
    else this.destroy(errnoError(code, this.isConnected ? 'read' : 'connect'))
  }

  /**
   * Both FINs are acknowledged: what is queued can still be read, then comes the end; also to one who only writes, as net.Socket has it.
   */
  private over(): void {
    this.endedByPeer = true
    this.peeks?.look()
    if (this.wantsData) this.pull()
    else if (this.tcp.rcvQueue.length === 0 && this.readableLength === 0) {
      this.push(null)
      this.read(0)
    }
  }

  private abort(): void {
    this.controller?.abort(OVER)
  }

  // ---- Duplex

  override _read(): void {
    if (this.sink !== null) return
    this.wantsData = true
    if (this.undecided) {
      if (this.waitingFor !== null) return // until that stream has connected
      this.accept()
    }
    this.pull()
  }

  /** Moves what was received into the Readable, as long as it wants it. */
  private pull(): void {
    let took = false
    while (this.wantsData && this.tcp.read(range)) {
      took = true
      const { bytes, start, end, owner } = range
      let chunk: Buffer
      if (owner === null) chunk = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start)
      else {
        // A stranger may keep it as long as it likes: a right-sized copy, so that the slab is free again.
        chunk = Buffer.allocUnsafe(end - start)
        chunk.set(bytes.subarray(start, end))
        owner.release()
      }
      this.wantsData = false // `_read` may be called from within push
      let more = true
      try {
        more = this.push(chunk) // 'data' is emitted from within
      } catch (error) {
        throwLater(error)
      }
      if (more) this.wantsData = true
    }
    if (this.endedByPeer && this.tcp.rcvQueue.length === 0 && this.wantsData) {
      this.wantsData = false
      this.push(null)
    }
    if (took) this.driver.wake() // the window may have opened
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    if (this.mayWrite(callback)) this.wrote(this.send(chunk), callback)
  }

  /** Copies: the writer may use its buffer again. */
  private send(bytes: Buffer): boolean {
    return this.tcp.send(bytes as Uint8Array<ArrayBuffer>, 0, bytes.length, null)
  }

  override _writev(chunks: { chunk: Buffer }[], callback: (error?: Error | null) => void): void {
    if (!this.mayWrite(callback)) return
    let room = true
    for (const { chunk } of chunks) room = this.send(chunk)
    this.wrote(room, callback)
  }

  /** A write accepts. If it is refused, `callback` has been told. */
  private mayWrite(callback: (error?: Error | null) => void): boolean {
    this.accept()
    this.idle?.refresh()
    const refused = !this.tcp.sendable ? this.tcp.error || 'EPIPE' : this.bufferSize > MAX_QUEUED ? 'ENOBUFS' : ''
    if (refused) callback(errnoError(refused, 'write'))
    return !refused
  }

  private wrote(room: boolean, callback: () => void): void {
    this.driver.wake()
    if (room) callback()
    else this.waitingWrite = callback
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.accept()
    this.tcp.end()
    this.driver.wake()
    callback()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.idle?.clear()
    this.waitingFor = null
    this.peeks?.look()
    if (this.undecided) this.tcp.reject(rejectReason(error))
    else if ((error === null || isPolite(error)) && this.readableLength === 0) this.tcp.close()
    else this.tcp.reset()
    this.driver.wake()
    this.abort()
    if (error !== null && isNetworkError(error) && this.listenerCount('error') === 0) this.once('error', ignore)
    const waiting = this.waitingWrite
    this.waitingWrite = null
    callback(error)
    waiting?.(error) // without an error it is queued, and the FIN goes behind it
  }

  /** Piped into a stream that is still connecting, a pending socket waits for it: only then is it known whether to accept. */
  override pipe<T extends NodeJS.WritableStream>(destination: T, options?: { end?: boolean }): T {
    if (this.undecided && destination !== (this as unknown) && isConnecting(destination)) this.waitFor(destination)
    return super.pipe(destination, options)
  }

  private waitFor(other: NodeJS.WritableStream): void {
    this.waitingFor ??= new Set()
    this.waitingFor.add(other)
    whenConnected(other as Writable, error => {
      this.waitingFor?.delete(other)
      if (this.waitingFor?.size === 0) this.waitingFor = null
      if (this.destroyed || !this.undecided) return
      if (error !== null) this.reject(rejectReason(error))
      else if (this.wantsData && this.waitingFor === null) this._read()
    })
  }
}
