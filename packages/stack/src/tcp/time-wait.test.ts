import { describe, expect, test } from 'vitest'
import { KEY_WORDS } from '../memory/flow-table.js'
import { halfSipHash } from '../memory/keyed-hash.js'
import type { StackOptions } from '../options.js'
import { Prng } from '../testing/prng.js'
import { Script } from '../testing/script.js'
import { mayReuse, TimeWaitEntry, TimeWaitTable } from './time-wait.js'

const LIFE = 60_000

function key(table: TimeWaitTable, n: number) {
  table.key.set([0, 0, 0xffff, n, 0, 0, 0xffff, 7, (n << 16) | 80])
}

/** `expect` costs microseconds; a model test asks hundred thousand times. */
function must(ok: boolean, what: string): void {
  if (!ok) throw new Error(what)
}

test('random adds, deletes and expiries behave as a list in order of coming; full, the oldest leaves', () => {
  for (let seed = 1; seed <= 10; seed++) {
    const prng = new Prng(seed)
    const capacity = [1, 3, 64, 100, 500][seed % 5]
    const table = new TimeWaitTable(capacity, seed, seed)
    const entry = new TimeWaitEntry()
    // Given-up rows keep their place in the ring until their time: the model does as well.
    let ring: { n: number; seq: number; expires: number; dead: boolean }[] = []
    let now = 2 ** 31 - 1000
    const flows = capacity * 3
    for (let i = 0; i < 2500; i++) {
      const n = prng.below(flows)
      const known = ring.find(r => r.n === n && !r.dead)
      key(table, n)
      must(table.find(entry) === (known !== undefined), `seed ${seed} step ${i}: find`)
      if (known) must(entry.sndNxt === known.seq, `seed ${seed} step ${i}: another's row`)
      const dice = prng.below(10)
      if (dice < 6) {
        if (known) known.dead = true
        if (ring.length === capacity) ring.shift()
        entry.sndNxt = i
        entry.tsOk = prng.chance(0.5)
        table.add(entry, now + LIFE)
        ring.push({ n, seq: i, expires: now + LIFE, dead: false })
      } else if (dice < 8) {
        table.delete()
        if (known) known.dead = true
      } else {
        now += prng.below(prng.chance(0.02) ? 100_000 : 2000)
        table.expire(now)
        ring = ring.filter(r => r.expires > now)
      }
      must(table.size === ring.filter(r => !r.dead).length && table.size <= capacity, `seed ${seed} step ${i}: size`)
      must(table.nextExpiry === (ring.length > 0 ? ring[0].expires : Infinity), `seed ${seed} step ${i}: expiry`)
    }
  }
})

test('maxTimeWait 0: nothing is kept, and nothing hangs', () => {
  const table = new TimeWaitTable(0, 1, 2)
  table.add(new TimeWaitEntry(), 10)
  expect([table.size, table.find(new TimeWaitEntry()), table.nextExpiry]).toEqual([0, false, Infinity])
})

test('RFC 6191: what opens a flow in TIME-WAIT again', () => {
  const plain = Object.assign(new TimeWaitEntry(), { rcvNxt: 1000 })
  expect(mayReuse(plain, 1001, false, 0)).toBe(true)
  expect(mayReuse(plain, 1000, false, 0)).toBe(false)
  expect(mayReuse(plain, 900, true, 5)).toBe(false)
  const stamped = Object.assign(new TimeWaitEntry(), { rcvNxt: 1000, tsOk: true, tsRecent: -5 })
  expect(mayReuse(stamped, 1, true, 3)).toBe(true) // across the wrap
  expect(mayReuse(stamped, 5000, true, -6)).toBe(false)
  expect(mayReuse(stamped, 5000, true, -5)).toBe(true)
  expect(mayReuse(stamped, 500, true, -5)).toBe(false)
  expect(mayReuse(stamped, 5000, false, 0)).toBe(true)
})

test('at most 48 bytes an entry, index included, whatever the family', () => {
  const table = new TimeWaitTable(16_384, 1, 2)
  const entry = new TimeWaitEntry()
  for (let n = 0; n < 20_000; n++) {
    table.key.set([0x20010db8, n, n * 7, 1, 0x20010db8, 2, 3, 4, (n << 16) | 443])
    table.add(entry, LIFE + n)
  }
  expect(table.size).toBe(16_384)
  expect(table.bytes / table.size).toBeLessThanOrEqual(48)
  table.expire(LIFE + 20_000)
  expect([table.size, table.bytes]).toEqual([0, 0])
})

test('flows of the same 32-bit hash are told apart by the other one', () => {
  const table = new TimeWaitTable(64, 1, 2)
  const homes = new Map<number, number>()
  for (let n = 0; ; n++) {
    must(n < 1_000_000, 'no two of a million collide')
    key(table, n)
    const home = halfSipHash(table.key, 0, KEY_WORDS, 1, 2, 1, 3)
    const other = homes.get(home)
    homes.set(home, n)
    if (other === undefined) continue
    const entry = new TimeWaitEntry()
    table.add(entry, LIFE)
    key(table, other)
    expect(table.find(entry)).toBe(false)
    table.add(entry, LIFE)
    expect(table.size).toBe(2)
    break
  }
})

describe('a flow in TIME-WAIT', () => {
  function waiting(options = 'mss 1000', stack: StackOptions = {}) {
    const t = new Script({ stack }).establish(options)
    t.end()
    t.drainSent()
    t.recv('FA 1001:1001 ack 2')
    t.drainSent()
    return t
  }
  /** As if the old connection had sent so much. */
  function hasSent(t: Script, bytes: number): number {
    const entry = entryOf(t)
    entry.sndNxt = (entry.sndNxt + bytes) | 0
    t.stack.tcp.timeWait.add(entry, t.clock.now + LIFE)
    return entry.sndNxt
  }
  function entryOf(t: Script): TimeWaitEntry {
    const { tcp } = t.stack
    const { timeWait } = tcp
    const entry = new TimeWaitEntry()
    timeWait.key.set(tcp.keyOf(t.connection))
    expect(timeWait.find(entry)).toBe(true)
    return entry
  }
  test.each([0, 1_000_000, 0x3fffffff, 0x7ffff000])(
    'RFC 9293 §3.10.7.4, RFC 6191: opened again, ISS lies beyond the %i bytes that were sent',
    bytes => {
      const t = waiting()
      const sndNxt = hasSent(t, bytes)
      t.advance(1000)
      t.recv('S 5000:5000 <mss 1000>')
      t.sent('SA 0:0 ack 5001')
      expect((t.connection.iss - sndNxt) | 0).toBeGreaterThan(0)
      expect(t.stack.tcp.timeWait.size).toBe(0)
    },
  )
  test('the clock of RFC 6528 is ahead of a slow connection: then it counts', () => {
    const t = waiting()
    const { iss } = t.connection
    t.advance(10_000)
    t.recv('S 5000:5000 <mss 1000>')
    t.sent('SA 0:0 ack 5001')
    expect((t.connection.iss - iss) | 0).toBe(10_000 * 250)
  })
  test('opened again with timestamps, ours go on: none of the old connection’s is newer', () => {
    const t = waiting('mss 1000,TS val 100 ecr 0')
    const { tsOffset } = entryOf(t)
    t.advance(10)
    t.recv('S 500:500 <mss 1000,TS val 200 ecr 0>')
    t.drainSent()
    expect(t.connection.tsOffset).toBe(tsOffset)
  })
  test('a SYN that opens it again but finds no room is dropped, and is no cookie: it finds the same when it comes again', () => {
    const t = waiting('mss 1000', { maxPending: 1, synCookies: true })
    const { admission } = t.stack.tcp.handshake
    admission.pending++ // somebody else's
    t.recv('S 5000:5000 <mss 1000>')
    t.sentNothing()
    expect([t.stack.tcp.timeWait.size, t.stack.stats.drops.synOverflow, t.stack.stats.tcpCookiesSent]).toEqual([1, 1, 0])
    admission.pending--
    t.recv('S 5000:5000 <mss 1000>')
    t.sent('SA 0:0 ack 5001')
    expect(t.stack.tcp.timeWait.size).toBe(0)
  })
  test.each([
    ['SYN and FIN', 'SF 5000:5000'],
    ['a FIN elsewhere', 'FA 7000:7000 ack 2'],
    ['a FIN before the last text', 'FA 900:1000 ack 2'],
  ])('%s neither opens it nor makes it last: only the FIN itself does', (_, line) => {
    const t = waiting()
    t.advance(50_000)
    t.recv(line)
    t.sent('A 2:2 ack 1002')
    t.advance(9999)
    expect(t.stack.tcp.timeWait.size).toBe(1)
    t.advance(1)
    expect(t.stack.tcp.timeWait.size).toBe(0)
  })
  test('RFC 1337: no RST ends it, not even the exact one', () => {
    const t = waiting()
    for (const line of ['R 1002:1002', 'RA 1002:1002 ack 2', 'R 900:900']) t.recv(line)
    t.sentNothing()
    expect(t.stack.tcp.timeWait.size).toBe(1)
  })
  test('RFC 9293 §3.10.1: an active open of it is an error', () => {
    const t = waiting()
    expect(() => t.connect()).toThrow('in use')
    t.advance(60_000)
    t.connect()
    t.sent('S 0:0')
  })
})
