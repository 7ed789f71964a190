// Owns: a relay's upstream as its pump sees it, and the same for any Duplex. far-handle.ts has the one for sockets of our
// dialers, far-connection.ts for connections of a TUN.

import { Buffer } from 'node:buffer'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { ByteRange, ByteRanges, errnoError, type Owner, type TcpConnection } from '@tun/stack'

export type Bytes = Uint8Array<ArrayBuffer>

/** What the upstream tells its pump. */
export interface FarSink {
  /** Of `most` bytes, those to read at once. */
  readSize(most: number): number
  /**
   * Bytes [start, end), borrowed for the call if `owner` is null; else they may be kept with `owner.retain()`. The pump calls `pause` if
   * it has no room for more.
   */
  received(bytes: Bytes, start: number, end: number, owner: Owner | null): void
  /** So many bytes have left the connection. */
  taken(bytes: number): void
  /** `take` takes more. */
  upstreamDrained(): void
  /** The upstream has sent its FIN. */
  upstreamEnded(): void
  /** Everything written is on its way, and the FIN behind it. */
  upstreamFinished(): void
  upstreamFailed(error: Error): void
}

export interface FarEnd {
  /** Begins to read. Before it tells at most that a write has failed. */
  start(): void
  /**
   * Takes what the connection has received, as far as it can, and tells the sink how much: of what lies there at once, in one system call
   * if the upstream is a socket. False: nothing more before `upstreamDrained`.
   */
  take(tcp: TcpConnection): boolean
  /** Takes bytes that go before those. False, as above. */
  write(bytes: Bytes): boolean
  /** A FIN behind what was written. */
  end(): void
  /** Bytes taken that the kernel has not taken yet; less those that it has, of what is not taken yet. */
  readonly unsent: number
  /** What `take` takes is not copied. */
  readonly byReference: boolean
  pause(): void
  resume(): void
}

/** One each for all: nobody else comes between a look and what is done with it. */
const range = new ByteRange()
const ranges = new ByteRanges()

const ignore = () => {}
/** A Buffer that net.Socket has emitted is read into no more: nobody has to give it back. */
const KEPT: Owner = { retain: ignore, release: ignore }
/** Smaller ones are copied together: a flood of tiny pieces must not cost an object each. */
const WORTH_KEEPING = 2048

/**
 * Exactly a net.Socket: its 'data' is a fresh buffer each time, and its write callback means that the kernel has the bytes. A stranger's
 * callback does not (a PassThrough hands the very same bytes on), so strangers get and give copies.
 */
function isPlain(stream: Duplex): boolean {
  return Object.getPrototypeOf(stream) === Socket.prototype && !Object.hasOwn(stream, 'write') && !Object.hasOwn(stream, '_write')
}

/** Somebody looks on: has put a `write` of its own on the stream, or listens to what it receives. Nothing may pass it by. */
export function isWatched(stream: Duplex): boolean {
  return Object.hasOwn(stream, 'write') || stream.listenerCount('data') > 0
}

export class StreamEnd implements FarEnd {
  readonly byReference: boolean
  private readonly stream: Duplex
  private readonly sink: FarSink
  /** Bytes at the head of the connection's queue that were written, and that the kernel may not have taken. They leave it when it has. */
  private inFlight = 0
  /** How often something was sent on its way. */
  private flight = 0

  constructor(stream: Duplex, sink: FarSink) {
    this.stream = stream
    this.sink = sink
    this.byReference = isPlain(stream)
  }

  /** Of what is in flight the kernel may have a part, which no callback tells of: libuv's queue does, as net.Socket's own time-out asks it. */
  get unsent(): number {
    const { inFlight, stream } = this
    if (inFlight === 0) return stream.writableLength
    const queued = (stream as Duplex & { _handle?: { writeQueueSize?: number } | null })._handle?.writeQueueSize
    return (queued ?? inFlight) - inFlight // what the kernel has of it counts as taken: below zero
  }

  start(): void {
    const { stream, sink } = this
    stream.on('drain', () => {
      if (this.inFlight === 0) sink.upstreamDrained() // else the last write's callback tells
    })
    stream.on('data', (chunk: Buffer) => {
      sink.received(chunk as Bytes, 0, chunk.length, this.byReference && chunk.length >= WORTH_KEEPING ? KEPT : null)
    })
    stream.on('end', () => sink.upstreamEnded())
    stream.on('finish', () => sink.upstreamFinished())
    stream.resume() // whoever had it before may have paused it
    if (stream.readableEnded) sink.upstreamEnded()
  }

  take(tcp: TcpConnection): boolean {
    return this.byReference ? this.lend(tcp) : this.give(tcp)
  }

  /** All that is there by one writev(2). What the kernel does not take at once stays in the queue, where it counts, and holds its owners. */
  private lend(tcp: TcpConnection): boolean {
    const { stream, sink } = this
    while (tcp.rcvQueue.length > 0) {
      if (stream.destroyed) return false // its 'close' will tell
      tcp.peek(ranges)
      const { length } = ranges
      this.inFlight = length
      this.flight++
      stream.cork()
      for (let i = 0; i < ranges.count; i++) this.writeRange(tcp, i)
      ranges.clear()
      stream.uncork()
      if (stream.writableLength > 0) return false
      this.inFlight = 0
      tcp.skip(length)
      sink.taken(length)
    }
    return true
  }

  private writeRange(tcp: TcpConnection, i: number): void {
    const { bytes, bounds, owners, count } = ranges
    const [start, end] = [bounds[2 * i], bounds[2 * i + 1]]
    const owner = owners[i]
    const flight = i === count - 1 ? this.flight : 0
    owner?.retain()
    this.stream.write(Buffer.from(bytes[i].buffer, bytes[i].byteOffset + start, end - start), error => {
      owner?.release()
      if (!error && flight === this.flight) this.landed(tcp)
    })
  }

  /** The kernel has the last of what was in flight. */
  private landed(tcp: TcpConnection): void {
    const { inFlight, stream, sink } = this
    if (inFlight === 0 || stream.destroyed) return // it had all of it at once, or will not have it any more
    this.inFlight = 0
    tcp.skip(inFlight)
    sink.taken(inFlight)
    sink.upstreamDrained()
  }

  /** A stranger gets memory that it may keep: what was copied for the queue already, or a copy; by one `_writev` if it has that. */
  private give(tcp: TcpConnection): boolean {
    const { stream, sink } = this
    let room = true
    stream.cork()
    try {
      while (room && tcp.read(range)) {
        const { bytes, start, end, owner } = range
        let chunk: Buffer
        if (owner === null) chunk = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start)
        else {
          chunk = Buffer.allocUnsafe(end - start)
          chunk.set(bytes.subarray(start, end))
          owner.release()
        }
        sink.taken(chunk.length)
        room = stream.write(chunk)
      }
    } finally {
      stream.uncork() // also if a write of its own has thrown
    }
    return room
  }

  write(bytes: Bytes): boolean {
    return this.stream.write(bytes)
  }

  end(): void {
    if (this.stream.writableFinished) this.sink.upstreamFinished()
    else this.stream.end()
  }

  pause(): void {
    this.stream.pause()
  }

  resume(): void {
    this.stream.resume()
  }
}

/** What ended a stream that closed, for whoever waited for more. */
export function endingOf(stream: Duplex): Error {
  return stream.errored ?? errnoError('ECONNRESET', 'read')
}
