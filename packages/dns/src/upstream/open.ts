// Owns: nameserver → how it is asked; the two that need no transport of their own.

import { Resolver } from 'node:dns'
import { isIP } from 'node:net'
import { answerError, readQuery } from '../message.js'
import { type Nameserver, parseNameserver } from '../nameserver.js'
import type { Exchange, ExchangeContext } from './exchange.js'
import { HttpsExchange } from './https.js'
import { withParameters } from './parameters.js'
import { StreamExchange } from './stream.js'
import { UdpExchange } from './udp.js'

export function openExchange(server: Nameserver, context: ExchangeContext): Exchange {
  return withParameters(server, openBare(server, context))
}

function openBare(server: Nameserver, context: ExchangeContext): Exchange {
  switch (server.transport) {
    case 'udp':
      return new UdpExchange(server, context)
    case 'tcp':
    case 'tls':
      return new StreamExchange(server, context)
    case 'https':
      return new HttpsExchange(server, context)
    case 'system':
      return new SystemExchange(context, server.via)
    case 'rcode':
      return new RcodeExchange(server.rcode ?? 0)
  }
}

/** Every query has the same answer. */
class RcodeExchange implements Exchange {
  constructor(private readonly rcode: number) {}

  async ask(query: Uint8Array): Promise<Uint8Array> {
    return answerError(query, readQuery(query), this.rcode)
  }

  renew(): void {}
  close(): void {}
}

/** resolv.conf(5) is read again after so long. */
const READ_AGAIN = 1000 // ms

/** The nameservers that the system has right now: resolv.conf(5) changes with the network. */
class SystemExchange implements Exchange {
  private readonly open = new Map<string, Exchange>()
  private servers: readonly string[] = []
  private readAt = Number.NEGATIVE_INFINITY

  /** @param via what they are asked through */
  constructor(
    private readonly context: ExchangeContext,
    private readonly via: string | undefined,
  ) {}

  async ask(query: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const servers = this.read()
    for (const [text, exchange] of this.open) {
      if (servers.includes(text)) continue
      exchange.close()
      this.open.delete(text)
    }
    let last: unknown = new Error('the system has no nameserver')
    for (const text of servers) {
      let exchange = this.open.get(text)
      if (!exchange) this.open.set(text, (exchange = new UdpExchange({ ...parseNameserver(text), via: this.via }, this.context)))
      try {
        return await exchange.ask(query, signal)
      } catch (error) {
        last = error
      }
    }
    throw last
  }

  renew(): void {
    this.readAt = Number.NEGATIVE_INFINITY
    for (const exchange of this.open.values()) exchange.renew()
  }

  close(): void {
    for (const exchange of this.open.values()) exchange.close()
    this.open.clear()
  }

  private read(): readonly string[] {
    if (performance.now() - this.readAt < READ_AGAIN) return this.servers
    this.readAt = performance.now()
    // A new one each time: dns.getServers() answers what it read at the start of the process.
    const told = new Resolver().getServers()
    this.servers = told.filter(text => isIP(text.replace(/^\[|\](:\d+)?$/g, '')) !== 0 || /^[\d.]+:\d+$/.test(text))
    return this.servers
  }
}
