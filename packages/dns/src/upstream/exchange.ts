// Owns: what all ways of asking one nameserver have in common.

import type { Socket as UdpSocket } from 'node:dgram'
import type { Duplex } from 'node:stream'
import type { SecureContextOptions } from 'node:tls'
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

export interface UpstreamHooks {
  /** A UDP socket of the server's family, not connected; bound or not. For those who must leave by a certain interface. */
  udp?: (to: Nameserver) => UdpSocket | Promise<UdpSocket>
  /** A stream to the server, connecting or connected; `tls` and `https` speak TLS over it. `address` is an IP address. */
  tcp?: (to: Nameserver) => Duplex | Promise<Duplex>
  /** Of `tls` and `https`: certificates trusted, beside or instead of Node's. */
  tls?: Pick<SecureContextOptions, 'ca' | 'minVersion'>
}

export interface ExchangeContext {
  hooks: UpstreamHooks
  /** The IP address of a nameserver given by name. */
  locate(server: Nameserver, signal: AbortSignal): Promise<Nameserver>
  own: OwnQueries
  stats: { overTcp: number; mismatched: number }
}

/** Queries of ours that are on their way, by the port they left from: if one arrives on the TUN, we would be asking ourselves. */
export class OwnQueries {
  private readonly ports = new Map<string, number>()

  /** Answers what takes it out again. `id` is null for a stream, which has many. */
  add(transport: 'udp' | 'tcp', port: number | undefined, id: number | null): () => void {
    if (port === undefined) return () => {}
    const key = `${transport} ${port} ${id}`
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

  has(transport: 'udp' | 'tcp', port: number, id: number): boolean {
    return this.ports.size > 0 && this.ports.has(`${transport} ${port} ${transport === 'tcp' ? null : id}`)
  }
}
