// Owns: TunInbound, what createTunInbound answers: one device, its stack and driver, and who is told of what arrives.
// Precedence: dns-listen, then listen/listenDatagrams (most specific first), then the events.

import {
  type Datagram,
  type Device,
  Driver,
  EOF,
  formatAddress,
  GONE,
  GONE_EVENT,
  nodeHost,
  REQUEST,
  type Stack,
  type TcpConnection,
  TunDatagram,
  TunFlow,
  TunSocket,
  type UdpFlow,
  UdpPort,
} from '@tun/stack'
import { best, type Matcher, matcher, type ServiceAddress } from './address-match.js'
import { answerDatagram, serveStream } from './dns-hijack.js'
import { attempt, DecidingEmitter } from './emitter.js'
import type { NameService } from './name-service.js'

export interface TunInboundEvents {
  /** A connection asks to be accepted. A listener that throws or rejects has it refused. */
  connection: (socket: TunSocket) => unknown
  /** A datagram, unless there are 'flow' listeners. Without either, it is rejected (port unreachable). */
  datagram: (datagram: TunDatagram) => unknown
  /** The first datagram of a source; it follows as the flow's first 'message'. */
  flow: (flow: TunFlow) => unknown
  /** The device failed (the inbound is closed then), or a listener did (`flow` says whose). */
  error: (error: Error & { code?: string; flow?: TunSocket | TunFlow | TunDatagram }) => void
  /** Worth a line in a log: the NIC is down, the machine slept. */
  warning: (message: string) => void
  close: () => void
}

/** Anything with net.Server's way of taking a socket: http.Server, tls.Server, http2 servers. */
export interface SocketServer {
  emit(event: 'connection', socket: TunSocket): boolean
}
export type SocketHandler = (socket: TunSocket) => unknown

export interface Listener {
  close(): void
}

interface Service {
  readonly matcher: Matcher
  readonly handle: SocketHandler
}

export class TunInbound extends DecidingEmitter<TunInboundEvents> {
  readonly device: Device
  private readonly stack: Stack
  private readonly driver: Driver
  private readonly names: NameService | null
  private readonly dnsMatcher: Matcher | null
  private readonly udpPort: UdpPort
  private readonly services: Service[] = []
  private readonly datagramServices: { matcher: Matcher; handle: (datagram: TunDatagram) => unknown }[] = []
  private readonly pins = new Map<TcpConnection | UdpFlow, Set<string>>()
  private closing: Promise<void> | null = null
  private drained: (() => void) | null = null
  private detachSignal = () => {}

  /** Use createTunInbound. */
  constructor(device: Device, stack: Stack, names: NameService | null, dnsMatcher: Matcher | null, signal?: AbortSignal) {
    super()
    this.device = device
    this.stack = stack
    this.names = names
    this.dnsMatcher = names === null ? null : dnsMatcher
    this.driver = new Driver(
      device,
      stack,
      { tcp: (c, bits) => this.tcp(c, bits), datagram: d => this.datagram(d), flowEnded: flow => this.flowEnded(flow) },
      nodeHost,
      {
        lost: (status, errno) => this.lost(status, errno),
        down: () => this.warn(`${device.name} is down: 'ip link set ${device.name} up' brings it back`),
        up: () => this.warn(`${device.name} is up`),
        resumed: ms => this.warn(`the machine slept for ${Math.round(ms / 1000)} s`),
      },
    )
    this.udpPort = new UdpPort(stack, this.driver)
    if (this.dnsMatcher !== null) {
      const { port, matches } = this.dnsMatcher
      stack.udp.serve(port, matches)
    }
    this.driver.start()
    if (signal) {
      const abort = () => void this.close()
      signal.addEventListener('abort', abort, { once: true })
      this.detachSignal = () => signal.removeEventListener('abort', abort)
    }
  }

  get name(): string {
    return this.device.name
  }

  get mtu(): number {
    return this.device.mtu
  }

  /** Counters and sizes, a copy. */
  stats() {
    const { stats, tcp, udp, slabs } = this.stack
    return {
      ...stats,
      drops: { ...stats.drops },
      connections: tcp.flows.size,
      pending: tcp.handshake.pending,
      timeWait: tcp.timeWait.size,
      udpFlows: udp.flows.size,
      receiveQueued: tcp.receiveQueued,
      slabs: slabs.inUse,
      dns: this.names ? { ...this.names.server.stats } : undefined,
    }
  }

  /** The live connections and UDP flows. */
  flows(): (TunSocket | TunFlow)[] {
    const all: (TunSocket | TunFlow)[] = []
    for (const c of this.stack.tcp.flows) if (c.user instanceof TunSocket && !c.orphan) all.push(c.user)
    for (const flow of this.stack.udp.flows) if (flow.user instanceof TunFlow) all.push(flow.user)
    return all
  }

  /** Real addresses of a name, asked of the configured nameservers; never fake ones. */
  async resolve(host: string, signal?: AbortSignal): Promise<{ address: string; family: number }[]> {
    if (this.names === null) throw Object.assign(new Error('this inbound has no DNS'), { code: 'ENOTFOUND' })
    return this.names.resolve(host, signal)
  }

  /**
   * Serves TCP on an address, CIDR or port of the other side: `server` gets each connection, accepted when it reads or writes.
   * @throws TypeError ERR_TUN_ADDRESS, ERR_TUN_LOCAL_ADDRESS
   */
  listen(where: ServiceAddress, server: SocketServer | SocketHandler): Listener {
    const handle = typeof server === 'function' ? server : (socket: TunSocket) => server.emit('connection', socket)
    return this.addService(this.services, { matcher: matcher(where), handle })
  }

  /** The same for datagrams; they make no flow. `port` is needed: every port of every address is what 'datagram' is for. */
  listenDatagrams(where: ServiceAddress & { port: number }, handle: (datagram: TunDatagram) => unknown): Listener {
    const service = { matcher: matcher(where), handle }
    const stop = this.stack.udp.serve(where.port, service.matcher.matches)
    const listener = this.addService(this.datagramServices, service)
    return {
      close: () => {
        stop()
        listener.close()
      },
    }
  }

  private addService<T>(list: T[], service: T): Listener {
    list.push(service)
    return {
      close: () => {
        const i = list.indexOf(service)
        if (i >= 0) list.splice(i, 1)
      },
    }
  }

  /** Connections as an async iterable; while nobody asks for the next one, SYNs stay pending. Ends when the inbound closes. */
  async *connections(): AsyncGenerator<TunSocket, void, void> {
    const queue: TunSocket[] = []
    let wake: (() => void) | null = null
    let over = false
    const onConnection = (socket: TunSocket) => {
      queue.push(socket)
      socket.once('close', () => {
        const i = queue.indexOf(socket)
        if (i >= 0) queue.splice(i, 1)
      })
      wake?.()
    }
    const onClose = () => {
      over = true
      wake?.()
    }
    this.on('connection', onConnection)
    this.on('close', onClose)
    try {
      while (!over) {
        const socket = queue.shift()
        if (socket) yield socket
        else
          await new Promise<void>(resolve => {
            wake = resolve
          })
      }
    } finally {
      this.off('connection', onConnection)
      this.off('close', onClose)
      for (const socket of queue) socket.reject('refused')
    }
  }

  /** The process stays alive while the inbound is open (default). */
  ref(): this {
    this.device.ref?.()
    return this
  }

  unref(): this {
    this.device.unref?.()
    return this
  }

  /**
   * Stops taking connections (they are refused), waits up to `drain` milliseconds for those there are, resets the rest, closes the device.
   * Idempotent; resolves when all is undone.
   */
  close(options: { drain?: number } = {}): Promise<void> {
    this.closing ??= this.shutDown(options.drain ?? 0)
    return this.closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  private async shutDown(drain: number): Promise<void> {
    this.detachSignal()
    if (drain > 0 && this.stack.tcp.flows.size > 0) {
      await new Promise<void>(resolve => {
        this.drained = resolve
        setTimeout(resolve, drain).unref()
      })
    }
    for (const c of [...this.stack.tcp.flows]) c.reset()
    this.driver.flush()
    this.stack.drain({ tcp: (c, bits) => this.tcp(c, bits), datagram: () => {}, flowEnded: () => {} })
    this.tearDown()
  }

  private tearDown(): void {
    this.driver.stop()
    for (const flow of [...this.stack.udp.flows]) {
      this.stack.udp.flows.close(flow)
      this.flowEnded(flow)
    }
    this.names?.close()
    this.device.close()
    this.emit('close')
    this.removeAllListeners()
  }

  private warn(message: string): void {
    this.emit('warning', message)
  }

  private lost(status: number, errno: number): void {
    const what =
      status === GONE ? 'the NIC was deleted' : status === EOF ? 'the other end was closed' : `reading or writing failed (errno ${errno})`
    const error = Object.assign(new Error(`${this.name}: ${what}`), {
      code: status === EOF ? 'ERR_TUN_EOF' : 'ERR_TUN_GONE',
      errno: -errno,
    })
    if (this.closing) return
    for (const c of [...this.stack.tcp.flows]) this.stack.tcp.remove(c, 'ENETDOWN')
    this.stack.drain({ tcp: (c, bits) => this.tcp(c, bits), datagram: () => {}, flowEnded: () => {} })
    this.closing = Promise.resolve()
    this.detachSignal()
    this.report(error)
    this.tearDown()
  }

  // ---- TCP

  private tcp(c: TcpConnection, bits: number): void {
    if (bits & REQUEST) this.request(c)
    if (c.user instanceof TunSocket) c.user.happened(bits)
    if (bits & GONE_EVENT) {
      this.unpin(c)
      c.user = null
      if (this.drained !== null && this.stack.tcp.flows.size === 0) this.drained()
    }
  }

  private request(c: TcpConnection): void {
    if (this.closing !== null) return c.reject('refused')
    const { l0, l1, l2, l3, localPort } = c
    const dns = this.dnsMatcher
    if (dns !== null && this.names !== null && dns.port === localPort && dns.matches(l0, l1, l2, l3)) {
      return serveStream(this.names.server, new TunSocket(c, this.driver).accept())
    }
    const service = this.services.length > 0 ? best(this.services, localPort, l0, l1, l2, l3) : undefined
    const socket = service ? new TunSocket(c, this.driver) : this.named(c)
    if (socket === null) return c.reject('host-unreachable')
    const failed = (error: Error) => this.listenerFailed(error, socket)
    if (service) attempt(() => service.handle(socket), failed)
    else if (!this.decide('connection', [socket], failed)) socket.reject('refused')
  }

  /** The socket, with the name behind a fake address; null if the address is fake and unknown. */
  private named(c: TcpConnection): TunSocket | null {
    const socket = new TunSocket(c, this.driver)
    const names = this.names
    if (names === null) return socket
    const { address } = socket.destination
    if (names.isUnmapped(address)) return null
    const host = names.hostOf(address)
    if (host === undefined) return socket
    this.pin(c, address)
    socket.destination.host = host
    socket.hostSource = 'fake-ip'
    return socket
  }

  private listenerFailed(error: Error, flow: TunSocket | TunFlow | TunDatagram): void {
    if (flow instanceof TunSocket) flow.destroy(error)
    else if (flow instanceof TunFlow) flow.close()
    else flow.reject()
    this.report(Object.assign(error, { flow }))
  }

  // ---- UDP

  private datagram(d: Datagram): void {
    if (d.flow === null) return this.serveDatagram(d)
    const host = this.hostOf(d)
    if (host === null) return new TunDatagram(d, this.udpPort, null, undefined).reject()
    if (this.listenerCount('flow') > 0) return this.flowDatagram(d, d.flow, host)
    const datagram = new TunDatagram(d, this.udpPort, this.flowOf(d.flow), host)
    if (!this.decide('datagram', [datagram], error => this.listenerFailed(error, datagram))) datagram.reject()
  }

  private flowDatagram(d: Datagram, udp: UdpFlow, host: string | undefined): void {
    const isNew = udp.user === null
    const flow = this.flowOf(udp)
    if (isNew) this.decide('flow', [flow], error => this.listenerFailed(error, flow))
    const datagram = new TunDatagram(d, this.udpPort, flow, host)
    if (flow.listenerCount('message') === 0) return datagram.reject()
    attempt(
      () => flow.emit('message', datagram.payload, datagram.destination),
      error => this.listenerFailed(error, flow),
    )
  }

  private flowOf(udp: UdpFlow): TunFlow {
    return udp.user instanceof TunFlow ? udp.user : new TunFlow(udp, this.udpPort)
  }

  private serveDatagram(d: Datagram): void {
    const datagram = new TunDatagram(d, this.udpPort, null, undefined)
    const dns = this.dnsMatcher
    if (dns !== null && this.names !== null && dns.port === d.dstPort && dns.matches(d.d0, d.d1, d.d2, d.d3)) {
      return answerDatagram(this.names.server, datagram)
    }
    const service = best(this.datagramServices, d.dstPort, d.d0, d.d1, d.d2, d.d3)
    if (!service) return datagram.reject()
    attempt(
      () => service.handle(datagram),
      error => this.listenerFailed(error, datagram),
    )
  }

  /** The name behind the datagram's destination; undefined: a real address; null: a fake one that nobody was told. */
  private hostOf(d: Datagram): string | undefined | null {
    const names = this.names
    if (names === null || names.fakeIp === null || d.flow === null) return undefined
    const address = addressOf(d)
    if (names.isUnmapped(address)) return null
    const host = names.hostOf(address)
    if (host !== undefined) this.pin(d.flow, address)
    return host
  }

  private flowEnded(flow: UdpFlow): void {
    this.unpin(flow)
    if (flow.user instanceof TunFlow) {
      flow.user.closed = true
      flow.user.emit('close')
    }
    flow.user = null
  }

  // ---- fake addresses in use keep their names

  private pin(owner: TcpConnection | UdpFlow, address: string): void {
    const pool = this.names?.fakeIp
    if (!pool) return
    const pinned = this.pins.get(owner)
    if (pinned?.has(address)) return
    if (!pool.pin(address)) return
    if (pinned) pinned.add(address)
    else this.pins.set(owner, new Set([address]))
  }

  private unpin(owner: TcpConnection | UdpFlow): void {
    const pinned = this.pins.get(owner)
    if (!pinned) return
    for (const address of pinned) this.names?.fakeIp?.unpin(address)
    this.pins.delete(owner)
  }
}

function addressOf(d: Datagram): string {
  return formatAddress(d.d0, d.d1, d.d2, d.d3)
}
