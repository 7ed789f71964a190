// Owns: an upstream of our own dialers in a relay: send(2) and recv(2) on the slabs themselves, no stream between.

import type { DialedSocket, TcpHandle, TcpSink } from '@tun/device'
import { ByteRanges, type TcpConnection, takeBlock } from '@tun/stack'
import type { Bytes, FarEnd, FarSink } from './far-end.js'

/**
 * Largest multiple of an Ethernet-sized segment (1,448 bytes with timestamps) that fits in one IP packet: one read is one super-segment.
 */
const READ_BYTES = 45 * 1448
/** A read this large makes the next one go to a block of the pool, which is not copied again. */
const FAST = READ_BYTES / 2
/** All that are slow, or idle, read into this, and are copied out of it. */
const sharedBytes: Bytes = new Uint8Array(READ_BYTES)
/** Reads of one connection in a row; then the others get their turn, and the device. */
const MAX_READS = 4
/** One for all: it is cleared before anybody else's turn. */
const ranges = new ByteRanges()

export class HandleEnd implements FarEnd, TcpSink {
  readonly byReference = true
  private readonly socket: DialedSocket
  private readonly handle: TcpHandle
  private readonly sink: FarSink
  /** What the kernel has not taken of what goes before the connection's bytes. */
  private rest: Bytes | null = null
  private restStart = 0
  private isFull = false
  private isEnding = false
  private isPaused = false
  private isFast = false

  private constructor(socket: DialedSocket, sink: FarSink) {
    this.socket = socket
    this.sink = sink
    this.handle = socket.detach(this) as TcpHandle
    socket.once('close', () => {
      this.rest = null
      this.handle.waiting = 0
    })
  }

  /** Null: somebody has written to the stream already, which goes first; or it is not connected. */
  static of(socket: DialedSocket, sink: FarSink): HandleEnd | null {
    return socket.pending || socket.destroyed || socket.writableLength > 0 || socket.writableEnded ? null : new HandleEnd(socket, sink)
  }

  get unsent(): number {
    return this.rest === null ? 0 : this.rest.length - this.restStart
  }

  start(): void {
    const { sink } = this
    // What somebody has read into the stream goes first.
    for (let early = this.socket.read() as Bytes | null; early !== null; early = this.socket.read() as Bytes | null) {
      sink.received(early, 0, early.length, null)
    }
    if (this.handle.hasEnded) sink.upstreamEnded()
    else if (this.handle.canReceive) this.readable()
  }

  take(tcp: TcpConnection): boolean {
    const { handle, sink } = this
    while (!handle.isBlocked && tcp.rcvQueue.length > 0) {
      tcp.peek(ranges)
      const sent = handle.sendRanges(ranges)
      ranges.clear()
      if (sent < 0) {
        this.broken(sent, 'write')
        return false
      }
      // What the kernel does not take stays in the connection's queue, where it counts.
      tcp.skip(sent)
      sink.taken(sent)
    }
    handle.waiting = tcp.rcvQueue.length
    this.isFull = handle.waiting > 0
    return !this.isFull
  }

  write(bytes: Bytes): boolean {
    const sent = this.handle.isBlocked ? 0 : this.handle.send(bytes, 0, bytes.length)
    if (sent === bytes.length) return true
    if (sent < 0) {
      this.broken(sent, 'write')
      return false
    }
    this.rest = bytes
    this.restStart = sent
    this.isFull = true
    this.handle.waiting = this.unsent
    return false
  }

  end(): void {
    this.isEnding = true
    if (this.rest !== null) return
    this.socket.end() // shutdown(2), and 'finish' for whoever watches the stream
    this.sink.upstreamFinished()
  }

  pause(): void {
    this.isPaused = true
  }

  resume(): void {
    this.isPaused = false
    if (this.handle.canReceive) this.handle.receiveLater()
  }

  // ---- events of the handle

  connected(): void {}

  readable(): void {
    const { handle } = this
    for (let reads = 0; !this.isPaused && handle.canReceive; reads++) {
      if (reads === MAX_READS) return handle.receiveLater()
      const block = this.isFast ? takeBlock() : null
      const bytes = block === null ? sharedBytes : block.bytes
      const length = handle.receive(bytes, 0, this.sink.readSize(READ_BYTES))
      if (length > 0) {
        this.isFast = length >= FAST
        this.sink.received(bytes, 0, length, block)
      }
      block?.release()
      if (length === 0) this.sink.upstreamEnded()
      if (length < -1) this.broken(length, 'read')
    }
  }

  writable(): void {
    if (this.rest !== null && !this.writeRest(this.rest)) return
    if (!this.isFull) return
    this.isFull = false
    if (this.isEnding) this.end()
    else this.sink.upstreamDrained()
  }

  /** False: not all of it. */
  private writeRest(rest: Bytes): boolean {
    const sent = this.handle.send(rest, this.restStart, rest.length)
    if (sent < 0) {
      this.broken(sent, 'write')
      return false
    }
    this.restStart += sent
    this.handle.waiting = this.unsent
    if (this.restStart < rest.length) return false
    this.rest = null
    return true
  }

  failed(errno: number): void {
    this.broken(-errno, 'read')
  }

  private broken(answer: number, syscall: string): void {
    this.sink.upstreamFailed(this.socket.errored ?? this.socket.systemError(-answer, syscall))
  }
}
