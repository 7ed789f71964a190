// Owns: one nameserver over HTTPS: a POST for each query on connections that stay, HTTP/2 where the server speaks it. RFC 8484.

import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import type { Agent, buildConnector } from 'undici'
import { MAX_MESSAGE_BYTES } from '../frames.js'
import { readQuery } from '../message.js'
import { type Nameserver, urlOf } from '../nameserver.js'
import type { Exchange, ExchangeContext } from './exchange.js'
import { openStream, secure } from './stream.js'
import { answers } from './udp.js'

const CONNECT_TIMEOUT = 5000 // ms
const IDLE = 30_000 // ms

export class HttpsExchange implements Exchange {
  private agent: Agent | undefined
  private readonly url: string
  private closed = false

  constructor(
    private readonly server: Nameserver,
    private readonly context: ExchangeContext,
  ) {
    this.url = urlOf(server)
  }

  async ask(query: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    this.context.stats.overTcp++
    const own = new Uint8Array(query)
    own[0] = own[1] = 0 // RFC 8484 §4.1: the same query is the same bytes
    // Here, for it is a third of the start of a program that asks no such server; its names are lost where it is bundled.
    const { default: undici } = await import('undici')
    if (this.closed) throw new Error(`${this.url} is closed`)
    this.agent ??= this.open(undici.Agent)
    const { statusCode, headers, body } = await undici.request(this.url, {
      dispatcher: this.agent,
      method: 'POST',
      headers: { 'content-type': 'application/dns-message', accept: 'application/dns-message' },
      body: own,
      signal,
    })
    const answer = new Uint8Array(await body.arrayBuffer())
    if (statusCode !== 200) throw new Error(`${this.url} answered HTTP ${statusCode}`)
    const type = String(headers['content-type'] ?? '')
    if (!/^application\/dns-message\b/i.test(type)) throw new Error(`${this.url} answered '${type.slice(0, 60)}', no DNS message`)
    if (answers(answer, own, readQuery(own))) return answer
    this.context.stats.mismatched++
    throw new Error(`${this.url} answered something else`)
  }

  renew(): void {
    void this.agent?.close() // when what is in flight has ended
    this.agent = undefined
  }

  close(): void {
    this.closed = true
    void this.agent?.destroy()
  }

  private open(Kind: typeof Agent): Agent {
    return new Kind({
      connect: (_options: buildConnector.Options, done: buildConnector.Callback) => {
        this.connect().then(
          socket => done(null, socket as TLSSocket),
          error => done(error, null),
        )
      },
      allowH2: true,
      connections: 2,
      keepAliveTimeout: IDLE,
      maxResponseSize: MAX_MESSAGE_BYTES,
    })
  }

  private async connect(): Promise<Duplex> {
    const signal = AbortSignal.timeout(CONNECT_TIMEOUT)
    const { hooks, locate } = this.context
    const server = await locate(this.server, signal)
    const stream = await openStream(server, hooks, signal)
    const socket = secure(stream, this.server, ['h2', 'http/1.1'], hooks.tls)
    return new Promise((resolve, reject) => {
      const settle = (error?: unknown) => {
        signal.removeEventListener('abort', onAbort)
        socket.off('secureConnect', onSecure)
        socket.off('error', settle)
        if (error === undefined) return resolve(socket)
        socket.on('error', () => {})
        socket.destroy()
        ;(stream as Socket).destroy()
        reject(error)
      }
      const onAbort = () => settle(signal.reason)
      const onSecure = () => settle()
      signal.addEventListener('abort', onAbort, { once: true })
      socket.once('secureConnect', onSecure)
      socket.once('error', settle)
    })
  }
}
