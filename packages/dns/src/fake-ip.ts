// Owns: which name has which fake address. Sticky by name; when all addresses are taken the least recently used one goes to
// the next name, never one with live flows (pinned): a connection must not end up at another host.
// Slots of a family form one list, least recently used first; a pinned slot is in no list. What outlives us: fake-ip-store.ts.

import { formatIpv4, parseIpv6 } from './address.js'
import { misuse } from './errors.js'
import { type FakeIpEntry, type FakeIpStore, MEMORY_STORE } from './fake-ip-store.js'
import type { FakeIps } from './fake-ips.js'
import { FakeRange } from './fake-range.js'

export interface FakeIpOptions {
  /** IPv4 CIDR; host bits are the NIC's address. Default `198.18.0.1/16` (RFC 2544's benchmarking block, as Clash). */
  range4?: string
  /** IPv6 CIDR, e.g. `fc00::/18`. Without it AAAA answers are empty. */
  range6?: string
  /** Addresses and CIDRs never handed out: the NIC's prefix, addresses services listen on. */
  reserved?: readonly string[]
  /** Addresses in use at once per family; default 65,536, at most 16,777,216. */
  capacity?: number
  /** What keeps names and addresses beyond this process: `openFakeIpFile(path)`. Default: nothing does. */
  store?: FakeIpStore
  /** Told once, when every address is in use and a name gets none. */
  onWarning?: (message: string) => void
}

export const FAKE_IP_DEFAULTS = { range4: '198.18.0.1/16', capacity: 65536 } as const

const MAX_CAPACITY = 1 << 24

/** All operations are O(1) after construction and take addresses in any textual form. */
export class FakeIpPool implements FakeIps {
  private readonly v4: Family
  private readonly v6: Family | null
  private readonly store: FakeIpStore
  private readonly onWarning: (message: string) => void
  private warned = false

  /** @throws RangeError `ERR_TUN_FAKE_IP_RANGE` */
  constructor(options: FakeIpOptions = {}) {
    const { range4, capacity, reserved, range6 } = { reserved: [], range6: undefined, ...FAKE_IP_DEFAULTS, ...dropUndefined(options) }
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > MAX_CAPACITY) {
      throw misuse('ERR_TUN_FAKE_IP_RANGE', `a fake-IP capacity is 1 to ${MAX_CAPACITY}, not ${capacity}`)
    }
    this.v4 = new Family(new FakeRange(4, range4, reserved, capacity))
    this.v6 = range6 === undefined ? null : new Family(new FakeRange(6, range6, reserved, capacity))
    this.store = options.store ?? MEMORY_STORE
    this.onWarning = options.onWarning ?? (() => {})
    this.store.attach?.(() => this.entries())
    // An address that is no longer in the range, or that something listens on now, is forgotten.
    for (const { address, name } of this.store.load()) this.familyOf(address)?.restore(address, normalize(name))
  }

  /** Every name and its address, least recently used first, those in use last. */
  *entries(): Generator<FakeIpEntry, void, void> {
    yield* this.v4.entries()
    if (this.v6) yield* this.v6.entries()
  }

  /** Is there a range for this family? */
  serves(family: 4 | 6): boolean {
    return family === 4 || this.v6 !== null
  }

  /** The name's address, the same each time while it is remembered; null if there is no range or every address is pinned. */
  lookup(name: string, family: 4 | 6): string | null {
    const of = family === 4 ? this.v4 : this.v6
    const key = normalize(name)
    if (of === null || key === '') return null
    const known = of.known(key)
    if (known !== null) return known
    const address = of.allot(key)
    if (address !== null) this.store.set({ address, name: key })
    else if (!this.warned) {
      this.warned = true
      this.onWarning(`all ${of.range.size} fake IPv${family} addresses are in use: new names are answered SERVFAIL until flows end`)
    }
    return address
  }

  /** The name an address was handed out for. Counts as a use of it. */
  nameOf(address: string): string | undefined {
    const family = this.familyOf(address)
    return family?.nameOf(unmap(address))
  }

  /** Is the address in one of the ranges, handed out or not? */
  contains(address: string): boolean {
    return this.familyOf(address)?.range.contains(unmap(address)) ?? false
  }

  /** A live flow uses the address: it keeps its name until as many `unpin`s came. False (and nothing done) if it has no name. */
  pin(address: string): boolean {
    return this.familyOf(address)?.pin(unmap(address)) ?? false
  }

  unpin(address: string): void {
    this.familyOf(address)?.unpin(unmap(address))
  }

  /**
   * From now on the address, or the addresses of a CIDR, are not handed out: something listens there. Names they had are forgotten. A CIDR
   * that has the whole range in it changes nothing: who listens on all of them wants names.
   */
  reserve(addresses: string): void {
    const text = addresses.includes('/') ? addresses : unmap(addresses)
    for (const family of [this.v4, this.v6]) if (family && !family.range.isWithin(text)) family.reserve(text)
  }

  /** Forgets all names but those of pinned addresses. */
  flush(): void {
    this.v4.flush()
    this.v6?.flush()
    this.store.reset(this.entries())
  }

  /** The store writes what it has not yet and gives its file back; the pool stays as it is. Idempotent. */
  close(): void {
    this.store.close()
  }

  /** Addresses to hand out, with a name, and pinned. */
  stats(family: 4 | 6): { size: number; named: number; pinned: number } {
    const of = family === 4 ? this.v4 : this.v6
    return of ? { size: of.range.size, named: of.slots.size, pinned: of.pinned } : { size: 0, named: 0, pinned: 0 }
  }

  private familyOf(address: string): Family | null {
    return isMapped(address) || !address.includes(':') ? this.v4 : this.v6
  }
}

const NONE = -1
/** In `older`: the slot was never in the list. */
const UNUSED = -2
/** A pin count no flows can reach: the address is reserved. */
const RESERVED = 0xffffffff

class Family {
  readonly range: FakeRange
  readonly slots = new Map<string, number>()
  pinned = 0
  private names: (string | undefined)[] = []
  private older = new Int32Array(0)
  private newer = new Int32Array(0)
  private pins = new Uint32Array(0)
  private oldest = NONE
  private newest = NONE
  /** Slots from here on were never used. */
  private fresh = 0

  constructor(range: FakeRange) {
    this.range = range
  }

  known(name: string): string | null {
    const slot = this.slots.get(name)
    if (slot === undefined) return null
    this.touch(slot)
    return this.range.address(slot)
  }

  allot(name: string): string | null {
    const slot = this.take()
    if (slot === NONE) return null
    this.slots.set(name, slot)
    this.names[slot] = name
    return this.range.address(slot)
  }

  restore(address: string, name: string): void {
    const slot = this.range.slot(address)
    if (slot < 0) return
    this.grow(slot)
    const before = this.slots.get(name)
    if (this.pins[slot] > 0 || before === slot) return
    if (before !== undefined) this.forget(before)
    this.forget(slot)
    if (this.older[slot] === UNUSED) this.link(slot)
    else this.touch(slot)
    this.slots.set(name, slot)
    this.names[slot] = name
  }

  *entries(): Generator<FakeIpEntry, void, void> {
    for (let slot = this.oldest; slot !== NONE; slot = this.newer[slot]) {
      const name = this.names[slot]
      if (name !== undefined) yield { address: this.range.address(slot), name }
    }
    if (this.pinned === 0) return
    for (const [name, slot] of this.slots) if (this.pins[slot] > 0) yield { address: this.range.address(slot), name }
  }

  nameOf(address: string): string | undefined {
    const slot = this.named(address)
    if (slot === NONE) return undefined
    this.touch(slot)
    return this.names[slot]
  }

  pin(address: string): boolean {
    const slot = this.named(address)
    if (slot === NONE) return false
    if (this.pins[slot]++ === 0) {
      this.unlink(slot)
      this.pinned++
    }
    return true
  }

  unpin(address: string): void {
    const slot = this.named(address)
    if (slot === NONE || this.pins[slot] === 0) return
    if (--this.pins[slot] > 0) return
    this.pinned--
    this.link(slot)
  }

  reserve(addresses: string): void {
    for (const [first, count] of this.range.slotsIn(addresses)) {
      this.grow(first + count - 1)
      for (let slot = first; slot < first + count; slot++) this.reserveSlot(slot)
    }
  }

  private reserveSlot(slot: number): void {
    if (this.pins[slot] === RESERVED) return
    this.forget(slot)
    if (this.pins[slot] > 0) this.pinned--
    else if (this.older[slot] !== UNUSED) this.unlink(slot)
    this.pins[slot] = RESERVED
  }

  flush(): void {
    for (let slot = this.oldest; slot !== NONE; slot = this.newer[slot]) this.forget(slot)
  }

  /** A slot without a name, linked as the newest: a fresh one as long as there are any, so that a dead name's address rests. */
  private take(): number {
    while (this.fresh < this.range.size) {
      const slot = this.fresh++
      this.grow(slot)
      if (this.pins[slot] === RESERVED || this.older[slot] !== UNUSED) continue // listened on, or restored
      this.link(slot)
      return slot
    }
    const slot = this.oldest
    if (slot === NONE) return NONE
    this.forget(slot)
    this.touch(slot)
    return slot
  }

  private forget(slot: number): void {
    const name = this.names[slot]
    if (name === undefined) return
    this.names[slot] = undefined
    this.slots.delete(name)
  }

  private named(address: string): number {
    const slot = this.range.slot(address)
    return slot >= 0 && this.names[slot] !== undefined ? slot : NONE
  }

  private touch(slot: number): void {
    if (this.pins[slot] > 0 || slot === this.newest) return
    this.unlink(slot)
    this.link(slot)
  }

  private link(slot: number): void {
    this.older[slot] = this.newest
    this.newer[slot] = NONE
    if (this.newest === NONE) this.oldest = slot
    else this.newer[this.newest] = slot
    this.newest = slot
  }

  private unlink(slot: number): void {
    const older = this.older[slot]
    const newer = this.newer[slot]
    if (older === NONE) this.oldest = newer
    else this.newer[older] = newer
    if (newer === NONE) this.newest = older
    else this.older[newer] = older
  }

  private grow(slot: number): void {
    if (slot < this.older.length) return
    const length = Math.min(this.range.size, Math.max(1024, 2 * this.older.length, slot + 1))
    this.older = enlarged(this.older, new Int32Array(length).fill(UNUSED))
    this.newer = enlarged(this.newer, new Int32Array(length))
    this.pins = enlarged(this.pins, new Uint32Array(length))
    while (this.names.length < length) this.names.push(undefined)
  }
}

function enlarged<T extends Int32Array | Uint32Array>(from: T, to: T): T {
  to.set(from)
  return to
}

function normalize(name: string): string {
  return (name.endsWith('.') ? name.slice(0, -1) : name).toLowerCase()
}

const words = new Uint32Array(4)

/** ::ffff:198.18.0.4 is how a dual-stack socket shows an IPv4 address (RFC 4291 §2.5.5.2). */
function isMapped(address: string): boolean {
  return address.includes(':') && parseIpv6(address, words) && words[0] === 0 && words[1] === 0 && words[2] === 0xffff
}

function unmap(address: string): string {
  return isMapped(address) ? formatIpv4(words[3]) : address
}

function dropUndefined<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T
}
