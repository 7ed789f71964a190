// Owns: relayDatagrams(): everything one UDP flow sends, carried on by outbounds, and what comes back, from its true source.
// All real destinations of a flow share one association per outbound (endpoint-independent mapping, RFC 4787 §4.1); each fake address has one
// of its own, because an answer bears a real source and only the association tells which fake address the application is waiting for.

import type { Buffer } from 'node:buffer'
import type { TunFlow } from '@tun/stack'
import type { DatagramOutbound, Destination, Endpoint, Outbound } from './outbound.js'

/** Which outbound carries datagrams to this destination; null: none, the application is told so (port unreachable). */
export type DatagramRoute = (to: Destination) => Outbound | null | Promise<Outbound | null>

/** Destinations whose route is remembered, per flow. */
const MAX_PATHS = 1024
/** Associations of one flow; the oldest makes room. */
const MAX_LINES = 64
/** What waits for an association or a route, per line. */
const MAX_WAITING = 64
const MAX_WAITING_BYTES = 256 * 1024
/** A line that failed rejects for this long before it is tried again. */
const RETRY = 1000 // ms

/** Carries the flow's datagrams until it ends. Attach it in the 'flow' listener; it never throws for what the network does. */
export function relayDatagrams(flow: TunFlow, route: Outbound | DatagramRoute): void {
  const relay = new FlowRelay(flow, typeof route === 'function' ? route : () => route)
  flow.on('message', (payload, to) => relay.send(payload, to))
  flow.on('close', () => relay.close())
}

interface Path {
  /** null: not known yet, or nobody carries it (`rejected`). */
  line: Line | null
  rejected: boolean
  readonly waiting: Waiting
}

class Waiting {
  private readonly items: { payload: Buffer; to: Destination }[] = []
  private bytes = 0

  add(payload: Buffer, to: Destination): void {
    if (this.items.length >= MAX_WAITING || this.bytes + payload.length > MAX_WAITING_BYTES) return // dropped, as a full queue would
    this.items.push({ payload, to })
    this.bytes += payload.length
  }

  drain(take: (payload: Buffer, to: Destination) => void): void {
    this.bytes = 0
    for (const { payload, to } of this.items.splice(0)) take(payload, to)
  }
}

class FlowRelay {
  private readonly paths = new Map<string, Path>()
  /** By outbound for real destinations, by fake address for others. */
  private readonly lines = new Map<Outbound | string, Line>()
  private closed = false

  constructor(
    private readonly flow: TunFlow,
    private readonly route: DatagramRoute,
  ) {}

  send(payload: Buffer, to: Destination): void {
    const key = `${to.address} ${to.port}`
    const path = this.paths.get(key) ?? this.findPath(key, to)
    if (path.line !== null && !path.line.over) path.line.send(payload, to)
    else if (path.line !== null) {
      this.paths.delete(key) // the association has ended: a new one
      this.send(payload, to)
    } else if (path.rejected) this.flow.reject(to, payload.length)
    else path.waiting.add(payload, to)
  }

  close(): void {
    this.closed = true
    for (const line of this.lines.values()) line.close()
    this.lines.clear()
    this.paths.clear()
  }

  private findPath(key: string, to: Destination): Path {
    const path: Path = { line: null, rejected: false, waiting: new Waiting() }
    if (this.paths.size >= MAX_PATHS) this.paths.delete(this.paths.keys().next().value as string)
    this.paths.set(key, path)
    void this.settle(path, to)
    return path
  }

  private async settle(path: Path, to: Destination): Promise<void> {
    let outbound: Outbound | null = null
    try {
      outbound = await this.route(to)
    } catch {
      // a route that fails carries nothing
    }
    if (this.closed) return
    if (outbound === null) {
      path.rejected = true
      path.waiting.drain((payload, where) => this.flow.reject(where, payload.length))
      return
    }
    const line = this.lineFor(outbound, to)
    path.line = line
    path.waiting.drain((payload, where) => line.send(payload, where))
  }

  private lineFor(outbound: Outbound, to: Destination): Line {
    const key = to.host === undefined ? outbound : to.address
    const known = this.lines.get(key)
    if (known !== undefined && !known.over) return known
    if (this.lines.size >= MAX_LINES) {
      const [oldest, line] = this.lines.entries().next().value as [Outbound | string, Line]
      line.close()
      this.lines.delete(oldest)
    }
    const line = new Line(this.flow, outbound, to.host === undefined ? null : to.address)
    this.lines.set(key, line)
    return line
  }
}

/** One association. */
class Line {
  /** It has ended, or has failed long enough ago. */
  over = false
  private readonly waiting = new Waiting()
  private readonly controller = new AbortController()
  private outbound: DatagramOutbound | null = null
  private failed = false

  constructor(
    private readonly flow: TunFlow,
    outbound: Outbound,
    private readonly fakeAddress: string | null,
  ) {
    void this.open(outbound)
  }

  send(payload: Buffer, to: Destination): void {
    if (this.failed) this.flow.reject(to, payload.length)
    else if (this.outbound === null) this.waiting.add(payload, to)
    else this.outbound.send(payload, to)
  }

  close(): void {
    this.over = true
    this.controller.abort()
    this.outbound?.close()
  }

  private async open(outbound: Outbound): Promise<void> {
    try {
      if (!outbound.associate) throw new Error('this outbound carries no UDP')
      const opened = await outbound.associate(this.flow, this.controller.signal)
      if (this.over) return opened.close()
      this.outbound = opened
    } catch {
      return this.fail()
    }
    this.outbound.onMessage((payload, from) => this.receive(payload, from))
    void this.outbound.closed.then(() => {
      this.over = true
    })
    this.waiting.drain((payload, to) => this.outbound?.send(payload, to))
  }

  private receive(payload: Buffer, from: Endpoint): void {
    if (this.over) return
    try {
      this.flow.send(payload, this.fakeAddress === null ? from : { address: this.fakeAddress, port: from.port })
    } catch {
      // of the other family, or from an address no host has: the application could not have got it either
    }
  }

  private fail(): void {
    this.failed = true
    this.waiting.drain((payload, to) => this.flow.reject(to, payload.length))
    setTimeout(() => {
      this.over = true
    }, RETRY).unref()
  }
}
