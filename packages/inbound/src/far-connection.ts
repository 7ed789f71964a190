// Owns: an upstream that is a connection of a TUN itself – another inbound's, or one that `connect()` opened: ranges go from one stack's
// queue to the other's as they lie, no stream between.

import type { Duplex } from 'node:stream'
import { ByteRange, type ConnectionSink, errnoError, type TcpConnection, TunSocket } from '@tun/stack'
import { type Bytes, type FarEnd, type FarSink, isWatched } from './far-end.js'

/** One for all: it is valid until the next read, and every range is handed on before that. */
const range = new ByteRange()

export class ConnectionEnd implements FarEnd, ConnectionSink {
  readonly byReference = true
  private readonly socket: TunSocket
  private readonly sink: FarSink
  private readonly tcp: TcpConnection
  private isPaused = false
  private isFull = false
  private hasEnded = false

  private constructor(socket: TunSocket, sink: FarSink) {
    this.socket = socket
    this.sink = sink
    this.tcp = socket.detach(this)
    this.tcp.lend()
  }

  /** Null: it is no such socket, somebody looks on, or has written to the stream already, which goes first. */
  static of(stream: Duplex, sink: FarSink): ConnectionEnd | null {
    if (!(stream instanceof TunSocket) || Object.getPrototypeOf(stream) !== TunSocket.prototype || isWatched(stream)) return null
    return stream.destroyed || stream.writableLength > 0 || stream.writableEnded ? null : new ConnectionEnd(stream, sink)
  }

  get unsent(): number {
    return this.tcp.sndQueue.length
  }

  start(): void {
    const { socket, sink, tcp } = this
    // What somebody has read into the stream goes first.
    for (let early = socket.read(); early !== null; early = socket.read()) sink.received(early, 0, early.length, null)
    this.hasEnded = tcp.peerEnded
    this.readable()
  }

  take(from: TcpConnection): boolean {
    const { sink, socket } = this
    let took = false
    while (!this.isFull && from.read(range)) {
      const { bytes, start, end, owner } = range
      took = true
      sink.taken(end - start)
      this.isFull = !this.tcp.send(bytes, start, end, owner)
    }
    if (took) socket.wake()
    return !this.isFull
  }

  write(bytes: Bytes): boolean {
    this.isFull = !this.tcp.send(bytes, 0, bytes.length, null)
    this.socket.wake()
    return !this.isFull
  }

  end(): void {
    this.socket.end() // the FIN, and 'finish' for whoever watches the stream
    this.sink.upstreamFinished()
  }

  pause(): void {
    this.isPaused = true
  }

  resume(): void {
    this.isPaused = false
    this.readable()
  }

  // ---- events of the connection

  connected(): void {}

  readable(): void {
    const { tcp, sink } = this
    let took = false
    while (!this.isPaused && tcp.read(range)) {
      took = true
      const { bytes, start, end, owner } = range
      sink.received(bytes, start, end, owner)
      owner?.release()
    }
    if (took) this.socket.wake() // the window may have opened
    if (this.hasEnded && tcp.rcvQueue.length === 0) this.sink.upstreamEnded()
  }

  writable(): void {
    if (!this.isFull || this.tcp.sendRoom <= 0) return
    this.isFull = false
    this.sink.upstreamDrained()
  }

  ended(): void {
    this.hasEnded = true
    this.readable()
  }

  gone(code: string): void {
    if (code === '') this.ended()
    else this.sink.upstreamFailed(errnoError(code, 'read'))
  }
}
