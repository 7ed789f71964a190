// Owns: DialedSocket, the Duplex over a TcpHandle: what `dial()` answers. It looks like a net.Socket; a relay takes the handle out of it.
// Read first: tcp-handle.ts. Node's own names and events: https://nodejs.org/api/net.html#class-netsocket

import { Buffer } from 'node:buffer'
import { channel } from 'node:diagnostics_channel'
import { isIP } from 'node:net'
import { Duplex } from 'node:stream'
import { getSystemErrorName } from 'node:util'
import { IdleTimer } from '@tun/stack'
import { TcpHandle, type TcpSink, type TcpTarget } from './tcp-handle.js'

/** Everybody receives into it, and copies what has come. */
const shared = new Uint8Array(64 * 1024)
/** Reads in a row before other sockets get their turn. */
const MAX_READS = 16
const EPIPE = 32 // Linux
/** As `net.client.socket` for net.Socket: told of every socket that is dialled, `{ socket }`. */
const dials = channel('tun.dial')

type Callback = (error?: Error | null) => void

/**
 * A TCP connection that this machine opened. It is `connecting` first; 'connect' says that it is connected, 'error' why not: an errno of
 * connect(2). Half-open is allowed, Nagle's algorithm is off. `instanceof net.Socket` it is not; everything else of its surface that
 * clients use is there.
 */
export class DialedSocket extends Duplex {
  readonly remotePort: number
  readonly remoteFamily: string
  /** 0: no time-out. */
  timeout = 0
  private readonly target: TcpTarget
  private readonly own = new StreamSink(this)
  private handle: TcpHandle | null = null
  private isConnected = false
  private wantsData = false
  /** What the kernel has not taken yet, and whom to tell. */
  private rest: Uint8Array | null = null
  /** What it has taken of the same write. */
  private taken = 0
  private written: Callback | null = null
  private finishing: Callback | null = null
  private isDetached = false
  private wantsReset = false
  private idle: IdleTimer | null = null

  /** Use dial(). */
  constructor(target: TcpTarget) {
    super({ allowHalfOpen: true })
    check(target)
    this.target = target
    this.remotePort = target.port
    this.remoteFamily = `IPv${target.family}`
    try {
      this.handle = new TcpHandle(target, this.own)
    } catch (error) {
      const { code, errno, syscall } = error as NodeJS.ErrnoException
      if (errno === undefined || code === undefined) throw error // a mistake of the caller's
      process.nextTick(() => this.destroy(this.systemError(-errno, syscall ?? 'connect', error)))
    }
    if (dials.hasSubscribers) dials.publish({ socket: this })
  }

  get connecting(): boolean {
    return !this.isConnected && !this.destroyed
  }
  get pending(): boolean {
    return !this.isConnected || this.destroyed
  }
  get readyState(): 'opening' | 'open' | 'readOnly' | 'writeOnly' | 'closed' {
    if (this.connecting) return 'opening'
    if (this.readable) return this.writable ? 'open' : 'readOnly'
    return this.writable ? 'writeOnly' : 'closed'
  }
  get remoteAddress(): string {
    return this.target.address
  }
  get localAddress(): string | undefined {
    return this.handle?.address(false)?.address
  }
  get localPort(): number | undefined {
    return this.handle?.address(false)?.port
  }
  get localFamily(): string {
    return this.remoteFamily
  }
  get bytesRead(): number {
    return this.handle?.bytesReceived ?? 0
  }
  /** @internal */
  get waiting(): number {
    return this.handle?.waiting ?? 0
  }
  /** Bytes written so far, waiting ones included. */
  get bytesWritten(): number {
    return (this.handle?.bytesSent ?? 0) - this.taken + this.writableLength
  }
  address(): { address?: string; port?: number; family?: string } {
    const at = this.handle?.address(false)
    return at === undefined ? {} : { ...at, family: this.localFamily }
  }

  setNoDelay(noDelay = true): this {
    this.handle?.noDelay(noDelay)
    return this
  }
  /** `initialDelay` in milliseconds; 0 leaves it to the kernel (two hours). */
  setKeepAlive(enable = false, initialDelay = 0): this {
    this.handle?.keepAlive(enable ? Math.ceil(initialDelay / 1000) || 7200 : 0)
    return this
  }
  /** 'timeout' after `ms` without traffic; what to do then is the listener's business. 0: never. */
  setTimeout(ms: number, callback?: () => void): this {
    this.idle ??= new IdleTimer(
      () => this.bytesRead + (this.handle?.bytesSent ?? 0),
      () => this.emit('timeout'),
    )
    this.idle.set(this.destroyed ? 0 : ms)
    this.timeout = ms
    if (callback) {
      if (ms > 0) this.once('timeout', callback)
      else this.off('timeout', callback)
    }
    return this
  }
  ref(): this {
    this.handle?.setRef(true)
    return this
  }
  unref(): this {
    this.handle?.setRef(false)
    return this
  }
  destroySoon(): void {
    if (this.writable) this.end()
    if (this.writableFinished) this.destroy()
    else this.once('finish', () => this.destroy())
  }
  /** Destroys it with a RST in place of the FIN. */
  resetAndDestroy(): this {
    this.wantsReset = true
    return this.destroy()
  }

  /**
   * Hands the connection to `sink`: what a handshake does, and the relay. The stream must not be read or written meanwhile. Answers null
   * if it is destroyed. Of the stream's events there are 'finish', behind `end()`, 'error' and 'close' meanwhile.
   */
  detach(sink: TcpSink): TcpHandle | null {
    if (this.handle === null || this.destroyed) return null
    this.isDetached = true
    this.handle.sink = sink
    return this.handle
  }

  /** Takes the connection back. `early` was received already and is read first; 'connect' is not told any more. */
  attach(early: Uint8Array | null): void {
    if (this.handle === null || this.destroyed) return
    this.isDetached = false
    this.isConnected = !this.handle.isConnecting
    this.handle.sink = this.own
    if (early !== null && early.length > 0) {
      const asked = this.wantsData
      this.wantsData = false // `_read` may be called from within push
      if (this.push(early) && asked) this.wantsData = true
    }
    if (this.handle.canReceive) this.handle.receiveLater() // told to the sink already; not before whoever gets the stream has looked at it
  }

  /** An error as Node makes it: `connect ECONNREFUSED 192.0.2.1:443`, with code, errno (negative) and syscall. */
  systemError(errno: number, syscall: string, cause?: unknown): NodeJS.ErrnoException {
    const { address, port } = this.target
    const code = getSystemErrorName(-errno)
    const where = syscall === 'connect' ? ` ${address}:${port}` : ''
    return Object.assign(new Error(`${syscall} ${code}${where}`, cause === undefined ? undefined : { cause }), {
      code,
      errno: -errno,
      syscall,
      ...(where !== '' && { address, port }),
    })
  }

  // ---- events of the handle

  /** @internal */
  failed(errno: number): void {
    this.destroy(this.systemError(errno, this.isConnected ? 'read' : 'connect'))
  }

  /** @internal */
  connected(): void {
    this.isConnected = true
    this.emit('connect')
    this.emit('ready')
    if (this.destroyed) return
    if (this.rest !== null || this.written !== null) this.flush()
    this.finish()
    if (!this.isPaused()) this.read(0) // as net.Socket: who does not read is told of a reset all the same
  }

  /** @internal */
  pull(): void {
    const { handle } = this
    if (handle === null) return
    for (let reads = 0; this.wantsData && handle.canReceive && !this.isDetached; reads++) {
      if (reads === MAX_READS) return handle.receiveLater()
      const received = handle.receive(shared, 0, shared.length)
      if (received === -1) return
      if (received < 0) return void this.destroy(this.systemError(-received, 'read'))
      this.idle?.refresh()
      this.wantsData = false // `_read` may be called from within push
      if (received === 0) return void this.push(null)
      if (this.push(Buffer.from(shared.subarray(0, received)))) this.wantsData = true
    }
  }

  /** @internal */
  flush(): void {
    const { rest, written } = this
    if (written === null) return
    this.rest = null
    this.written = null
    if (rest === null) written()
    else this.put(rest, written)
  }

  private put(bytes: Uint8Array, callback: Callback): void {
    const { handle } = this
    if (handle === null) return callback(this.systemError(EPIPE, 'write'))
    const sent = this.isConnected && !handle.isBlocked ? handle.send(bytes, 0, bytes.length) : 0
    this.taken = sent < 0 || sent === bytes.length ? 0 : this.taken + sent
    if (sent < 0) return callback(this.systemError(-sent, 'write'))
    this.idle?.refresh()
    if (sent === bytes.length) return callback()
    this.rest = sent === 0 ? bytes : bytes.subarray(sent)
    this.written = callback
  }

  // ---- Duplex

  override _read(): void {
    this.wantsData = true
    this.pull()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: Callback): void {
    this.put(chunk, callback)
  }

  override _writev(chunks: { chunk: Buffer }[], callback: Callback): void {
    this.put(Buffer.concat(chunks.map(({ chunk }) => chunk)), callback)
  }

  override _final(callback: Callback): void {
    this.finishing = callback
    if (this.isConnected) this.finish()
  }

  private finish(): void {
    const { finishing } = this
    this.finishing = null
    if (finishing === null) return
    this.handle?.shutdown()
    finishing()
  }

  override _destroy(error: Error | null, callback: Callback): void {
    this.idle?.clear()
    this.handle?.close(this.wantsReset)
    const { written, finishing } = this
    this.rest = null
    this.taken = 0
    this.written = null
    this.finishing = null
    callback(error)
    if (written === null && finishing === null) return
    const reason = error ?? this.systemError(EPIPE, 'write')
    written?.(reason)
    finishing?.(reason)
  }
}

function check({ address, port, family, localAddress }: TcpTarget): void {
  const wrong = !isAddress(address, family)
    ? `${address} is no IPv${family} address`
    : !(Number.isInteger(port) && port > 0 && port < 65_536)
      ? `${port} is no port`
      : localAddress !== undefined && !isAddress(localAddress, family)
        ? `${localAddress} is no IPv${family} address to dial from`
        : undefined
  if (wrong !== undefined) throw Object.assign(new TypeError(wrong), { code: 'ERR_TUN_ADDRESS' })
}

const isAddress = (text: string, family: number) => isIP(text) === family

// Defined as a property in Duplex' types: what a relay holds for the kernel is not sent yet either.
const ownLength = Object.getOwnPropertyDescriptor(Duplex.prototype, 'writableLength')?.get as (this: Duplex) => number
Object.defineProperty(DialedSocket.prototype, 'writableLength', {
  configurable: true,
  get(this: DialedSocket) {
    return ownLength.call(this) + this.waiting
  },
})

/** The stream itself as a sink: Duplex has its own `readable` and `writable`. */
class StreamSink implements TcpSink {
  constructor(private readonly socket: DialedSocket) {}

  connected(): void {
    this.socket.connected()
  }
  readable(): void {
    this.socket.pull()
  }
  writable(): void {
    this.socket.flush()
  }
  failed(errno: number): void {
    this.socket.failed(errno)
  }
}

/**
 * Connects to an address; a name is the caller's to look up. The answer is `connecting`.
 * @throws TypeError ERR_TUN_ADDRESS; ERR_TUN_UNSUPPORTED_PLATFORM where there is no TcpHandle (`hasTcpHandles`)
 */
export function dial(target: TcpTarget): DialedSocket {
  return new DialedSocket(target)
}
