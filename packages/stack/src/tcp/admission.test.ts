import { expect, test } from 'vitest'
import { DEFAULTS } from '../options.js'
import { Admission } from './admission.js'

/** A SYN beyond the bounds every millisecond, for `ms`; `sent` gets the cookies, which count up. True: the last one was answered. */
function overflow(admission: Admission, ms: number, sent: number[], from = 0): boolean {
  let answered = false
  for (let now = from; now < from + ms; now++) {
    answered = admission.overflows(now, true)
    if (!answered) continue
    const cookie = (0x7fffffff + sent.length) | 0
    sent.push(cookie)
    admission.cookieSent(cookie)
  }
  return answered
}

const begin = () => {
  const admission = new Admission({ ...DEFAULTS, synCookies: 'auto' }, () => 1)
  const sent: number[] = []
  overflow(admission, 2000, sent)
  expect(sent).toHaveLength(16)
  return { admission, sent }
}

test('an answer that comes again is one answer: who has seen one cannot make a flood look like a crowd', () => {
  const { admission, sent } = begin()
  for (let i = 0; i < 100; i++) admission.cookieAnswered(sent[3])
  expect(overflow(admission, 2000, sent, 2000)).toBe(true) // cookies for all
})

test('four that answer are a crowd; a cookie that was sent twice counts for both', () => {
  const four = begin()
  for (const i of [0, 5, 9, 15]) four.admission.cookieAnswered(four.sent[i])
  expect(overflow(four.admission, 2000, four.sent, 2000)).toBe(false)
  const admission = new Admission({ ...DEFAULTS, synCookies: 'auto' }, () => 1)
  for (let now = 0, sent = 0; now < 2000; now++) if (admission.overflows(now, true)) admission.cookieSent(Math.trunc(sent++ / 2))
  for (const cookie of [0, 3]) admission.cookieAnswered(cookie)
  expect(overflow(admission, 2000, [], 2000)).toBe(false)
})

test('what answers an earlier round says nothing of this one', () => {
  const { admission, sent } = begin()
  for (let i = 0; i < 4; i++) admission.cookieAnswered(sent[i])
  overflow(admission, 10_000, sent, 2000) // a second round begins
  expect(sent.length).toBe(32)
  for (let i = 4; i < 16; i++) admission.cookieAnswered(sent[i])
  expect(overflow(admission, 3000, sent, 12_000)).toBe(true)
})
