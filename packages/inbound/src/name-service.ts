// Owns: names of one inbound: the fake-IP pool, the DNS server in front of it, the resolver behind it.

import { promises as dns } from 'node:dns'
import { isIP } from 'node:net'
import type { DnsOptions } from '@tun/config'
import { createResolver, type DnsHandler, DnsServer, DomainSet, decodeMessage, FakeIpPool, type Resolver } from '@tun/dns'
import type { ResolvedAddress } from './direct.js'
import { nameQuery } from './name-query.js'

export class NameService {
  readonly fakeIp: FakeIpPool | null
  readonly server: DnsServer
  private readonly resolver: Resolver | null

  /** `hijacks`: queries on the TUN reach the server; else nobody learns a fake address, and the range is like any other. */
  constructor(options: DnsOptions, handler: DnsHandler | undefined, hijacks: boolean) {
    this.fakeIp =
      hijacks && options['enhanced-mode'] === 'fake-ip'
        ? new FakeIpPool({ range4: options['fake-ip-range'], range6: options.ipv6 ? options['fake-ip-range6'] : undefined })
        : null
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

  /** In the fake range, but nobody was told it: it leads nowhere. */
  isUnmapped(address: string): boolean {
    return this.fakeIp?.contains(address) === true && this.fakeIp.nameOf(address) === undefined
  }

  /** Real addresses of a name: from the configured nameservers, else from the system's. Rejects if there are none. */
  async resolve(host: string, signal?: AbortSignal): Promise<ResolvedAddress[]> {
    const family = isIP(host)
    if (family !== 0) return [{ address: host, family }]
    const { resolver } = this
    if (resolver === null) return dns.lookup(host, { all: true, verbatim: true })
    const answers = await Promise.allSettled([1, 28].map(type => resolver.resolve(nameQuery(host, type), { signal })))
    const found: ResolvedAddress[] = []
    for (const answer of answers) {
      if (answer.status === 'fulfilled') found.push(...addressesIn(answer.value))
    }
    if (found.length > 0) return found
    const failed = answers.find(answer => answer.status === 'rejected')
    if (failed) throw failed.reason
    throw Object.assign(new Error(`${host} has no address`), { code: 'ENOTFOUND' })
  }

  close(): void {
    this.server.close()
    this.resolver?.close()
  }
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
