// Owns: TunInbound, what createTunInbound answers: one device, its stack and driver, and who is told of what arrives.
// Precedence: dns-listen, then listen/listenDatagrams (most specific first), then the events.

import { setMaxListeners } from 'node:events'
import type { Uplink } from '@tun/device'
import {
  type Datagram,
  type Device,
  Driver,
  type Echo,
  EOF,
  errnoError,
  formatAddress,
  GONE,
  GONE_EVENT,
  nodeHost,
  REQUEST,
  type Stack,
  type TcpConnection,
  TunDatagram,
  TunEcho,
  TunFlow,
  type TunPacket,
  TunSocket,
  throwLater,
  type UdpFlow,
  UdpPort,
  type Undelivered,
} from '@tun/stack'
import { type ConnectOptions, openConnection } from './active-open.js'
import { isOfThisHost, localAddressError, type Matcher, matcher, type ServiceAddress } from './address-match.js'
import { connectionsOf } from './connection-queue.js'
import { answerDatagram, DnsStreams } from './dns-hijack.js'
import type { DnsSocket } from './dns-socket.js'
import { attempt, decide, ReportingEmitter } from './emitter.js'
import { FakePins } from './fake-pins.js'
import { LocalAddresses } from './local-addresses.js'
import type { Named, NameService } from './name-service.js'
import { packetHook } from './packet-hook.js'
import { type Listener, Services } from './services.js'

export interface TunInboundEvents {
  /** A connection asks to be accepted. A listener that throws or rejects has it refused. */
  connection: (socket: TunSocket) => unknown
  /** A datagram, unless there are 'flow' listeners. Without either, it is rejected (port unreachable). */
  datagram: (datagram: TunDatagram) => unknown
  /** The first datagram of a source; it follows as the flow's first 'message'. */
  flow: (flow: TunFlow) => unknown
  /**
   * A ping to an address that is neither the NIC's nor served here; those are answered. Without a listener it is refused (administratively
   * prohibited), and a listener that throws has it refused as well.
   */
  icmp: (echo: TunEcho) => unknown
  /**
   * Every packet before the stack sees it, in the middle of its turn: decide at once, do not keep `packet`. Without a listener it costs
   * nothing. A listener that throws has the packet dropped.
   */
  packet: (packet: TunPacket) => unknown
  /** The device failed (the inbound is closed then), or a listener did (`flow` says whose). */
  error: (error: Error & { code?: string; flow?: TunSocket | TunFlow | TunDatagram | TunEcho }) => void
  /** Worth a line in a log: a key that is not acted on, the NIC is down, the machine slept. */
  warning: (message: string) => void
  /** The machine's own way out is another one (undefined: there is none), or has other addresses. networkChanged() was called before. */
  uplink: (uplink: Uplink | undefined) => void
  /** The machine slept for about so many milliseconds. networkChanged() was called before. */
  resumed: (ms: number) => void
  close: () => void
}

/** Anything with net.Server's way of taking a socket: http.Server, tls.Server, http2 servers. */
export interface SocketServer {
  readonly listening?: boolean
  emit(event: 'connection', socket: TunSocket): boolean
  emit(event: 'listening'): boolean
}
export type SocketHandler = (socket: TunSocket) => unknown

/** What createTunInbound has put together. */
export interface TunInboundParts {
  device: Device
  stack: Stack
  names: NameService | null
  /** Where DNS is answered. */
  dnsMatchers: readonly Matcher[]
  /** DNS on a socket of the host. */
  dnsSocket?: DnsSocket
  /** Packets come by this host's own routes, so its own addresses never do. */
  routed: boolean
  /** Follows the way out of this machine; undefined where it cannot be told. */
  watchUplink?: (changed: (uplink: Uplink | undefined) => void) => UplinkWatch | undefined
  /** About the options: told when there has been time to listen. */
  warnings?: readonly string[]
  signal?: AbortSignal
}

/** NetworkMonitor of @tun/device. */
export interface UplinkWatch {
  readonly uplink: Uplink | undefined
  close(): void
}

/** One more that waits for a name is dropped, as a full queue would. */
const MAX_WAITING_DATAGRAMS = 1024
const MAX_WAITING_PINGS = 256

/** setTimeout turns anything longer into 1 ms. */
const LONGEST_DRAIN = 2 ** 31 - 1

export class TunInbound extends ReportingEmitter<TunInboundEvents> {
  readonly device: Device
  private readonly stack: Stack
  private readonly driver: Driver
  private readonly names: NameService | null
  private readonly dnsMatchers: readonly Matcher[]
  private readonly dnsSocket: DnsSocket | undefined
  private dnsStreams: DnsStreams | undefined
  private readonly routed: boolean
  private readonly own: LocalAddresses | null
  private readonly network: UplinkWatch | undefined
  private readonly udpPort: UdpPort
  private readonly services = new Services<SocketHandler>()
  private readonly datagramServices = new Services<(datagram: TunDatagram) => unknown>()
  private readonly pins: FakePins<TcpConnection | UdpFlow> | null
  private closing: Promise<void> | null = null
  private over = false
  /** Datagrams, and pings, whose destination's name other gateways are asked for. */
  private waitingDatagrams = 0
  private waitingPings = 0
  /** Flows that 'flow' listeners were told of. */
  private readonly announced = new WeakSet<TunFlow>()
  private drained: (() => void) | null = null
  private detachSignal = () => {}
  /** Aborts when all is over. */
  private readonly ending = new AbortController()

  /** Use createTunInbound. */
  constructor({ device, stack, names, dnsMatchers, dnsSocket, routed, watchUplink, warnings = [], signal }: TunInboundParts) {
    super()
    this.device = device
    this.stack = stack
    this.names = names
    this.pins = names?.fakeIp ? new FakePins(names.fakeIp) : null
    this.dnsMatchers = names === null ? [] : dnsMatchers
    this.dnsSocket = dnsSocket
    this.routed = routed
    this.driver = new Driver(
      device,
      stack,
      {
        tcp: (c, bits) => this.tcp(c, bits),
        datagram: d => this.datagram(d),
        carry: d => this.carry(d),
        flowEnded: flow => this.flowEnded(flow),
        echo: request => this.echo(request),
        undelivered: report => this.undelivered(report),
      },
      nodeHost,
      {
        lost: (status, errno) => this.lost(status, errno),
        down: () => this.warn(`${device.name} is down: 'ip link set ${device.name} up' brings it back`),
        up: () => this.warn(`${device.name} is up`),
        resumed: ms => this.resumed(ms),
      },
    )
    this.udpPort = new UdpPort(stack, this.driver)
    for (const { port, matches } of this.dnsMatchers) stack.udp.serve(port, matches)
    this.own = routed ? new LocalAddresses(device) : null
    stack.local = (w0, w1, w2, w3) => this.isServed(w0, w1, w2, w3) || this.own?.has(w0, w1, w2, w3) === true
    setMaxListeners(0, this.ending.signal) // pings, and the lookups of their names, listen to it
    this.driver.start()
    this.network = watchUplink?.(uplink => this.uplinkChanged(uplink)) // last: nothing throws any more that would leave it open
    setImmediate(() => {
      for (const warning of warnings) this.warn(warning)
    })
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

  /** Where DNS is answered on a socket of the host (`dns.listen`). */
  get dnsAddress(): { address: string; port: number } | undefined {
    return this.dnsSocket?.address
  }

  /**
   * The interface that this machine's own default route leaves by, TUNs left out, and its addresses: sockets bound to them do not come back
   * by the TUN. It follows the kernel; 'uplink' tells of changes. Undefined: there is none, or this is not Linux.
   */
  get uplink(): Uplink | undefined {
    return this.network?.uplink
  }

  /** Counters and sizes, a copy. */
  stats() {
    const { stats, tcp, udp, slabs } = this.stack
    return {
      ...stats,
      drops: { ...stats.drops },
      connections: tcp.flows.size,
      pending: tcp.handshake.pending,
      halfOpen: tcp.handshake.halfOpen.size,
      undecided: tcp.handshake.admission.undecided,
      timeWait: tcp.timeWait.size,
      udpFlows: udp.flows.size,
      receiveQueued: tcp.receiveQueued,
      slabs: slabs.inUse,
      dns: this.names ? { ...this.names.server.stats, resolver: this.names.resolverStats } : undefined,
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

  /** The same for the name of a proxy server: `proxy-server-nameserver` is asked, if there is one. */
  async resolveServer(host: string, signal?: AbortSignal): Promise<{ address: string; family: number }[]> {
    if (this.names === null) throw Object.assign(new Error('this inbound has no DNS'), { code: 'ENOTFOUND' })
    return this.names.resolveServer(host, signal)
  }

  /** The same for a name that is dialled from this machine: `direct-nameserver` is asked, if there is one. */
  async resolveDirect(host: string, signal?: AbortSignal): Promise<{ address: string; family: number }[]> {
    if (this.names === null) throw Object.assign(new Error('this inbound has no DNS'), { code: 'ENOTFOUND' })
    return this.names.resolveDirect(host, signal)
  }

  /** Forgets what nameservers have answered, for the network has changed perhaps. */
  flushDnsCache(): void {
    this.names?.flush()
  }

  /**
   * The network is another one: what nameservers have answered is forgotten, servers that did not answer are asked again. Called by itself
   * when the uplink changes and when the machine slept; call it where the inbound cannot know. Connections are let be.
   */
  networkChanged(): void {
    if (this.over) return
    this.names?.networkChanged()
    this.own?.forget()
    this.driver.wake()
  }

  /** Forgets which name has which fake address, but for those in use; resolvers of applications may still hold them for `fake-ip-ttl`. */
  flushFakeIps(): void {
    this.names?.fakeIp?.flush()
  }

  /**
   * Serves TCP on an address, CIDR or port of the other side: `server` gets each connection, accepted when it reads or writes. A server
   * that does not listen elsewhere is told 'listening', for only then do http.Server's time-outs run.
   * @throws TypeError ERR_TUN_ADDRESS, ERR_TUN_LOCAL_ADDRESS
   */
  listen(where: ServiceAddress, server: SocketServer | SocketHandler): Listener {
    const handle = typeof server === 'function' ? server : (socket: TunSocket) => void server.emit('connection', socket)
    const listener = this.services.add(this.serviceAt(where), handle)
    if (typeof server !== 'function' && server.listening === false) server.emit('listening')
    return listener
  }

  /** The same for datagrams; they make no flow. `port` is needed: every port of every address is what 'datagram' is for. */
  listenDatagrams(where: ServiceAddress & { port: number }, handle: (datagram: TunDatagram) => unknown): Listener {
    const at = this.serviceAt(where)
    if (at.port === 0) throw Object.assign(new TypeError("listenDatagrams needs a 'port'"), { code: 'ERR_TUN_ADDRESS' })
    const stop = this.stack.udp.serve(at.port, at.matches)
    const listener = this.datagramServices.add(at, handle)
    return {
      close: () => {
        stop()
        listener.close()
      },
    }
  }

  /**
   * Sends a whole IP packet (copied) to the NIC as it stands, checksums included. False: the queue is full, or the inbound is closed.
   * @throws TypeError ERR_TUN_PACKET: it is no whole packet, or larger than the MTU
   */
  write(packet: Uint8Array): boolean {
    if (this.over) return false
    const taken = this.stack.write(new Uint8Array(packet))
    this.driver.wake()
    return taken
  }

  private serviceAt(where: ServiceAddress): Matcher {
    const service = matcher(where)
    if (this.routed && where.address !== undefined && isOfThisHost(where.address)) throw localAddressError(where.address)
    if (where.address !== undefined) this.names?.fakeIp?.reserve(where.address) // or a name would lead to the service
    return service
  }

  /**
   * Opens a connection to the side of the applications, from any address: the answer of a TunSocket that is `connecting`. Its 'error' has the
   * errno of connect(2): ECONNREFUSED, ETIMEDOUT.
   * @throws see active-open.ts; ERR_TUN_CLOSED behind close()
   */
  connect(options: ConnectOptions): TunSocket {
    if (this.closing !== null) throw Object.assign(new Error('the inbound is closed'), { code: 'ERR_TUN_CLOSED' })
    return openConnection(this.stack, this.driver, options, this.routed)
  }

  /** Connections as an async iterable; while nobody asks for the next one, SYNs stay pending. Ends when the inbound closes. */
  async *connections(): AsyncGenerator<TunSocket, void, void> {
    if (this.closing === null) yield* connectionsOf(this)
  }

  /** The process stays alive while the inbound is open (default). */
  ref(): this {
    this.device.ref?.()
    this.dnsSocket?.ref()
    return this
  }

  unref(): this {
    this.device.unref?.()
    this.dnsSocket?.unref()
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
    await null // a listener may have called us: the driver's turn is over first
    if (drain > 0 && !this.over && this.stack.tcp.flows.size > 0) {
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, Math.min(drain, LONGEST_DRAIN)).unref()
        this.drained = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
    if (this.over) return
    // Not the end, which would pass for a complete transfer.
    for (const c of [...this.stack.tcp.flows]) {
      if (c.user instanceof TunSocket && !c.orphan) c.user.destroy(errnoError('ECONNABORTED', 'read'))
      else c.reset()
    }
    this.driver.flush()
    this.drainTcp()
    this.tearDown()
  }

  private drainTcp(): void {
    this.stack.drain({ tcp: (c, bits) => this.tcp(c, bits), datagram: () => {}, flowEnded: flow => this.flowEnded(flow) })
  }

  private tearDown(): void {
    this.over = true
    this.driver.stop()
    this.ending.abort(errnoError('ECONNABORTED', 'ping'))
    for (const flow of [...this.stack.udp.flows]) {
      this.stack.udp.flows.close(flow)
      this.flowEnded(flow)
    }
    this.network?.close()
    this.dnsSocket?.close()
    this.names?.close()
    this.device.close()
    decide(this, 'close', [], throwLater)
    this.removeAllListeners()
  }

  /** Tells listeners of 'warning'. @internal */
  warn(message: string): void {
    decide(this, 'warning', [message], throwLater)
  }

  private uplinkChanged(uplink: Uplink | undefined): void {
    if (this.over) return
    this.networkChanged()
    decide(this, 'uplink', [uplink], throwLater)
  }

  private resumed(ms: number): void {
    this.warn(`the machine slept for ${Math.round(ms / 1000)} s`)
    this.networkChanged()
    decide(this, 'resumed', [ms], throwLater)
  }

  private lost(status: number, errno: number): void {
    const what =
      status === GONE ? 'the NIC was deleted' : status === EOF ? 'the other end was closed' : `reading or writing failed (errno ${errno})`
    const error = Object.assign(new Error(`${this.name}: ${what}`), {
      code: status === EOF ? 'ERR_TUN_EOF' : 'ERR_TUN_GONE',
      errno: -errno,
    })
    for (const c of [...this.stack.tcp.flows]) this.stack.tcp.remove(c, 'ENETDOWN')
    this.drainTcp()
    const wanted = this.closing !== null
    this.closing ??= Promise.resolve()
    this.detachSignal()
    if (!wanted) this.report(error)
    this.tearDown()
  }

  // ---- TCP

  private tcp(c: TcpConnection, bits: number): void {
    if (bits & REQUEST) this.request(c)
    if (c.user instanceof TunSocket) c.user.happened(bits)
    if (bits & GONE_EVENT) {
      this.pins?.unpin(c)
      c.user = null
      if (this.drained !== null && this.stack.tcp.flows.size === 0) this.drained()
    }
  }

  private request(c: TcpConnection): void {
    if (this.closing !== null) return c.reject('refused')
    const { l0, l1, l2, l3, localPort } = c
    if (this.names !== null && this.isDns(localPort, l0, l1, l2, l3)) {
      const socket = new TunSocket(c, this.driver).accept()
      return (this.dnsStreams ??= new DnsStreams(this.names.server)).serve(socket, socket)
    }
    const serve = this.services.find(localPort, l0, l1, l2, l3)
    if (serve) {
      const socket = new TunSocket(c, this.driver)
      return attempt(
        () => serve(socket),
        error => this.listenerFailed(error, socket),
      )
    }
    const address = formatAddress(l0, l1, l2, l3)
    const found = this.names?.find(address)
    if (found === null) return c.reject('host-unreachable')
    const socket = new TunSocket(c, this.driver)
    if (!(found instanceof Promise)) return this.announce(c, socket, found)
    // Other gateways are asked for the name; meanwhile the application waits in its connect, and may give up.
    socket.on('error', ignore)
    void found.then(named => {
      if (this.over || socket.destroyed) return
      socket.off('error', ignore)
      if (named === null) socket.reject('host-unreachable')
      else this.announce(c, socket, named)
    })
  }

  private announce(c: TcpConnection, socket: TunSocket, named: Named | undefined): void {
    if (named && !named.real) this.pins?.pin(c, socket.destination.address)
    if (named !== undefined) {
      Object.assign(socket.destination, named.real ? named : { host: named.host })
      socket.hostSource = named.real ? 'dns' : 'fake-ip'
    }
    if (!decide(this, 'connection', [socket], error => this.listenerFailed(error, socket))) socket.reject('refused')
  }

  private isDns(port: number, w0: number, w1: number, w2: number, w3: number): boolean {
    for (const dns of this.dnsMatchers) if (dns.port === port && dns.matches(w0, w1, w2, w3)) return true
    return false
  }

  private listenerFailed(error: Error, flow: TunSocket | TunFlow | TunDatagram | TunEcho): void {
    if (flow instanceof TunSocket) {
      flow.on('error', () => {}) // it is told below
      flow.destroy(error)
    } else if (flow instanceof TunFlow) flow.close()
    else if (flow instanceof TunEcho) flow.unreachable('prohibited')
    else flow.reject()
    Reflect.defineProperty(error, 'flow', { value: flow, configurable: true }) // not enumerable: nobody wants the whole stack in a log
    this.report(error)
  }

  // ---- ICMP and packets

  private echo(e: Echo): void {
    if (this.closing !== null) return
    const found = this.names?.find(formatAddress(e.d0, e.d1, e.d2, e.d3))
    if (found instanceof Promise && this.waitingPings === MAX_WAITING_PINGS) return
    const echo = new TunEcho(e, this.stack, this.driver, this.ending.signal)
    if (!(found instanceof Promise)) return this.pinged(echo, found)
    this.waitingPings++
    void found.then(named => {
      this.waitingPings--
      if (!this.over) this.pinged(echo, named)
    })
  }

  private pinged(echo: TunEcho, named: Named | undefined | null): void {
    if (named === null) return void echo.unreachable()
    if (named) Object.assign(echo.destination, named.real ? named : { host: named.host })
    if (!decide(this, 'icmp', [echo], error => this.listenerFailed(error, echo))) echo.unreachable('prohibited')
  }

  /** Is anything served at this address? What is served at all of them does not count. */
  private isServed(w0: number, w1: number, w2: number, w3: number): boolean {
    if (this.dnsMatchers.some(dns => dns.bits >= 0 && dns.matches(w0, w1, w2, w3))) return true
    return this.services.coversAddress(w0, w1, w2, w3) || this.datagramServices.coversAddress(w0, w1, w2, w3)
  }

  protected override listenersChanged(event: keyof TunInboundEvents | undefined): void {
    if (event !== 'packet' && event !== undefined) return
    if (this.listenerCount('packet') === 0) this.stack.hook = null
    else
      this.stack.hook ??= packetHook(
        (packet, failed) => decide(this, 'packet', [packet], failed),
        packet => this.write(packet),
        error => this.report(error),
      )
  }

  // ---- UDP

  /** On a way its flow's relay knows, so that neither name nor listener is asked for again. */
  private carry(d: Datagram): boolean {
    const flow = d.flow?.user
    return flow instanceof TunFlow && flow.carrier !== null && this.listenerCount('flow') > 0 && flow.carry(d)
  }

  private datagram(d: Datagram): void {
    if (d.flow === null) return this.serveDatagram(d)
    const udp = d.flow
    const found = this.names?.find(addressOf(d))
    if (found === null) return new TunDatagram(d, this.udpPort, null, undefined).reject('host')
    const datagram = new TunDatagram(d, this.udpPort, this.flowOf(udp), undefined)
    if (!(found instanceof Promise)) return this.deliver(datagram, udp, found)
    if (this.waitingDatagrams === MAX_WAITING_DATAGRAMS) return
    this.waitingDatagrams++
    void found.then(named => {
      this.waitingDatagrams--
      if (this.over || datagram.flow?.closed) return
      if (named === null) datagram.reject('host')
      else this.deliver(datagram, udp, named)
    })
  }

  private deliver(datagram: TunDatagram, udp: UdpFlow, named: Named | undefined): void {
    const { destination } = datagram
    const flow = this.flowOf(udp)
    if (named && !named.real) this.pins?.pin(udp, destination.address)
    if (named) destination.host = named.host
    if (named?.real) destination.real = true
    if (this.listenerCount('flow') > 0) {
      if (!this.announced.has(flow)) {
        this.announced.add(flow)
        decide(this, 'flow', [flow], error => this.listenerFailed(error, flow))
      }
      if (flow.listenerCount('message') === 0) return datagram.reject()
      decide(flow, 'message', [datagram.payload, destination, datagram.ttl], error => this.listenerFailed(error, flow))
    } else if (!decide(this, 'datagram', [datagram], error => this.listenerFailed(error, datagram))) datagram.reject()
  }

  private flowOf(udp: UdpFlow): TunFlow {
    return udp.user instanceof TunFlow ? udp.user : new TunFlow(udp, this.udpPort)
  }

  private serveDatagram(d: Datagram): void {
    const datagram = new TunDatagram(d, this.udpPort, null, undefined)
    if (this.names !== null && this.isDns(d.dstPort, d.d0, d.d1, d.d2, d.d3)) {
      return answerDatagram(this.names.server, datagram)
    }
    const serve = this.datagramServices.find(d.dstPort, d.d0, d.d1, d.d2, d.d3)
    if (!serve) return datagram.reject()
    attempt(
      () => serve(datagram),
      error => this.listenerFailed(error, datagram),
    )
  }

  private undelivered({ flow: { user: flow }, from: [w0, w1, w2, w3, port], type, code }: Undelivered): void {
    if (!(flow instanceof TunFlow) || flow.closed) return
    const from = { address: formatAddress(w0, w1, w2, w3), port, family: flow.source.family }
    decide(flow, 'undelivered', [from, { type, code }], error => this.listenerFailed(error, flow))
  }

  private flowEnded(flow: UdpFlow): void {
    this.pins?.unpin(flow)
    if (flow.user instanceof TunFlow) {
      flow.user.closed = true
      decide(flow.user, 'close', [], throwLater)
    }
    flow.user = null
  }
}

function ignore(): void {}

function addressOf(d: Datagram): string {
  return formatAddress(d.d0, d.d1, d.d2, d.d3)
}
