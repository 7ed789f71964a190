import { describe, expect, test } from 'vitest'
import { Script } from '../testing/script.js'
import { OPEN } from './states.js'

const MSS = 1000

describe('fast retransmit of peers without SACK (RFC 5681 §3.2, RFC 6582)', () => {
  function flight(segments: number, congestion: 'cubic' | 'newreno' = 'newreno') {
    const t = new Script({ stack: { congestion } }).establish('mss 1000')
    t.write(segments * MSS)
    t.drainSent()
    return t
  }
  test('three duplicate ACKs: the first segment again at once (RFC 5681)', () => {
    const t = flight(8)
    t.recv('A 1001:1001 ack 1')
    t.recv('A 1001:1001 ack 1')
    t.sentNothing()
    t.recv('A 1001:1001 ack 1')
    t.sent('A 1:1001')
    expect(t.stack.stats.tcpFastRetransmits).toBe(1)
    t.recv('A 1001:1001 ack 8001')
    t.advance(1000)
    t.sentNothing()
  })
  test('a partial ACK: the next hole at once, no new duplicates needed (RFC 6582)', () => {
    const t = flight(8)
    for (let i = 0; i < 3; i++) t.recv('A 1001:1001 ack 1')
    t.sent('A 1:1001')
    t.recv('A 1001:1001 ack 3001')
    t.sent('A 3001:4001')
    t.recv('A 1001:1001 ack 5001')
    t.sent('A 5001:6001')
    t.recv('A 1001:1001 ack 8001')
    expect(t.connection.phase).toBe(OPEN)
    expect(t.stack.stats.tcpTimeouts).toBe(0)
  })
  test('the window is halved, not less than two segments', () => {
    const t = flight(8)
    for (let i = 0; i < 3; i++) t.recv('A 1001:1001 ack 1')
    expect(t.connection.congestion.ssthresh).toBe(4000)
  })
  test('CUBIC takes three tenths', () => {
    const t = flight(8, 'cubic')
    for (let i = 0; i < 3; i++) t.recv('A 1001:1001 ack 1')
    expect(t.connection.congestion.ssthresh).toBeCloseTo(5600)
  })
  test('limited transmit: the first two duplicates let new segments out (RFC 3042)', () => {
    const t = new Script().establish('mss 1000')
    t.write(20_000)
    expect(t.drainSent().length).toBe(10)
    t.recv('A 1001:1001 ack 1')
    t.sent('A 10001:11001')
    t.recv('A 1001:1001 ack 1')
    t.sent('A 11001:12001')
    t.sentNothing()
  })
  test('window updates, text, FIN and old ACKs are no duplicates', () => {
    const t = flight(8)
    for (let i = 0; i < 6; i++) t.recv(`A 1001:1001 ack 1 win ${60_000 + i}`)
    for (let i = 0; i < 6; i++) t.recv(`PA ${1001 + i}:${1002 + i} ack 1`)
    expect(t.connection.dupAcks).toBe(0)
  })
  test('duplicates of what went again after a timeout start no recovery (RFC 6582 §3.2)', () => {
    const t = flight(8)
    t.advance(200)
    t.drainSent()
    for (let i = 0; i < 5; i++) t.recv('A 1001:1001 ack 1')
    expect(t.stack.stats.tcpFastRetransmits).toBe(0)
  })
  test('it still works 3 GiB after the last loss: `recover` went along', () => {
    const t = flight(8)
    t.recv('A 1001:1001 ack 8001')
    const c = t.connection
    // As if 3 GiB had gone by: every number of ours, but `recover` as it was left, moved along in steps as ACKs would.
    const step = 1 << 30
    for (let i = 0; i < 3; i++) {
      c.sndUna = (c.sndUna + step) | 0
      c.sndNxt = c.sndUna
      c.scoreboard.begin(c.sndUna)
      c.sndWl2 = c.sndUna
      t.write(1000)
      t.outbox.length = 0
      const ack = (c.sndNxt - c.iss) | 0
      t.recv(`A 1001:1001 ack ${ack}`)
    }
    const base = (c.sndUna - c.iss) | 0
    t.write(8000)
    t.outbox.length = 0
    for (let i = 0; i < 3; i++) t.recv(`A 1001:1001 ack ${base}`)
    expect(t.stack.stats.tcpFastRetransmits).toBe(1)
  })
})
