// Owns: pings carried on by the machine's own sockets: one socket a family, a table of those that wait for an answer, bounded in number,
// bytes and time. Read first: RFC 5508 §3 and §4 (what a NAT does with queries and with errors about them), icmp(7).

import { openPing, type PingSocket } from '@tun/device'
import { formatAddress, parseAddress } from '@tun/stack'
import type { DirectOptions, Lookup } from './direct.js'
import { asSeenFrom } from './direct-reports.js'
import { DialError, type EchoAnswer, type PathReport, type Ping } from './outbound.js'

/** Pings of a family that wait, and their bytes; beyond them the oldest is given up, as by a network that lost it. */
const MAX_PINGS = 4096
const MAX_BYTES = 4 << 20
/** What one source has of either: beyond it, its own oldest is given up. */
const SHARE = 1 / 4
/** What one costs besides its payload. */
const OVERHEAD = 256
/** Pings whose name is being looked up. */
const MAX_LOOKUPS = 256
const PATIENCE = 60_000 // ms. RFC 5508 REQ-1: not less; and what waits costs little
const IDLE = 60_000 // ms after the last ping until the socket is closed

/** What waits, in the order it began. */
class Queue {
  readonly sequences = new Set<number>()
  bytes = 0

  /** The one to be given up first if another of `cost` bytes is to have room in this share of the bounds. */
  tooMany(share: number, cost: number): number | undefined {
    if (this.sequences.size < MAX_PINGS * share && this.bytes + cost <= MAX_BYTES * share) return undefined
    for (const oldest of this.sequences) return oldest
    return undefined
  }
}

interface Waiting {
  readonly ping: Ping
  readonly address: string
  readonly until: number
  readonly settle: (answer: EchoAnswer | Error) => void
}

export class DirectPings {
  private readonly pingers: Record<4 | 6, Pinger>
  private readonly lookup: Lookup
  private lookups = 0

  constructor(options: DirectOptions & { lookup: Lookup }) {
    this.lookup = options.lookup
    this.pingers = { 4: new Pinger(4, options), 6: new Pinger(6, options) }
  }

  /** As Outbound.ping. Rejects also with TunError ERR_TUN_PERMISSION, whose `hint` says what permits pings. */
  async ask(ping: Ping): Promise<EchoAnswer> {
    const { address, family, host, real } = ping.destination
    if (ping.signal.aborted) return false
    if (host === undefined || real) return this.pingers[family].ask(ping, address)
    if (this.lookups === MAX_LOOKUPS) return false
    const found = await this.addressOf(host, family, ping.signal)
    return ping.signal.aborted ? false : this.pingers[found.family === 6 ? 6 : 4].ask(ping, found.address)
  }

  /** Of the family that the application pings, if there is one. */
  private async addressOf(host: string, family: 4 | 6, signal: AbortSignal): Promise<{ address: string; family: number }> {
    this.lookups++
    try {
      const found = await this.lookup(host, signal)
      const best = found.find(entry => entry.family === family) ?? found[0]
      if (best !== undefined) return best
    } catch (cause) {
      throw new DialError('EHOSTUNREACH', `cannot resolve ${host}`, { cause })
    } finally {
      this.lookups--
    }
    throw new DialError('EHOSTUNREACH', `${host} has no address`)
  }
}

/** Those of one family. */
class Pinger {
  private socket: PingSocket | undefined
  /** By sequence number, in the order they expire in. */
  private readonly waiting = new Map<number, Waiting>()
  private readonly all = new Queue()
  private readonly sources = new Map<string, Queue>()
  private sequence = 0
  private usedAt = 0
  private timer: NodeJS.Timeout | undefined
  /** Of inbounds whose end is listened to. */
  private readonly signals = new WeakSet<AbortSignal>()

  constructor(
    private readonly family: 4 | 6,
    private readonly options: DirectOptions,
  ) {}

  ask(ping: Ping, text: string): Promise<EchoAnswer> {
    return new Promise((resolve, reject) => {
      const words = parseAddress(text)
      if (words === null) return reject(new DialError('EHOSTUNREACH', `${text} is no address`))
      const address = formatAddress(...words) // as answers are told
      const socket = this.open()
      this.makeRoom(ping)
      const sequence = this.nextSequence()
      const now = performance.now()
      const failure = socket.send(address, sequence, Math.max(1, ping.ttl - 1), ping.payload)
      this.usedAt = now
      this.watch(ping.signal)
      this.timer ??= this.later(PATIENCE)
      if (failure === 'EAGAIN' || failure === 'ENOBUFS') return resolve(false)
      if (failure !== undefined) return reject(new DialError(failure, `the ping to ${address} could not be sent (${failure})`))
      const settle = (answer: EchoAnswer | Error) => (answer instanceof Error ? reject(answer) : resolve(answer))
      this.add(sequence, { ping, address, until: now + PATIENCE, settle })
    })
  }

  /** Throws what openPing throws. */
  private open(): PingSocket {
    if (this.socket !== undefined) return this.socket
    const { family, options } = this
    const localAddress = family === 6 ? options.localAddress6 : options.localAddress
    this.socket = openPing(
      { family, localAddress, device: options.interface, mark: options.mark },
      {
        reply: (sequence, from, payload, ttl) => {
          if (this.waiting.get(sequence)?.address !== from) return
          this.settle(sequence, ttl > 0 ? { payload, ttl: Math.max(1, ttl - 1) } : payload)
        },
        report: (sequence, to, report) => this.reported(sequence, to, report),
      },
    )
    this.socket.unref() // the inbound keeps the process alive, or does not
    return this.socket
  }

  private reported(sequence: number, to: string, report: PathReport): void {
    const waiting = this.waiting.get(sequence)
    if (waiting === undefined || waiting.address !== to) return
    const { address, ping } = waiting
    const told = asSeenFrom(report, { address, family: this.family }, ping.destination)
    this.settle(sequence, told === undefined ? false : new PingFailure(told))
  }

  private settle(sequence: number, answer: EchoAnswer | Error): void {
    const waiting = this.waiting.get(sequence)
    if (waiting === undefined) return
    this.waiting.delete(sequence)
    const { source } = waiting.ping
    const own = this.sources.get(source.address)
    for (const queue of [this.all, own]) {
      if (queue?.sequences.delete(sequence)) queue.bytes -= costOf(waiting.ping)
    }
    if (own?.sequences.size === 0) this.sources.delete(source.address)
    waiting.settle(answer)
  }

  private add(sequence: number, waiting: Waiting): void {
    const { address } = waiting.ping.source
    let own = this.sources.get(address)
    if (own === undefined) this.sources.set(address, (own = new Queue()))
    for (const queue of [this.all, own]) {
      queue.sequences.add(sequence)
      queue.bytes += costOf(waiting.ping)
    }
    this.waiting.set(sequence, waiting)
  }

  private makeRoom(ping: Ping): void {
    const cost = costOf(ping)
    const own = this.sources.get(ping.source.address)
    for (let one = own?.tooMany(SHARE, cost); one !== undefined; one = own?.tooMany(SHARE, cost)) this.settle(one, false)
    for (let one = this.all.tooMany(1, cost); one !== undefined; one = this.all.tooMany(1, cost)) this.settle(one, false)
  }

  private nextSequence(): number {
    do this.sequence = (this.sequence + 1) & 0xffff
    while (this.waiting.has(this.sequence))
    return this.sequence
  }

  private later(ms: number): NodeJS.Timeout {
    return setTimeout(() => this.sweep(), Math.max(1, Math.ceil(ms))).unref()
  }

  private sweep(): void {
    this.timer = undefined
    const now = performance.now()
    for (const [sequence, { until }] of this.waiting) {
      if (until > now) {
        this.timer = this.later(until - now)
        return
      }
      this.settle(sequence, false)
    }
    const idle = now - this.usedAt
    if (idle >= IDLE) this.close()
    else this.timer = this.later(IDLE - idle)
  }

  /** What was asked for an inbound is over with it, and the socket with the last one. */
  private watch(signal: AbortSignal): void {
    if (this.signals.has(signal)) return
    this.signals.add(signal)
    const ended = () => {
      for (const [sequence, { ping }] of this.waiting) if (ping.signal === signal) this.settle(sequence, false)
      if (this.waiting.size === 0) this.close()
    }
    signal.addEventListener('abort', ended, { once: true })
  }

  private close(): void {
    clearTimeout(this.timer)
    this.timer = undefined
    this.socket?.close()
    this.socket = undefined
  }
}

/** What ICMP said of a ping: `TunEcho.forward` passes `report` on. */
class PingFailure extends Error {
  override readonly name = 'PingFailure'

  constructor(readonly report: PathReport) {
    super(`ICMP type ${report.type} code ${report.code} from ${report.from || 'this machine'}`)
  }
}

const costOf = (ping: Ping): number => OVERHEAD + ping.payload.length
