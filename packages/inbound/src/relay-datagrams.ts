// Owns: relayDatagrams(): everything one UDP flow sends, carried on by outbounds, and what comes back, from its true source.
// All real destinations of a flow share one association per outbound (endpoint-independent mapping, RFC 4787 §4.1); each fake address has
// one of its own, because an answer bears a real source and only the association tells which fake address the application is waiting for.

import type { Buffer } from 'node:buffer'
import { type AddressWords, type Datagram, type DatagramCarrier, parseAddress, type Sender, type TunFlow, throwLater } from '@tun/stack'
import { AssociationBound, associationLimit } from './association-bound.js'
import { type Attempt, type Caller, startOf } from './attempt.js'
import { attempt } from './emitter.js'
import { ASKED_FOR, LendingDatagrams, type LentReceiver } from './lending-datagrams.js'
import type { DatagramOutbound, Destination, Endpoint, Outbound } from './outbound.js'

/** Which outbound carries datagrams to this destination; null: none, the application is told so (port unreachable). */
export type DatagramRoute = (to: Destination) => Outbound | null | Promise<Outbound | null>

/** Destinations whose route is remembered, per flow. */
const MAX_PATHS = 1024
/** Associations of one flow; the one that has been idle for longest makes room. Of all flows: association-bound.ts. */
const MAX_LINES = 64
/** Datagrams that wait for an association or a route, for each. */
const MAX_WAITING = 64
/** All that wait, of one flow; a datagram counts for at least what its objects cost. */
const MAX_WAITING_BYTES = 256 * 1024
const WAITING_COST = 256
/** A route or association that failed rejects for this long before it is tried again. */
const RETRY = 1000 // ms
/** Paths that datagrams are carried along without an event; those to other destinations come as 'message' first. */
const MAX_RECENT = 8

export interface RelayDatagramsOptions {
  /**
   * A route or an association failed: the datagrams to `to`, and to others on their way through it, are rejected for a second. What it
   * throws is thrown from a microtask.
   */
  failed?: (error: Error, to: Destination) => void
}

/** Carries the flow's datagrams until it ends. Attach it in the 'flow' listener; it never throws for what the network does. */
export function relayDatagrams(flow: TunFlow, route: Outbound | DatagramRoute, options: RelayDatagramsOptions = {}): void {
  const relay = new FlowRelay(flow, route, options)
  flow.on('message', (payload, to, ttl) => relay.send(payload, to, ttl))
  flow.on('close', () => relay.close())
  flow.carrier = relay
}

/** What all that waits of one flow holds. */
interface Held {
  bytes: number
}

class Waiting {
  private readonly items: { payload: Buffer; to: Destination; ttl: number }[] = []

  constructor(private readonly held: Held) {}

  add(payload: Buffer, to: Destination, ttl: number): void {
    const bytes = WAITING_COST + payload.length
    if (this.items.length >= MAX_WAITING || this.held.bytes + bytes > MAX_WAITING_BYTES) return // dropped, as a full queue would
    this.items.push({ payload, to, ttl })
    this.held.bytes += bytes
  }

  drain(take: (payload: Buffer, to: Destination, ttl: number) => void): void {
    for (const { payload, to, ttl } of this.items.splice(0)) {
      this.held.bytes -= WAITING_COST + payload.length
      take(payload, to, ttl)
    }
  }
}

/** Where the datagrams to one destination go. */
class Path {
  /** null: not known yet, or nobody carries it. */
  line: Line | null = null
  /** Until then datagrams are rejected; 0: they wait for the route. */
  rejectsUntil = 0
  /** For the route, if that takes its time. */
  waiting: Waiting | null = null
  readonly to: Destination
  private words: AddressWords | null = null

  constructor(to: Destination) {
    this.to = bare(to)
  }

  /** Does the datagram go this way? */
  isFor(d: Datagram): boolean {
    this.words ??= parseAddress(this.to.address) ?? [0, 0, 0, 0]
    const [w0, w1, w2, w3] = this.words
    return d.d3 === w3 && d.dstPort === this.to.port && d.d2 === w2 && d.d1 === w1 && d.d0 === w0
  }

  get over(): boolean {
    return this.line === null ? this.rejectsUntil > 0 && performance.now() >= this.rejectsUntil : this.line.over
  }
}

class FlowRelay implements DatagramCarrier {
  private readonly paths = new Map<string, Path>()
  /** Some of them, the last used one first. */
  private readonly recent: Path[] = []
  private readonly lines: Line[] = []
  readonly held: Held = { bytes: 0 }
  private closed = false

  constructor(
    readonly flow: TunFlow,
    private readonly route: Outbound | DatagramRoute,
    private readonly options: RelayDatagramsOptions,
  ) {}

  send(payload: Buffer, to: Destination, ttl: number): void {
    const key = `${to.address} ${to.port}`
    let path = this.paths.get(key)
    if (path === undefined || path.over) path = this.findPath(key, to)
    if (path.line !== null) {
      path.line.send(payload, bare(to), ttl)
      if (this.recent[0] !== path) this.remember(path)
    } else if (path.rejectsUntil > 0) this.flow.reject(to, payload.length)
    else (path.waiting ??= new Waiting(this.held)).add(payload, to, ttl)
  }

  /** A datagram, or a train, on a way that is known; what needs a decision comes as 'message'. */
  carry(d: Datagram): boolean {
    const { recent } = this
    if (d.ttl < ASKED_FOR) return false // it keeps its hop limit
    let i = 0
    while (i < recent.length && !recent[i].isFor(d)) i++
    if (i === recent.length) return false
    const path = recent[i]
    if (path.over || !path.line?.carry(d, path.to)) return false
    if (i > 0) {
      recent[i] = recent[0]
      recent[0] = path
    }
    return true
  }

  private remember(path: Path): void {
    const { recent } = this
    let i = 0
    while (i < recent.length && !isSame(recent[i].to, path.to)) i++
    recent.splice(Math.min(i, MAX_RECENT - 1), 1)
    recent.unshift(path)
  }

  close(): void {
    this.closed = true
    this.flow.carrier = null
    this.recent.length = 0
    for (const line of this.lines) line.close()
    this.lines.length = 0
    this.paths.clear()
  }

  private findPath(key: string, to: Destination): Path {
    const path = new Path(to)
    this.paths.delete(key) // a new one is the newest
    if (this.paths.size >= MAX_PATHS) this.paths.delete(this.paths.keys().next().value as string)
    this.paths.set(key, path)
    this.settle(path, to)
    return path
  }

  private settle(path: Path, to: Destination): void {
    let found: Outbound | null | Promise<Outbound | null>
    try {
      found = typeof this.route === 'function' ? this.route(to) : this.route
    } catch (error) {
      return this.unsettled(path, to, error as Error)
    }
    if (found === null || !('then' in found)) return this.settled(path, to, found)
    found.then(
      outbound => this.settled(path, to, outbound),
      error => this.unsettled(path, to, error as Error),
    )
  }

  private settled(path: Path, to: Destination, outbound: Outbound | null): void {
    if (this.closed) return
    const { waiting } = path
    if (outbound === null) {
      path.rejectsUntil = performance.now() + RETRY
      waiting?.drain((payload, where) => this.flow.reject(where, payload.length))
      return
    }
    const line = this.lineFor(outbound, to)
    path.line = line
    this.remember(path)
    waiting?.drain((payload, where, ttl) => line.send(payload, bare(where), ttl))
  }

  private unsettled(path: Path, to: Destination, error: Error): void {
    if (this.closed) return
    this.failed(error, to)
    this.settled(path, to, null)
  }

  /** What it throws is the listener's, and ends nothing here. */
  failed(error: Error, to: Destination): void {
    attempt(() => this.options.failed?.(error, to), throwLater)
  }

  private lineFor(through: Outbound, to: Destination): Line {
    const fakeAddress = to.host === undefined || to.real ? null : to.address
    const known = this.lines.findIndex(line => line.through === through && line.fakeAddress === fakeAddress)
    if (known >= 0 && !this.lines[known].over) return this.lines[known]
    if (known >= 0) this.lines.splice(known, 1)
    else if (this.lines.length === MAX_LINES) this.closeIdlest()
    const line = new Line(this, through, fakeAddress, to)
    this.lines.push(line)
    return line
  }

  private closeIdlest(): void {
    let idlest = 0
    for (let i = 1; i < this.lines.length; i++) if (this.lines[i].usedAt < this.lines[idlest].usedAt) idlest = i
    this.lines.splice(idlest, 1)[0].close()
  }
}

/** A real address goes on without its name: then it shares the mapping of all others, which a name, resolved elsewhere, could not. */
function bare(to: Destination): Destination {
  return to.real ? { address: to.address, port: to.port, family: to.family } : to
}

/** The process's: so are the descriptors. Made when the first flow comes, by the limit of then. */
let bound: AssociationBound<Line> | undefined

function isSame(a: Destination, b: Destination): boolean {
  return a.address === b.address && a.port === b.port
}

/** One association. */
class Line implements Caller<DatagramOutbound>, LentReceiver {
  /** It has ended, or has failed long enough ago. */
  over = false
  usedAt = performance.now()
  private readonly waiting: Waiting
  private attempt: Attempt | null = null
  private outbound: DatagramOutbound | null = null
  /** The same, if it takes what is lent. */
  private lending: LendingDatagrams | null = null
  /** Of the last datagram that came back; null: the application cannot get any from there. */
  private lastFrom: Endpoint | null = null
  private lastSender: Sender | null = null
  private isFailed = false

  private readonly flow: TunFlow

  constructor(
    private readonly relay: FlowRelay,
    readonly through: Outbound,
    /** null: for all real destinations. */
    readonly fakeAddress: string | null,
    /** Whose datagram it was opened for. */
    private readonly to: Destination,
  ) {
    this.flow = relay.flow
    this.waiting = new Waiting(relay.held)
    bound ??= new AssociationBound(associationLimit())
    bound.enter(this, this.usedAt)
    try {
      this.open()
    } catch (error) {
      this.failed(error as Error) // an outbound that throws: its mistake ends this association and nothing else
    }
  }

  carry(d: Datagram, to: Destination): boolean {
    if (this.lending === null || this.isFailed || d.slab === null) return false
    this.use()
    this.lending.sendLent(d.slab, d.start, d.end, d.segment, to)
    return true
  }

  send(payload: Buffer, to: Destination, ttl: number): void {
    this.use()
    if (this.isFailed) this.flow.reject(to, payload.length)
    else if (this.outbound === null) this.waiting.add(payload, to, ttl)
    else this.outbound.send(payload, to, ttl)
  }

  private use(): void {
    this.usedAt = performance.now()
    bound?.used(this, this.usedAt)
  }

  /** Others need its descriptors more: the next datagram makes a new one. */
  evict(): void {
    this.close()
  }

  close(): void {
    this.over = true
    bound?.leave(this)
    this.attempt?.cancel()
    this.waiting.drain(() => {})
    this.outbound?.close()
  }

  private open(): void {
    const { associate } = this.through
    if (!associate) return this.failed(new Error('this outbound carries no UDP'))
    const start = startOf(associate)
    if (start !== undefined) {
      const attempt = start(this, this.flow)
      if (this.outbound === null) this.attempt = attempt
      return
    }
    const controller = new AbortController()
    this.attempt = { cancel: () => controller.abort() }
    const opened = Promise.resolve(associate.call(this.through, this.flow, controller.signal))
    opened.then(outbound => this.succeeded(outbound)).catch(error => this.failed(error as Error))
  }

  failed(error: Error): void {
    if (!this.over) this.fail(error)
  }

  succeeded(opened: DatagramOutbound): void {
    if (this.over) return opened.close()
    this.outbound = opened
    const openedAt = performance.now()
    if (opened instanceof LendingDatagrams) {
      this.lending = opened
      opened.onLent(this)
    } else opened.onMessage((payload, from) => this.receive(payload, from))
    void opened.closed.then(error => {
      if (this.over) return
      bound?.leave(this)
      // Or a proxy that ends each association at once would get one per datagram.
      if (performance.now() - openedAt < RETRY) this.fail(error ?? new Error('the association ended as soon as it was there'))
      else this.over = true
    })
    this.waiting.drain((payload, to, ttl) => opened.send(payload, to, ttl))
  }

  private receive(payload: Buffer, from: Endpoint): void {
    if (this.over) return
    this.use()
    try {
      this.flow.send(payload, this.fakeAddress === null ? from : { address: this.fakeAddress, port: from.port })
    } catch {
      // of the other family, or from an address no host has: the application could not have got it either
    }
  }

  receiveLent(bytes: Uint8Array, start: number, end: number, from: Endpoint): void {
    if (this.over) return
    this.use()
    if (from !== this.lastFrom) {
      this.lastFrom = from
      this.lastSender = this.senderOf(from)
    }
    if (this.lastSender !== null) this.flow.sendLent(bytes, start, end, this.lastSender)
  }

  /** Whom the application sees; null: as above. */
  private senderOf(from: Endpoint): Sender | null {
    try {
      return this.flow.sender(this.fakeAddress === null ? from : { address: this.fakeAddress, port: from.port })
    } catch {
      return null
    }
  }

  private fail(error: Error): void {
    if (this.isFailed) return
    this.isFailed = true
    bound?.leave(this)
    this.waiting.drain((payload, to) => this.flow.reject(to, payload.length))
    this.relay.failed(error, this.to)
    setTimeout(() => {
      this.over = true
    }, RETRY).unref()
  }
}
