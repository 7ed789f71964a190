// Owns: TunInbound, what createTunInbound answers: one device, its stack and driver, from the first packet to the end.
// Precedence: dns-listen, then listen/listenDatagrams (most specific first), then the events;
// see arriving-connections.ts and its siblings.

import type { Uplink } from '@tun/device'
import {
  type Device,
  Driver,
  EOF,
  errnoError,
  GONE,
  GONE_EVENT,
  nodeHost,
  type Stack,
  type TcpConnection,
  type TunDatagram,
  TunFlow,
  TunSocket,
  throwLater,
} from '@tun/stack'
import { type ConnectOptions, openConnection } from './active-open.js'
import type { Matcher, ServiceAddress } from './address-match.js'
import type { ArrivalScope } from './arrival-scope.js'
import { ArrivingConnections } from './arriving-connections.js'
import { ArrivingDatagrams } from './arriving-datagrams.js'
import { ArrivingPings } from './arriving-pings.js'
import { connectionsOf } from './connection-queue.js'
import type { DnsSocket } from './dns-socket.js'
import { decide, ReportingEmitter } from './emitter.js'
import { FakePins } from './fake-pins.js'
import { endAfterFailure, type TunInboundEvents } from './inbound-events.js'
import { LocalAddresses } from './local-addresses.js'
import type { NameService } from './name-service.js'
import { packetHook } from './packet-hook.js'
import { type Listener, ServedPlaces, type SocketHandler, type SocketServer } from './services.js'

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

/** setTimeout turns anything longer into 1 ms. */
const LONGEST_DRAIN = 2 ** 31 - 1

export class TunInbound extends ReportingEmitter<TunInboundEvents> {
  readonly device: Device
  private readonly stack: Stack
  private readonly driver: Driver
  private readonly names: NameService | null
  private readonly dnsSocket: DnsSocket | undefined
  private readonly routed: boolean
  private readonly own: LocalAddresses | null
  private readonly network: UplinkWatch | undefined
  private readonly places: ServedPlaces
  private readonly tcp: ArrivingConnections
  private readonly udp: ArrivingDatagrams
  private readonly pings: ArrivingPings
  private closing: Promise<void> | null = null
  private over = false
  private drained: (() => void) | null = null
  private detachSignal = () => {}

  /** Use createTunInbound. */
  constructor({ device, stack, names, dnsMatchers, dnsSocket, routed, watchUplink, warnings = [], signal }: TunInboundParts) {
    super()
    this.device = device
    this.stack = stack
    this.names = names
    this.dnsSocket = dnsSocket
    this.routed = routed
    this.driver = new Driver(
      device,
      stack,
      {
        tcp: (c, bits) => this.tcpHappened(c, bits),
        datagram: d => this.udp.datagram(d),
        carry: d => this.udp.carry(d),
        flowEnded: flow => this.udp.ended(flow),
        echo: request => this.pings.request(request),
        undelivered: report => this.udp.undelivered(report),
      },
      nodeHost,
      {
        lost: (status, errno) => this.lost(status, errno),
        down: () => this.warn(`${device.name} is down: 'ip link set ${device.name} up' brings it back`),
        up: () => this.warn(`${device.name} is up`),
        resumed: ms => this.resumed(ms),
      },
    )
    this.places = new ServedPlaces(stack, names, dnsMatchers, routed)
    const scope = this.scope()
    this.tcp = new ArrivingConnections(scope)
    this.udp = new ArrivingDatagrams(scope)
    this.pings = new ArrivingPings(scope)
    this.own = routed ? new LocalAddresses(device) : null
    stack.local = (w0, w1, w2, w3) => this.places.coversAddress(w0, w1, w2, w3) || this.own?.has(w0, w1, w2, w3) === true
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

  private scope(): ArrivalScope {
    const { stack, driver, names, places } = this
    return {
      stack,
      driver,
      names,
      places,
      pins: names?.fakeIp ? new FakePins(names.fakeIp) : null,
      events: this,
      isClosing: () => this.closing !== null,
      isOver: () => this.over,
      listenerFailed: (error, flow) => {
        endAfterFailure(flow, error)
        this.report(error)
      },
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
   * The interface that this machine's own default route leaves by, TUNs left out, and its addresses: sockets bound to them do not come
   * back by the TUN. It follows the kernel; 'uplink' tells of changes. Undefined: there is none, or this is not Linux.
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
    return this.places.addStreams(where, server)
  }

  /** The same for datagrams; they make no flow. `port` is needed: every port of every address is what 'datagram' is for. */
  listenDatagrams(where: ServiceAddress & { port: number }, handle: (datagram: TunDatagram) => unknown): Listener {
    return this.places.addDatagrams(where, handle)
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

  /**
   * Opens a connection to the side of the applications, from any address: the answer of a TunSocket that is `connecting`. Its 'error' has
   * the errno of connect(2): ECONNREFUSED, ETIMEDOUT.
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

  private tcpHappened(c: TcpConnection, bits: number): void {
    this.tcp.happened(c, bits)
    if (bits & GONE_EVENT && this.drained !== null && this.stack.tcp.flows.size === 0) this.drained()
  }

  private drainTcp(): void {
    this.stack.drain({ tcp: (c, bits) => this.tcpHappened(c, bits), datagram: () => {}, flowEnded: flow => this.udp.ended(flow) })
  }

  private tearDown(): void {
    this.over = true
    this.driver.stop()
    this.pings.end()
    for (const flow of [...this.stack.udp.flows]) {
      this.stack.udp.flows.close(flow)
      this.udp.ended(flow)
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
}
