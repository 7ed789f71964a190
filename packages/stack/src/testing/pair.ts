// Owns: two whole stacks with their drivers, joined by seeded links in virtual time: the simulator. `a` opens, `b` answers.

import type { Echo } from '../icmp.js'
import { ByteRange } from '../memory/byte-queue.js'
import type { Bytes, Millis } from '../memory/slab.js'
import { Driver, type Host } from '../node/driver.js'
import type { StackOptions } from '../options.js'
import { Stack } from '../stack.js'
import type { TcpConnection } from '../tcp/connection.js'
import { CONNECTED, ENDED, GONE_EVENT, READABLE, REQUEST, WRITABLE } from '../tcp/states.js'
import type { UdpFlow } from '../udp/flow.js'
import type { Datagram, Undelivered } from '../udp/udp.js'
import { type AddressWords, parseAddress } from '../wire/address.js'
import { Link, type LinkOptions } from './link.js'
import { connectDevices, MemoryDevice, type MemoryDeviceOptions } from './memory-device.js'
import { Prng } from './prng.js'
import { VirtualClock } from './virtual-clock.js'

/** A virtual event loop for a driver. `gate` may put off what it runs: a process that stands still. */
export function virtualHost(clock: VirtualClock, gate: (fn: () => void) => () => void = fn => fn): Host {
  return {
    now: () => clock.now,
    wall: () => clock.now,
    soon: fn => void clock.after(0, gate(fn)),
    setTimer: (fn, delay) => clock.after(delay, gate(fn)),
    clearTimer: timer => clock.cancel(timer as ReturnType<VirtualClock['after']>),
    raise: error => {
      throw error
    },
  }
}

/** One end of a connection as a test sees it: what arrived, whether it ended, what went wrong. */
export class TestStream {
  readonly connection: TcpConnection
  private readonly endpoint: Endpoint
  readonly received: Bytes[] = []
  receivedBytes = 0
  connected = false
  ended = false
  gone = false
  error = ''
  /** Takes what arrives at once (default), or leaves it in the queue until `drain`. */
  reading = true
  private readonly backlog: Bytes[] = []
  private endAfter = false
  private readonly range = new ByteRange()

  constructor(endpoint: Endpoint, connection: TcpConnection) {
    this.endpoint = endpoint
    this.connection = connection
    connection.user = this
  }

  /** Queues bytes (copied) as fast as the connection takes them. */
  write(bytes: Bytes): void {
    this.backlog.push(bytes)
    this.pump()
  }

  /** Ends our side behind all that was written. */
  end(): void {
    this.endAfter = true
    this.pump()
  }

  /** Reads everything that is there. */
  drain(): void {
    while (this.connection.read(this.range)) {
      const { bytes, start, end, owner } = this.range
      this.received.push(bytes.slice(start, end))
      this.receivedBytes += end - start
      owner?.release()
    }
    this.endpoint.driver.wake()
  }

  /** All that was received, in one piece. */
  get data(): Bytes {
    const all = new Uint8Array(this.receivedBytes)
    let at = 0
    for (const chunk of this.received) {
      all.set(chunk, at)
      at += chunk.length
    }
    return all
  }

  close(): void {
    this.connection.close()
    this.endpoint.driver.wake()
  }

  reset(): void {
    this.connection.reset()
    this.endpoint.driver.wake()
  }

  /** Events of the drain. */
  happened(bits: number): void {
    if (bits & CONNECTED) this.connected = true
    if (bits & (READABLE | ENDED) && this.reading) this.drain()
    if (bits & ENDED) this.ended = true
    if (bits & (WRITABLE | CONNECTED)) this.pump()
    if (bits & GONE_EVENT) {
      if (this.reading) this.drain()
      this.gone = true
      this.error = this.connection.error
    }
  }

  private pump(): void {
    const c = this.connection
    while (this.backlog.length > 0 && c.sendable && c.sendRoom > 0) {
      const bytes = this.backlog[0]
      const n = Math.min(bytes.length, c.sendRoom)
      c.send(bytes, 0, n, null)
      if (n === bytes.length) this.backlog.shift()
      else this.backlog[0] = bytes.subarray(n)
    }
    if (this.backlog.length === 0 && this.endAfter) c.end()
    this.endpoint.driver.wake()
  }
}

/** One stack, its memory NIC and its driver. */
export class Endpoint {
  readonly device: MemoryDevice
  readonly stack: Stack
  readonly driver: Driver
  /** Asked for every new connection; the default accepts it. */
  onrequest: (stream: TestStream) => void = stream => stream.connection.accept()
  ondatagram: (datagram: Datagram) => void = () => {}
  /** Asked before; true: it has taken the datagram, or train. */
  oncarry: (datagram: Datagram) => boolean = () => false
  onflowended: (flow: UdpFlow) => void = () => {}
  onundelivered: (report: Undelivered) => void = () => {}
  /** Pings to what is not served here; the default refuses them. */
  onecho: (echo: Echo) => void = echo => this.stack.refuseEcho(echo)
  /** Connections that came in, in order. */
  readonly accepted: TestStream[] = []
  lost = -1
  private readonly clock: VirtualClock
  private frozenUntil: Millis = -Infinity

  constructor(clock: VirtualClock, prng: Prng, options: StackOptions = {}, device: MemoryDeviceOptions = {}) {
    this.clock = clock
    this.device = new MemoryDevice(device)
    this.device.notify = fn => void clock.after(0, this.gate(fn))
    this.device.later = fn => void clock.after(0, this.gate(fn))
    this.stack = new Stack({ mtu: this.device.mtu, offload: this.device.offload, ...options }, prng)
    this.driver = new Driver(
      this.device,
      this.stack,
      {
        tcp: (connection, bits) => this.tcp(connection, bits),
        datagram: datagram => this.ondatagram(datagram),
        carry: datagram => this.oncarry(datagram),
        flowEnded: flow => this.onflowended(flow),
        echo: echo => this.onecho(echo),
        undelivered: report => this.onundelivered(report),
      },
      virtualHost(clock, fn => this.gate(fn)),
      { lost: status => (this.lost = status), down: () => {}, up: () => {}, resumed: () => {} },
    )
    this.driver.start()
  }

  /** The process stands still for `ms`, as under SIGSTOP or in a busy loop: packets pile up in its NIC, deadlines pass. */
  freeze(ms: Millis): void {
    this.frozenUntil = Math.max(this.frozenUntil, this.clock.now + ms)
  }

  private gate(fn: () => void): () => void {
    return () => {
      if (this.clock.now < this.frozenUntil) this.clock.at(this.frozenUntil, this.gate(fn))
      else fn()
    }
  }

  /** Opens a connection through the NIC. */
  connect(from: string, fromPort: number, to: string, toPort: number): TestStream {
    const c = this.stack.connect(words(from), fromPort, words(to), toPort)
    if (c === null) throw new Error(`${from}:${fromPort} → ${to}:${toPort} is in use`)
    const stream = new TestStream(this, c)
    this.driver.wake()
    return stream
  }

  private tcp(connection: TcpConnection, bits: number): void {
    if (bits & REQUEST) {
      const stream = new TestStream(this, connection)
      this.accepted.push(stream)
      this.onrequest(stream)
    }
    ;(connection.user as TestStream | null)?.happened(bits)
  }
}

export interface PairOptions {
  seed?: number
  /** Virtual time at the start, milliseconds. */
  start?: Millis
  link?: LinkOptions
  /** The other direction; default as `link`. */
  back?: LinkOptions
  a?: StackOptions
  b?: StackOptions
  device?: MemoryDeviceOptions
}

export class Pair {
  readonly clock: VirtualClock
  readonly prng: Prng
  readonly a: Endpoint
  readonly b: Endpoint
  readonly ab: Link
  readonly ba: Link
  private port = 40_000

  constructor(options: PairOptions = {}) {
    this.clock = new VirtualClock(options.start ?? 1000)
    this.prng = new Prng(options.seed ?? 1)
    this.a = new Endpoint(this.clock, this.prng.fork(), options.a, { name: 'a', ...options.device })
    this.b = new Endpoint(this.clock, this.prng.fork(), options.b, { name: 'b', ...options.device })
    this.ab = new Link(this.clock, this.prng.fork(), { delayMs: 1, ...options.link }, () => {})
    this.ba = new Link(this.clock, this.prng.fork(), { delayMs: 1, ...(options.back ?? options.link) }, () => {})
    connectDevices(this.a.device, this.b.device, this.ab, this.ba)
  }

  /** Opens a connection from `a` to `b` on a port of its own. */
  connect(v6 = false): TestStream {
    const port = this.port++
    return v6 ? this.a.connect('2001:db8::1', port, '2001:db8::2', 80) : this.a.connect('10.0.0.1', port, '10.0.0.2', 80)
  }

  /** Runs until `done` or for `limit` milliseconds of virtual time; answers whether `done`. */
  until(done: () => boolean, limit: Millis = 600_000): boolean {
    const end = this.clock.now + limit
    while (!done()) {
      if (this.clock.next() > end || !this.clock.runNext()) return done()
    }
    return true
  }
}

function words(text: string): AddressWords {
  const address = parseAddress(text)
  if (address === null) throw new Error(`${text} is no address`)
  return address
}
