// Owns: names of one inbound: the fake-IP pool, the DNS server in front of it, the resolver behind it.

import { promises as dns } from 'node:dns'
import { isIP } from 'node:net'
import type { DnsOptions } from '@tun/config'
import { createResolver, type DnsHandler, DnsServer, DomainSet, decodeMessage, FakeIpPool, type Resolver, TYPE } from '@tun/dns'
import type { ResolvedAddress } from './direct.js'
import { nameQuery } from './name-query.js'

/** How long an address of one family waits for those of the other: RFC 8305 §3. */
const RESOLUTION_DELAY = 50 // ms

export class NameService {
  readonly fakeIp: FakeIpPool | null
  readonly server: DnsServer
  private readonly resolver: Resolver | null
  private readonly ipv6: boolean

  /** `hijacks`: queries on the TUN reach the server; else nobody learns a fake address, and the range is like any other. */
  constructor(options: DnsOptions, handler: DnsHandler | undefined, hijacks: boolean) {
    this.fakeIp =
      hijacks && options['enhanced-mode'] === 'fake-ip'
        ? new FakeIpPool({ range4: options['fake-ip-range'], range6: options.ipv6 ? options['fake-ip-range6'] : undefined })
        : null
    this.ipv6 = options.ipv6
    const nameservers = options.nameserver.length > 0 ? options.nameserver : options['default-nameserver']
    this.resolver = nameservers.length > 0 ? createResolver({ nameservers }) : null
    this.server = new DnsServer({
      fakeIp: this.fakeIp ?? undefined,
      filter: new DomainSet(options['fake-ip-filter']),
      ipv6: options.ipv6,
      ttlSeconds: options['fake-ip-ttl'],
      resolve: this.resolver?.resolve,
      handler,
    })
  }

  /** The name behind a fake address. */
  hostOf(address: string): string | undefined {
    return this.fakeIp?.nameOf(address)
  }

  /** In the range of fake addresses, with a name or not. */
  isFake(address: string): boolean {
    return this.fakeIp?.contains(address) ?? false
  }

  /** Real addresses of a name: from the configured nameservers, else from the system's. Rejects if there are none. */
  async resolve(host: string, signal?: AbortSignal): Promise<ResolvedAddress[]> {
    const family = isIP(host)
    if (family !== 0) return [{ address: host, family }]
    const { resolver } = this
    if (resolver === null) return dns.lookup(host, { all: true, verbatim: true })
    const enough = new AbortController()
    const both = signal ? AbortSignal.any([signal, enough.signal]) : enough.signal
    const types = this.ipv6 ? [TYPE.A, TYPE.AAAA] : [TYPE.A]
    try {
      const found = await gather(types.map(async type => addressesIn(await resolver.resolve(nameQuery(host, type), { signal: both }))))
      if (found.length > 0) return found
    } finally {
      enough.abort()
    }
    throw Object.assign(new Error(`${host} has no address`), { code: 'ENOTFOUND' })
  }

  close(): void {
    this.server.close()
    this.resolver?.close()
  }
}

/** What the families answer. The one that is late has RESOLUTION_DELAY; rejects if nothing was found and one of them failed. */
function gather(lookups: Promise<ResolvedAddress[]>[]): Promise<ResolvedAddress[]> {
  return new Promise((resolve, reject) => {
    const found: ResolvedAddress[][] = []
    let waiting = lookups.length
    let failure: { reason: unknown } | undefined
    let timer: NodeJS.Timeout | undefined
    const settle = () => {
      clearTimeout(timer)
      const all = found.flat()
      if (all.length === 0 && failure) reject(failure.reason)
      else resolve(all)
    }
    lookups.forEach((lookup, i) => {
      lookup
        .then(
          addresses => {
            found[i] = addresses
            if (addresses.length > 0) timer ??= setTimeout(settle, RESOLUTION_DELAY)
          },
          reason => {
            failure ??= { reason }
          },
        )
        .finally(() => {
          if (--waiting === 0) settle()
        })
    })
  })
}

function addressesIn(answer: Uint8Array): ResolvedAddress[] {
  const message = decodeMessage(answer)
  const found: ResolvedAddress[] = []
  for (const record of message?.answers ?? []) {
    if (record.type === 'A') found.push({ address: String(record.data), family: 4 })
    else if (record.type === 'AAAA') found.push({ address: String(record.data), family: 6 })
  }
  return found
}
