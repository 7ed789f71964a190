// Owns: a relay's upstream as its pump sees it, and the same for any Duplex. far-handle.ts has the one for sockets of our
// dialers, far-connection.ts for connections of a TUN.

import { Buffer } from 'node:buffer'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type ByteRange, errnoError, type Owner } from '@tun/stack'

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
  /** `write` takes more. */
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
  /** Takes a range, whose owner is released when its bytes are not needed any more. False: no other one before `upstreamDrained`. */
  write(range: ByteRange): boolean
  /** A FIN behind what was written. */
  end(): void
  /** Bytes taken that the kernel has not taken yet. */
  readonly unsent: number
  /** What `write` takes is not copied. */
  readonly byReference: boolean
  pause(): void
  resume(): void
}

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

  constructor(stream: Duplex, sink: FarSink) {
    this.stream = stream
    this.sink = sink
    this.byReference = isPlain(stream)
  }

  get unsent(): number {
    return this.stream.writableLength
  }

  start(): void {
    const { stream, sink } = this
    stream.on('drain', () => sink.upstreamDrained())
    stream.on('data', (chunk: Buffer) => {
      sink.received(chunk as Bytes, 0, chunk.length, this.byReference && chunk.length >= WORTH_KEEPING ? KEPT : null)
    })
    stream.on('end', () => sink.upstreamEnded())
    stream.on('finish', () => sink.upstreamFinished())
    stream.resume() // whoever had it before may have paused it
    if (stream.readableEnded) sink.upstreamEnded()
  }

  write({ bytes, start, end, owner }: ByteRange): boolean {
    if (owner === null) return this.stream.write(Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start))
    if (this.byReference) return this.stream.write(Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start), () => owner.release())
    const chunk = Buffer.allocUnsafe(end - start)
    chunk.set(bytes.subarray(start, end))
    owner.release()
    return this.stream.write(chunk)
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
