// Owns: asking nameservers, the only sockets of this package. A fresh socket (kernel-chosen port) and a random id per UDP
// query, an answer must come from the server asked with that id and our question: RFC 5452 §9. TC → TCP: RFC 7766 §5.

import { randomInt } from 'node:crypto'
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { connect as connectTcp, isIPv6 } from 'node:net'
import type { Duplex } from 'node:stream'
import { DnsError } from './errors.js'
import { frame, TcpFramer } from './frames.js'
import { adoptAnswer, answerError, isAnswerTo, isBareError, type Query, RCODE, readQuery, STATUS } from './message.js'
import { type Nameserver, parseNameserver } from './nameserver.js'

export interface UpstreamHooks {
  /** A UDP socket of the server's family, not connected; bound or not. For those who must leave by a certain interface. */
  udp?: (to: Nameserver) => UdpSocket | Promise<UdpSocket>
  /** A stream to the server, connecting or connected. */
  tcp?: (to: Nameserver) => Duplex | Promise<Duplex>
}

export interface ResolverOptions {
  /** Asked in this order: `10.0.0.1`, `10.0.0.1:5353`, `[2001:db8::1]:53`, `udp://…`, `tcp://…`. */
  nameservers: readonly string[]
  /** Milliseconds for one query, all servers and repetitions together. */
  timeoutMs?: number
  /** Milliseconds for one server before the next is tried. */
  attemptMs?: number
  /** Times the whole list is gone through. */
  rounds?: number
  /** Queries in flight; one more fails at once with `ERR_TUN_DNS_OVERLOAD`. */
  maxInFlight?: number
  connect?: UpstreamHooks
}

export const RESOLVER_DEFAULTS = { timeoutMs: 5000, attemptMs: 1500, rounds: 2, maxInFlight: 4096 } as const

/** @throws RangeError `ERR_TUN_DNS_SCHEME` or `ERR_TUN_DNS_ADDRESS` for a nameserver that cannot be asked */
export function createResolver(options: ResolverOptions): Resolver {
  return new Resolver(options)
}

export class Resolver {
  readonly servers: readonly Nameserver[]
  readonly stats = { asked: 0, answered: 0, failed: 0, overTcp: 0, mismatched: 0, overload: 0 }
  private readonly options: typeof RESOLVER_DEFAULTS
  private readonly hooks: UpstreamHooks
  private readonly inFlight = new Set<AbortController>()
  private closed = false

  constructor({ nameservers, connect, ...options }: ResolverOptions) {
    this.servers = nameservers.map(parseNameserver)
    if (this.servers.length === 0) throw new DnsError('ERR_TUN_DNS_ADDRESS', 'no nameserver to ask: name at least one')
    this.options = { ...RESOLVER_DEFAULTS, ...options } as typeof RESOLVER_DEFAULTS
    this.hooks = connect ?? {}
  }

  /**
   * The answer to a query's bytes, with the query's id. Made to be the `resolve` of a `DnsServer`. SERVFAIL, REFUSED and NOTIMP
   * of one server are kept and the next is asked. Rejects with a `DnsError` (`ERR_TUN_DNS_TIMEOUT`, `_OVERLOAD`, `_CLOSED`,
   * `_LENGTH` for what is no query) or with the signal's reason.
   */
  readonly resolve = async (query: Uint8Array, { signal }: { signal?: AbortSignal } = {}): Promise<Uint8Array> => {
    signal?.throwIfAborted()
    if (this.closed) throw new DnsError('ERR_TUN_DNS_CLOSED', 'the resolver is closed')
    const asked = readQuery(query)
    if (asked.status !== STATUS.OK) throw new DnsError('ERR_TUN_DNS_LENGTH', 'not a DNS query with one question')
    if (this.inFlight.size >= this.options.maxInFlight) {
      this.stats.overload++
      throw new DnsError('ERR_TUN_DNS_OVERLOAD', `more than ${this.options.maxInFlight} DNS queries in flight`)
    }
    const all = new AbortController()
    const abort = (): void => all.abort(signal?.reason)
    signal?.addEventListener('abort', abort, { once: true })
    const timer = setTimeout(() => all.abort(this.timedOut()), this.options.timeoutMs)
    this.inFlight.add(all)
    this.stats.asked++
    try {
      const answer = await this.askAll(query, asked, all.signal)
      this.stats.answered++
      return adoptAnswer(answer, query, asked) ?? answerError(query, asked, RCODE.SERVFAIL)
    } catch (error) {
      this.stats.failed++
      throw error
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
      this.inFlight.delete(all)
    }
  }

  /** Ends everything in flight with `ERR_TUN_DNS_CLOSED`. Idempotent. */
  close(): void {
    this.closed = true
    for (const all of this.inFlight) all.abort(new DnsError('ERR_TUN_DNS_CLOSED', 'the resolver was closed'))
  }

  private async askAll(query: Uint8Array, asked: Query, signal: AbortSignal): Promise<Uint8Array> {
    let refused: Uint8Array | null = null
    let cause: unknown
    for (let round = 0; round < this.options.rounds; round++) {
      for (const server of this.servers) {
        const attempt = new AbortController()
        const abort = (): void => attempt.abort(signal.reason)
        const timer = setTimeout(() => attempt.abort(this.timedOut()), this.options.attemptMs)
        signal.addEventListener('abort', abort, { once: true })
        try {
          signal.throwIfAborted()
          const answer = await this.ask(server, query, asked, attempt.signal)
          if (!isRefusal(answer)) return answer
          refused = answer
        } catch (error) {
          if (signal.aborted) {
            if (refused) return refused
            throw signal.reason
          }
          cause = error
        } finally {
          clearTimeout(timer)
          signal.removeEventListener('abort', abort)
        }
      }
      if (refused) return refused
    }
    throw new DnsError('ERR_TUN_DNS_TIMEOUT', `no answer from ${this.servers.map(describe).join(', ')}`, cause)
  }

  private async ask(server: Nameserver, query: Uint8Array, asked: Query, signal: AbortSignal): Promise<Uint8Array> {
    const own = new Uint8Array(query)
    const id = randomInt(0x10000)
    own[0] = id >> 8
    own[1] = id & 255
    const accepts = (answer: Uint8Array): boolean => {
      const ours = answer[0] === own[0] && answer[1] === own[1] && (isAnswerTo(answer, query, asked) || isBareError(answer))
      if (!ours) this.stats.mismatched++
      return ours
    }
    if (server.transport === 'tcp') return this.askTcp(server, own, accepts, signal)
    const answer = await this.askUdp(server, own, accepts, signal)
    if ((answer[2] & 0x02) === 0) return answer
    return this.askTcp(server, own, accepts, signal).catch(() => answer) // cut, but the client can ask again
  }

  private async askUdp(server: Nameserver, query: Uint8Array, accepts: Accepts, signal: AbortSignal): Promise<Uint8Array> {
    const socket = await (this.hooks.udp?.(server) ?? createSocket(isIPv6(server.address) ? 'udp6' : 'udp4'))
    return new Promise<Uint8Array>((done, fail) => {
      const end = (error: unknown, answer?: Uint8Array): void => {
        signal.removeEventListener('abort', onAbort)
        socket.removeAllListeners('message')
        closeQuietly(() => socket.close())
        if (answer) done(answer)
        else fail(error)
      }
      const onAbort = (): void => end(signal.reason)
      socket.on('error', end) // stays: an ICMP error may come after the answer
      socket.on('message', answer => {
        if (accepts(answer)) end(null, answer) // anything else may be forged: wait on
      })
      if (signal.aborted) return onAbort()
      signal.addEventListener('abort', onAbort, { once: true })
      // Connected: the kernel passes only the server's datagrams, and its ICMP refusals.
      socket.connect(server.port, server.address, (error?: Error) => {
        if (error) return end(error) // no route to it, for instance: Node hands it to the callback of 'connect'
        if (signal.aborted) return
        socket.send(query, failure => {
          if (failure) end(failure)
        })
      })
    })
  }

  private async askTcp(server: Nameserver, query: Uint8Array, accepts: Accepts, signal: AbortSignal): Promise<Uint8Array> {
    this.stats.overTcp++
    const stream = await (this.hooks.tcp?.(server) ?? connectTcp({ host: server.address, port: server.port, noDelay: true }))
    return new Promise<Uint8Array>((done, fail) => {
      const framer = new TcpFramer()
      const end = (error: unknown, answer?: Uint8Array): void => {
        signal.removeEventListener('abort', onAbort)
        stream.destroy()
        if (answer) done(answer)
        else fail(error)
      }
      const onAbort = (): void => end(signal.reason)
      const ended = (): void => end(new Error(`${describe(server)} closed the connection without an answer`))
      stream.on('error', end)
      stream.on('data', (chunk: Uint8Array) => {
        const answer = framer.push(chunk).find(accepts)
        if (answer) end(null, answer)
      })
      stream.on('end', ended)
      stream.on('close', ended)
      if (signal.aborted) return onAbort()
      signal.addEventListener('abort', onAbort, { once: true })
      stream.write(frame(query))
    })
  }

  private timedOut(): DnsError {
    return new DnsError('ERR_TUN_DNS_TIMEOUT', `no answer from ${this.servers.map(describe).join(', ')} in time`)
  }
}

type Accepts = (answer: Uint8Array) => boolean

function describe({ transport, address, port }: Nameserver): string {
  return `${transport}://${isIPv6(address) ? `[${address}]` : address}:${port}`
}

/** Another server may know better. */
function isRefusal(answer: Uint8Array): boolean {
  const rcode = answer[3] & 15
  return rcode === RCODE.SERVFAIL || rcode === RCODE.REFUSED || rcode === RCODE.NOTIMP
}

function closeQuietly(close: () => void): void {
  try {
    close()
  } catch {
    // Already closed by its owner.
  }
}
