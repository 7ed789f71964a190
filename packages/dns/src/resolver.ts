// Owns: names asked for upstream: which nameservers a name belongs to, what is remembered of their answers, and that many who ask the same
// at once ask once. How a server is asked: upstream/.

import { isIP } from 'node:net'
import { textOfAddress } from './address.js'
import { AnswerCache, type CacheOptions } from './cache.js'
import { CidrSet } from './cidr-set.js'
import { DomainMap, DomainSet } from './domain-set.js'
import { DnsError, misuse } from './errors.js'
import { answerError, askedUpstream, CD, type Query, RCODE, readQuery, STATUS, TYPE, writeQuery } from './message.js'
import { formatNameserver, type Nameserver, parseNameserver } from './nameserver.js'
import { addressesOf } from './records.js'
import { type ExchangeContext, OwnQueries, type UpstreamHooks } from './upstream/exchange.js'
import { Group } from './upstream/group.js'
import { toldTo } from './without-opt.js'

export interface ResolverOptions {
  /** `10.0.0.1`, `udp://…`, `tcp://…`, `tls://…`, `https://…`, `system`, `rcode://refused`. The first is asked first. */
  nameservers: readonly string[]
  /** Asked beside `nameservers`; their answer is taken where `fallbackFilter` says so, or the others have none. */
  fallback?: readonly string[]
  fallbackFilter?: FallbackFilter
  /** Names that belong to other nameservers; the most specific pattern decides, of equal ones the first. */
  policy?: readonly { domains: readonly string[]; nameservers: readonly string[] }[]
  /** What stands behind `#` for all who have nothing there but the bootstrap servers: mihomo's `respect-rules` is `RULES`. */
  via?: string
  /** Nameservers by IP address, which are asked for the names of the others. Without them the system is. */
  bootstrap?: readonly string[]
  /** false: nothing is remembered. */
  cache?: CacheOptions | false
  /** Milliseconds for one query, all servers and repetitions together. */
  timeoutMs?: number
  /** Milliseconds for one server. */
  attemptMs?: number
  /** Milliseconds after which the next server is asked as well. */
  raceMs?: number
  /** Times the whole list is gone through. */
  rounds?: number
  /** Queries in flight; one more fails at once with `ERR_TUN_DNS_OVERLOAD`. */
  maxInFlight?: number
  connect?: UpstreamHooks
}

export interface FallbackFilter {
  /** An answer with such an address is not to be trusted: that of `fallback` is taken. */
  ipcidr?: readonly string[]
  /** Names that only `fallback` is asked for. */
  domain?: readonly string[]
}

export const RESOLVER_DEFAULTS = { timeoutMs: 5000, attemptMs: 2000, raceMs: 300, rounds: 2, maxInFlight: 4096 } as const

/** @throws RangeError `ERR_TUN_DNS_SCHEME` or `ERR_TUN_DNS_ADDRESS` for a nameserver that cannot be asked */
export function createResolver(options: ResolverOptions): Resolver {
  return new Resolver(options)
}

/** A query on its way, and who waits for it. */
interface Flight {
  answer: Promise<Uint8Array>
  abort: AbortController
  waiting: number
}

export class Resolver {
  readonly servers: readonly Nameserver[]
  /** `asked` counts queries, `sent` those that went upstream. */
  readonly stats = { asked: 0, answered: 0, failed: 0, sent: 0, cached: 0, stale: 0, joined: 0, overTcp: 0, mismatched: 0, overload: 0 }
  private readonly options: Required<Pick<ResolverOptions, keyof typeof RESOLVER_DEFAULTS>>
  private readonly own = new OwnQueries()
  private readonly groups: Group[] = []
  private readonly main: Group
  private readonly fallback: Group | null
  private readonly distrusted: CidrSet
  private readonly onlyFallback: DomainSet
  private readonly policy = new DomainMap<Group>()
  private readonly cache: AnswerCache | null
  private readonly serveStale: boolean
  private readonly flights = new Map<string, Flight>()
  private readonly bootstrap: Resolver | null
  private waiting = 0
  private closed = false

  constructor(options: ResolverOptions) {
    const { nameservers, fallback = [], fallbackFilter = {}, policy = [], bootstrap = [], cache = {}, connect: hooks = {} } = options
    const parse = (text: string): Nameserver => ({ via: options.via, ...parseNameserver(text) })
    this.servers = nameservers.map(parse)
    if (this.servers.length === 0) throw new DnsError('ERR_TUN_DNS_ADDRESS', 'no nameserver to ask: name at least one')
    this.options = { ...RESOLVER_DEFAULTS, ...pick(options) }
    const named = bootstrap.map(parseNameserver).find(({ address }) => address !== '' && isIP(address) === 0)
    if (named)
      throw new DnsError('ERR_TUN_DNS_ADDRESS', `bootstrap nameserver '${formatNameserver(named)}' is a name itself: use its address`)
    this.bootstrap = bootstrap.length > 0 ? new Resolver({ ...pick(options), nameservers: bootstrap, connect: hooks }) : null
    const context: ExchangeContext = { hooks, own: this.own, stats: this.stats, locate: (server, signal) => this.locate(server, signal) }
    const group = (servers: readonly Nameserver[]): Group => {
      const made = new Group(servers, this.options, context)
      this.groups.push(made)
      return made
    }
    this.main = group(this.servers)
    this.fallback = fallback.length > 0 ? group(fallback.map(parse)) : null
    this.distrusted = new CidrSet(fallbackFilter.ipcidr ?? [])
    this.onlyFallback = new DomainSet(fallbackFilter.domain)
    for (const { domains, nameservers: of } of policy) {
      const asked = group(of.map(parse))
      for (const domain of domains) this.policy.add(domain, asked)
    }
    this.cache = cache === false || cache.maxEntries === 0 ? null : new AnswerCache(cache)
    this.serveStale = cache !== false && (cache.staleSeconds ?? 0) > 0
  }

  /**
   * The answer to a query's bytes, with the query's id, question and EDNS0. Made to be the `resolve` of a `DnsServer`. SERVFAIL, REFUSED
   * and NOTIMP of one server are kept and the next is asked. Rejects with a `DnsError` (`ERR_TUN_DNS_TIMEOUT`, `_OVERLOAD`, `_CLOSED`,
   * `_LENGTH` for what is no query) or with the signal's reason.
   */
  readonly resolve = async (query: Uint8Array, { signal }: { signal?: AbortSignal } = {}): Promise<Uint8Array> => {
    signal?.throwIfAborted()
    if (this.closed) throw new DnsError('ERR_TUN_DNS_CLOSED', 'the resolver is closed')
    const asked = readQuery(query)
    if (asked.status !== STATUS.OK) throw new DnsError('ERR_TUN_DNS_LENGTH', 'not a DNS query with one question')
    const kept = this.cached(query, asked)
    if (kept) return kept
    this.stats.asked++
    const key = keyOf(asked)
    if (this.waiting >= this.options.maxInFlight) {
      this.stats.overload++
      throw new DnsError('ERR_TUN_DNS_OVERLOAD', `more than ${this.options.maxInFlight} DNS queries in flight`)
    }
    try {
      return this.told(await this.join(key, query, asked, signal), query, asked)
    } catch (error) {
      const stale = this.serveStale && !signal?.aborted ? this.cache?.get(key, query, asked, true) : null
      if (!stale) {
        this.stats.failed++
        throw error
      }
      this.stats.stale++
      this.stats.answered++
      return stale
    }
  }

  /** The answer as `resolve` would give it, if it is remembered; at once. `asked` is what `readQuery` makes of `query`. */
  readonly cached = (query: Uint8Array, asked: Query): Uint8Array | null => {
    if (this.cache === null || this.closed || asked.status !== STATUS.OK) return null
    const kept = this.cache.get(keyOf(asked), query, asked)
    if (kept === null) return null
    this.stats.asked++
    this.stats.cached++
    this.stats.answered++
    return kept
  }

  /** Addresses of a name, IPv4 first; an address is its own. Rejects as `resolve` does, and with RangeError for what is no name. */
  async addresses(host: string, families: readonly (4 | 6)[], signal?: AbortSignal): Promise<string[]> {
    if (isIP(host) !== 0) return [host]
    const found = await Promise.all(
      families.map(async family => {
        const query = writeQuery(host, family === 4 ? TYPE.A : TYPE.AAAA)
        if (query === null || host === '') throw misuse('ERR_TUN_DNS_LENGTH', `'${host}' is no name that DNS could carry`)
        return addressesOf(await this.resolve(query, { signal })).addresses.map(textOfAddress)
      }),
    )
    return found.flat()
  }

  /** Is this a query of ours, which has come back to us? */
  isOwn(transport: 'udp' | 'tcp', source: { address: string; port: number }, id: number): boolean {
    return this.own.has(transport, source, id) || (this.bootstrap?.isOwn(transport, source, id) ?? false)
  }

  /** Forgets all answers. */
  flush(): void {
    this.cache?.flush()
    this.bootstrap?.flush()
  }

  /** The network is another one: answers are forgotten, and servers that did not answer are asked as before. */
  networkChanged(): void {
    this.cache?.flush()
    for (const group of this.groups) group.forgive()
    this.bootstrap?.networkChanged()
  }

  /** Ends everything in flight with `ERR_TUN_DNS_CLOSED`. Idempotent. */
  close(): void {
    this.closed = true
    for (const flight of this.flights.values()) flight.abort.abort(new DnsError('ERR_TUN_DNS_CLOSED', 'the resolver was closed'))
    for (const group of this.groups) group.close()
    this.bootstrap?.close()
  }

  private told(answer: Uint8Array, query: Uint8Array, asked: Query): Uint8Array {
    this.stats.answered++
    return toldTo(answer, query, asked) ?? answerError(query, asked, RCODE.SERVFAIL)
  }

  /** Who asks what somebody waits for already waits with them; the last to go away ends it. */
  private join(key: string, query: Uint8Array, asked: Query, signal: AbortSignal | undefined): Promise<Uint8Array> {
    let flight = this.flights.get(key)
    if (flight) this.stats.joined++
    else this.flights.set(key, (flight = this.start(key, askedUpstream(query, asked), asked)))
    const { answer, abort } = flight
    const shared = flight
    shared.waiting++
    this.waiting++
    return new Promise<Uint8Array>((resolve, reject) => {
      const onAbort = () => {
        leave()
        reject(signal?.reason)
        if (shared.waiting > 0) return
        if (this.flights.get(key) === shared) this.flights.delete(key)
        abort.abort(signal?.reason)
      }
      const leave = () => {
        signal?.removeEventListener('abort', onAbort)
        shared.waiting--
        this.waiting--
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      answer.then(
        bytes => {
          if (signal?.aborted) return
          leave()
          resolve(bytes)
        },
        error => {
          if (signal?.aborted) return
          leave()
          reject(error)
        },
      )
    })
  }

  private start(key: string, query: Uint8Array, asked: Query): Flight {
    const abort = new AbortController()
    const timer = setTimeout(() => {
      abort.abort(new DnsError('ERR_TUN_DNS_TIMEOUT', `no answer from ${this.main.name} in time`))
    }, this.options.timeoutMs)
    this.stats.sent++
    const answer = this.askGroups(query, asked, abort.signal).then(
      bytes => {
        this.cache?.put(key, bytes)
        return bytes
      },
      error => {
        throw abort.signal.aborted ? abort.signal.reason : error
      },
    )
    const done = () => {
      clearTimeout(timer)
      if (this.flights.get(key)?.answer === answer) this.flights.delete(key)
    }
    answer.then(done, done)
    return { answer, abort, waiting: 0 }
  }

  private async askGroups(query: Uint8Array, asked: Query, signal: AbortSignal): Promise<Uint8Array> {
    const own = this.policy.find(asked.name)
    if (own) return own.ask(query, signal)
    const { fallback } = this
    const isAddress = asked.type === TYPE.A || asked.type === TYPE.AAAA
    if (fallback === null || !isAddress) return this.main.ask(query, signal)
    if (this.onlyFallback.has(asked.name)) return fallback.ask(query, signal)
    const first = this.main.ask(query, signal)
    const second = fallback.ask(query, signal) // asked at once: waiting for it later would cost a round trip
    second.catch(() => {})
    try {
      const answer = await first
      const isGood = (answer[3] & 15) === RCODE.NOERROR && !addressesOf(answer).addresses.some(address => this.distrusted.has(address))
      if (isGood) return answer
      return await second.catch(error => {
        if ((answer[3] & 15) === RCODE.NOERROR) throw error // an address not to be trusted is no answer
        return answer
      })
    } catch (error) {
      return second.catch(() => {
        throw error
      })
    }
  }

  private async locate(server: Nameserver, signal: AbortSignal): Promise<Nameserver> {
    if (isIP(server.address) !== 0) return server
    const found = this.bootstrap
      ? await this.bootstrap.addresses(server.address, [4], signal).then(async v4 => {
          return v4.length > 0 ? v4 : ((await this.bootstrap?.addresses(server.address, [6], signal)) ?? [])
        })
      : await systemLookup(server.address)
    if (found.length === 0) throw new DnsError('ERR_TUN_DNS_ADDRESS', `nameserver '${server.address}' has no address`)
    return { ...server, address: found[0], host: server.address }
  }
}

/** What an answer depends on: DO and CD among it. */
function keyOf({ name, type, class: of, dnssecOk, flags }: Query): string {
  return `${name} ${of === 1 ? type : `${type}/${of}`}${dnssecOk ? 'd' : ''}${flags & CD ? 'c' : ''}`
}

async function systemLookup(host: string): Promise<string[]> {
  const { lookup } = await import('node:dns/promises')
  return (await lookup(host, { all: true, verbatim: true })).map(({ address }) => address)
}

function pick(options: ResolverOptions): Partial<Record<keyof typeof RESOLVER_DEFAULTS, number>> {
  const keys = Object.keys(RESOLVER_DEFAULTS) as (keyof typeof RESOLVER_DEFAULTS)[]
  return Object.fromEntries(keys.filter(key => options[key] !== undefined).map(key => [key, options[key]]))
}
