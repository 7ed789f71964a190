import { expect, test } from 'vitest'
import { Prng } from '../testing/prng.js'
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
