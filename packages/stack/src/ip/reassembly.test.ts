import { describe, expect, test } from 'vitest'
import { Slab } from '../memory/slab.js'
import { Stats } from '../stats.js'
import { Prng } from '../testing/prng.js'
import { IP_OK, IpPacket, PROTO_TCP, PROTO_UDP, readIp } from '../wire/ip.js'
import { Reassembly } from './reassembly.js'

interface Piece {
  v4?: boolean
  source?: number
  proto?: number
  id?: number
  offset: number
  more: boolean
  bytes: Uint8Array
}

const SOURCE = 0x0a000001

/** Byte `i` of every datagram, so that a piece in the wrong place shows. */
const textAt = (i: number) => (i * 7 + (i >> 8)) & 0xff
const text = (from: number, to: number) => Uint8Array.from({ length: to - from }, (_, i) => textAt(from + i))

class Bench {
  readonly stats = new Stats()
  readonly reassembly = new Reassembly(this.stats, 1, 2)
  private readonly ip = new IpPacket()
  now = 2 ** 31 - 30_000
  /** First fragments of what was given up. */
  readonly told: Uint8Array[] = []

  /** The payload that `piece` completes, or null. */
  take(piece: Piece): Uint8Array | null {
    const { ip } = this
    const slab = new Slab(piece.bytes.length + 100)
    slab.bytes.fill(0xee, 80, 100)
    slab.bytes.set(piece.bytes, 100)
    Object.assign(ip, new IpPacket(), {
      v4: piece.v4 ?? true,
      proto: piece.proto ?? PROTO_UDP,
      ttl: 60,
      start: 80,
      payload: 100,
      end: 100 + piece.bytes.length,
      ...(piece.v4 === false ? { s0: 0x20010db8, d0: 0x20010db8 } : { s2: 0xffff, d2: 0xffff }),
      s3: piece.source ?? SOURCE,
      d3: 7,
      fragment: true,
      fragmentOffset: piece.offset,
      moreFragments: piece.more,
      identification: piece.id ?? 1,
    })
    const whole = this.reassembly.take(ip, slab, this.now)
    if (whole === null) return null
    const status = readIp(whole.view, 0, whole.bytes.length, false, ip)
    expect([status, ip.fragment, ip.v4, ip.end]).toEqual([IP_OK, false, piece.v4 ?? true, whole.bytes.length])
    return whole.bytes.slice(ip.payload)
  }

  expire(): void {
    this.reassembly.expire(this.now, first => this.told.push(first.bytes))
  }

  /** The transport protocol of the last whole. */
  get proto(): number {
    return this.ip.proto
  }

  piece(from: number, to: number, more: boolean, other: Partial<Piece> = {}): Uint8Array | null {
    return this.take({ offset: from, more, bytes: text(from, to), ...other })
  }
}

describe('RFC 815, RFC 8200 §4.5', () => {
  test.each([true, false])('IPv4 %s: pieces in any order make the datagram, and nothing stays behind', v4 => {
    const t = new Bench()
    expect(t.piece(16, 20, false, { v4 })).toBe(null)
    expect(t.piece(0, 8, true, { v4 })).toBe(null)
    expect(t.reassembly.nextExpiry).toBe(t.now + 60_000)
    expect(t.piece(8, 16, true, { v4 })).toEqual(text(0, 20))
    expect(t.reassembly.nextExpiry).toBe(Infinity)
    expect(t.stats.drops.reassembly).toBe(0)
  })
  test('the same fragment again is let pass', () => {
    const t = new Bench()
    t.piece(0, 8, true)
    t.piece(0, 8, true)
    expect(t.piece(8, 12, false)).toEqual(text(0, 12))
    expect(t.stats.drops.reassembly).toBe(0)
  })
  test.each([
    ['into the one before', 4 * 8, 6 * 8],
    ['into the one behind', 1 * 8, 3 * 8],
    ['over it', 1 * 8, 7 * 8],
    ['within it', 3 * 8, 4 * 8],
  ])('an overlap %s discards the datagram and what still comes of it (RFC 5722)', (_, from, to) => {
    const t = new Bench()
    t.piece(2 * 8, 5 * 8, true)
    expect(t.piece(from, to, true)).toBe(null)
    expect(t.stats.drops.reassembly).toBe(1)
    for (const [a, b, more] of [[0, 16, true] as const, [16, 40, true] as const, [40, 44, false] as const]) {
      expect(t.piece(a, b, more)).toBe(null)
    }
    t.now += 60_000
    t.expire()
    t.piece(0, 8, true)
    expect(t.piece(8, 9, false)).toEqual(text(0, 9)) // its time over, the identification is free again
  })
  test.each([
    [
      'a second end elsewhere',
      [
        [0, 8, true],
        [16, 20, false],
        [24, 28, false],
      ],
    ],
    [
      'text beyond the end',
      [
        [0, 8, true],
        [16, 20, false],
        [24, 32, true],
      ],
    ],
    [
      'an end before text that is there',
      [
        [24, 32, true],
        [16, 20, false],
      ],
    ],
  ] as const)('%s contradicts: discarded', (_, pieces) => {
    const t = new Bench()
    for (const [from, to, more] of pieces) t.piece(from, to, more)
    expect(t.piece(8, 16, true)).toBe(null)
    expect(t.stats.drops.reassembly).toBe(2)
  })
  test('a fragment without text, or an inner one that is no multiple of 8, is refused alone', () => {
    const t = new Bench()
    expect(t.piece(0, 0, true)).toBe(null)
    expect(t.piece(0, 12, true)).toBe(null)
    expect(t.reassembly.nextExpiry).toBe(Infinity)
    expect(t.stats.drops.reassembly).toBe(2)
  })
  test('nothing becomes longer than its header can say (ping of death)', () => {
    for (const [v4, most] of [[true, 65_515] as const, [false, 65_535] as const]) {
      const t = new Bench()
      expect(t.piece(65_504, most + 1, false, { v4 })).toBe(null)
      expect(t.reassembly.nextExpiry, 'not even kept').toBe(Infinity)
      for (let at = 0; at < 65_504; at += 8 * 1023) expect(t.piece(at, Math.min(at + 8 * 1023, 65_504), true, { v4 })).toBe(null)
      expect(t.piece(65_504, most, false, { v4 })?.length).toBe(most)
    }
  })
  test('IPv4 tells datagrams apart by protocol as well, IPv6 by 32 bits of identification', () => {
    const t = new Bench()
    t.piece(0, 8, true, { proto: PROTO_TCP })
    expect(t.piece(8, 12, false, { proto: PROTO_UDP })).toBe(null)
    expect(t.piece(8, 12, false, { proto: PROTO_TCP })).toEqual(text(0, 12))
    t.piece(0, 8, true, { v4: false, id: 0x10005 })
    expect(t.piece(8, 12, false, { v4: false, id: 0x5 })).toBe(null)
    expect(t.piece(8, 12, false, { v4: false, id: 0x10005 })).toEqual(text(0, 12))
  })
  test('IPv6: the first fragment says what is inside, whatever the others do', () => {
    const t = new Bench()
    t.piece(0, 8, true, { v4: false, proto: PROTO_UDP })
    t.piece(0, 8, true, { v4: false, proto: PROTO_TCP }) // again: not heeded
    expect(t.piece(8, 12, false, { v4: false, proto: PROTO_TCP })).toEqual(text(0, 12))
    expect(t.proto).toBe(PROTO_UDP)
  })
  test('after 60 s what is incomplete is given up, in the order of its beginning', () => {
    const t = new Bench()
    t.piece(0, 8, true, { id: 1 })
    t.now += 1000
    t.piece(0, 8, true, { id: 2 })
    t.now += 58_999
    t.expire()
    t.now += 1
    t.expire()
    expect(t.piece(8, 12, false, { id: 1 })).toBe(null)
    expect(t.piece(8, 12, false, { id: 2 })).toEqual(text(0, 12))
  })
})

describe('bounds', () => {
  /** Fragments that never make a datagram: all but the first. */
  const flood = (t: Bench, source: number, datagrams: number, fragments: number, bytes: number) => {
    let taken = 0
    for (let id = 0; id < datagrams; id++) {
      for (let i = 1; i <= fragments; i++) {
        const before = t.stats.drops.reassembly
        t.piece(i * bytes, (i + 1) * bytes, true, { source, id })
        if (t.stats.drops.reassembly === before) taken++
      }
    }
    return taken
  }
  test('one source gets a quarter: 1 MiB, charged with what tiny fragments cost besides', () => {
    const t = new Bench()
    expect(flood(t, 1, 40, 40, 1440) * 1440).toBeLessThanOrEqual(1 << 20)
    expect(flood(t, 2, 10, 1000, 8)).toBeLessThanOrEqual((1 << 20) / 256)
    t.piece(0, 8, true, { source: 3 })
    expect(t.piece(8, 12, false, { source: 3 }), 'others are not concerned').toEqual(text(0, 12))
  })
  test('one source gets a quarter of the datagrams; then it is refused, and nobody else put out', () => {
    const t = new Bench()
    t.piece(0, 8, true, { source: 9 })
    expect(flood(t, 1, 2000, 1, 8)).toBe(256)
    expect(t.piece(8, 12, false, { source: 9 })).toEqual(text(0, 12))
  })
  test('all of them together: 4 MiB also where datagrams grow later, 1,024 datagrams; the oldest leaves', () => {
    const t = new Bench()
    for (let source = 0; source < 60; source++) flood(t, source, 1, 1, 8)
    t.piece(0, 8, true, { source: 1000 }) // younger than those
    let held = 0
    // Every one of them grows to 58 KiB.
    for (let source = 0; source < 100; source++) held += flood(t, source, 1, 40, 1440) * 1440
    expect(held).toBeGreaterThan(4 << 20)
    expect((t.reassembly as unknown as { held: number }).held).toBeLessThanOrEqual(4 << 20)
    const many = new Bench()
    many.piece(0, 8, true, { source: 5000 })
    for (let source = 0; source < 1024; source++) flood(many, source, 1, 1, 8)
    expect(many.stats.drops.reassembly).toBe(1)
    expect(many.piece(8, 12, false, { source: 5000 })).toBe(null)
  })
  test('who is told of a timeout is told the first fragment, headers and all; not without one, of an overlap, for want of room', () => {
    const t = new Bench()
    t.piece(0, 1400, true, { id: 1 })
    t.piece(8, 16, true, { id: 2 })
    t.piece(0, 16, true, { id: 3 })
    t.piece(8, 24, true, { id: 3 })
    t.now += 60_000
    t.expire()
    expect(t.told).toEqual([Uint8Array.from([...new Array(20).fill(0xee), ...text(0, 1280)])])
    for (let i = 0; i < 1300; i++) t.piece(0, 8, true, { id: i, source: i })
    expect(t.told).toHaveLength(1)
  })
  test('what is given up gives everything back', () => {
    const t = new Bench()
    for (let source = 0; source < 30; source++) flood(t, source, 5, 20, 96)
    t.piece(8, 16, true, { source: 3, id: 1 })
    t.piece(0, 24, true, { source: 3, id: 1 }) // poisoned
    t.now += 60_000
    t.expire()
    const { held, sources } = t.reassembly as unknown as { held: number; sources: { size: number } }
    expect([held, sources.size, t.reassembly.nextExpiry]).toEqual([0, 0, Infinity])
  })
})

test('interleaved datagrams, cut anyhow, shuffled, repeated: each comes out once and whole, as a model that marks bytes says', () => {
  for (let seed = 1; seed <= 60; seed++) {
    const prng = new Prng(seed)
    const t = new Bench()
    const pieces: (Piece & { total: number; datagram: number })[] = []
    const marks: Uint8Array[] = []
    for (let datagram = 0; datagram < 8; datagram++) {
      const total = 9 + prng.below(6000)
      marks.push(new Uint8Array(total))
      for (let at = 0; at < total; ) {
        const to = Math.min(total, at + 8 * (1 + prng.below(180)))
        const v4 = datagram % 2 === 0
        const piece = { v4, source: datagram >> 2, id: datagram, offset: at, more: to < total, bytes: text(at, to), total, datagram }
        pieces.push(piece)
        at = to
      }
    }
    for (let i = pieces.length - 1; i > 0; i--) {
      const j = prng.below(i + 1)
      ;[pieces[i], pieces[j]] = [pieces[j], pieces[i]]
    }
    for (const piece of pieces) {
      const mark = marks[piece.datagram]
      mark.fill(1, piece.offset, piece.offset + piece.bytes.length)
      const whole = mark.every(byte => byte === 1)
      const got = t.take(piece)
      if (got === null || !whole) expect(got === null, `seed ${seed}`).toBe(!whole)
      else expect(Buffer.compare(got, text(0, piece.total)), `seed ${seed}`).toBe(0)
      if (!whole && prng.chance(0.2)) expect(t.take(piece), `seed ${seed}`).toBe(null)
    }
    expect([t.reassembly.nextExpiry, t.stats.drops.reassembly]).toEqual([Infinity, 0])
  }
})
