// Owns: UDP by the machine's own sockets: one unconnected socket per family and flow, so that the mapping is endpoint-independent
// and anybody's answer comes back (RFC 4787 §4.1, §5). Read udp(7) for what a send may answer.

import { createSocket, type Socket } from 'node:dgram'
import { isIP } from 'node:net'
import type { DirectOptions, Lookup } from './direct.js'
import type { DatagramFlow, DatagramOutbound, Destination, Endpoint } from './outbound.js'

const MAX_QUEUED = 1 << 20 // bytes the kernel has not taken yet; beyond them datagrams are dropped
const MAX_NAMES = 64 // names a flow may talk to at the same time; the oldest is forgotten
const MAX_WAITING = 16 // datagrams that wait for one name to be looked up

interface Name {
  /** Empty until it is known. */
  address: string
  waiting: [payload: Uint8Array, port: number][]
}

/** Opens nothing yet: each family's socket is made by the first datagram which needs it. */
export function openDirectDatagrams(_flow: DatagramFlow, options: DirectOptions & { lookup: Lookup }): DatagramOutbound {
  return new DirectDatagrams(options)
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

  constructor(private readonly options: DirectOptions & { lookup: Lookup }) {
    this.closed = new Promise(resolve => {
      this.resolveClosed = resolve
    })
  }

  onMessage(fn: (payload: Buffer, from: Endpoint) => void): void {
    this.receive = fn
  }

  send(payload: Uint8Array, to: Destination): boolean {
    if (this.isClosed) return false
    if (to.host === undefined) return this.sendTo(payload, to.address, to.port)
    const known = this.names.get(to.host)
    if (known?.address) return this.sendTo(payload, known.address, to.port)
    if (this.waitingBytes + payload.length > MAX_QUEUED || (known?.waiting.length ?? 0) >= MAX_WAITING) return false
    this.waitingBytes += payload.length
    if (known) known.waiting.push([payload, to.port])
    else this.lookUp(to.host, { address: '', waiting: [[payload, to.port]] })
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
        name.address = found[0].address
        for (const [payload, port] of this.release(name)) this.sendTo(payload, name.address, port)
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

  private sendTo(payload: Uint8Array, address: string, port: number): boolean {
    const socket = isIP(address) === 6 ? (this.socket6 ??= this.open('udp6')) : (this.socket4 ??= this.open('udp4'))
    if (this.isClosed) return false // it could not be opened
    if (socket.getSendQueueSize() + payload.length > MAX_QUEUED) return false
    try {
      socket.send(payload, port, address)
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
