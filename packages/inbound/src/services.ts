// Owns: what is served where: DNS, listen() and listenDatagrams() of an inbound. For each destination the most specific service is found.

import type { Stack, TunDatagram, TunSocket } from '@tun/stack'
import { isOfThisHost, localAddressError, type Matcher, matcher, type ServiceAddress } from './address-match.js'
import type { NameService } from './name-service.js'

/** Anything with net.Server's way of taking a socket: http.Server, tls.Server, http2 servers. */
export interface SocketServer {
  readonly listening?: boolean
  emit(event: 'connection', socket: TunSocket): boolean
  emit(event: 'listening'): boolean
}
export type SocketHandler = (socket: TunSocket) => unknown
export type DatagramHandler = (datagram: TunDatagram) => unknown

/** What ends a listening. */
export interface Listener {
  /** Idempotent. */
  close(): void
}

interface Service<Handler> {
  readonly matcher: Matcher
  readonly handle: Handler
}

class Services<Handler> {
  private readonly all: Service<Handler>[] = []

  add(matcher: Matcher, handle: Handler): Listener {
    const service = { matcher, handle }
    this.all.push(service)
    return {
      close: () => {
        const i = this.all.indexOf(service)
        if (i >= 0) this.all.splice(i, 1)
      },
    }
  }

  /** Is anything served at this very address, or at a prefix with it? What is served at all addresses does not count. */
  coversAddress(w0: number, w1: number, w2: number, w3: number): boolean {
    return this.all.some(({ matcher }) => matcher.bits >= 0 && matcher.matches(w0, w1, w2, w3))
  }

  /** Longest prefix first, a port before all ports; of equals the first. */
  find(port: number, w0: number, w1: number, w2: number, w3: number): Handler | undefined {
    let found: Service<Handler> | undefined
    for (const service of this.all) {
      const m = service.matcher
      if ((m.port !== 0 && m.port !== port) || !m.matches(w0, w1, w2, w3)) continue
      const best = found?.matcher
      if (best === undefined || m.bits > best.bits || (m.bits === best.bits && m.port > best.port)) found = service
    }
    return found?.handle
  }
}

export class ServedPlaces {
  private readonly stack: Stack
  private readonly names: NameService | null
  private readonly dns: readonly Matcher[]
  private readonly routed: boolean
  private readonly streams = new Services<SocketHandler>()
  private readonly datagrams = new Services<DatagramHandler>()

  /** `dns`: where questions are answered. `routed`: packets come by this host's own routes, so that its own addresses never do. */
  constructor(stack: Stack, names: NameService | null, dns: readonly Matcher[], routed: boolean) {
    this.stack = stack
    this.names = names
    this.dns = names === null ? [] : dns
    this.routed = routed
    for (const { port, matches } of this.dns) stack.udp.serve(port, matches)
  }

  /** A server that does not listen elsewhere is told 'listening': only then do http.Server's time-outs run. */
  addStreams(where: ServiceAddress, server: SocketServer | SocketHandler): Listener {
    const handle = typeof server === 'function' ? server : (socket: TunSocket) => void server.emit('connection', socket)
    const listener = this.streams.add(this.placeOf(where), handle)
    if (typeof server !== 'function' && server.listening === false) server.emit('listening')
    return listener
  }

  addDatagrams(where: ServiceAddress & { port: number }, handle: DatagramHandler): Listener {
    const place = this.placeOf(where)
    if (place.port === 0) throw Object.assign(new TypeError("listenDatagrams needs a 'port'"), { code: 'ERR_TUN_ADDRESS' })
    const stop = this.stack.udp.serve(place.port, place.matches)
    const listener = this.datagrams.add(place, handle)
    return {
      close: () => {
        stop()
        listener.close()
      },
    }
  }

  isDns(port: number, w0: number, w1: number, w2: number, w3: number): boolean {
    for (const dns of this.dns) if (dns.port === port && dns.matches(w0, w1, w2, w3)) return true
    return false
  }

  streamServiceAt(port: number, w0: number, w1: number, w2: number, w3: number): SocketHandler | undefined {
    return this.streams.find(port, w0, w1, w2, w3)
  }

  datagramServiceAt(port: number, w0: number, w1: number, w2: number, w3: number): DatagramHandler | undefined {
    return this.datagrams.find(port, w0, w1, w2, w3)
  }

  /** Is anything served at this address? What is served at all of them does not count. */
  coversAddress(w0: number, w1: number, w2: number, w3: number): boolean {
    if (this.dns.some(dns => dns.bits >= 0 && dns.matches(w0, w1, w2, w3))) return true
    return this.streams.coversAddress(w0, w1, w2, w3) || this.datagrams.coversAddress(w0, w1, w2, w3)
  }

  private placeOf(where: ServiceAddress): Matcher {
    const place = matcher(where)
    if (this.routed && where.address !== undefined && isOfThisHost(where.address)) throw localAddressError(where.address)
    if (where.address !== undefined) this.names?.fakeIp?.reserve(where.address) // or a name would lead to the service
    return place
  }
}
