// Owns: connections of the kernel's TCP without a stream around them, events handed to each handle's sink. Read epoll(7) on edge-triggered
// readiness: an event is told once, and whoever does not drain it has to remember.

import { hasTcpSockets, openTcpSockets, type TcpSockets } from '@tun/native'
import { type ByteRanges, DOUBLE, throwLater } from '@tun/stack'
import { SocketPoller } from './socket-poller.js'

export interface TcpTarget {
  address: string
  port: number
  family: 4 | 6
  /** Source address, of the same family. Default: the kernel's choice. */
  localAddress?: string
  /** Only through this NIC (SO_BINDTODEVICE). */
  device?: string
  /** SO_MARK, for `ip rule` and nftables; needs CAP_NET_ADMIN. */
  mark?: number
}

/** Who is told of a handle's events. May close it. */
export interface TcpSink {
  /** connect(2) has succeeded. */
  connected(): void
  /** There is something to receive: bytes, the end or an error. Told once, until `receive` has answered that there is nothing more. */
  readable(): void
  /** `send` takes something again. */
  writable(): void
  /** It could not connect, or it broke after its end was received. A positive errno. */
  failed(errno: number): void
}

// Linux
const EAGAIN = 11
const EPIPE = 32
const READABLE = 1
const WRITABLE = 2
const FAILED = 4
/** The peer has sent a FIN, a RST or urgent data, before which recv(2) stops: a short read is not the last. */
const ENDING = 8

export class TcpHandle {
  sink: TcpSink
  isConnecting = true
  /** Something may be there to receive. */
  canReceive = false
  /** `send` has taken less than it was given. */
  isBlocked = false
  /** The peer's FIN was received. */
  hasEnded = false
  bytesReceived = DOUBLE
  bytesSent = DOUBLE
  /** Bytes that a sink holds because the kernel takes no more; for `writableLength` of the stream. */
  waiting = 0
  private slot: number
  private ending = false
  /** It has failed; behind the peer's FIN `receive` does not say so. */
  private isBroken = false
  private isRef = true
  private isWaiting = false
  private readonly poller: Poller

  /** Begins to connect. Throws a system error: EMFILE, ENETUNREACH, EADDRNOTAVAIL… */
  constructor(target: TcpTarget, sink: TcpSink) {
    this.bytesReceived = 0
    this.bytesSent = 0
    this.sink = sink
    this.poller = poller()
    this.slot = this.poller.open(this, target)
  }

  get isClosed(): boolean {
    return this.slot < 0
  }

  /** Bytes the kernel took, or a negative errno. Fewer than there are: `writable` follows. */
  send(bytes: Uint8Array, start: number, end: number): number {
    if (this.slot < 0) return -EPIPE // destroyed in this turn: nobody has been told yet
    return this.sent(this.poller.native.send(this.slot, bytes, start, end), end - start)
  }

  /** The same for several ranges: one system call for them all. */
  sendRanges(ranges: ByteRanges): number {
    const { bytes, bounds, count, length } = ranges
    if (count === 1) return this.send(bytes[0], bounds[0], bounds[1])
    if (this.slot < 0) return -EPIPE
    return this.sent(this.poller.native.sendRanges(this.slot, bytes, bounds, count), length)
  }

  private sent(sent: number, of: number): number {
    if (sent >= 0) this.bytesSent += sent
    if (sent === -EAGAIN || (sent >= 0 && sent < of)) {
      this.isBlocked = true
      return Math.max(sent, 0)
    }
    return sent
  }

  /** Bytes received; 0: the peer has ended; -1: nothing now, `readable` follows; another negative number: errno. */
  receive(bytes: Uint8Array, start: number, end: number): number {
    const received = this.poller.native.receive(this.slot, bytes, start, end)
    if (received === -EAGAIN) {
      this.canReceive = false
      return -1
    }
    if (received > 0) {
      this.bytesReceived += received
      if (received < end - start && !this.ending) this.canReceive = false
      return received
    }
    this.canReceive = false
    if (received === 0) {
      this.hasEnded = true
      if (this.isBroken) this.receiveLater() // the failure came before anybody had read as far as the end
    }
    return received
  }

  /** `readable` is told again in the next turn of the event loop: the others come first. */
  receiveLater(): void {
    if (this.isWaiting) return
    this.isWaiting = true
    this.poller.later(this)
  }

  shutdown(): void {
    if (this.slot >= 0) this.poller.native.shutdown(this.slot)
  }

  keepAlive(seconds: number): void {
    if (this.slot >= 0) this.poller.native.keepAlive(this.slot, seconds)
  }

  noDelay(on: boolean): void {
    if (this.slot >= 0) this.poller.native.noDelay(this.slot, on)
  }

  address(peer: boolean): { address: string; port: number } | undefined {
    const at = this.slot < 0 ? undefined : this.poller.native.address(this.slot, peer)
    return at && { address: at[0], port: at[1] }
  }

  /** Whether this connection alone keeps the process alive. */
  setRef(isRef: boolean): void {
    if (isRef === this.isRef || this.slot < 0) return
    this.isRef = isRef
    this.poller.count(isRef ? 1 : -1)
  }

  /** close(2): what was sent goes out, then a FIN, or a RST if something received was not read. With `reset` a RST at once. Idempotent. */
  close(reset = false): void {
    if (this.slot < 0) return
    this.poller.native.closeSocket(this.slot, reset)
    this.poller.remove(this.slot, this.isRef)
    this.slot = -1
    this.canReceive = false
  }

  /** @internal */
  happened(events: number): void {
    if (events & ENDING) this.ending = true
    if (events & FAILED) this.isBroken = true
    if (this.isConnecting) {
      // Connected is writable and nothing else; of a FIN or a RST right behind, and of a failure, the socket knows.
      const error = events & ENDING || !(events & WRITABLE) ? this.poller.native.connected(this.slot) : 0
      if (error < 0) return this.sink.failed(-error)
      this.isConnecting = false
      this.sink.connected()
    }
    if (events & WRITABLE && this.isBlocked && this.slot >= 0) {
      this.isBlocked = false
      this.sink.writable()
    }
    if (events & READABLE && this.slot >= 0) {
      this.canReceive = true
      this.sink.readable()
    }
    this.tellBroken()
  }

  /** @internal */
  again(): void {
    this.isWaiting = false
    if (this.slot >= 0 && this.canReceive) this.sink.readable()
    this.tellBroken()
  }

  private tellBroken(): void {
    if (!this.isBroken || !this.hasEnded || this.slot < 0) return
    const error = this.poller.native.connected(this.slot) // receive says nothing but "the end" any more
    if (error < 0) this.sink.failed(-error)
  }
}

class Poller extends SocketPoller<TcpSockets> {
  private waiting: TcpHandle[] = []

  open(handle: TcpHandle, { family, address, port, localAddress, device, mark }: TcpTarget): number {
    const slot = this.native.open(family, address, port, localAddress, device, mark)
    this.add(slot, handle)
    return slot
  }

  later(handle: TcpHandle): void {
    if (this.waiting.push(handle) === 1) setImmediate(this.turn)
  }

  private readonly turn = (): void => {
    const { waiting } = this
    this.waiting = []
    for (const handle of waiting) {
      try {
        handle.again()
      } catch (error) {
        throwLater(error)
      }
    }
  }
}

/** One for each thread: modules are loaded once in each. */
let only: Poller | undefined

function poller(): Poller {
  only ??= new Poller(openTcpSockets())
  return only
}

/** This machine has an addon with TCP sockets (Linux). */
export function hasTcpHandles(): boolean {
  return hasTcpSockets()
}
