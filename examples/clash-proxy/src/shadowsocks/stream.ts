// Owns: a connection through a Shadowsocks server as a stream: what is written goes out sealed over the socket to the server, what comes
// is opened. Half-close, back-pressure and resets are those of the socket below. Protocol: chunks.ts.

import { Duplex } from 'node:stream'
import { ChunkOpener, ChunkSealer } from './chunks.js'
import type { Secret } from './cipher.js'
import type { SaltFilter } from './salts.js'

const HIGH_WATER_MARK = 65_536 // bytes each way: four chunks

/** What came is not what a server with our key says. `code` is EPROTO, or ECONNRESET where it broke off. */
export class ShadowsocksError extends Error {
  override readonly name = 'ShadowsocksError'
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message)
  }
}

export interface ShadowsocksSession {
  secret: Secret
  salts: SaltFilter
  /** For messages: which server. */
  name: string
}

export class ShadowsocksStream extends Duplex {
  private readonly sealer: ChunkSealer
  private readonly opener: ChunkOpener
  private ended = false

  /** Takes over `socket`, which is connected to the server, and says at once where to: `address` in SOCKS form. */
  constructor(
    private readonly socket: Duplex,
    private readonly session: ShadowsocksSession,
    address: Uint8Array,
  ) {
    super({ allowHalfOpen: true, highWaterMark: HIGH_WATER_MARK })
    this.sealer = new ChunkSealer(session.secret, session.salts)
    this.opener = new ChunkOpener(session.secret, session.salts)
    socket.pause() // until somebody reads
    socket.on('data', (bytes: Buffer) => this.receive(bytes))
    socket.on('end', () => this.receiveEnd())
    socket.on('error', error => this.destroy(error))
    socket.on('close', () => this.lost())
    this.send(address, () => {}) // its errors come as 'error'
  }

  /** Ends it with a RST, as `net.Socket` does. */
  resetAndDestroy(): this {
    reset(this.socket)
    return this.destroy()
  }

  override _read(): void {
    this.socket.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.send(chunk, callback)
  }

  override _writev(chunks: { chunk: Buffer }[], callback: (error?: Error | null) => void): void {
    this.send(Buffer.concat(chunks.map(({ chunk }) => chunk)), callback)
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.socket.end(callback)
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    if (error) reset(this.socket)
    else this.socket.destroy()
    callback(error)
  }

  private send(plain: Uint8Array, callback: (error?: Error | null) => void): void {
    const pieces = this.sealer.seal(plain)
    if (pieces.length === 0) return callback()
    this.socket.cork() // one system call
    for (const piece of pieces.slice(0, -1)) this.socket.write(piece)
    this.socket.write(pieces[pieces.length - 1], callback)
    this.socket.uncork()
  }

  private receive(bytes: Buffer): void {
    const fault = this.opener.feed(bytes, payload => {
      if (!this.push(payload)) this.socket.pause()
    })
    if (fault !== undefined) this.destroy(new ShadowsocksError('EPROTO', `${this.session.name}: what came is ${fault}`))
  }

  private receiveEnd(): void {
    if (!this.opener.complete) return this.lost()
    this.ended = true
    this.push(null)
  }

  /** It is over before it was said that it is. */
  private lost(): void {
    if (this.ended && this.writableFinished) return
    this.destroy(new ShadowsocksError('ECONNRESET', `${this.session.name} broke the connection off`))
  }
}

function reset(socket: Duplex & { resetAndDestroy?: () => unknown }): void {
  if (socket.destroyed) return
  if (socket.resetAndDestroy) socket.resetAndDestroy()
  else socket.destroy()
}
