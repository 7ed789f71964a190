// Owns: TunSocket, the Duplex over a TCP connection, with net.Socket's own surface. It is handed out before the SYN is answered.
// Read first: the connection's verbs in tcp/connection.ts. What needs which method: docs/architecture.md, "A stream like any other".

import { Buffer } from 'node:buffer'
import { Duplex, type Writable } from 'node:stream'
import { ByteRange } from '../memory/byte-queue.js'
import type { RejectReason, TcpConnection } from '../tcp/connection.js'
import { CONNECTED, ENDED, GONE_EVENT, READABLE, SYN_PENDING, WRITABLE } from '../tcp/states.js'
import { formatAddress } from '../wire/address.js'
import type { Driver } from './driver.js'
import { errnoError, rejectReason } from './errno.js'

/** An address and port as text, e.g. `{ address: '2001:db8::1', port: 443, family: 6 }`. */
export interface Endpoint {
  address: string
  port: number
  family: 4 | 6
}

/** Where a connection or datagram wants to go. */
export interface Destination extends Endpoint {
  /** The name behind a fake IP. If it is there, dial the name: `address` is fake and leads back into the TUN. */
  host?: string
}

/** Who else may take over a connection's events from the Duplex: the relay. */
export interface ConnectionSink {
  connected(): void
  readable(): void
  writable(): void
  /** The peer's FIN was reached; unread data may still be queued. */
  ended(): void
  /** The connection is no more; `code` is '' or a POSIX code. */
  gone(code: string): void
}

interface Connecting extends Writable {
  connecting?: boolean
  encrypted?: boolean
}

const HIGH_WATER_MARK = 64 * 1024
let nextId = 1
const ignore = () => {}

/**
 * A TCP connection that an application opened through the NIC.
 *
 * While `connecting`, the SYN has not been answered. `accept()`, any `write` or `end`, and reading accept it, except that reading waits while the
 * socket is piped into a stream that is itself connecting; `reject(reason)` and `destroy(error)` refuse it (by `error.code`).
 * 'connect' is emitted at ESTABLISHED. Failures of the network reach 'error' listeners with a POSIX `code`; where there is no listener the socket
 * is only destroyed ('close', `errored`): what a peer does must not end the process.
 */
export class TunSocket extends Duplex {
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
  /** Yours. */
  context: unknown = undefined
  /** Milliseconds without traffic after which 'timeout' is emitted; 0: never. */
  timeout = 0
  private readonly tcp: TcpConnection
  private readonly driver: Driver
  private sink: ConnectionSink | null = null
  private isConnected = false
  private wantsData = false
  private endedByPeer = false
  private waitingWrite: ((error?: Error | null) => void) | null = null
  private waitingFor: Set<Connecting> | null = null
  private idleTimer: NodeJS.Timeout | null = null
  private controller: AbortController | null = null
  private readonly range = new ByteRange()

  constructor(tcp: TcpConnection, driver: Driver) {
    super({ allowHalfOpen: true, readableHighWaterMark: HIGH_WATER_MARK, writableHighWaterMark: HIGH_WATER_MARK })
    this.tcp = tcp
    this.driver = driver
    tcp.user = this
    const family = tcp.v4 ? 4 : 6
    this.source = { address: formatAddress(tcp.r0, tcp.r1, tcp.r2, tcp.r3), port: tcp.remotePort, family }
    this.destination = { address: formatAddress(tcp.l0, tcp.l1, tcp.l2, tcp.l3), port: tcp.localPort, family }
  }

  // ---- the decision

  /** Nobody has decided yet: neither accepted nor rejected. */
  get undecided(): boolean {
    return this.tcp.state === SYN_PENDING
  }

  /** Answers the SYN. Idempotent. */
  accept(): this {
    if (this.undecided) {
      this.tcp.accept()
      this.driver.wake()
    }
    return this
  }

  /**
   * Refuses: the application's connect() fails with ECONNREFUSED ('refused'), EHOSTUNREACH, ENETUNREACH, EACCES or EHOSTUNREACH ('prohibited',
   * IPv6 and IPv4), or runs into its own time-out ('drop'). Too late for a connection already accepted: then it is reset.
   */
  reject(reason: RejectReason = 'refused'): this {
    if (this.undecided) this.tcp.reject(reason)
    else this.tcp.reset()
    this.driver.wake()
    return this.destroy()
  }

  // ---- net.Socket's surface

  get connecting(): boolean {
    return !this.isConnected && !this.destroyed
  }
  /** As `connecting`, and true again when destroyed. */
  get pending(): boolean {
    return !this.isConnected || this.destroyed
  }
  get readyState(): 'opening' | 'open' | 'readOnly' | 'writeOnly' | 'closed' {
    if (this.connecting) return 'opening'
    const readable = this.readable && !this.destroyed
    const writable = this.writable && !this.destroyed
    return readable ? (writable ? 'open' : 'readOnly') : writable ? 'writeOnly' : 'closed'
  }
  get remoteAddress(): string {
    return this.source.address
  }
  get remotePort(): number {
    return this.source.port
  }
  get remoteFamily(): string {
    return `IPv${this.source.family}`
  }
  get localAddress(): string {
    return this.destination.address
  }
  get localPort(): number {
    return this.destination.port
  }
  get localFamily(): string {
    return `IPv${this.destination.family}`
  }
  get bytesRead(): number {
    return this.tcp.bytesReceived
  }
  get bytesWritten(): number {
    return this.tcp.bytesSent + this.tcp.sndQueue.length
  }
  /** Bytes written that are not yet acknowledged. */
  get bufferSize(): number {
    return this.writableLength + this.tcp.sndQueue.length
  }
  address(): { address: string; port: number; family: string } {
    return { address: this.localAddress, port: this.localPort, family: this.localFamily }
  }
  /** Nagle's algorithm is off by default; `false` turns it on. */
  setNoDelay(noDelay = true): this {
    this.tcp.setNoDelay(noDelay)
    this.driver.wake()
    return this
  }
  /** Accepted for net.Socket's sake: the application's own kernel answers for it, so there is nothing to probe. */
  setKeepAlive(_enable?: boolean, _initialDelay?: number): this {
    return this
  }
  setTimeout(ms: number, callback?: () => void): this {
    this.timeout = ms
    if (this.idleTimer !== null) clearTimeout(this.idleTimer)
    this.idleTimer = ms > 0 ? setTimeout(() => this.emit('timeout'), ms).unref() : null
    if (callback) {
      if (ms > 0) this.once('timeout', callback)
      else this.off('timeout', callback)
    }
    return this
  }
  /** The inbound keeps the process alive, not its sockets. */
  ref(): this {
    return this
  }
  unref(): this {
    return this
  }
  destroySoon(): void {
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
      if (this.destroyed) this.controller.abort()
    }
    return this.controller.signal
  }

  /**
   * The first bytes, without taking them: at least `n` unless the peer ends or `timeout` (ms) passes before. Accepts the connection, for only
   * then do they come. Not to be mixed with reading that has already begun.
   */
  peek(n: number, options: { timeout?: number } = {}): Promise<Buffer> {
    return new Promise(resolve => {
      const chunks: Buffer[] = []
      let length = 0
      const take = () => {
        for (let chunk = this.read() as Buffer | null; chunk !== null; chunk = this.read() as Buffer | null) {
          chunks.push(chunk)
          length += chunk.length
        }
        if (length >= n) finish()
      }
      const finish = () => {
        clearTimeout(timer)
        this.off('readable', take).off('end', finish).off('close', finish)
        const all = Buffer.concat(chunks)
        if (all.length > 0 && !this.destroyed && !this.readableEnded) this.unshift(all)
        resolve(all)
      }
      const timer = options.timeout === undefined ? undefined : setTimeout(finish, options.timeout)
      if (this.destroyed) return finish()
      this.on('readable', take).on('end', finish).on('close', finish)
    })
  }

  /**
   * Hands the connection's events to `sink` and the connection out: what the relay does. The Duplex must not be used any more, but for destroy;
   * take out first what it has buffered (`read()`).
   */
  detach(sink: ConnectionSink): TcpConnection {
    this.sink = sink
    return this.tcp
  }

  /** The driver that must be woken after using a detached connection's verbs. */
  wake(): void {
    this.idleTimer?.refresh()
    this.driver.wake()
  }

  // ---- events of the engine

  /** What the drain tells. For the facade only. */
  happened(bits: number): void {
    this.idleTimer?.refresh()
    if (bits & CONNECTED) {
      this.isConnected = true
      if (this.sink !== null) this.sink.connected()
      this.emit('connect')
      this.emit('ready')
    }
    if (this.sink !== null) this.tellSink(this.sink, bits)
    else this.advance(bits)
  }

  private tellSink(sink: ConnectionSink, bits: number): void {
    if (bits & READABLE) sink.readable()
    if (bits & ENDED) sink.ended()
    if (bits & WRITABLE) sink.writable()
    if (bits & GONE_EVENT) {
      sink.gone(this.tcp.error)
      this.abort()
    }
  }

  private advance(bits: number): void {
    if (bits & ENDED) this.endedByPeer = true
    if (bits & (READABLE | ENDED) && this.wantsData) this.pull()
    if (bits & (WRITABLE | CONNECTED) && this.waitingWrite !== null && this.tcp.sendRoom > 0) {
      const callback = this.waitingWrite
      this.waitingWrite = null
      callback()
    }
    if (bits & GONE_EVENT && !this.destroyed) this.lost()
  }

  private lost(): void {
    const code = this.tcp.error
    if (code === '') {
      // Both FINs are acknowledged: what is queued can still be read, then comes the end.
      this.endedByPeer = true
      if (this.wantsData) this.pull()
      return
    }
    if (!this.isConnected && code === 'ECONNABORTED') this.destroy()
    else this.fail(errnoError(code, this.isConnected ? 'read' : 'connect'))
  }

  private fail(error: Error): void {
    if (this.listenerCount('error') === 0) this.once('error', ignore)
    this.destroy(error)
  }

  private abort(): void {
    this.controller?.abort()
  }

  // ---- Duplex

  override _read(): void {
    this.wantsData = true
    if (this.undecided) {
      if (this.waitingFor !== null) return // until that stream has connected
      this.accept()
    }
    this.pull()
  }

  /** Moves what was received into the Readable, as long as it wants it. */
  private pull(): void {
    const { range } = this
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
      if (this.push(chunk)) this.wantsData = true
    }
    if (this.endedByPeer && this.tcp.rcvQueue.length === 0 && this.wantsData) {
      this.wantsData = false
      this.push(null)
    }
    if (took) this.driver.wake() // the window may have opened
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.accept()
    this.idleTimer?.refresh()
    if (!this.tcp.sendable) return callback(errnoError('EPIPE', 'write'))
    const room = this.tcp.send(chunk as Uint8Array<ArrayBuffer>, 0, chunk.length, null)
    this.driver.wake()
    if (room) callback()
    else this.waitingWrite = callback
  }

  override _writev(chunks: { chunk: Buffer }[], callback: (error?: Error | null) => void): void {
    this.accept()
    this.idleTimer?.refresh()
    if (!this.tcp.sendable) return callback(errnoError('EPIPE', 'write'))
    let room = true
    for (const { chunk } of chunks) room = this.tcp.send(chunk as Uint8Array<ArrayBuffer>, 0, chunk.length, null)
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
    if (this.idleTimer !== null) clearTimeout(this.idleTimer)
    this.waitingFor = null
    if (this.undecided) this.tcp.reject(rejectReason(error))
    else if (error !== null || this.readableLength > 0) this.tcp.reset()
    else this.tcp.close()
    this.driver.wake()
    this.abort()
    const waiting = this.waitingWrite
    this.waitingWrite = null
    callback(error)
    waiting?.(error ?? errnoError('EPIPE', 'write'))
  }

  /** Piped into a stream that is still connecting, a pending socket waits for it: only then is it known whether to accept. */
  override pipe<T extends NodeJS.WritableStream>(destination: T, options?: { end?: boolean }): T {
    const other = destination as unknown as Connecting
    if (this.undecided && destination !== (this as unknown) && other.connecting === true) this.waitFor(other)
    return super.pipe(destination, options)
  }

  private waitFor(other: Connecting): void {
    this.waitingFor ??= new Set()
    this.waitingFor.add(other)
    const connect = other.encrypted ? 'secureConnect' : 'connect'
    const done = (connected: boolean) => {
      other.off(connect, onConnect).off('close', onClose)
      this.waitingFor?.delete(other)
      if (this.waitingFor?.size === 0) this.waitingFor = null
      if (this.destroyed || !this.undecided) return
      if (!connected) this.reject('refused')
      else if (this.wantsData && this.waitingFor === null) this._read()
    }
    const onConnect = () => done(true)
    const onClose = () => done(false)
    other.on(connect, onConnect).on('close', onClose)
  }
}
