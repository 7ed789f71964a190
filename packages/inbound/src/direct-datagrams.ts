// Owns: UDP by the machine's own sockets: one unconnected socket per family and flow, so that the mapping is endpoint-independent
// and anybody's answer comes back (RFC 4787 §4.1, §5). Read udp(7) for what a send may answer.

import { createSocket, type Socket } from 'node:dgram'
import { isIP } from 'node:net'
import type { DirectOptions, Lookup } from './direct.js'
import type { DatagramFlow, DatagramOutbound, Destination, Endpoint } from './outbound.js'

const MAX_QUEUED = 1 << 20 // bytes the kernel has not taken yet; beyond them datagrams are dropped
const MAX_NAMES = 64 // names a flow may talk to at the same time; the oldest is forgotten
const MAX_WAITING = 16 // datagrams that wait for one name to be looked up

const MAX_ADDRESSES = 8 // of one name: a bound for a hostile answer
/** What sendto(2) answers where there is no way to an address: no route, no such family here, a firewall. */
const NO_WAY = new Set(['ENETUNREACH', 'EHOSTUNREACH', 'EADDRNOTAVAIL', 'EAFNOSUPPORT', 'EACCES', 'EPERM'])

interface Name {
  /** The first is in use; those that proved to be out of reach are gone. Empty until it is known. */
  addresses: string[]
  waiting: [payload: Uint8Array, to: Destination][]
}

/** Opens nothing yet: each family's socket is made by the first datagram which needs it. */
export function openDirectDatagrams(flow: DatagramFlow, options: DirectOptions & { lookup: Lookup }): DatagramOutbound {
  return new DirectDatagrams(flow, options)
}

class DirectDatagrams implements DatagramOutbound {
  readonly closed: Promise<Error | undefined>
  private resolveClosed!: (error: Error | undefined) => void
  private isClosed = false
  private socket4: Socket | undefined
  private socket6: Socket | undefined
  private receive: (payload: Buffer, from: Endpoint) => void = () => {}
  private readonly names = new Map<string, Name>()
  /** Of datagrams that wait for a name. */
  private waitingBytes = 0
  /** There is a way to this address. Only where that is not known the outcome of a send is asked for, which costs. */
  private reached = ''

  constructor(
    private readonly flow: DatagramFlow,
    private readonly options: DirectOptions & { lookup: Lookup },
  ) {
    this.closed = new Promise(resolve => {
      this.resolveClosed = resolve
    })
  }

  onMessage(fn: (payload: Buffer, from: Endpoint) => void): void {
    this.receive = fn
  }

  send(payload: Uint8Array, to: Destination): boolean {
    if (this.isClosed) return false
    if (to.host === undefined || to.real) return this.sendTo(payload, to.address, to)
    const known = this.names.get(to.host)
    if (known && known.addresses.length > 0) return this.sendTo(payload, known.addresses[0], to)
    if (this.waitingBytes + payload.length > MAX_QUEUED || (known?.waiting.length ?? 0) >= MAX_WAITING) return false
    this.waitingBytes += payload.length
    if (known) known.waiting.push([payload, to])
    else this.lookUp(to.host, { addresses: [], waiting: [[payload, to]] })
    return true
  }

  close(): void {
    this.end(undefined)
  }

  private end(error: Error | undefined): void {
    if (this.isClosed) return
    this.isClosed = true
    this.names.clear()
    this.socket4?.close()
    this.socket6?.close()
    this.resolveClosed(error)
  }

  private lookUp(host: string, name: Name): void {
    if (this.names.size >= MAX_NAMES) this.forget(this.names.keys().next().value!)
    this.names.set(host, name)
    this.options.lookup(host).then(
      found => {
        if (this.isClosed || this.names.get(host) !== name) return
        if (found.length === 0) return this.forget(host)
        name.addresses = [...new Set(found.map(({ address }) => address))].slice(0, MAX_ADDRESSES)
        for (const [payload, to] of this.release(name)) this.sendTo(payload, name.addresses[0], to)
      },
      () => {
        if (this.names.get(host) === name) this.forget(host)
      },
    )
  }

  /** What waited is lost, as on any network; the next datagram asks again. */
  private forget(host: string): void {
    const name = this.names.get(host)
    if (name) this.release(name)
    this.names.delete(host)
  }

  private release(name: Name): Name['waiting'] {
    const { waiting } = name
    name.waiting = []
    for (const [payload] of waiting) this.waitingBytes -= payload.length
    return waiting
  }

  /** A name's next address, as on any machine without IPv6; if there is none the application is told. */
  private unreachable(payload: Uint8Array, address: string, to: Destination): void {
    if (this.isClosed) return
    const name = to.host === undefined || to.real ? undefined : this.names.get(to.host)
    if (name?.addresses[0] === address) {
      if (name.addresses.length === 1) this.forget(to.host!)
      else name.addresses.shift()
    }
    const next = name?.addresses[0]
    if (next !== undefined && next !== address) this.sendTo(payload, next, to)
    else this.flow.reject?.(to, payload.length)
  }

  private sendTo(payload: Uint8Array, address: string, to: Destination): boolean {
    const socket = isIP(address) === 6 ? (this.socket6 ??= this.open('udp6')) : (this.socket4 ??= this.open('udp4'))
    if (this.isClosed) return false // it could not be opened
    if (socket.getSendQueueSize() + payload.length > MAX_QUEUED) return false
    try {
      if (address === this.reached) socket.send(payload, to.port, address)
      else {
        socket.send(payload, to.port, address, error => {
          if (error === null) this.reached = address
          else if (NO_WAY.has((error as NodeJS.ErrnoException).code ?? '')) this.unreachable(payload, address, to)
        })
      }
    } catch {
      return false // port 0, or bind failed
    }
    return true
  }

  private open(type: 'udp4' | 'udp6'): Socket {
    const family = type === 'udp6' ? 6 : 4
    const socket = createSocket({
      type,
      ipv6Only: family === 6,
      // Addresses only: an answer in the same turn means that a datagram is sent in the same turn.
      lookup: (address, _options, done) => done(null, address, family),
    })
    socket.on('message', (payload, from) => this.receive(payload, { address: from.address, port: from.port, family }))
    socket.on('error', error => this.end(error))
    socket.bind(0, (family === 6 ? this.options.localAddress6 : this.options.localAddress) ?? (family === 6 ? '::' : '0.0.0.0'))
    if (this.isClosed) socket.close() // the bind failed, in this turn
    return socket
  }
}
