// Owns: what a query is answered with. Bytes in, bytes out, nothing thrown: whoever has the packets (UDP or framed TCP on the
// TUN, a real socket) calls `answer`. RFC 1035 §4, RFC 6891, RFC 6761 (localhost), RFC 8482 (ANY), RFC 9460 (HTTPS, SVCB).

import { addressBytes } from './address.js'
import { withAlias } from './alias.js'
import type { DomainSet } from './domain-set.js'
import type { FakeIps } from './fake-ips.js'
import type { HostEntry, HostTable } from './hosts.js'
import {
  adoptAnswer,
  answerEmpty,
  answerError,
  answerRecord,
  answerRecords,
  CLASS_IN,
  EDNS_BYTES,
  fitAnswer,
  type Query,
  RCODE,
  readQuery,
  STATUS,
  TYPE,
  writeQuery,
} from './message.js'
import { addressOfReverseName, writeName } from './name.js'
import type { RecentNames } from './recent-names.js'
import { filterSvcb } from './svcb.js'

export interface QueryFrom {
  transport: 'udp' | 'tcp'
  /** Who asks and whom, as the caller likes to write it; handed through to the handler. */
  source?: unknown
  destination?: unknown
}

/** Answers a query's bytes; rejecting or anything that is no answer to this query becomes SERVFAIL. */
export type Resolve = (query: Uint8Array, context: { transport: 'udp' | 'tcp'; signal: AbortSignal }) => Promise<Uint8Array>

/** An own resolver, asked before everything else; null or undefined: not mine, go on as if I were not there. */
export type DnsHandler = (
  query: Uint8Array,
  context: QueryFrom & { signal: AbortSignal },
) => Promise<Uint8Array | null | undefined> | Uint8Array | null | undefined

export interface DnsServerOptions {
  /** Names get fake addresses from here; without it everything is forwarded. */
  fakeIp?: FakeIps
  /** Names that keep their real addresses (`fake-ip-filter`). */
  filter?: DomainSet
  /** Names in `filter` are the ones that get fake addresses, all others keep theirs (`fake-ip-filter-mode: whitelist`). */
  filterMode?: 'blacklist' | 'whitelist'
  /** Names that are answered from here before anything else. */
  hosts?: HostTable
  /** Was this query sent by ourselves? Then it has come back, and is refused: asking again would never end. */
  isOwn?: (transport: 'udp' | 'tcp', source: unknown, id: number) => boolean
  /** false: AAAA is answered empty. */
  ipv6?: boolean
  /** Of fake addresses. 1, as in Clash: nobody should remember them longer than we do. */
  ttlSeconds?: number
  /** Where all else goes; without it REFUSED. */
  resolve?: Resolve
  /** What `resolve` would answer, if it is known at once; null: ask. */
  cached?: (query: Uint8Array, asked: Query) => Uint8Array | null
  handler?: DnsHandler
  /** Learns which real addresses a name was answered with. */
  recent?: RecentNames
  /** Protocols taken out of HTTPS and SVCB answers, e.g. `['h3']` where UDP goes nowhere. */
  dropAlpn?: readonly string[]
  /** Milliseconds for `resolve` and `handler` together. */
  timeoutMs?: number
  /** Queries waiting for `resolve` or `handler` at once; one more is answered SERVFAIL. */
  maxPending?: number
}

export const SERVER_DEFAULTS = { ipv6: true, ttlSeconds: 1, timeoutMs: 5000, maxPending: 4096 } as const

export class DnsServer {
  /** Counted since the start; `ignored` ones got no answer, `exhausted` found every fake address pinned. */
  readonly stats = {
    queries: 0,
    ignored: 0,
    malformed: 0,
    faked: 0,
    forwarded: 0,
    failed: 0,
    refused: 0,
    truncated: 0,
    exhausted: 0,
    /** Queries of our own that came back. */
    loops: 0,
    overload: 0,
  }
  private readonly options: DnsServerOptions & typeof SERVER_DEFAULTS
  private readonly dropAlpn: ReadonlySet<string>
  private readonly waiting = new Set<AbortController>()

  constructor(options: DnsServerOptions = {}) {
    this.options = { ...SERVER_DEFAULTS, ...options } as DnsServerOptions & typeof SERVER_DEFAULTS
    this.dropAlpn = new Set(options.dropAlpn)
  }

  /**
   * The answer to one message, at once where nobody needs to be asked; null: send nothing. Never throws or rejects.
   * `query` is borrowed for the call. Over UDP the answer fits the client's size, else it has TC set.
   */
  answer(query: Uint8Array, from: QueryFrom): Uint8Array | null | Promise<Uint8Array | null> {
    const asked = readQuery(query)
    this.stats.queries++
    if (asked.status !== STATUS.OK) return this.answerOdd(query, asked)
    if (asked.class !== CLASS_IN) return this.refuse(query, asked)
    if (this.options.isOwn?.(from.transport, from.source, asked.id)) {
      this.stats.loops++
      return this.refuse(query, asked)
    }
    if (!this.options.handler)
      return this.answerHere(query, asked, from) ?? this.answerKept(query, asked, from) ?? this.forward(new Uint8Array(query), asked, from)
    return this.askHandler(new Uint8Array(query), asked, from, this.options.handler)
  }

  /** Gives up on everything that is still waiting: it is answered SERVFAIL. */
  close(): void {
    for (const controller of this.waiting) controller.abort()
  }

  private answerOdd(query: Uint8Array, asked: Query): Uint8Array | null {
    if (asked.status === STATUS.IGNORE) {
      this.stats.ignored++
      return null
    }
    this.stats.malformed++
    const rcode = asked.status === STATUS.OPCODE ? RCODE.NOTIMP : asked.status === STATUS.VERSION ? RCODE.BADVERS : RCODE.FORMERR
    return answerError(query, asked, rcode)
  }

  /** The answers we know ourselves; null: ask upstream. */
  private answerHere(query: Uint8Array, asked: Query, from: QueryFrom): Uint8Array | Promise<Uint8Array> | null {
    const { type, name } = asked
    if (type >= TYPE.TKEY && type <= TYPE.MAILA) return this.refuse(query, asked) // transfers and keys are between servers
    if (name === 'localhost' || name.endsWith('.localhost')) return this.answerLocalhost(query, asked)
    const host = this.options.hosts?.find(name)
    if (host) return this.answerHost(query, asked, host, from)
    if (type === TYPE.PTR) return this.answerPtr(query, asked, from)
    if (type === TYPE.AAAA && !this.options.ipv6) return answerEmpty(query, asked)
    if (!this.isFaked(name)) return null
    switch (type) {
      case TYPE.A:
      case TYPE.ANY: // one of the sets there are, RFC 8482 §4.1; forwarded it would give real addresses away
        return this.answerFake(query, asked, 4)
      case TYPE.AAAA:
        return this.options.fakeIp?.serves(6) ? this.answerFake(query, asked, 6) : answerEmpty(query, asked)
      case TYPE.HTTPS:
      case TYPE.SVCB: // what comes back loses its hints; without anybody to ask there is none
        return this.options.resolve ? null : answerEmpty(query, asked)
      default:
        return null
    }
  }

  private isFaked(name: string): boolean {
    const { fakeIp, filter, filterMode } = this.options
    return fakeIp !== undefined && name !== '' && (filter?.has(name) ?? false) === (filterMode === 'whitelist')
  }

  private answerFake(query: Uint8Array, asked: Query, family: 4 | 6): Uint8Array | Promise<Uint8Array> {
    const address = this.options.fakeIp?.lookup(asked.name, family) ?? null
    if (!(address instanceof Promise)) return this.answerFakeWith(query, asked, address)
    const own = new Uint8Array(query) // borrowed for the call only
    return address.then(found => this.answerFakeWith(own, asked, found))
  }

  private answerFakeWith(query: Uint8Array, asked: Query, address: string | null): Uint8Array {
    const rdata = address === null ? null : addressBytes(address)
    if (!rdata) {
      this.stats.exhausted++
      return answerError(query, asked, RCODE.SERVFAIL)
    }
    this.stats.faked++
    return answerRecord(query, asked, rdata.length === 4 ? TYPE.A : TYPE.AAAA, this.options.ttlSeconds, rdata)
  }

  /** A name of `hosts`: its addresses of the family, and nothing of what it is elsewhere. An alias is asked for as itself. */
  private answerHost(query: Uint8Array, asked: Query, host: HostEntry, from: QueryFrom): Uint8Array | Promise<Uint8Array> | null {
    const { type } = asked
    if (host.alias !== undefined) return this.answerAlias(query, asked, host.alias, from)
    const length = type === TYPE.A || type === TYPE.ANY ? 4 : type === TYPE.AAAA && this.options.ipv6 ? 16 : 0
    const found = host.addresses.filter(address => address.length === length)
    if (type === TYPE.ANY && found.length > 0) return answerRecord(query, asked, TYPE.A, this.options.ttlSeconds, found[0])
    return this.fit(answerRecords(query, asked, this.options.ttlSeconds, found), query, asked, from)
  }

  /** CNAME, and what the other name is answered with. */
  private answerAlias(query: Uint8Array, asked: Query, alias: string, from: QueryFrom): Uint8Array | Promise<Uint8Array> {
    const target = writeName(alias)
    const inner = writeQuery(alias, asked.type)
    if (!target || !inner) return answerError(query, asked, RCODE.SERVFAIL)
    const told = this.answer(inner, { ...from, transport: 'tcp', source: undefined })
    const finish = (answer: Uint8Array | null): Uint8Array =>
      this.fit(withAlias(query, asked, this.options.ttlSeconds, target, answer), query, asked, from)
    return told instanceof Promise ? told.then(finish) : finish(told)
  }

  /** RFC 6761 §6.3: always loopback, and nobody else is asked. */
  private answerLocalhost(query: Uint8Array, asked: Query): Uint8Array {
    const address = asked.type === TYPE.A ? '127.0.0.1' : asked.type === TYPE.AAAA && this.options.ipv6 ? '::1' : null
    const rdata = address && addressBytes(address)
    return rdata ? answerRecord(query, asked, asked.type, this.options.ttlSeconds, rdata) : answerEmpty(query, asked)
  }

  /** The whole fake range is ours: a name, or NXDOMAIN. */
  private answerPtr(query: Uint8Array, asked: Query, from: QueryFrom): Uint8Array | Promise<Uint8Array> | null {
    const address = addressOfReverseName(asked.name)
    if (!address || !this.options.fakeIp?.contains(address)) return null
    const name = this.options.fakeIp.nameOf(address)
    if (!(name instanceof Promise)) return this.answerPtrWith(query, asked, name, from)
    const own = new Uint8Array(query)
    return name.then(found => this.answerPtrWith(own, asked, found, from))
  }

  private answerPtrWith(query: Uint8Array, asked: Query, name: string | undefined, from: QueryFrom): Uint8Array {
    const rdata = name === undefined ? null : writeName(name)
    if (!rdata) return answerError(query, asked, RCODE.NXDOMAIN)
    return this.fit(answerRecord(query, asked, TYPE.PTR, this.options.ttlSeconds, rdata), query, asked, from)
  }

  /** What is remembered needs no waiting, and none of its cost. */
  private answerKept(query: Uint8Array, asked: Query, from: QueryFrom): Uint8Array | null {
    const answer = this.options.cached?.(query, asked)
    const told = answer && this.harmless(answer, asked)
    if (!told) return null
    this.stats.forwarded++
    return this.tell(told, query, asked, from)
  }

  private forward(query: Uint8Array, asked: Query, from: QueryFrom): Uint8Array | Promise<Uint8Array> {
    const { resolve } = this.options
    if (!resolve) return this.refuse(query, asked)
    this.stats.forwarded++
    return this.waitFor(query, asked, from, signal => this.askUpstream(resolve, query, asked, { transport: from.transport, signal }))
  }

  private askHandler(query: Uint8Array, asked: Query, from: QueryFrom, handler: DnsHandler): Promise<Uint8Array> {
    return this.waitFor(query, asked, from, async signal => {
      const answer = await handler(query, { ...from, signal })
      if (answer) return answer
      const own = this.answerHere(query, asked, from)
      if (own) return own
      if (!this.options.resolve) return this.refuse(query, asked)
      this.stats.forwarded++
      return this.askUpstream(this.options.resolve, query, asked, { transport: from.transport, signal })
    })
  }

  /** Waits for somebody else's answer, with a bound on time and number, and makes it fit this query. */
  private async waitFor(
    query: Uint8Array,
    asked: Query,
    from: QueryFrom,
    ask: (signal: AbortSignal) => Promise<Uint8Array>,
  ): Promise<Uint8Array> {
    if (this.waiting.size >= this.options.maxPending) {
      this.stats.overload++
      return answerError(query, asked, RCODE.SERVFAIL)
    }
    const controller = new AbortController()
    const { signal } = controller
    this.waiting.add(controller)
    const timer = setTimeout(() => controller.abort(), this.options.timeoutMs)
    timer.unref()
    try {
      const aborted = new Promise<never>((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason), { once: true })
      })
      const answer = adoptAnswer(await Promise.race([ask(signal), aborted]), query, asked)
      if (answer) return this.tell(answer, query, asked, from)
    } catch {
      // Whatever it was, the client is told below.
    } finally {
      clearTimeout(timer)
      this.waiting.delete(controller)
    }
    this.stats.failed++
    // A browser waits for its HTTPS record or shows an error; for a faked name "there is none" is as good as the truth.
    if ((asked.type === TYPE.HTTPS || asked.type === TYPE.SVCB) && this.isFaked(asked.name)) return answerEmpty(query, asked)
    return answerError(query, asked, RCODE.SERVFAIL)
  }

  /** The answer without what would lead round a fake address (RFC 9460 §7.3), or to a protocol that is not wanted. */
  private async askUpstream(
    resolve: Resolve,
    query: Uint8Array,
    asked: Query,
    context: { transport: 'udp' | 'tcp'; signal: AbortSignal },
  ): Promise<Uint8Array> {
    const told = this.harmless(await resolve(query, context), asked)
    if (told === null) throw new Error('an HTTPS answer that cannot be made harmless')
    return told
  }

  private harmless(answer: Uint8Array, { type, name }: Query): Uint8Array | null {
    if (type !== TYPE.HTTPS && type !== TYPE.SVCB) return answer
    const stripHints = this.isFaked(name)
    return stripHints || this.dropAlpn.size > 0 ? filterSvcb(answer, { stripHints, dropAlpn: this.dropAlpn }) : answer
  }

  private tell(answer: Uint8Array, query: Uint8Array, asked: Query, from: QueryFrom): Uint8Array {
    if (asked.type === TYPE.A || asked.type === TYPE.AAAA) this.options.recent?.learn(asked.name, answer)
    return this.fit(answer, query, asked, from)
  }

  private refuse(query: Uint8Array, asked: Query): Uint8Array {
    this.stats.refused++
    return answerError(query, asked, RCODE.REFUSED)
  }

  private fit(answer: Uint8Array, query: Uint8Array, asked: Query, from: QueryFrom): Uint8Array {
    // RFC 6891 §6.2.5: the client's size is the most it takes; more than ours might come in fragments.
    const limit = from.transport === 'tcp' ? MAX_TCP_BYTES : Math.min(asked.udpBytes, EDNS_BYTES)
    if (answer.length > limit) this.stats.truncated++
    return fitAnswer(answer, query, asked, limit)
  }
}

const MAX_TCP_BYTES = 65535
