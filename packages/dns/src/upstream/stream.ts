// Owns: one nameserver over TCP or TLS: a connection that stays, many queries on it at once, answers in any order, told apart by id.
// Read first: RFC 7766 §6.2 (pipelining, idle connections, retrying), RFC 7858 (DNS over TLS).

import { randomInt } from 'node:crypto'
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import { frame, TcpFramer } from '../frames.js'
import { type Query, readQuery } from '../message.js'
import { formatNameserver, type Nameserver } from '../nameserver.js'
import type { Exchange, ExchangeContext, UpstreamHooks } from './exchange.js'
import { answers } from './udp.js'

/** A connection nobody asks anything on is closed: RFC 7766 §6.2.3. */
const IDLE = 10_000 // ms
/** Queries on one connection; more of them open another, or wait. dnsdist stops reading at its own limit, which is often 64. */
const PIPELINE = 32
/** Connections to one nameserver. */
const MAX_CONNECTIONS = 4
/** So long, one that fell silent with several queries before it gets one at a time, on twice as many connections. */
const SERIAL = 600_000 // ms

/** Somebody who waits for room on a connection. */
interface Turn {
  take(connection: Connection): void
  fail(error: unknown): void
}

export class StreamExchange implements Exchange {
  private readonly connections: Connection[] = []
  private readonly queue = new Set<Turn>()
  private opening = false
  private serialUntil = 0
  private closed = false

  constructor(
    private readonly server: Nameserver,
    private readonly context: ExchangeContext,
  ) {}

  async ask(query: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    this.context.stats.overTcp++
    for (let attempt = 0; ; attempt++) {
      signal.throwIfAborted()
      const connection = this.free() ?? (await this.turn(signal))
      const isFresh = connection.answered === 0
      try {
        return await connection.ask(query, signal)
      } catch (error) {
        // The server may close a connection any time it is idle: a query that met this is asked once more on a new one (§6.2.4).
        if (signal.aborted || isFresh || attempt > 0) throw error
      }
    }
  }

  renew(): void {
    // One that is waited for ends by itself, idle, when it has answered or its queries have run out of time.
    for (const connection of this.connections.splice(0))
      if (connection.waiting.size === 0) connection.end(new Error('the network is another one'))
  }

  close(): void {
    this.closed = true
    const error = new Error('the resolver was closed')
    for (const turn of this.queue) turn.fail(error)
    for (const connection of [...this.connections]) connection.end(error)
  }

  /** The connection with the fewest queries, one of which is promised to the caller. */
  private free(): Connection | undefined {
    let best: Connection | undefined
    for (const connection of this.connections) if (!best || connection.load < best.load) best = connection
    if (best === undefined || best.load >= (this.isSerial ? 1 : PIPELINE)) return undefined
    best.promised++
    return best
  }

  private get isSerial(): boolean {
    return this.serialUntil > performance.now()
  }

  private turn(signal: AbortSignal): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.queue.delete(turn)
        signal.removeEventListener('abort', onAbort)
      }
      const onAbort = () => turn.fail(signal.reason)
      const turn: Turn = {
        take: connection => {
          leave()
          resolve(connection)
        },
        fail: error => {
          leave()
          reject(error)
        },
      }
      signal.addEventListener('abort', onAbort, { once: true })
      this.queue.add(turn)
      this.serve()
    })
  }

  /** Room for those who wait, and another connection if there is none. One is opened at a time. */
  private serve(): void {
    for (const turn of this.queue) {
      const connection = this.free()
      if (connection) turn.take(connection)
      else break
    }
    const most = this.isSerial ? 2 * MAX_CONNECTIONS : MAX_CONNECTIONS
    if (this.queue.size === 0 || this.opening || this.closed || this.connections.length >= most) return
    this.opening = true
    this.connect().then(
      () => {
        this.opening = false
        this.serve()
      },
      error => {
        this.opening = false
        // Whoever waits for a connection that there is goes on waiting.
        if (this.connections.length === 0) for (const turn of [...this.queue]) turn.fail(error)
      },
    )
  }

  private async connect(): Promise<void> {
    const { hooks, own, locate } = this.context
    // Who waits has a time limit; the connection may come later and serve the next.
    const signal = AbortSignal.timeout(IDLE)
    const server = await locate(this.server, signal)
    const stream = await openStream(server, hooks, signal)
    const secured: Duplex = this.server.transport === 'tls' ? secure(stream, this.server, ['dot'], hooks.tls) : stream
    let forget = () => {}
    const learnPort = () => {
      forget = own.addStream((stream as Socket).localAddress, (stream as Socket).localPort)
    }
    if ((stream as Socket).connecting) stream.once('connect', learnPort)
    else learnPort()
    const connection: Connection = new Connection(secured, formatNameserver(this.server), {
      freed: () => {
        if (this.queue.size > 0) this.serve()
      },
      stalled: () => this.retire(connection),
      gone: () => {
        forget()
        stream.destroy()
        this.remove(connection)
        this.serve()
      },
    })
    if (this.closed) connection.end(new Error('the resolver was closed'))
    else this.connections.push(connection)
  }

  /** Nothing comes from it any more: dead, or one that cannot take several queries at once. Others wait on it as long as they like. */
  private retire(connection: Connection): void {
    if (!this.remove(connection)) return
    if (connection.answered > 0 && connection.waiting.size > 0) this.serialUntil = performance.now() + SERIAL
    connection.retired = true
    this.serve()
  }

  private remove(connection: Connection): boolean {
    const at = this.connections.indexOf(connection)
    if (at >= 0) this.connections.splice(at, 1)
    return at >= 0
  }
}

/** Connecting or connected. */
export async function openStream(server: Nameserver, hooks: UpstreamHooks, signal: AbortSignal): Promise<Duplex> {
  const { address: host, port } = server
  return (await hooks.tcp?.(server, signal)) ?? connectTcp({ host, port, noDelay: true, autoSelectFamily: false })
}

/** TLS over a stream, checked against the server's name, or its address where it has none (RFC 8310 §8.1). */
export function secure(stream: Duplex, server: Nameserver, protocols: string[], options: object | undefined): Duplex {
  const host = server.address.replace(/\.$/, '')
  const socket = connectTls({
    ...options,
    ...(server.insecure ? { rejectUnauthorized: false } : {}),
    socket: stream as Socket,
    host, // what the certificate has to be for
    servername: isIP(host) === 0 ? host : '',
    ALPNProtocols: protocols,
  } as object)
  stream.on('error', error => socket.destroy(error)) // it may fail before TLS listens to it
  return socket
}

interface Waiting {
  query: Uint8Array
  asked: Query
  done(answer: Uint8Array): void
  fail(error: unknown): void
}

interface ConnectionEvents {
  /** There is room for another query. */
  freed(): void
  /** A query had no answer in time, and neither has any other had one lately. */
  stalled(): void
  gone(): void
}

class Connection {
  readonly waiting = new Map<number, Waiting>()
  answered = 0
  /** When it answered last. */
  private answeredAt = 0
  /** Queries that will be asked on it. */
  promised = 0
  /** It gets no more queries and ends with the last of those it has. */
  retired = false
  private readonly framer = new TcpFramer()
  private idle: NodeJS.Timeout | undefined
  private over: Error | null = null

  constructor(
    private readonly stream: Duplex,
    name: string,
    private readonly events: ConnectionEvents,
  ) {
    stream.on('data', (chunk: Uint8Array) => this.read(chunk))
    stream.on('error', error => this.end(error))
    stream.on('end', () => this.end(new Error(`${name} closed the connection without an answer`)))
    stream.on('close', () => this.end(new Error(`${name} closed the connection without an answer`)))
    this.rest()
  }

  get load(): number {
    return this.waiting.size + this.promised
  }

  ask(query: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    this.promised--
    return new Promise((resolve, reject) => {
      if (this.over) return reject(this.over)
      if (signal.aborted) {
        this.events.freed()
        return reject(signal.reason)
      }
      const askedAt = performance.now()
      const own = new Uint8Array(query)
      let id = randomInt(0x10000)
      while (this.waiting.has(id)) id = (id + 1) & 0xffff
      own[0] = id >> 8
      own[1] = id & 255
      const leave = () => {
        this.waiting.delete(id)
        signal.removeEventListener('abort', onAbort)
        this.rest()
        this.events.freed()
      }
      const onAbort = () => {
        const isLate = (signal.reason as { code?: unknown } | undefined)?.code === 'ERR_TUN_DNS_TIMEOUT'
        // Nothing for half of the time that this one waited, though it may have answered others of the same burst.
        if (isLate && 2 * this.answeredAt < askedAt + performance.now()) this.events.stalled()
        leave()
        reject(signal.reason)
      }
      signal.addEventListener('abort', onAbort, { once: true })
      clearTimeout(this.idle)
      this.waiting.set(id, {
        query: own,
        asked: readQuery(own),
        done: answer => {
          leave()
          resolve(answer)
        },
        fail: error => {
          leave()
          reject(error)
        },
      })
      this.stream.write(frame(own))
    })
  }

  end(error: Error): void {
    if (this.over) return
    this.over = error
    clearTimeout(this.idle)
    for (const waiting of [...this.waiting.values()]) waiting.fail(error)
    this.stream.destroy()
    this.events.gone()
  }

  private read(chunk: Uint8Array): void {
    for (const answer of this.framer.push(chunk)) {
      const waiting = this.waiting.get((answer[0] << 8) | answer[1])
      // One that came too late, or to nobody's question, is passed over.
      if (waiting === undefined || !answers(answer, waiting.query, waiting.asked)) continue
      this.answered++
      this.answeredAt = performance.now()
      waiting.done(answer)
    }
  }

  private rest(): void {
    clearTimeout(this.idle)
    if (this.over !== null || this.waiting.size > 0) return
    if (this.retired) this.end(new Error('it gave no answer'))
    else this.idle = setTimeout(() => this.end(new Error('idle')), IDLE).unref()
  }
}
