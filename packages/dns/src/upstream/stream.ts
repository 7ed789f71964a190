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
/** Queries on one connection; more of them open another. */
const PIPELINE = 128
/** Connections to one nameserver. */
const MAX_CONNECTIONS = 4

export class StreamExchange implements Exchange {
  private readonly connections: Connection[] = []
  private opening: Promise<Connection> | null = null
  private closed = false

  constructor(
    private readonly server: Nameserver,
    private readonly context: ExchangeContext,
  ) {}

  async ask(query: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    this.context.stats.overTcp++
    for (let attempt = 0; ; attempt++) {
      signal.throwIfAborted()
      const connection = this.ready() ?? (await this.open(signal))
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
    for (const connection of [...this.connections]) connection.end(new Error('the resolver was closed'))
  }

  private ready(): Connection | undefined {
    let best: Connection | undefined
    for (const connection of this.connections) if (!best || connection.waiting.size < best.waiting.size) best = connection
    const full = best !== undefined && best.waiting.size >= PIPELINE && this.connections.length < MAX_CONNECTIONS
    return full ? undefined : best
  }

  /** One at a time: all who wait meanwhile share it. */
  private async open(signal: AbortSignal): Promise<Connection> {
    this.opening ??= this.connect().finally(() => {
      this.opening = null
    })
    const aborted = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    })
    return Promise.race([this.opening, aborted])
  }

  private async connect(): Promise<Connection> {
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
    const connection = new Connection(secured, formatNameserver(this.server), () => {
      forget()
      stream.destroy()
      const at = this.connections.indexOf(connection)
      if (at >= 0) this.connections.splice(at, 1)
    })
    if (this.closed) connection.end(new Error('the resolver was closed'))
    else this.connections.push(connection)
    return connection
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

class Connection {
  readonly waiting = new Map<number, Waiting>()
  answered = 0
  private readonly framer = new TcpFramer()
  private idle: NodeJS.Timeout | undefined
  private over: Error | null = null

  constructor(
    private readonly stream: Duplex,
    name: string,
    private readonly gone: () => void,
  ) {
    stream.on('data', (chunk: Uint8Array) => this.read(chunk))
    stream.on('error', error => this.end(error))
    stream.on('end', () => this.end(new Error(`${name} closed the connection without an answer`)))
    stream.on('close', () => this.end(new Error(`${name} closed the connection without an answer`)))
    this.rest()
  }

  ask(query: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (this.over) return reject(this.over)
      const own = new Uint8Array(query)
      let id = randomInt(0x10000)
      while (this.waiting.has(id)) id = (id + 1) & 0xffff
      own[0] = id >> 8
      own[1] = id & 255
      const leave = () => {
        this.waiting.delete(id)
        signal.removeEventListener('abort', onAbort)
        this.rest()
      }
      const onAbort = () => {
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
    this.gone()
  }

  private read(chunk: Uint8Array): void {
    for (const answer of this.framer.push(chunk)) {
      const waiting = this.waiting.get((answer[0] << 8) | answer[1])
      // One that came too late, or to nobody's question, is passed over.
      if (waiting === undefined || !answers(answer, waiting.query, waiting.asked)) continue
      this.answered++
      waiting.done(answer)
    }
  }

  private rest(): void {
    clearTimeout(this.idle)
    if (this.over === null && this.waiting.size === 0) this.idle = setTimeout(() => this.end(new Error('idle')), IDLE).unref()
  }
}
