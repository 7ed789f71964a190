import { expect, test } from 'vitest'
import { RttEstimator } from './rtt.js'

test('RFC 6298 (2.1): a second until something was measured', () => {
  expect(new RttEstimator().rto).toBe(1000)
})
test('RFC 6298 (2.2): the first sample: SRTT = R, RTTVAR = R/2, RTO = 3 R', () => {
  const r = new RttEstimator()
  r.sample(300)
  expect([r.srtt, r.rttvar, r.rto]).toEqual([300, 150, 900])
})
test('RFC 6298 (2.3): RTTVAR first, with the old SRTT; an eighth and a quarter', () => {
  const r = new RttEstimator()
  r.sample(300)
  r.sample(500)
  expect([r.srtt, r.rttvar]).toEqual([325, 150 + 50 / 4])
  expect(r.rto).toBe(325 + 4 * 162.5)
})
test('RFC 6298 (2.4): 200 ms above SRTT at least (deviation: Linux tcp_rto_min, of the variance and not of the whole)', () => {
  const r = new RttEstimator()
  r.sample(1)
  expect(r.rto).toBe(201)
  for (let i = 0; i < 200; i++) r.sample(5000)
  expect(r.rto).toBeGreaterThanOrEqual(5100)
})
test('RFC 7323 appendix G: one of several samples in a round trip counts by as much less', () => {
  const r = new RttEstimator()
  r.sample(300)
  r.sample(500, 10)
  expect([r.srtt, r.rttvar]).toEqual([300 + 200 / 80, 150 + 50 / 40])
})
test('RFC 6298 (2.5), (5.5): doubled by every timeout, 60 s at most', () => {
  const r = new RttEstimator()
  r.sample(100)
  r.backOff()
  expect(r.rto).toBe(600)
  for (let i = 0; i < 20; i++) r.backOff()
  expect(r.rto).toBe(60_000)
  r.sample(1e9)
  expect(r.rto).toBe(60_000)
})
test('the back-off is over with the next acknowledgment of new data, sample or not', () => {
  const r = new RttEstimator()
  r.backOff()
  r.settle()
  expect(r.rto).toBe(1000)
  r.sample(100)
  r.backOff()
  r.settle()
  expect(r.rto).toBe(300)
})
test('RFC 6298 (5.7): a SYN that was lost and measured nothing: 3 s; measured: what was', () => {
  const r = new RttEstimator()
  r.fallBack()
  expect(r.rto).toBe(3000)
  r.sample(100)
  r.fallBack()
  expect(r.rto).toBe(300)
})
