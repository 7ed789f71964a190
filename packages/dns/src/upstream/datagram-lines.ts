// Owns: datagrams to one nameserver that a proxy carries: an association costs round trips, so it stays, and many queries share it, told
// apart by id. Where no proxy does, nobody is asked here. RFC 5452 §9 for what an answer has to have.

import { randomInt } from 'node:crypto'
import { DnsError } from '../errors.js'
import { type Query, readQuery } from '../message.js'
import { formatNameserver, type Nameserver } from '../nameserver.js'
import type { ExchangeContext, UpstreamDatagrams } from './exchange.js'
import { answers } from './udp.js'

/** Without a query for so long it is closed. */
const IDLE = 30_000 // ms
/** Queries on their way; more of them fail. */
const MAX_WAITING = 4096

interface Waiting {
  query: Uint8Array
  asked: Query
  settle(error: unknown, answer?: Uint8Array): void
}

export class DatagramLines {
  private line: Promise<Line | null> | null = null
  private closed = false

  constructor(private readonly context: ExchangeContext) {}

  /** The answer, or null: nothing but a socket of our own leads there. */
  async ask(server: Nameserver, query: Uint8Array, signal: AbortSignal): Promise<Uint8Array | null> {
    if (!this.context.hooks.datagrams) return null
    const line = await (this.line ?? this.openLine(server))
    signal.throwIfAborted()
    return line === null ? null : line.ask(query, signal)
  }

  /** The network is another one: an association of the old one is dead, and may never say so. */
  renew(): void {
    const { line } = this
    this.line = null
    void line?.then(
      old => old?.retire(),
      () => {},
    )
  }

  close(): void {
    this.closed = true
    void this.line?.then(
      line => line?.end(new DnsError('ERR_TUN_DNS_CLOSED', 'the resolver was closed')),
      () => {},
    )
  }

  private openLine(server: Nameserver): Promise<Line | null> {
    const opening = Promise.resolve().then(() =>
      this.open(server, () => {
        if (this.line === opening) this.line = null // or there is another by now
      }),
    )
    this.line = opening
    return opening
  }

  private async open(server: Nameserver, forget: () => void): Promise<Line | null> {
    let line: Line | null = null
    try {
      const datagrams = await this.context.hooks.datagrams?.(server, AbortSignal.timeout(IDLE))
      if (!datagrams) return null
      line = new Line(datagrams, formatNameserver(server), this.context.stats, forget)
      if (this.closed) line.end(new DnsError('ERR_TUN_DNS_CLOSED', 'the resolver was closed'))
      return line
    } finally {
      if (line === null) forget() // the next query asks again: rules and addresses change
    }
  }
}

class Line {
  private readonly waiting = new Map<number, Waiting>()
  private idle: NodeJS.Timeout | undefined
  private over: Error | null = null
  private answeredAt = 0
  private retired = false

  constructor(
    private readonly datagrams: UpstreamDatagrams,
    name: string,
    private readonly stats: ExchangeContext['stats'],
    private readonly gone: () => void,
  ) {
    datagrams.onMessage(answer => this.read(answer))
    void datagrams.closed.then(error => this.end(error ?? new Error(`the way to ${name} was closed`)))
    this.rest()
  }

  ask(query: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (this.over) return reject(this.over)
      if (this.waiting.size >= MAX_WAITING) return reject(new DnsError('ERR_TUN_DNS_OVERLOAD', 'too many queries through one proxy'))
      const own = new Uint8Array(query)
      const askedAt = performance.now()
      let id = randomInt(0x10000)
      while (this.waiting.has(id)) id = (id + 1) & 0xffff
      own[0] = id >> 8
      own[1] = id & 255
      const onAbort = () => {
        const isLate = (signal.reason as { code?: unknown } | undefined)?.code === 'ERR_TUN_DNS_TIMEOUT'
        // Nothing for half of the time that this one waited: a proxy forgets an association, or a NAT before it does, without a word.
        if (isLate && 2 * this.answeredAt < askedAt + performance.now()) this.retire()
        settle(signal.reason)
      }
      const settle = (error: unknown, answer?: Uint8Array) => {
        this.waiting.delete(id)
        signal.removeEventListener('abort', onAbort)
        this.rest()
        if (answer) resolve(answer)
        else reject(error)
      }
      signal.addEventListener('abort', onAbort, { once: true })
      clearTimeout(this.idle)
      this.waiting.set(id, { query: own, asked: readQuery(own), settle })
      if (!this.datagrams.send(own)) settle(new Error('the query could not be sent'))
    })
  }

  /** It gets no more queries and ends with the last of those it has. */
  retire(): void {
    this.retired = true
    this.gone()
    this.rest()
  }

  end(error: Error): void {
    if (this.over) return
    this.over = error
    clearTimeout(this.idle)
    for (const { settle } of [...this.waiting.values()]) settle(error)
    this.datagrams.close()
    this.gone()
  }

  private read(answer: Uint8Array): void {
    const waiting = answer.length < 2 ? undefined : this.waiting.get((answer[0] << 8) | answer[1])
    if (!waiting || !answers(answer, waiting.query, waiting.asked)) return void this.stats.mismatched++
    this.answeredAt = performance.now()
    waiting.settle(null, answer)
  }

  private rest(): void {
    clearTimeout(this.idle)
    if (this.over !== null || this.waiting.size > 0) return
    if (this.retired) this.end(new Error('it gave no answer'))
    else this.idle = setTimeout(() => this.end(new Error('idle')), IDLE).unref()
  }
}
