// Owns: putting fragments together again, IPv4 and IPv6, whoever they are for. Bounded in bytes, datagrams, fragments and time.
// Read first: RFC 791 §3.2, RFC 815, RFC 1122 §3.3.2; RFC 8200 §4.5, RFC 5722 (an overlap discards the whole), RFC 1858 (why).

import { FlowTable } from '../memory/flow-table.js'
import { type Millis, Slab } from '../memory/slab.js'
import type { Stats } from '../stats.js'
import { IPV4_HEADER, IPV6_HEADER, type IpPacket, writeIpv4, writeIpv6 } from '../wire/ip.js'

const TIMEOUT = 60_000 // ms. RFC 8200 §4.5; RFC 1122 §3.3.2 asks for 60 to 120 s
const MAX_BYTES = 4 << 20
const MAX_DATAGRAMS = 1024
/** Of one source (a forwarded host), so that it cannot take everybody's room: a quarter. */
const MAX_BYTES_PER_SOURCE = MAX_BYTES / 4
/** 65,535 bytes in the smallest fragments anybody has a reason to send (IPv4's minimum MTU of 68 leaves 48 bytes). */
const MAX_FRAGMENTS = 1366
const MAX_TOTAL = 65_535

interface Fragment {
  offset: number
  end: number
  bytes: Uint8Array<ArrayBuffer>
}

/** One datagram in pieces. */
class Partial {
  readonly key = new Int32Array(9)
  readonly expires: Millis
  /** Sorted by offset, without overlap. */
  readonly fragments: Fragment[] = []
  bytes = 0
  /** Payload bytes of the whole, −1 until the last fragment has come. */
  total = -1
  /** It overlapped or contradicted itself: what else comes of it is dropped until its time is over. */
  poisoned = false

  constructor(key: Int32Array, expires: Millis) {
    this.key.set(key)
    this.expires = expires
  }
}

export class Reassembly {
  private readonly table: FlowTable<Partial>
  private readonly stats: Stats
  /** In the order they began, which is the order they expire in. */
  private readonly queue = new Set<Partial>()
  private bytes = 0

  constructor(stats: Stats, k0: number, k1: number) {
    this.stats = stats
    this.table = new FlowTable(k0, k1)
  }

  /** Takes the fragment that `ip` describes. The whole packet in a slab of its own, starting at 0, if this was the missing piece. */
  take(ip: IpPacket, slab: Slab, now: Millis): Slab | null {
    const length = ip.end - ip.payload
    const end = ip.fragmentOffset + length
    // All but the last are multiples of 8 bytes and hold something; nothing lies beyond 65,535.
    if (length === 0 || end > MAX_TOTAL - IPV4_HEADER || (ip.moreFragments && length % 8 !== 0)) return this.refuse()
    const partial = this.find(ip, now)
    if (partial === null || partial.poisoned) return this.refuse()
    const whole = this.insert(partial, ip.fragmentOffset, end, !ip.moreFragments, slab, ip.payload)
    if (!whole) return null
    const packet = assemble(partial, ip)
    this.drop(partial)
    return packet
  }

  /** When the oldest is given up; Infinity: nothing is waiting. */
  get nextExpiry(): Millis {
    for (const partial of this.queue) return partial.expires
    return Infinity
  }

  expire(now: Millis): void {
    for (const partial of this.queue) {
      if (partial.expires > now) return
      this.stats.drops.reassembly++
      this.drop(partial)
    }
  }

  private refuse(): null {
    this.stats.drops.reassembly++
    return null
  }

  private find(ip: IpPacket, now: Millis): Partial | null {
    const id = ip.identification
    // RFC 791: identification, source, destination and protocol; RFC 8200: without the protocol, but 32 bits of identification.
    const high = ip.v4 ? ip.proto : id >>> 16
    this.table.setKey(ip.s0, ip.s1, ip.s2, ip.s3, ip.d0, ip.d1, ip.d2, ip.d3, high, id & 0xffff)
    const known = this.table.find()
    if (known !== undefined) return known
    if (this.bytesOf(ip) > MAX_BYTES_PER_SOURCE) return null
    const partial = new Partial(this.table.key, now + TIMEOUT)
    while (this.queue.size >= MAX_DATAGRAMS || this.bytes > MAX_BYTES) this.dropOldest()
    this.table.key.set(partial.key)
    this.table.add(partial)
    this.queue.add(partial)
    return partial
  }

  private dropOldest(): void {
    for (const oldest of this.queue) {
      this.stats.drops.reassembly++
      return this.drop(oldest)
    }
  }

  private bytesOf(ip: IpPacket): number {
    if (this.bytes <= MAX_BYTES_PER_SOURCE) return 0 // nobody can have more
    let bytes = 0
    for (const { key, bytes: held } of this.queue) {
      if (key[3] === ip.s3 && key[2] === ip.s2 && key[1] === ip.s1 && key[0] === ip.s0) bytes += held
    }
    return bytes
  }

  /** True: nothing is missing any more. */
  private insert(partial: Partial, offset: number, end: number, last: boolean, slab: Slab, from: number): boolean {
    const { fragments } = partial
    let i = fragments.length
    while (i > 0 && fragments[i - 1].offset >= offset) i--
    const same = fragments[i]
    if (same !== undefined && same.offset === offset && same.end === end) return false // the same again: RFC 8200 §4.5 lets it pass
    const overlaps = (same !== undefined && same.offset < end) || (i > 0 && fragments[i - 1].end > offset)
    const contradicts = partial.total >= 0 && (last ? end !== partial.total : end > partial.total)
    const behind = last && fragments.length > 0 && fragments[fragments.length - 1].end > end
    if (overlaps || contradicts || behind || fragments.length === MAX_FRAGMENTS) {
      this.poison(partial)
      return false
    }
    const bytes = slab.bytes.slice(from, from + end - offset)
    fragments.splice(i, 0, { offset, end, bytes })
    partial.bytes += bytes.length
    this.bytes += bytes.length
    if (last) partial.total = end
    return partial.bytes === partial.total // no overlaps: as many bytes as the whole has are the whole
  }

  private poison(partial: Partial): void {
    this.stats.drops.reassembly++
    this.bytes -= partial.bytes
    partial.bytes = 0
    partial.fragments.length = 0
    partial.poisoned = true
  }

  private drop(partial: Partial): void {
    this.bytes -= partial.bytes
    this.queue.delete(partial)
    this.table.key.set(partial.key)
    this.table.delete()
  }
}

/** A packet as if it had never been cut: a plain header and all the payload. Options are not kept, nobody here looks at them. */
function assemble(partial: Partial, ip: IpPacket): Slab {
  const headers = ip.v4 ? IPV4_HEADER : IPV6_HEADER
  const whole = new Slab(headers + partial.total)
  if (ip.v4) writeIpv4(whole.view, 0, headers + partial.total, ip.proto, ip.s3, ip.d3, ip.ttl)
  else writeIpv6(whole.view, 0, partial.total, ip.proto, ip.s0, ip.s1, ip.s2, ip.s3, ip.d0, ip.d1, ip.d2, ip.d3)
  for (const { offset, bytes } of partial.fragments) whole.bytes.set(bytes, headers + offset)
  return whole
}
