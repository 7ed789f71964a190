// Owns: names of one inbound: the fake-IP pool, the DNS server in front of it, the resolver behind it.

import { promises as dns } from 'node:dns'
import { isIP } from 'node:net'
import type { DnsOptions } from '@tun/config'
import {
  createResolver,
  type DnsHandler,
  DnsServer,
  DomainSet,
  FakeIpPool,
  type FakeIps,
  HostTable,
  type HostValue,
  openFakeIpFile,
  parseNameserver,
  RecentNames,
  type RedisClient,
  type Resolver,
  type ResolverOptions,
  SharedFakeIpPool,
  textOfAddress,
} from '@tun/dns'
import type { ResolvedAddress } from './direct.js'
import { type NameserverOutbound, nameserverWays, RULES } from './nameserver-ways.js'

/** How long an address of one family waits for those of the other: RFC 8305 §3. */
const RESOLUTION_DELAY = 50 // ms

/** What a destination is called; `real`: its address is the true one, the name a hint. */
export interface Named {
  host: string
  real: true | undefined
}

export type Found = Named | undefined | null

function namedFake(host: string | undefined): Found {
  return host === undefined ? null : { host, real: undefined }
}

export interface NameServiceContext {
  handler?: DnsHandler
  /** Through what nameservers with `#name` are asked. */
  outbound?: NameserverOutbound
  /** Clash's `hosts:`. */
  hosts?: Readonly<Record<string, HostValue>>
  /** Queries reach the server, on the TUN or else; if not, nobody learns a fake address, and the range is like any other. */
  answers: boolean
  /** Where fake IPs are kept if the options do not say it. */
  storeFile?: string
  /** Where they are shared with other gateways; instead of a file. */
  redis?: RedisClient
  onWarning: (message: string) => void
}

export class NameService {
  readonly fakeIp: FakeIps | null
  private readonly recent: RecentNames | null
  readonly server: DnsServer
  private readonly resolver: Resolver | null
  /** Of `proxy-server-nameserver`, or of the nameservers that no proxy leads to. */
  private readonly serverResolver: Resolver | null
  /** Of `direct-nameserver`. */
  private readonly directResolver: Resolver | null
  private readonly hosts: HostTable
  private readonly ipv6: boolean

  constructor(options: DnsOptions, { handler, hosts = {}, outbound, answers, onWarning, storeFile, redis }: NameServiceContext) {
    const store = options['fake-ip-store'] ?? storeFile ?? 'memory'
    const ranges = { range4: options['fake-ip-range'], range6: options.ipv6 ? options['fake-ip-range6'] : undefined, onWarning }
    if (!answers || options['enhanced-mode'] !== 'fake-ip') this.fakeIp = null
    else if (redis) this.fakeIp = new SharedFakeIpPool(redis, ranges)
    else this.fakeIp = new FakeIpPool({ ...ranges, store: store === 'memory' ? undefined : openFakeIpFile(store, { onWarning }) })
    // Names that keep their real addresses are known by them, too.
    this.recent = answers && options['enhanced-mode'] !== 'normal' ? new RecentNames() : null
    this.ipv6 = options.ipv6
    this.hosts = new HostTable(options['use-hosts'] ? hosts : {})
    const bootstrap = options['default-nameserver']
    const cache = { maxEntries: options['cache-max-size'], staleSeconds: options['serve-stale'] }
    const nameservers = options.nameserver.length > 0 ? options.nameserver : bootstrap
    const policy = policyOf(options['nameserver-policy'])
    const via = options['respect-rules'] ? RULES : undefined
    const { fallback, 'fallback-filter': fallbackFilter, 'direct-nameserver': ofDirect } = options
    const connect = nameserverWays(outbound)
    const open = (servers: readonly string[], more: Partial<ResolverOptions> = {}) =>
      servers.length > 0 ? createResolver({ nameservers: servers, bootstrap, cache, connect, ...more }) : null
    this.resolver = open(nameservers, { fallback, fallbackFilter, policy, via })
    // A proxy's name is never asked for through a proxy: it could be the same one.
    const byProxy = via !== undefined || [nameservers, fallback, ...policy.map(({ nameservers }) => nameservers)].flat().some(isCarried)
    const plain = via === undefined ? withoutCarried(nameservers) : []
    const ofServers = options['proxy-server-nameserver']
    const forServers = ofServers.length > 0 ? ofServers : byProxy ? (plain.length > 0 ? plain : bootstrap) : []
    const plainPolicy =
      ofServers.length > 0 || via !== undefined ? [] : policy.map(one => ({ ...one, nameservers: withoutCarried(one.nameservers) }))
    const policyOfServers = [
      ...policyOf(options['proxy-server-nameserver-policy']),
      ...plainPolicy.filter(one => one.nameservers.length > 0),
    ]
    this.serverResolver = open(forServers, { policy: policyOfServers })
    this.directResolver = open(ofDirect, { policy: options['direct-nameserver-follow-policy'] ? policy : [] })
    const resolvers = [this.resolver, this.serverResolver, this.directResolver].filter(one => one !== null)
    let warned = false
    this.server = new DnsServer({
      fakeIp: this.fakeIp ?? undefined,
      filter: new DomainSet(options['fake-ip-filter']),
      filterMode: options['fake-ip-filter-mode'] === 'whitelist' ? 'whitelist' : 'blacklist',
      hosts: this.hosts.size > 0 ? this.hosts : undefined,
      ipv6: options.ipv6,
      ttlSeconds: options['fake-ip-ttl'],
      dropAlpn: options['drop-alpn'],
      resolve: this.resolver?.resolve,
      cached: this.resolver?.cached,
      handler,
      recent: this.recent ?? undefined,
      isOwn: (transport, source, id) => {
        const from = source as { address: string; port: number } | undefined
        const own = from !== undefined && resolvers.some(resolver => resolver.isOwn(transport, from, id))
        if (own && !warned) onWarning('DNS queries of our own came back by the TUN: a nameserver is routed into it, and is refused')
        warned ||= own
        return own
      },
    })
  }

  /** The name behind a destination; undefined: none is known; null: a fake address that nobody was told. */
  find(address: string): Found | Promise<Found> {
    if (this.fakeIp?.contains(address)) {
      const host = this.fakeIp.nameOf(address)
      return host instanceof Promise ? host.then(namedFake) : namedFake(host)
    }
    const host = this.recent?.nameOf(address)
    return host === undefined ? undefined : { host, real: true }
  }

  /** Real addresses of a name: from `hosts`, the configured nameservers, else from the system's. Rejects if there are none. */
  async resolve(host: string, signal?: AbortSignal): Promise<ResolvedAddress[]> {
    return this.resolveBy(this.resolver, host, signal)
  }

  /** The same for the name of a proxy server, for which `proxy-server-nameserver` is asked, if there is one. */
  async resolveServer(host: string, signal?: AbortSignal): Promise<ResolvedAddress[]> {
    return this.resolveBy(this.serverResolver ?? this.resolver, host, signal)
  }

  /** The same for a name that is dialled from this machine, for which `direct-nameserver` is asked, if there is one. */
  async resolveDirect(host: string, signal?: AbortSignal): Promise<ResolvedAddress[]> {
    return this.resolveBy(this.directResolver ?? this.resolver, host, signal)
  }

  private async resolveBy(resolver: Resolver | null, name: string, signal: AbortSignal | undefined): Promise<ResolvedAddress[]> {
    const own = this.hosts.find(name.replace(/\.$/, '').toLowerCase())
    const fixed = own?.addresses.map(textOfAddress).map(address => ({ address, family: isIP(address) }))
    if (fixed && fixed.length > 0) return fixed
    const host = own?.alias ?? name
    const family = isIP(host)
    if (family !== 0) return [{ address: host, family }]
    if (resolver === null) return dns.lookup(host, { all: true, verbatim: true })
    const enough = new AbortController()
    const both = signal ? AbortSignal.any([signal, enough.signal]) : enough.signal
    const families = this.ipv6 ? ([4, 6] as const) : ([4] as const)
    try {
      const found = await gather(
        families.map(async family => (await resolver.addresses(host, [family], both)).map(address => ({ address, family }))),
      )
      if (found.length > 0) return found
    } finally {
      enough.abort()
    }
    throw Object.assign(new Error(`${host} has no address`), { code: 'ENOTFOUND' })
  }

  /** Forgets what nameservers answered. */
  flush(): void {
    this.resolver?.flush()
    this.serverResolver?.flush()
    this.directResolver?.flush()
    this.recent?.flush()
  }

  /** The same, but that names of real addresses are still known: applications go on using them. Servers that were silent get a chance. */
  networkChanged(): void {
    this.resolver?.networkChanged()
    this.serverResolver?.networkChanged()
    this.directResolver?.networkChanged()
  }

  /** Of the resolver; undefined where the system's is used. */
  get resolverStats() {
    return this.resolver ? { ...this.resolver.stats } : undefined
  }

  close(): void {
    this.server.close()
    this.resolver?.close()
    this.serverResolver?.close()
    this.directResolver?.close()
    this.fakeIp?.close()
  }
}

/** Something stands behind `#` that may be a proxy; parameters alone, and DIRECT, are none. */
function isCarried(server: string): boolean {
  const { via } = parseNameserver(server)
  return via !== undefined && via !== 'DIRECT'
}

function withoutCarried(servers: readonly string[]): string[] {
  return servers.filter(server => !isCarried(server))
}

function policyOf(policy: DnsOptions['nameserver-policy']): NonNullable<ResolverOptions['policy']> {
  return Object.entries(policy).map(([domains, servers]) => ({
    domains: domains.split(',').map(pattern => pattern.trim()),
    nameservers: typeof servers === 'string' ? [servers] : servers,
  }))
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
