// Owns: moving the bytes of a relay both ways between a TUN connection and its upstream, and the rules of ending: a FIN becomes a FIN, a
// reset a reset. No stream's machinery in between on the side of the TUN; far-end.ts is the other side.

import { Buffer } from 'node:buffer'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { DialedSocket } from '@tun/device'
import { type ConnectionSink, DOUBLE, errnoError, type Owner, type TcpConnection, type TunSocket } from '@tun/stack'
import { ConnectionEnd } from './far-connection.js'
import { type Bytes, endingOf, type FarEnd, type FarSink, isWatched, StreamEnd } from './far-end.js'
import { HandleEnd } from './far-handle.js'
import type { RelayReason, RelayResult } from './relay.js'

export class Pump implements ConnectionSink, FarSink {
  private readonly socket: TunSocket
  private readonly upstream: Duplex
  private readonly far: FarEnd
  private readonly resolve: (result: RelayResult) => void
  private readonly halfCloseTimeout: number
  private tcp!: TcpConnection
  private up = DOUBLE
  private down = DOUBLE
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
    this.up = 0
    this.down = 0
    this.socket = socket
    this.upstream = upstream
    this.halfCloseTimeout = halfCloseTimeout
    this.resolve = resolve
    const direct = upstream instanceof DialedSocket && !isWatched(upstream) ? HandleEnd.of(upstream, this) : null
    this.far = direct ?? ConnectionEnd.of(upstream, this) ?? new StreamEnd(upstream, this)
  }

  start(): void {
    const { socket, upstream } = this
    upstream.allowHalfOpen = true
    this.tcp = socket.detach(this)
    if (this.far.byReference) this.tcp.lend()
    socket.on('close', () => this.sourceClosed())
    upstream.on('error', error => this.fail('upstream-error', error))
    upstream.on('close', () => this.upstreamClosed())
    // What somebody has read into the Duplex goes first: in one piece, for the upstream may take no other behind a part of it.
    const pieces: Buffer[] = []
    for (let early = socket.read() as Buffer | null; early !== null; early = socket.read() as Buffer | null) pieces.push(early)
    if (pieces.length > 0) {
      const early = pieces.length === 1 ? pieces[0] : Buffer.concat(pieces)
      this.up += early.length
      this.upBlocked = !this.far.write(early as Bytes)
      if (this.done) return
    }
    socket.accept()
    this.far.start()
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
    this.far.resume()
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
    const { tcp } = this
    if (!this.upBlocked && !this.done && tcp.rcvQueue.length > 0) this.upBlocked = !this.far.take(tcp)
    if (this.sourceEnded && tcp.rcvQueue.length === 0 && !this.upEnded && !this.done) {
      this.upEnded = true
      this.far.end()
      this.oneEnded()
    }
  }

  // ---- the upstream's side

  readSize(most: number): number {
    return this.tcp.fetchSize(most)
  }

  received(bytes: Bytes, start: number, end: number, owner: Owner | null): void {
    if (this.done) return
    this.down += end - start
    this.halfTimer?.refresh()
    owner?.retain()
    if (!this.tcp.send(bytes, start, end, owner)) {
      this.downBlocked = true
      this.far.pause()
    }
    this.socket.wake()
  }

  taken(bytes: number): void {
    this.up += bytes
    this.halfTimer?.refresh()
    this.socket.wake()
  }

  upstreamDrained(): void {
    this.upBlocked = false
    this.pumpUp()
  }

  upstreamEnded(): void {
    if (this.downEnded || this.done) return
    this.downEnded = true
    this.tcp.end()
    this.socket.wake()
    this.oneEnded()
  }

  upstreamFinished(): void {
    this.upFinished = true
    if (this.upEnded) this.oneEnded()
  }

  upstreamFailed(error: Error): void {
    this.fail('upstream-error', error)
  }

  private upstreamClosed(): void {
    if (!this.done) this.fail('upstream-error', endingOf(this.upstream))
  }

  private sourceClosed(): void {
    if (!this.done) this.fail('source-error', this.socket.errored ?? errnoError('ECONNABORTED', 'read'))
  }

  // ---- the end

  private oneEnded(): void {
    if (this.done) return
    if (this.upFinished && this.upEnded && this.downEnded) return this.finish('end')
    if (this.halfTimer !== null) return
    this.halfMark = this.progress
    this.halfTimer = setTimeout(() => this.halfTime(), this.halfCloseTimeout).unref()
  }

  /** Bytes that either end has taken: what still drains from our queues is not idle. */
  private get progress(): number {
    return this.up - this.far.unsent + this.down + this.tcp.sndQueue.headAt
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
