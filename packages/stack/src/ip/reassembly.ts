// Owns: putting fragments together again, IPv4 and IPv6, whoever they are for. Bounded in bytes, datagrams, fragments and time.
// Read first: RFC 791 §3.2, RFC 815, RFC 1122 §3.3.2 (whom a timeout is told); RFC 8200 §4.5,
// RFC 5722 (an overlap discards the whole), RFC 1858 (why).

import { FlowTable, KEY_WORDS } from '../memory/flow-table.js'
import { type Millis, Slab } from '../memory/slab.js'
import type { Stats } from '../stats.js'
import { IPV4_HEADER, IPV6_HEADER, type IpPacket, writeIpv4, writeIpv6 } from '../wire/ip.js'

const TIMEOUT = 60_000 // ms. RFC 8200 §4.5; RFC 1122 §3.3.2 asks for 60 to 120 s
/** Of payload, and of what else it costs. */
const MAX_BYTES = 4 << 20
const MAX_DATAGRAMS = 1024
/** Of one source (a forwarded host), so that it cannot take everybody's room: a quarter, of the datagrams as well. */
const MAX_BYTES_PER_SOURCE = MAX_BYTES / 4
/**
 * Charged for a datagram and for every fragment of it: objects, and a buffer of its own. Else 8-byte fragments would cost next to nothing.
 */
const OVERHEAD = 256
/** 65,535 bytes in the smallest fragments anybody has a reason to send (IPv4's minimum MTU of 68 leaves 48 bytes). */
const MAX_FRAGMENTS = 1366
const MAX_TOTAL = 65_535
/** Of its payload, more than any ICMP error has room for. */
const QUOTED = 1280

interface Fragment {
  offset: number
  end: number
  bytes: Uint8Array<ArrayBuffer>
}

/** A host that sends fragments, and what is held of it. */
interface Source {
  held: number
  partials: number
}

/** One datagram in pieces. */
class Partial {
  readonly key = new Int32Array(KEY_WORDS)
  readonly source: Source
  readonly expires: Millis
  /** Sorted by offset, without overlap. */
  readonly fragments: Fragment[] = []
  bytes = 0
  /** As charged. */
  held = 0
  /** Payload bytes of the whole, −1 until the last fragment has come. */
  total = -1
  /** Of the first fragment: RFC 8200 §4.5 has the next header from there. */
  proto = -1
  /** The headers of the first fragment, as they came, for whoever is told that the rest never did. */
  header: Uint8Array<ArrayBuffer> | null = null
  /** It overlapped or contradicted itself: what else comes of it is dropped until its time is over. */
  poisoned = false

  constructor(key: Int32Array, source: Source, expires: Millis) {
    this.key.set(key)
    this.source = source
    this.expires = expires
  }
}

export class Reassembly {
  private readonly table: FlowTable<Partial>
  private readonly sources: FlowTable<Source>
  private readonly stats: Stats
  /** In the order they began, which is the order they expire in. */
  private readonly queue = new Set<Partial>()
  private held = 0

  constructor(stats: Stats, k0: number, k1: number) {
    this.stats = stats
    this.table = new FlowTable(k0, k1)
    this.sources = new FlowTable(k0, k1)
  }

  /** Takes the fragment that `ip` describes. The whole packet in a slab of its own, starting at 0, if this was the missing piece. */
  take(ip: IpPacket, slab: Slab, now: Millis): Slab | null {
    const length = ip.end - ip.payload
    const end = ip.fragmentOffset + length
    // All but the last are multiples of 8 bytes and hold something; nothing lies beyond what either header's length field can say.
    if (length === 0 || end > MAX_TOTAL - (ip.v4 ? IPV4_HEADER : 0) || (ip.moreFragments && length % 8 !== 0)) return this.refuse()
    const partial = this.find(ip, now)
    if (partial === null || partial.poisoned) return this.refuse()
    const first = ip.fragmentOffset === 0 && partial.header === null
    const headers = first ? ip.payload - ip.start : 0
    if (!this.makeRoom(partial, length + headers + OVERHEAD)) return this.refuse()
    if (first) {
      partial.proto = ip.proto
      partial.header = slab.bytes.slice(ip.start, ip.payload)
      this.charge(partial, headers)
    }
    const whole = this.insert(partial, ip.fragmentOffset, end, !ip.moreFragments, slab, ip.payload)
    if (!whole) return null
    const packet = assemble(partial, ip)
    const { stats } = this
    stats.fragments += partial.fragments.length - 1 // the last one counts as what it completed
    stats.fragmentsWaiting -= partial.fragments.length
    partial.fragments.length = 0
    this.drop(partial)
    return packet
  }

  /** When the oldest is given up; Infinity: nothing is waiting. */
  get nextExpiry(): Millis {
    if (this.queue.size === 0) return Infinity // almost always, and an iterator would be an object
    for (const partial of this.queue) return partial.expires
    return Infinity
  }

  /** `told` gets the first fragment, where it has come, of each datagram whose time is over: RFC 1122 §3.3.2, RFC 8200 §4.5. */
  expire(now: Millis, told: (first: Slab) => void): void {
    for (const partial of this.queue) {
      if (partial.expires > now) return
      this.stats.drops.reassembly++
      const first = firstFragment(partial)
      this.drop(partial)
      if (first !== null) told(first)
    }
  }

  private refuse(): null {
    this.stats.drops.reassembly++
    this.stats.drops.fragments++
    return null
  }

  /** What waited of `partial` is not waited for any more. */
  private lose(partial: Partial): void {
    this.stats.drops.fragments += partial.fragments.length
    this.stats.fragmentsWaiting -= partial.fragments.length
    partial.fragments.length = 0
  }

  private find(ip: IpPacket, now: Millis): Partial | null {
    const id = ip.identification
    // RFC 791: identification, source, destination and protocol; RFC 8200: without the protocol, but 32 bits of identification.
    const high = ip.v4 ? ip.proto : id >>> 16
    this.table.setKey(ip.s0, ip.s1, ip.s2, ip.s3, ip.d0, ip.d1, ip.d2, ip.d3, high, id & 0xffff)
    const known = this.table.find()
    if (known !== undefined) return known
    const key = this.table.key.slice()
    while (this.queue.size >= MAX_DATAGRAMS) this.dropOldest()
    const source = this.sourceOf(ip)
    if (source.partials >= MAX_DATAGRAMS / 4) return null
    const partial = new Partial(key, source, now + TIMEOUT)
    this.table.key.set(key)
    this.table.add(partial)
    this.queue.add(partial)
    source.partials++
    this.charge(partial, OVERHEAD)
    return partial
  }

  private sourceOf(ip: IpPacket): Source {
    this.sources.setKey(ip.s0, ip.s1, ip.s2, ip.s3, 0, 0, 0, 0, 0, 0)
    const known = this.sources.find()
    if (known !== undefined) return known
    const source: Source = { held: 0, partials: 0 }
    this.sources.add(source)
    return source
  }

  private charge(partial: Partial, cost: number): void {
    partial.held += cost
    partial.source.held += cost
    this.held += cost
  }

  /** False: the source has its share already, or the datagram itself was the oldest and had to go. */
  private makeRoom(partial: Partial, cost: number): boolean {
    if (partial.source.held + cost > MAX_BYTES_PER_SOURCE) return false
    while (this.held + cost > MAX_BYTES) if (this.dropOldest() === partial) return false
    return true
  }

  private dropOldest(): Partial | null {
    for (const oldest of this.queue) {
      this.stats.drops.reassembly++
      this.drop(oldest)
      return oldest
    }
    return null
  }

  /** True: nothing is missing any more. */
  private insert(partial: Partial, offset: number, end: number, last: boolean, slab: Slab, from: number): boolean {
    const { fragments } = partial
    let i = fragments.length
    while (i > 0 && fragments[i - 1].offset >= offset) i--
    const same = fragments[i]
    if (same !== undefined && same.offset === offset && same.end === end) {
      this.stats.drops.fragments++ // the same again: RFC 8200 §4.5 lets it pass
      return false
    }
    const overlaps = (same !== undefined && same.offset < end) || (i > 0 && fragments[i - 1].end > offset)
    const contradicts = partial.total >= 0 && (last ? end !== partial.total : end > partial.total)
    const behind = last && fragments.length > 0 && fragments[fragments.length - 1].end > end
    if (overlaps || contradicts || behind || fragments.length === MAX_FRAGMENTS) {
      this.poison(partial)
      this.stats.drops.fragments++
      return false
    }
    const bytes = slab.bytes.slice(from, from + end - offset)
    fragments.splice(i, 0, { offset, end, bytes })
    this.stats.fragmentsWaiting++
    partial.bytes += bytes.length
    this.charge(partial, bytes.length + OVERHEAD)
    if (last) partial.total = end
    return partial.bytes === partial.total // no overlaps: as many bytes as the whole has are the whole
  }

  private poison(partial: Partial): void {
    this.stats.drops.reassembly++
    this.charge(partial, OVERHEAD - partial.held)
    partial.bytes = 0
    this.lose(partial) // RFC 5722 §4: silently
    partial.header = null
    partial.poisoned = true
  }

  private drop(partial: Partial): void {
    this.lose(partial)
    this.charge(partial, -partial.held)
    this.queue.delete(partial)
    this.table.key.set(partial.key)
    this.table.delete()
    if (--partial.source.partials > 0) return
    const { key } = partial
    this.sources.setKey(key[0], key[1], key[2], key[3], 0, 0, 0, 0, 0, 0)
    this.sources.delete()
  }
}

/** As it came, but for what lies beyond all that an error may quote. */
function firstFragment({ header, fragments }: Partial): Slab | null {
  if (header === null || fragments.length === 0) return null
  const payload = fragments[0].bytes.subarray(0, QUOTED)
  const first = new Slab(header.length + payload.length)
  first.bytes.set(header)
  first.bytes.set(payload, header.length)
  return first
}

/** A packet as if it had never been cut: a plain header and all the payload. Options are not kept, nobody here looks at them. */
function assemble(partial: Partial, ip: IpPacket): Slab {
  const headers = ip.v4 ? IPV4_HEADER : IPV6_HEADER
  const whole = new Slab(headers + partial.total)
  if (ip.v4) writeIpv4(whole.view, 0, headers + partial.total, partial.proto, ip.s3, ip.d3, ip.ttl)
  else writeIpv6(whole.view, 0, partial.total, partial.proto, ip.s0, ip.s1, ip.s2, ip.s3, ip.d0, ip.d1, ip.d2, ip.d3, ip.ttl)
  for (const { offset, bytes } of partial.fragments) whole.bytes.set(bytes, headers + offset)
  return whole
}
