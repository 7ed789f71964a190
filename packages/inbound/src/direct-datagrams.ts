// Owns: UDP by the machine's own sockets: one unconnected socket per family and flow, so that the mapping is endpoint-independent
// and anybody's answer comes back (RFC 4787 §4.1, §5). Read udp(7) for what a send may answer.

import { openUdp, type UdpHandlers, UdpPeer, type UdpSocket } from '@tun/device'
import type { Slab } from '@tun/stack'
import type { DirectOptions, Lookup } from './direct.js'
import { asSeenFrom } from './direct-reports.js'
import { ASKED_FOR, LendingDatagrams } from './lending-datagrams.js'
import type { DatagramFlow, DatagramOutbound, Destination, Endpoint, PathReport } from './outbound.js'

const MAX_QUEUED = 1 << 20 // bytes the kernel has not taken yet, and as many that wait for names; beyond them datagrams are dropped
const RECEIVE_BUFFER = 1 << 20 // bytes, as far as we may: a burst comes while this process does something else
const MAX_NAMES = 64 // names a flow may talk to at the same time; the oldest is forgotten
const MAX_WAITING = 16 // datagrams that wait for one name to be looked up

const MAX_ADDRESSES = 8 // of one name: a bound for a hostile answer
/** What sendto(2) answers where there is no way to an address: no route, no such family here, a firewall. */
const NO_WAY = new Set(['ENETUNREACH', 'EHOSTUNREACH', 'EADDRNOTAVAIL', 'EAFNOSUPPORT', 'EACCES', 'EPERM'])

/** Of opening a socket: this machine has no such family. What else keeps it from opening ends the association. */
const NO_FAMILY = new Set(['EAFNOSUPPORT', 'EPROTONOSUPPORT', 'EADDRNOTAVAIL', 'ENETUNREACH'])
/** Before it is tried again. */
const RETRY = 1000 // ms
/** If the other family is not used by then either, nothing is carried at all: that is told. An application tries both within 300 ms. */
const ALONE = 500 // ms

/** An address, and the destination that the application sent the datagrams to. */
class Target extends UdpPeer {
  to!: Destination

  static of(address: string, to: Destination): Target | null {
    const words = UdpPeer.words(address)
    if (words === null) return null
    const target = new Target(...words, to.port)
    target.to = to
    return target
  }
}

interface Name {
  /** The destination it belongs to, but for the port. */
  readonly to: Destination
  /** The first is in use; those that proved to be out of reach are gone. Empty until it is known. */
  addresses: string[]
  waiting: [payload: Uint8Array, to: Destination, ttl: number][]
}

/** Opens nothing yet: each family's socket is made by the first datagram which needs it. */
export function openDirectDatagrams(flow: DatagramFlow, options: DirectOptions & { lookup: Lookup }): DatagramOutbound {
  return new DirectDatagrams(flow, options)
}

class DirectDatagrams extends LendingDatagrams implements UdpHandlers<Target> {
  readonly closed: Promise<Error | undefined>
  private resolveClosed!: (error: Error | undefined) => void
  private isClosed = false
  private socket4: UdpSocket<Target> | undefined
  private socket6: UdpSocket<Target> | undefined
  /** By family: until then no socket is opened, for there was none to be had. */
  private readonly closedUntil = { 4: 0, 6: 0 }
  private alone: NodeJS.Timeout | undefined
  private readonly names = new Map<string, Name>()
  /** Of datagrams that wait for a name. */
  private waitingBytes = 0
  /** Where the last datagram went: most often the next one goes there, too. */
  private lastTarget: Target | undefined
  private lastAddress = ''
  private lastSource: UdpPeer | undefined
  private lastEndpoint!: Endpoint

  constructor(
    private readonly flow: DatagramFlow,
    private readonly options: DirectOptions & { lookup: Lookup },
  ) {
    super()
    this.closed = new Promise(resolve => {
      this.resolveClosed = resolve
    })
  }

  send(payload: Uint8Array, to: Destination, cameWith = 0): boolean {
    if (this.isClosed) return false
    const ttl = cameWith > 1 && cameWith < ASKED_FOR ? cameWith - 1 : 0
    if (to.host === undefined || to.real) return this.sendTo(payload, to.address, to, ttl)
    const known = this.names.get(to.host)
    if (known && known.addresses.length > 0) return this.sendTo(payload, known.addresses[0], to, ttl)
    if (this.waitingBytes + payload.length > MAX_QUEUED || (known?.waiting.length ?? 0) >= MAX_WAITING) return false
    this.waitingBytes += payload.length
    if (known) known.waiting.push([payload, to, ttl])
    else this.lookUp(to.host, { to, addresses: [], waiting: [[payload, to, ttl]] })
    return true
  }

  sendLent(slab: Slab, start: number, end: number, segment: number, to: Destination): boolean {
    if (this.isClosed) return false
    const address = to.host === undefined || to.real ? to.address : this.names.get(to.host)?.addresses[0]
    if (address !== undefined) {
      const target = this.targetOf(address, to)
      if (target === null) return false
      const socket = this.socketFor(target)
      if (socket !== undefined) return socket.sendLent(slab, slab.bytes, start, end, segment, target)
    }
    let taken = true // a name that is being looked up, or no socket of this family
    for (let at = start, step = segment || end - start; at < end || at === start; at += Math.max(step, 1)) {
      taken = this.send(slab.bytes.slice(at, Math.min(at + step, end)), to) && taken
    }
    return taken
  }

  close(): void {
    this.end(undefined)
  }

  private end(error: Error | undefined): void {
    if (this.isClosed) return
    this.isClosed = true
    clearTimeout(this.alone)
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
        for (const [payload, to, ttl] of this.release(name)) this.sendTo(payload, name.addresses[0], to, ttl)
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
  private withoutWay(payload: Uint8Array, address: string, to: Destination, ttl?: number): void {
    if (this.isClosed) return
    const name = to.host === undefined || to.real ? undefined : this.names.get(to.host)
    if (name?.addresses[0] === address) {
      if (name.addresses.length === 1) this.forget(to.host!)
      else name.addresses.shift()
    }
    const next = name?.addresses[0]
    if (next !== undefined && next !== address) this.sendTo(payload, next, to, ttl)
    else this.flow.reject?.(to, payload.length)
  }

  private sendTo(payload: Uint8Array, address: string, to: Destination, ttl = 0): boolean {
    const target = this.targetOf(address, to)
    if (target === null) return false
    const socket = this.socketFor(target)
    if (socket !== undefined) return socket.send(payload, target, null, ttl)
    this.withoutWay(payload, address, to, ttl)
    return false
  }

  /** Undefined: it could not be opened. */
  private socketFor(target: Target): UdpSocket<Target> | undefined {
    return target.family === 6 ? (this.socket6 ??= this.open(6)) : (this.socket4 ??= this.open(4))
  }

  private targetOf(address: string, to: Destination): Target | null {
    const last = this.lastTarget
    if (last && last.to === to && address === this.lastAddress) return last
    if (last && address === this.lastAddress && last.port === to.port && last.to.address === to.address && last.to.host === to.host)
      return last
    const target = to.port === 0 ? null : Target.of(address, to)
    if (target === null) return null
    this.lastAddress = address
    this.lastTarget = target
    return target
  }

  private open(family: 4 | 6): UdpSocket<Target> | undefined {
    if (performance.now() < this.closedUntil[family]) return undefined
    const { interface: device, mark } = this.options
    const localAddress = family === 6 ? this.options.localAddress6 : this.options.localAddress
    try {
      return openUdp<Target>({ family, localAddress, device, mark, receiveBuffer: RECEIVE_BUFFER, maxQueued: MAX_QUEUED }, this)
    } catch (error) {
      if (NO_FAMILY.has((error as NodeJS.ErrnoException).code ?? '')) this.withoutFamily(family, error as Error)
      else this.end(error as Error)
      return undefined
    }
  }

  /** The other one goes on: what is sent to this one is unreachable, and a name may have an address of the other. */
  private withoutFamily(family: 4 | 6, error: Error): void {
    this.closedUntil[family] = performance.now() + RETRY
    this.alone ??= setTimeout(() => {
      this.alone = undefined
      if (this.socket4 === undefined && this.socket6 === undefined) this.end(error)
    }, ALONE).unref()
  }

  // ---- what its sockets tell

  datagram(bytes: Buffer, start: number, end: number, from: UdpPeer): void {
    this.give(bytes, start, end, this.endpointOf(from))
  }

  refused(code: string, payload: Uint8Array, target: Target | null, ttl?: number): void {
    if (target && NO_WAY.has(code)) this.withoutWay(payload, target.address, target.to, ttl)
  }

  error(error: Error): void {
    this.end(error)
  }

  unreachable(code: string, peer: UdpPeer, report: PathReport, quoted: Uint8Array): void {
    const to = this.destinationOf(peer)
    if (this.flow.report === undefined) {
      if (code === 'ECONNREFUSED') this.flow.reject?.(to, quoted.length)
      return
    }
    const told = asSeenFrom(report, peer, to)
    if (told !== undefined) this.flow.report(to, told, quoted)
  }

  private endpointOf(from: UdpPeer): Endpoint {
    if (from === this.lastSource) return this.lastEndpoint
    this.lastSource = from
    this.lastEndpoint = { address: from.address, port: from.port, family: from.family }
    return this.lastEndpoint
  }

  /** Where the application believes to have sent what went to `peer`. */
  private destinationOf({ address, port, family }: UdpPeer): Destination {
    for (const { to, addresses } of this.names.values()) if (addresses[0] === address) return { ...to, port }
    return { address, port, family }
  }
}
