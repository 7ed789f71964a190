// Owns: fake addresses that several gateways hand out together, in Redis or Valkey: a name resolved at one is understood at all of them.
// Allocation is one script, so atomic. A use within USE_GUARANTEE keeps an address from being given to another name; live flows renew it.
// Read first: Redis, "Scripting with Lua" (atomicity), "Redis Cluster specification" (hash tags).
//   PREFIX{RANGE}:names   hash name → slot        PREFIX{RANGE}:used      sorted set of slots by time of last use, ms
//   PREFIX{RANGE}:slots   hash slot → name        PREFIX{RANGE}:reserved  set of slots   …:fresh  slots never used begin here

import { formatIpv4, formatIpv6, parseIpv6 } from './address.js'
import { misuse } from './errors.js'
import { FAKE_IP_DEFAULTS } from './fake-ip.js'
import type { FakeIps } from './fake-ips.js'
import { FakeRange } from './fake-range.js'

/** An address used this recently is not given to another name. */
const USE_GUARANTEE = 60_000 // ms
/** What we know of an address is taken for true for so long: then it is asked for again, well before it may be another's. */
const TRUST = USE_GUARANTEE / 2
/** Pinned addresses are renewed this often. */
const RENEW = USE_GUARANTEE / 4
/** Names known here at once. */
const MAX_KNOWN = 65_536
/** Names, and addresses, of a family that Redis is asked for at once; one more is answered as if it were away. */
const MAX_ASKING = 4096
/** Slots that one command renews or reserves. */
const CHUNK = 500

/** What is needed of a client, such as `new Redis(url)` of ioredis. */
export interface RedisClient {
  eval(script: string, keys: number, ...args: (string | number)[]): Promise<unknown>
  on(event: 'error', listener: (error: Error) => void): unknown
  disconnect(): void
}

export interface SharedFakeIpOptions {
  /** As for `FakeIpPool`; the same at every gateway, but for the NIC's own address. */
  range4?: string
  range6?: string
  reserved?: readonly string[]
  capacity?: number
  /** Before each key; default `tun:fake-ip:`. */
  prefix?: string
  onWarning?: (message: string) => void
}

const HEAD = `
local names, slots, used, reserved, fresh = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
`
/** ARGV: name, addresses there are, guarantee. Answers the slot, -1 if all are in use. */
const ALLOT = `${HEAD}
local slot = redis.call('HGET', names, ARGV[1])
if slot then
  redis.call('ZADD', used, now, slot)
  return tonumber(slot)
end
local next = tonumber(redis.call('GET', fresh) or '0')
while next < tonumber(ARGV[2]) and not slot do
  if redis.call('SISMEMBER', reserved, next) == 0 then slot = next end
  next = next + 1
end
redis.call('SET', fresh, next)
if not slot then
  local oldest = redis.call('ZRANGE', used, 0, 0, 'WITHSCORES')
  if not oldest[1] or tonumber(oldest[2]) > now - tonumber(ARGV[3]) then return -1 end
  slot = oldest[1]
  local before = redis.call('HGET', slots, slot)
  if before then redis.call('HDEL', names, before) end
end
redis.call('HSET', names, ARGV[1], slot)
redis.call('HSET', slots, slot, ARGV[1])
redis.call('ZADD', used, now, slot)
return tonumber(slot)`
/** ARGV: slot. Answers the name or nil. */
const FIND = `${HEAD}
local name = redis.call('HGET', slots, ARGV[1])
if name then redis.call('ZADD', used, now, ARGV[1]) end
return name`
/** ARGV: slots. Those that have a name are used now. */
const TOUCH = `${HEAD}
for _, slot in ipairs(ARGV) do redis.call('ZADD', used, 'XX', now, slot) end
return 0`
/** ARGV: slots. They have no name from now on. */
const RESERVE = `${HEAD}
for _, slot in ipairs(ARGV) do
  local name = redis.call('HGET', slots, slot)
  if name then redis.call('HDEL', names, name) end
  redis.call('HDEL', slots, slot)
  redis.call('ZREM', used, slot)
  redis.call('SADD', reserved, slot)
end
return 0`
/** ARGV: guarantee, slots to keep. What is in use anywhere keeps its name; the others may be given to any name, oldest first. */
const FLUSH = `${HEAD}
local keep = {}
for i = 2, #ARGV do keep[ARGV[i]] = true end
for _, slot in ipairs(redis.call('ZRANGEBYSCORE', used, '-inf', now - tonumber(ARGV[1]))) do
  if not keep[slot] then
    local name = redis.call('HGET', slots, slot)
    if name then redis.call('HDEL', names, name) end
    redis.call('HDEL', slots, slot)
  end
end
return 0`

interface Known {
  name: string
  address: string
  /** When it was last used in Redis, on our clock. */
  at: number
  pins: number
}

/** What waits for an answer, by what was asked for. */
type Asking = Map<string, Promise<Known | null>>

/** A pool for several gateways. The client is ours from now on, and closed with the pool. */
export class SharedFakeIpPool implements FakeIps {
  private readonly v4: SharedFamily
  private readonly v6: SharedFamily | null

  /** @throws RangeError `ERR_TUN_FAKE_IP_RANGE` */
  constructor(
    private readonly client: RedisClient,
    options: SharedFakeIpOptions = {},
  ) {
    const {
      range4 = FAKE_IP_DEFAULTS.range4,
      range6,
      capacity = FAKE_IP_DEFAULTS.capacity,
      prefix = 'tun:fake-ip:',
      reserved = [],
    } = options
    const report = new Report(options.onWarning ?? (() => {}))
    client.on('error', error => report.outage(error))
    this.v4 = new SharedFamily(client, 4, range4, capacity, prefix, report)
    this.v6 = range6 === undefined ? null : new SharedFamily(client, 6, range6, capacity, prefix, report)
    for (const addresses of reserved) this.reserve(addresses)
  }

  serves(family: 4 | 6): boolean {
    return family === 4 || this.v6 !== null
  }

  lookup(name: string, family: 4 | 6): string | null | Promise<string | null> {
    const key = (name.endsWith('.') ? name.slice(0, -1) : name).toLowerCase()
    return key === '' ? null : ((family === 4 ? this.v4 : this.v6)?.lookup(key) ?? null)
  }

  nameOf(address: string): string | undefined | Promise<string | undefined> {
    const text = canonical(address)
    return this.familyOf(text)?.nameOf(text)
  }

  contains(address: string): boolean {
    const text = canonical(address)
    return this.familyOf(text)?.range.contains(text) ?? false
  }

  pin(address: string): boolean {
    const text = canonical(address)
    return this.familyOf(text)?.pin(text) ?? false
  }

  unpin(address: string): void {
    const text = canonical(address)
    this.familyOf(text)?.unpin(text)
  }

  reserve(addresses: string): void {
    for (const family of [this.v4, this.v6]) if (family && !family.range.isWithin(addresses)) family.reserve(addresses)
  }

  flush(): void {
    this.v4.flush()
    this.v6?.flush()
  }

  close(): void {
    this.v4.close()
    this.v6?.close()
    this.client.disconnect()
  }

  private familyOf(address: string): SharedFamily | null {
    return address.includes(':') ? this.v6 : this.v4
  }
}

class SharedFamily {
  readonly range: FakeRange
  private readonly keys: string[]
  private readonly byName = new Map<string, Known>()
  private readonly byAddress = new Map<string, Known>()
  private readonly pinned = new Set<Known>()
  private readonly askedNames: Asking = new Map()
  private readonly askedAddresses: Asking = new Map()
  private readonly timer: NodeJS.Timeout
  private closed = false

  constructor(
    private readonly client: RedisClient,
    private readonly family: 4 | 6,
    cidr: string,
    capacity: number,
    prefix: string,
    private readonly report: Report,
  ) {
    const [own, bits] = cidr.split('/')
    // Slots are counted alike at every gateway, whatever address its NIC has.
    const network = FakeRange.networkOf(cidr)
    this.range = new FakeRange(family, `${network}/${bits}`, [], capacity)
    this.keys = ['names', 'slots', 'used', 'reserved', 'fresh'].map(key => `${prefix}{${network}/${bits}}:${key}`)
    if (canonical(own) !== network) this.reserve(own)
    this.timer = setInterval(() => this.renew(), RENEW).unref()
  }

  lookup(name: string): string | null | Promise<string | null> {
    const known = this.byName.get(name)
    if (known && this.isFresh(known)) return known.address
    return this.ask(this.askedNames, name, async () => {
      const slot = Number(await this.run(ALLOT, name, this.range.size, USE_GUARANTEE))
      if (slot >= 0) return this.learn(this.range.address(slot), name)
      this.report.exhausted(this.family, this.range.size)
      return null
    }).then(found => found?.address ?? known?.address ?? null)
  }

  nameOf(address: string): string | undefined | Promise<string | undefined> {
    const known = this.byAddress.get(address)
    if (known && this.isFresh(known)) return known.name
    const slot = this.range.slot(address)
    if (slot < 0) return undefined
    return this.ask(this.askedAddresses, address, async () => {
      const name = await this.run(FIND, slot)
      if (typeof name === 'string') return this.learn(address, name)
      if (known) this.forget(known)
      return null
    }).then(found => found?.name ?? this.byAddress.get(address)?.name)
  }

  pin(address: string): boolean {
    const known = this.byAddress.get(address)
    if (!known) return false
    if (known.pins++ === 0) this.pinned.add(known)
    return true
  }

  unpin(address: string): void {
    const known = this.byAddress.get(address)
    if (known && known.pins > 0 && --known.pins === 0) this.pinned.delete(known)
  }

  reserve(addresses: string): void {
    for (const [first, count] of this.range.slotsIn(addresses)) {
      for (let slot = first; slot < first + count; slot++) {
        const known = this.byAddress.get(this.range.address(slot))
        if (known) this.forget(known)
      }
      this.inChunks(
        RESERVE,
        Array.from({ length: count }, (_, i) => first + i),
      )
    }
  }

  flush(): void {
    for (const known of [...this.byName.values()]) if (known.pins === 0) this.forget(known)
    const keep = Array.from(this.pinned, ({ address }) => this.range.slot(address))
    this.run(FLUSH, USE_GUARANTEE, ...keep).catch(error => this.failed(error))
  }

  close(): void {
    this.closed = true
    clearInterval(this.timer)
  }

  /** Many who ask the same at once ask once. What Redis does not answer is null, and whoever knew better goes on with that. */
  private ask(all: Asking, key: string, question: () => Promise<Known | null>): Promise<Known | null> {
    let asking = all.get(key)
    if (!asking) {
      if (all.size >= MAX_ASKING) return Promise.resolve(null)
      asking = question()
        .catch(error => {
          this.failed(error)
          return null
        })
        .finally(() => all.delete(key))
      all.set(key, asking)
    }
    return asking
  }

  private learn(address: string, name: string): Known {
    const before = this.byAddress.get(address)
    if (before && before.name === name) {
      before.at = performance.now()
      return before
    }
    if (before) this.forget(before)
    const elsewhere = this.byName.get(name)
    if (elsewhere) this.forget(elsewhere)
    const known: Known = { name, address, at: performance.now(), pins: 0 }
    this.byName.set(name, known)
    this.byAddress.set(address, known)
    if (this.byName.size > MAX_KNOWN) {
      for (const oldest of this.byName.values()) {
        if (oldest.pins > 0) continue
        this.forget(oldest)
        break
      }
    }
    return known
  }

  private forget(known: Known): void {
    if (this.byName.get(known.name) === known) this.byName.delete(known.name)
    if (this.byAddress.get(known.address) === known) this.byAddress.delete(known.address)
    this.pinned.delete(known)
  }

  private isFresh(known: Known): boolean {
    return performance.now() - known.at < TRUST
  }

  private renew(): void {
    const pinned = [...this.pinned]
    const asked = performance.now()
    const slots = pinned.map(({ address }) => this.range.slot(address))
    this.inChunks(TOUCH, slots, from => {
      for (const known of pinned.slice(from, from + CHUNK)) known.at = asked
    })
  }

  private inChunks(script: string, slots: readonly number[], done: (from: number) => void = () => {}): void {
    for (let i = 0; i < slots.length; i += CHUNK) {
      this.run(script, ...slots.slice(i, i + CHUNK)).then(
        () => done(i),
        error => this.failed(error),
      )
    }
  }

  private async run(script: string, ...args: (string | number)[]): Promise<unknown> {
    const answer = await this.client.eval(script, this.keys.length, ...this.keys, ...args)
    this.report.answered()
    return answer
  }

  private failed(error: unknown): void {
    if (!this.closed) this.report.outage(error as Error)
  }
}

/** One warning for an outage, not one for each of its errors; one when there is no address left. */
class Report {
  private isDown = false
  private wasExhausted = false

  constructor(private readonly warn: (message: string) => void) {}

  outage(error: Error): void {
    if (this.isDown) return
    this.isDown = true
    this.warn(`fake IPs: Redis cannot be reached, new names get no address: ${error.message || (error as NodeJS.ErrnoException).code}`)
  }

  answered(): void {
    this.isDown = false
  }

  exhausted(family: 4 | 6, size: number): void {
    if (this.wasExhausted) return
    this.wasExhausted = true
    this.warn(`all ${size} fake IPv${family} addresses are in use: new names are answered SERVFAIL until flows end`)
  }
}

/**
 * A client for `redis://[user:password@]host[:port][/db]` (or `rediss://`), by ioredis, which has to be installed beside this package.
 * @throws Error `ERR_TUN_FAKE_IP_STORE`
 */
export async function openRedis(url: string): Promise<RedisClient> {
  try {
    const loaded = await import('ioredis')
    const { Redis } = 'Redis' in loaded ? loaded : (loaded as { default: typeof loaded }).default // its names are lost in a bundle
    // A query waits for its answer: better none than one after seconds. The connection comes back by itself.
    return new Redis(url, { maxRetriesPerRequest: 1, commandTimeout: 2000, connectTimeout: 2000 }) as unknown as RedisClient
  } catch (error) {
    const shown = url.replace(/(:\/\/)[^/@]*@/, '$1***@')
    throw misuse('ERR_TUN_FAKE_IP_STORE', `${shown} cannot be used: ${(error as Error).message}; npm install ioredis`)
  }
}

const words = new Uint32Array(4)

function canonical(address: string): string {
  if (!address.includes(':') || !parseIpv6(address, words)) return address
  return words[0] === 0 && words[1] === 0 && words[2] === 0xffff ? formatIpv4(words[3]) : formatIpv6(words)
}
