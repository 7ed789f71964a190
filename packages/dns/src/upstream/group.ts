// Owns: several nameservers asked as one: the first at once, the next when one fails, refuses or is late; the first good answer wins.

import { DnsError } from '../errors.js'
import { RCODE } from '../message.js'
import { formatNameserver, type Nameserver } from '../nameserver.js'
import type { Exchange, ExchangeContext } from './exchange.js'
import { openExchange } from './open.js'

export interface GroupOptions {
  /** Milliseconds for one server. */
  attemptMs: number
  /** Milliseconds after which the next server is asked beside one that is silent. */
  raceMs: number
  /** Times the whole list is gone through. */
  rounds: number
}

/** A server that gave no answer is asked last for so long. */
const DEMOTED = 30_000 // ms

interface Member {
  server: Nameserver
  exchange: Exchange
  demotedUntil: number
}

export class Group {
  readonly name: string
  private readonly members: Member[]

  constructor(
    servers: readonly Nameserver[],
    private readonly options: GroupOptions,
    context: ExchangeContext,
  ) {
    this.members = servers.map(server => ({ server, exchange: openExchange(server, context), demotedUntil: 0 }))
    this.name = servers.map(formatNameserver).join(', ')
  }

  /**
   * An answer, or a refusal (SERVFAIL, REFUSED, NOTIMP) if no server had better. Rejects with ERR_TUN_DNS_TIMEOUT or the signal's reason.
   */
  async ask(query: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    let cause: unknown
    for (let round = 0; round < this.options.rounds; round++) {
      const { answer, error } = await this.askRound(query, signal)
      if (answer) return answer
      signal.throwIfAborted()
      cause = error
    }
    throw new DnsError('ERR_TUN_DNS_TIMEOUT', `no answer from ${this.name}`, cause)
  }

  /** No server is behind the others any more for not having answered, and none is asked over a connection that the old network had. */
  forgive(): void {
    for (const member of this.members) {
      member.demotedUntil = 0
      member.exchange.renew()
    }
  }

  close(): void {
    for (const { exchange } of this.members) exchange.close()
  }

  private askRound(query: Uint8Array, signal: AbortSignal): Promise<{ answer?: Uint8Array; error?: unknown }> {
    const now = performance.now()
    const order = [...this.members].sort((a, b) => Number(a.demotedUntil > now) - Number(b.demotedUntil > now)) // a stable sort
    return new Promise(resolve => {
      const running = new Set<AbortController>()
      let next = 0
      let refused: Uint8Array | undefined
      let failure: unknown
      let race: NodeJS.Timeout | undefined
      const settle = (answer?: Uint8Array) => {
        clearTimeout(race)
        signal.removeEventListener('abort', onAbort)
        for (const attempt of running) attempt.abort()
        running.clear()
        resolve({ answer, error: failure })
      }
      const onAbort = () => settle(refused)
      const ended = () => {
        if (next < order.length) launch()
        else if (running.size === 0) settle(refused)
      }
      const launch = () => {
        clearTimeout(race)
        const member = order[next++]
        const attempt = new AbortController()
        running.add(attempt)
        const late = new DnsError('ERR_TUN_DNS_TIMEOUT', `no answer from ${formatNameserver(member.server)} in time`)
        const timer = setTimeout(() => attempt.abort(late), this.options.attemptMs)
        if (next < order.length) race = setTimeout(launch, this.options.raceMs)
        member.exchange.ask(query, attempt.signal).then(
          answer => {
            clearTimeout(timer)
            if (!running.delete(attempt)) return
            member.demotedUntil = 0
            if (!isRefusal(answer)) return settle(answer)
            refused ??= answer
            ended()
          },
          error => {
            clearTimeout(timer)
            if (!running.delete(attempt)) return
            member.demotedUntil = performance.now() + DEMOTED
            failure = error
            ended()
          },
        )
      }
      if (signal.aborted) return settle()
      signal.addEventListener('abort', onAbort, { once: true })
      launch()
    })
  }
}

/** Another server may know better. */
function isRefusal(answer: Uint8Array): boolean {
  const rcode = answer[3] & 15
  return rcode === RCODE.SERVFAIL || rcode === RCODE.REFUSED || rcode === RCODE.NOTIMP
}
