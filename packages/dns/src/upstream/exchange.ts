// Owns: what all ways of asking one nameserver have in common.

import type { Socket as UdpSocket } from 'node:dgram'
import type { Duplex } from 'node:stream'
import type { ConnectionOptions } from 'node:tls'
import type { Nameserver } from '../nameserver.js'

/** One nameserver, asked by one transport. */
export interface Exchange {
  /**
   * The answer to a query; its id is ours to choose. Whatever comes back has been matched to the query. Rejects with why there is none, or
   * with the signal's reason.
   */
  ask(query: Uint8Array, signal: AbortSignal): Promise<Uint8Array>
  /** The network is another one: what is asked from here on goes over new connections. What is in flight may still be answered. */
  renew(): void
  /** Ends what is in flight. Idempotent. */
  close(): void
}

/**
 * How nameservers are reached, where not by sockets of our own: undefined, or a function that answers undefined. `to.address` is an IP
 * address, `to.host` the name it was found for, `to.via` what stands behind `#`.
 */
export interface UpstreamHooks {
  /** A UDP socket of the server's family, not connected; bound or not. For those who must leave by a certain interface. */
  udp?: (to: Nameserver) => Awaitable<UdpSocket | undefined>
  /** Datagrams to the server that no socket of this machine carries: through a proxy. They stay open while they are in use. */
  datagrams?: (to: Nameserver, signal: AbortSignal) => Awaitable<UpstreamDatagrams | undefined>
  /** A stream to the server, connecting or connected; `tls` and `https` speak TLS over it. */
  tcp?: (to: Nameserver, signal: AbortSignal) => Awaitable<Duplex | undefined>
  /** Of `tls` and `https`: certificates trusted, beside or instead of Node's. */
  tls?: Pick<ConnectionOptions, 'ca' | 'minVersion'>
}

type Awaitable<T> = T | Promise<T>

/** Whose other end is one nameserver. */
export interface UpstreamDatagrams {
  /** False: dropped. */
  send(query: Uint8Array): boolean
  onMessage(fn: (answer: Uint8Array) => void): void
  /** Resolves when it is over. Never rejects. */
  readonly closed: Promise<Error | undefined>
  close(): void
}

export interface ExchangeContext {
  hooks: UpstreamHooks
  /** The IP address of a nameserver given by name. */
  locate(server: Nameserver, signal: AbortSignal): Promise<Nameserver>
  own: OwnQueries
  stats: { overTcp: number; mismatched: number }
}

/** Queries of ours that are on their way, by where they left from: if one arrives on the TUN, we would be asking ourselves. */
export class OwnQueries {
  private readonly ports = new Map<string, number>()

  /** A query by UDP, told by port and id. Answers what takes it out again. */
  addQuery(port: number, id: number): () => void {
    return this.add(`${port} ${id}`)
  }

  /** A connection, which has many queries; others behind the TUN may have the same port at another address. */
  addStream(address: string | undefined, port: number | undefined): () => void {
    return address === undefined || port === undefined ? () => {} : this.add(`${address} ${port}`)
  }

  private add(key: string): () => void {
    this.ports.set(key, (this.ports.get(key) ?? 0) + 1)
    let there = true
    return () => {
      if (!there) return
      there = false
      const left = (this.ports.get(key) ?? 1) - 1
      if (left > 0) this.ports.set(key, left)
      else this.ports.delete(key)
    }
  }

  has(transport: 'udp' | 'tcp', { address, port }: { address: string; port: number }, id: number): boolean {
    return this.ports.size > 0 && this.ports.has(transport === 'tcp' ? `${address} ${port}` : `${port} ${id}`)
  }
}
