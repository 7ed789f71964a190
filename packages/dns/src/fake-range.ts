// Owns: which addresses of a range may be handed out, as numbered slots. Range arithmetic (ip-num, slow) happens here, once;
// afterwards an address is four unsigned words and a slot is found among a few segments.
//   range   |network|first|. . . . reserved . . . . . .|broadcast|
//   slots                  0 1 2 3          4 5 6 7 8 9

import { IPv4, IPv4CidrRange, IPv6, IPv6CidrRange } from 'ip-num'
import { formatIpv4, formatIpv6, parseIpv4, parseIpv6 } from './address.js'
import { misuse } from './errors.js'

/** Neighbouring addresses that share their upper 96 bits. */
interface Segment {
  upper: readonly [number, number, number]
  low: number
  count: number
  /** Slot of its first address. */
  slot: number
}

interface Interval {
  first: bigint
  last: bigint
}

const WORD = 0x1_0000_0000n

export class FakeRange {
  readonly family: 4 | 6
  /** Addresses to hand out. */
  readonly size: number
  private readonly segments: Segment[] = []
  private readonly first: Uint32Array
  private readonly last: Uint32Array
  private readonly words = new Uint32Array(4)

  /**
   * @param cidr e.g. `198.18.0.1/16`. Its host bits, if any, are the NIC's address.
   * @param reserved addresses and CIDRs of any family never handed out
   * @throws RangeError `ERR_TUN_FAKE_IP_RANGE`
   */
  constructor(family: 4 | 6, cidr: string, reserved: readonly string[], capacity: number) {
    const range = parseCidr(cidr)
    if (range.family !== family) throw misuse('ERR_TUN_FAKE_IP_RANGE', `fake-IP range '${cidr}' is not IPv${family}`)
    this.family = family
    this.first = toWords(range.first)
    this.last = toWords(range.last)
    const taken: Interval[] = [
      { first: range.first, last: range.first + 1n }, // network, and the first address, the NIC's
      { first: range.address, last: range.address },
      { first: range.last, last: range.last }, // broadcast
    ]
    for (const text of reserved) {
      const { family: of, first, last } = parseCidr(text.includes('/') ? text : `${text}/${text.includes(':') ? 128 : 32}`)
      if (of === family) taken.push({ first, last })
    }
    this.size = this.cut(range, taken, capacity)
    if (this.size === 0) throw misuse('ERR_TUN_FAKE_IP_RANGE', `fake-IP range '${cidr}' has no address left to hand out`)
  }

  /** The first address of a CIDR, which its host bits do not show. @throws RangeError `ERR_TUN_FAKE_IP_RANGE` */
  static networkOf(cidr: string): string {
    const { family, first } = parseCidr(cidr)
    const words = toWords(first)
    return family === 4 ? formatIpv4(words[3]) : formatIpv6(words)
  }

  private cut(range: Interval, taken: Interval[], capacity: number): number {
    let slot = 0
    let at = range.first
    const add = (until: bigint): void => {
      while (at < until && slot < capacity) {
        const wordEnd = (at / WORD + 1n) * WORD // the upper words are the same for a whole segment
        const room = (until < wordEnd ? until : wordEnd) - at
        const count = Number(room < BigInt(capacity - slot) ? room : BigInt(capacity - slot))
        const [a, b, c, low] = toWords(at)
        this.segments.push({ upper: [a, b, c], low, count, slot })
        slot += count
        at += BigInt(count)
      }
    }
    taken.sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0))
    for (const { first, last } of taken) {
      add(first)
      if (last >= at) at = last + 1n
    }
    add(range.last + 1n)
    return slot
  }

  /** The address of a slot below `size`. */
  address(slot: number): string {
    const segment = this.segments[this.find(slot)]
    const low = segment.low + (slot - segment.slot)
    return this.family === 4 ? formatIpv4(low) : formatIpv6([...segment.upper, low])
  }

  /** The slot of an address, -1 if it is never handed out. */
  slot(address: string): number {
    if (!this.read(address)) return -1
    const [a, b, c, low] = this.words
    for (const s of this.segments) {
      if (low < s.low || low >= s.low + s.count) continue
      if (a === s.upper[0] && b === s.upper[1] && c === s.upper[2]) return s.slot + (low - s.low)
    }
    return -1
  }

  /** The slots of an address or CIDR as runs [first, count]; nothing for another family's or what is neither. */
  *slotsIn(addresses: string): Generator<[first: number, count: number], void, void> {
    const interval = this.intervalOf(addresses)
    if (interval === null) return
    for (const { upper, low, count, slot } of this.segments) {
      const start = (BigInt(upper[0]) << 96n) | (BigInt(upper[1]) << 64n) | (BigInt(upper[2]) << 32n) | BigInt(low)
      const first = interval.first > start ? interval.first : start
      const last = interval.last < start + BigInt(count) - 1n ? interval.last : start + BigInt(count) - 1n
      if (first <= last) yield [slot + Number(first - start), Number(last - first) + 1]
    }
  }

  /** Is the whole range in this CIDR? */
  isWithin(addresses: string): boolean {
    const interval = this.intervalOf(addresses)
    return interval !== null && interval.first <= fromWords(this.first) && interval.last >= fromWords(this.last)
  }

  private intervalOf(addresses: string): Interval | null {
    try {
      const interval = parseCidr(addresses.includes('/') ? addresses : `${addresses}/${addresses.includes(':') ? 128 : 32}`)
      return interval.family === this.family ? interval : null
    } catch {
      return null
    }
  }

  /** Is the address anywhere in the range, handed out or not? */
  contains(address: string): boolean {
    return this.read(address) && compare(this.words, this.first) >= 0 && compare(this.words, this.last) <= 0
  }

  private read(address: string): boolean {
    if (this.family === 6) return parseIpv6(address, this.words)
    const value = parseIpv4(address)
    this.words.fill(0, 0, 3)
    this.words[3] = value
    return value >= 0
  }

  private find(slot: number): number {
    let low = 0
    let high = this.segments.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (this.segments[middle].slot <= slot) low = middle
      else high = middle - 1
    }
    return low
  }
}

function parseCidr(text: string): Interval & { family: 4 | 6; address: bigint } {
  const [address, prefix, more] = text.split('/')
  const family = parseIpv4(address) >= 0 ? 4 : parseIpv6(address, new Uint32Array(4)) ? 6 : 0
  const bits = /^\d{1,3}$/.test(prefix ?? '') && more === undefined ? Number(prefix) : -1
  if (family === 0 || bits < 0 || bits > (family === 4 ? 32 : 128)) {
    throw misuse('ERR_TUN_FAKE_IP_RANGE', `'${text}' is no CIDR: write e.g. 198.18.0.1/16 or fc00::/18`)
  }
  const range = family === 4 ? IPv4CidrRange.fromCidr(text) : IPv6CidrRange.fromCidr(text)
  const own = family === 4 ? IPv4.fromString(address) : IPv6.fromString(address)
  return { family, first: range.getFirst().getValue(), last: range.getLast().getValue(), address: own.getValue() }
}

function toWords(value: bigint): Uint32Array {
  return Uint32Array.of(Number((value >> 96n) % WORD), Number((value >> 64n) % WORD), Number((value >> 32n) % WORD), Number(value % WORD))
}

function fromWords([a, b, c, d]: ArrayLike<number> & Iterable<number>): bigint {
  return (BigInt(a) << 96n) | (BigInt(b) << 64n) | (BigInt(c) << 32n) | BigInt(d)
}

function compare(a: Uint32Array, b: Uint32Array): number {
  for (let i = 0; i < 4; i++) if (a[i] !== b[i]) return a[i] - b[i]
  return 0
}
