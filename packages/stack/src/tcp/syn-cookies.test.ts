import { expect, test } from 'vitest'
import { Prng } from '../testing/prng.js'
import { Remembered, readStamp, SynCookies, stampOptions } from './syn-cookies.js'

const key = (n: number) => Int32Array.of(0, 0, 0xffff, n, 0, 0, 0xffff, 7, (n << 16) | 80)
const cookies = () => {
  const prng = new Prng(1)
  return new SynCookies(() => prng.random32() | 0)
}

test('RFC 4987 §3.6: a cookie stands for its flow, the SYN’s number and the largest MSS of the table that the peer takes', () => {
  const jar = cookies()
  const prng = new Prng(2)
  for (const start of [0, 2 ** 31 - 5000, 2 ** 32 - 5000, 3 * 365 * 86_400_000]) {
    for (let i = 0; i < 500; i++) {
      const now = start + prng.below(10_000_000)
      const irs = prng.random32() | 0
      const mss = 48 + prng.below(9000)
      const iss = jar.make(key(i), irs, mss, 1460, now)
      const kept = jar.check(key(i), irs, iss, 1460, now + prng.below(60_001))
      expect(kept).toBe([48, 536, 1220, 1300, 1400, 1440, 1460].filter(known => known <= mss).at(-1))
    }
  }
  // What takes all we send is sent all: jumbo frames.
  expect(jar.check(key(1), 5, jar.make(key(1), 5, 8960, 8960, 0), 8960, 0)).toBe(8960)
  expect(jar.check(key(1), 5, jar.make(key(1), 5, 8959, 8960, 0), 8960, 0)).toBe(1460)
})

test('it is good for one to two minutes, and there are none to expect later', () => {
  const jar = cookies()
  expect(jar.expected(0)).toBe(false)
  for (let at = 0; at < 120_000; at += 7000) {
    const iss = jar.make(key(3), 9, 1460, 1460, at)
    expect(jar.check(key(3), 9, iss, 1460, at + 60_000)).toBe(1460)
    expect(jar.check(key(3), 9, iss, 1460, at + 120_000)).toBe(0)
    expect(jar.check(key(3), 9, iss, 1460, at - 60_000)).toBe(0) // not made yet
    expect([jar.expected(at + 119_999), jar.expected(at + 120_000)]).toEqual([true, false])
  }
})

test('no other flow’s, number’s or secret’s cookie is taken, and no guess', () => {
  const jar = cookies()
  const iss = jar.make(key(3), 9, 1460, 1460, 0)
  const prng = new Prng(4)
  let taken = 0
  for (let i = 0; i < 20_000; i++) if (jar.check(key(3), 9, prng.random32() | 0, 1460, 0) > 0) taken++
  for (let bit = 0; bit < 32; bit++) {
    if (jar.check(key(3), 9 ^ (1 << bit), iss, 1460, 0) > 0) taken++
    for (let word = 0; word < 9; word++) {
      const other = key(3)
      other[word] ^= 1 << bit
      if (jar.check(other, 9, iss, 1460, 0) > 0) taken++
    }
  }
  for (let mss = 48; mss <= 1460; mss += 353) {
    const near = jar.make(key(3), 9, mss, 1460, 0)
    for (let off = -20; off <= 20; off++) {
      if (off === 0) continue
      if (jar.check(key(3), 9 + off, near, 1460, 0) > 0 || jar.check(key(3), 9, near + off, 1460, 0) > 0) taken++
      if (jar.check(key(3), 9 + off, near + off, 1460, 0) > 0) taken++ // the same distance from both
      if (jar.check(key(3), 9, near + off * 2 ** 21, 1460, 0) > 0) taken++ // another MSS, another minute
    }
  }
  const stranger = new SynCookies(() => prng.random32() | 0)
  if (stranger.check(key(3), 9, iss, 1460, 0) > 0) taken++
  expect(taken).toBe(0)
})

test('RFC 9293 §3.4.1: it grows with the peer’s numbers and with the minutes', () => {
  const jar = cookies()
  const first = jar.make(key(3), 1000, 1460, 1460, 0)
  expect(Math.abs(((jar.make(key(3), 50_000_000, 1460, 1460, 0) - first) | 0) - 50_000_000)).toBeLessThan(1 << 21)
  const later = (jar.make(key(3), 1000, 1460, 1460, 60_000) - first) | 0
  expect(later).toBeGreaterThan(0)
  expect(later).toBeLessThan(2 << 24)
})

test('the low bits of TSval hold window scale and SACK, and it is never ahead of the clock, nor 32 ms behind', () => {
  const out = new Remembered()
  const prng = new Prng(5)
  for (const base of [0, 2 ** 31 - 40, -40, 123_456]) {
    for (let shift = -1; shift <= 14; shift++) {
      for (const sack of [false, true]) {
        const now = (base + prng.below(80)) | 0
        const stamped = stampOptions(now, shift, sack)
        expect((now - stamped) | 0).toBeGreaterThanOrEqual(0)
        expect((now - stamped) | 0).toBeLessThan(32)
        readStamp(stamped, out)
        expect([out.wndShift, out.sackPermitted]).toEqual([shift, sack])
      }
    }
  }
})
