// Owns: a world for tests on the real event loop: an inbound on a memory NIC, and on the NIC's other side a second stack that plays the
// kernel of the applications. No root, no network: `world.connect()` is an application's connect(), and every packet between the two can
// be looked at.

import { once } from 'node:events'
import type { Readable } from 'node:stream'
import {
  CONNECTED,
  type Datagram,
  Driver,
  formatAddress,
  nodeHost,
  parseAddress,
  payloadOf,
  REQUEST,
  SlabPool,
  Stack,
  type StackOptions,
  type TcpConnection,
  TunSocket,
} from '@tun/stack'
import { connectDevices, MemoryDevice, type MemoryDeviceOptions } from '@tun/stack/testing'
import { onTestFinished, vi } from 'vitest'
import { createTunInbound } from './create-tun-inbound.js'
import type { TunInboundOptions } from './options.js'
import type { TunInbound } from './tun-inbound.js'

/** Where the applications live. */
export const APP = '10.0.0.1'
export const APP6 = 'fd00::1'

/** An ICMP message as it went to the application. */
export interface IcmpError {
  type: number
  code: number
}

export interface Answer {
  payload: Buffer
  from: { address: string; port: number }
}

export interface WorldOptions extends Omit<TunInboundOptions, 'device'> {
  nic?: MemoryDeviceOptions
  /** Of the applications' kernel. */
  kernel?: StackOptions
}

export class World implements AsyncDisposable {
  readonly nic: MemoryDevice
  readonly kernel: Stack
  readonly slabs = new SlabPool()
  /** ICMP errors the applications got. */
  readonly icmp: IcmpError[] = []
  /** What was in the last of them, behind 8 bytes of header. */
  echoed = ''
  /** Resets that left the inbound. */
  resets = 0
  /** Datagrams the applications got. */
  readonly answers: Answer[] = []
  inbound!: TunInbound
  private readonly far: MemoryDevice
  private readonly driver: Driver
  private readonly stack: Stack
  private port = 40_000
  private tell = () => {}
  private incoming: (c: TcpConnection) => void = () => {}

  constructor({ nic, kernel }: WorldOptions) {
    // Whole super-segments: the megabytes of these tests are the sockets', not the segmentation's.
    const device: MemoryDeviceOptions = { splitGso: false, queuePackets: 20_000, verify: false, ...nic }
    this.nic = new MemoryDevice(device)
    this.far = new MemoryDevice({ ...device, name: 'far' })
    for (const end of [this.nic, this.far]) end.notify = fn => void setImmediate(fn)
    connectDevices(this.nic, this.far)
    this.tap()
    this.stack = new Stack({ mtu: this.far.mtu, offload: this.far.offload, timeWait: 50, ...kernel }, { random32, slabs: this.slabs })
    this.kernel = this.stack
    this.driver = new Driver(
      this.far,
      this.stack,
      { tcp: (c, bits) => this.tcp(c, bits), datagram: d => this.datagram(d), flowEnded: () => {} },
      nodeHost,
      { lost: () => {}, down: () => {}, up: () => {}, resumed: () => {} },
    )
    this.driver.start()
  }

  private tap(): void {
    const { ondeliver } = this.nic
    this.nic.ondeliver = (packet, offload) => {
      const v4 = packet[0] >> 4 === 4
      const proto = v4 ? packet[9] : packet[6]
      const at = v4 ? 20 : 40
      if (proto === 1 || proto === 58) {
        this.icmp.push({ type: packet[at], code: packet[at + 1] })
        this.echoed = Buffer.from(packet.subarray(at + 8)).toString('latin1')
      }
      if (proto === 6 && packet[at + 13] & 4) this.resets++
      ondeliver(packet, offload)
      if (proto === 1 || proto === 58) this.tell()
    }
  }

  /** An application's connect(), not awaited: it is `connecting`. */
  connect(address: string, port: number, options: { allowHalfOpen?: boolean } = {}): TunSocket {
    const v6 = address.includes(':')
    const c = this.stack.connect(words(v6 ? APP6 : APP), this.port++, words(address), port)
    if (c === null) throw new Error('the flow is in use')
    const socket = new TunSocket(c, this.driver)
    socket.allowHalfOpen = options.allowHalfOpen ?? true
    this.driver.wake()
    return socket
  }

  /** An application's socket, connected. */
  async open(address: string, port: number): Promise<TunSocket> {
    const socket = this.connect(address, port)
    await once(socket, 'connect')
    return socket
  }

  /** The engine's connection under an application's socket: its port, and verbs no socket has. */
  engineOf(socket: TunSocket): TcpConnection {
    for (const c of this.stack.tcp.flows) if (c.user === socket) return c
    throw new Error('the connection is gone')
  }

  /** Sends a datagram as an application's socket. */
  send(payload: Uint8Array | string, address: string, port: number, fromPort = 5000): void {
    const v6 = address.includes(':')
    this.stack.udp.send(!v6, [...words(v6 ? APP6 : APP), fromPort], [...words(address), port], new Uint8Array(Buffer.from(payload)))
    this.driver.wake()
  }

  /** Sends a whole packet, as an application with a raw socket. */
  sendPacket(packet: Uint8Array): void {
    this.stack.write(new Uint8Array(packet))
    this.driver.wake()
  }

  /** Pings as an application: the answer, or the error, is the next `icmpError()`. */
  ping(address: string, payload: Uint8Array | string = 'ping', sequence = 1): void {
    const v6 = address.includes(':')
    const [from, to] = [words(v6 ? APP6 : APP), words(address)]
    this.stack.icmp.request(!v6, [...from, 0], [...to, 0], (77 << 16) | sequence, new Uint8Array(Buffer.from(payload)))
    this.driver.wake()
  }

  /** The next datagram that an application gets. */
  async answer(): Promise<Answer> {
    while (this.answers.length === 0) await this.something()
    return this.answers.shift()!
  }

  /** The next ICMP error that an application gets. */
  async icmpError(): Promise<IcmpError> {
    while (this.icmp.length === 0) await this.something()
    return this.icmp.shift()!
  }

  private something(): Promise<void> {
    return new Promise(resolve => {
      this.tell = resolve
    })
  }

  /** The next connection that reaches an application, accepted. */
  accepting(): Promise<TunSocket> {
    return new Promise(resolve => {
      this.incoming = c => resolve(new TunSocket(c, this.driver).accept())
    })
  }

  /** No application listens. */
  refusing(): void {
    this.incoming = c => c.reject('refused')
  }

  private tcp(c: TcpConnection, bits: number): void {
    if (bits & REQUEST) this.incoming(c)
    ;(c.user as TunSocket | null)?.happened(bits)
    if (bits & CONNECTED) this.tell()
  }

  private datagram(d: Datagram): void {
    this.answers.push({ payload: payloadOf(d), from: { address: formatAddress(d.s0, d.s1, d.s2, d.s3), port: d.srcPort } })
    this.tell()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.inbound.close()
    this.driver.stop()
    this.far.close()
  }
}

/** An inbound and its applications; disposed of with `await using`. */
export async function world(options: WorldOptions = {}): Promise<World> {
  const { nic: _nic, kernel: _kernel, ...rest } = options
  const all = new World(options)
  all.inbound = await createTunInbound({ ...rest, device: all.nic })
  return all
}

/** The next connection that reaches the inbound. */
export async function connection(inbound: TunInbound): Promise<TunSocket> {
  return new Promise(resolve => {
    const take = (socket: TunSocket) => {
      inbound.off('connection', take)
      resolve(socket)
    }
    inbound.on('connection', take)
  })
}

/** A connection whose both ends are established: the application's and the inbound's. */
export async function established(w: World, port = 80): Promise<{ app: TunSocket; socket: TunSocket }> {
  const app = w.connect('192.0.2.1', port)
  const socket = await connection(w.inbound)
  socket.accept()
  await Promise.all([once(app, 'connect'), once(socket, 'connect')])
  return { app, socket }
}

const [later, now] = [setTimeout, performance.now.bind(performance)]
/** Below the test's own time-out: this one says for what it waits. */
const PATIENCE = 50_000

/** Resolves when `condition` holds; looks every few milliseconds. In real time, also where that of a test is not. */
export async function until(condition: () => boolean): Promise<void> {
  const end = now() + PATIENCE
  while (!condition()) {
    if (now() > end) throw new Error(`still not: ${condition}`)
    await new Promise(resolve => later(resolve, 2))
  }
}

/**
 * For tests of what must not be late, or must not be waited for. Until the test ends, timers go on by 5 ms at most between two looks at
 * the sockets, however long this process stands still: nothing is late but what nobody sends.
 */
export function steadyTime(): void {
  vi.useFakeTimers({
    shouldAdvanceTime: true,
    advanceTimeDelta: 5,
    toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'],
  })
  onTestFinished(() => void vi.useRealTimers())
}

/** As `steadyTime()`, but time stands still: what happens needs no timer. Answers how to let some pass. */
export function frozenTime(): (ms: number) => Promise<unknown> {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] })
  onTestFinished(() => void vi.useRealTimers())
  return ms => vi.advanceTimersByTimeAsync(ms)
}

/** How a stream ended: its error's code, '' for none. */
export function closed(stream: NodeJS.EventEmitter): Promise<string> {
  return new Promise(resolve => {
    let code = ''
    stream.on('error', (error: NodeJS.ErrnoException) => {
      code = error.code ?? error.message
    })
    stream.on('close', () => resolve(code))
  })
}

/** The next uncaught exception; vitest's own listeners do not see it. */
export function uncaught(): Promise<Error> {
  return new Promise(resolve => {
    const others = process.rawListeners('uncaughtException') as ((error: Error) => void)[]
    process.removeAllListeners('uncaughtException')
    process.once('uncaughtException', error => {
      for (const other of others) process.on('uncaughtException', other)
      resolve(error)
    })
  })
}

/** Everything a stream gives, to its end; its other direction stays as it is. */
export async function readAll(stream: Readable): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** Deterministic bytes that no shift or repetition of themselves equals. */
export function bytes(length: number, seed = 1): Buffer {
  const out = Buffer.allocUnsafe(length)
  const whole = length - (length % 4)
  let x = seed | 1
  for (let i = 0; i < whole; i += 4) {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    out.writeInt32LE(x, i)
  }
  out.fill(seed, whole)
  return out
}

let state = 12345
function random32(): number {
  state = (Math.imul(state, 1103515245) + 12345) | 0
  return state
}

function words(text: string) {
  const address = parseAddress(text)
  if (address === null) throw new Error(`${text} is no address`)
  return address
}
