// Owns: what a net.Socket shows of itself, over a TCP connection: its state, addresses and counters, and options without a meaning here.
// Who looks at which: docs/architecture.md, "A stream like any other".

import { Duplex } from 'node:stream'
import type { TcpConnection } from '../tcp/connection.js'

/** An address and port as text, e.g. `{ address: '2001:db8::1', port: 443, family: 6 }`. */
export interface Endpoint {
  address: string
  port: number
  family: 4 | 6
}

/** Where a connection or datagram wants to go. */
export interface Destination extends Endpoint {
  /** The name behind the address. If it is there, dial the name: unless `real` is set `address` is fake and leads back into the TUN. */
  host?: string
  /** `address` is where the application wants to go, `host` only what it asked DNS for before: dial either. */
  real?: true
}

export abstract class NetSurface extends Duplex {
  /** The application's end. */
  abstract readonly source: Endpoint
  /** What it dialled, and the name behind it. */
  abstract readonly destination: Destination
  protected abstract readonly tcp: TcpConnection
  protected isConnected = false

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
  /** Bytes handed to the connection so far; sent or not. */
  get bytesWritten(): number {
    return this.tcp.sndQueue.headAt + this.tcp.sndQueue.length
  }
  /** Bytes written that are not yet acknowledged. */
  get bufferSize(): number {
    return this.writableLength + this.tcp.sndQueue.length
  }
  address(): { address: string; port: number; family: string } {
    return { address: this.localAddress, port: this.localPort, family: this.localFamily }
  }
  /** The inbound keeps the process alive, not its sockets. */
  ref(): this {
    return this
  }
  unref(): this {
    return this
  }
}
