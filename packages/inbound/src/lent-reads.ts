// Owns: reading a net.Socket into chunks that go on by reference. Node's own way makes a fresh 64 KiB buffer for every read: cold memory
// and garbage. Here a socket that is idle or slow reads into one buffer shared by all (and is copied out of it), a fast one into chunks of
// a pool.
// Read first: the `onread` option of net.connect, and onStreamRead in Node's lib/internal/stream_base_commons.js.

import type { OnReadOpts, Socket } from 'node:net'
import type { Owner } from '@tun/stack'

/**
 * Largest multiple of an Ethernet-sized segment (1,448 bytes with timestamps) that fits in one IP packet: one read is one super-segment.
 */
const CHUNK_BYTES = 45 * 1448
/** A read this large makes the next one go to a chunk. */
const FAST = CHUNK_BYTES / 2
/** Chunks out at a time (16 MiB); beyond them everybody shares. */
const MAX_CHUNKS = 256
const KEEP_FREE = 32

type Bytes = Uint8Array<ArrayBuffer>

/** Who takes what was read. */
export interface ReadSink {
  /**
   * `bytes` up to `length` are borrowed for the call if `owner` is null; else they may be kept with `owner.retain()`. False: stop reading.
   */
  read(bytes: Bytes, length: number, owner: Owner | null): boolean
}

class Chunk implements Owner {
  readonly bytes: Bytes = new Uint8Array(CHUNK_BYTES)
  private refs = 0

  retain(): void {
    this.refs++
  }

  release(): void {
    if (--this.refs > 0) return
    out--
    if (free.length < KEEP_FREE) free.push(this)
  }
}

const shared: Bytes = new Uint8Array(CHUNK_BYTES)
const free: Chunk[] = []
let out = 0

function takeChunk(): Chunk | null {
  if (out >= MAX_CHUNKS) return null
  out++
  const chunk = free.pop() ?? new Chunk()
  chunk.retain()
  return chunk
}

/** One socket's reads. Until somebody takes them over they go into the stream, as ever. */
export class LentReads {
  /** For net.connect. */
  readonly onread: OnReadOpts
  private chunk: Chunk | null = null
  private sink: ReadSink | null = null
  private fast = false
  private socket: Socket | null = null

  constructor() {
    this.onread = { buffer: () => this.nextBuffer(), callback: (length, bytes) => this.took(length, bytes as Bytes) }
  }

  /** Call once, with the socket made of `onread`. */
  attach(socket: Socket): void {
    this.socket = socket
    lentReads.set(socket, this)
  }

  /** What is read from now on goes to `sink`; what the stream has buffered is still to be read from it. */
  takeOver(sink: ReadSink): void {
    this.sink = sink
    this.socket?.once('close', () => this.dropChunk()) // chunks are lent from here on
  }

  private nextBuffer(): Bytes {
    this.dropChunk()
    if (this.fast && this.sink !== null) this.chunk = takeChunk()
    return this.chunk === null ? shared : this.chunk.bytes
  }

  private took(length: number, bytes: Bytes): boolean {
    this.fast = length >= FAST
    if (this.sink !== null) return this.sink.read(bytes, length, this.chunk)
    return this.socket?.push(Buffer.from(bytes.subarray(0, length))) ?? false
  }

  private dropChunk(): void {
    const { chunk } = this
    this.chunk = null
    chunk?.release()
  }
}

const lentReads = new WeakMap<Socket, LentReads>()

/** The reads of a socket that was made by our dialers; undefined for any other stream. */
export function lentReadsOf(stream: object): LentReads | undefined {
  return lentReads.get(stream as Socket)
}
