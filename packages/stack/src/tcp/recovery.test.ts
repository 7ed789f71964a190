// Losses and their repair: seen by what overtook them, by a probe, by the timer. RFC 8985, RFC 6937, RFC 5681.

import { describe, expect, test } from 'vitest'
import { flight, RTT, sent } from './flight.test-kit.js'
import { LOSS, OPEN, RECOVERY } from './states.js'

describe('RFC 8985 §6: losses are seen by what overtook them', () => {
  test('three segments held ahead of a gap, nothing ever reordered: it is lost at once', () => {
    const t = flight()
    t.recv('A 1001:1001 ack 1 <sack 1001:3001>')
    expect(t.connection.phase).toBe(OPEN)
    expect(sent(t)).toEqual([])
    t.recv('A 1001:1001 ack 1 <sack 1001:4001>')
    expect(t.connection.phase).toBe(RECOVERY)
    expect(sent(t)[0]).toBe('A 1:1001')
  })
  test('fewer: a quarter of the least round trip later', () => {
    const t = flight()
    t.recv('A 1001:1001 ack 1 <sack 1001:2001>')
    t.advance(RTT / 4 - 1)
    expect(sent(t)).toEqual([])
    t.advance(1)
    expect(sent(t)).toEqual(['A 1:1001'])
    expect(t.connection.phase).toBe(RECOVERY)
  })
  test('and if it comes before that, it was late, not lost', () => {
    const t = flight()
    t.recv('A 1001:1001 ack 1 <sack 1001:2001>')
    t.advance(10)
    t.recv('A 1001:1001 ack 2001')
    expect(t.connection.rack.reorderingSeen).toBe(true)
    t.advance(60)
    expect(sent(t)).toEqual([])
    expect(t.connection.congestion.ssthresh).toBe(1 << 30)
  })
  test('once reordering was seen, three segments prove nothing: time does', () => {
    const t = flight()
    t.recv('A 1001:1001 ack 1 <sack 1001:2001>')
    t.recv('A 1001:1001 ack 2001')
    t.drainSent()
    t.recv('A 1001:1001 ack 2001 <sack 3001:8001>')
    expect(t.connection.phase).toBe(OPEN)
    t.advance(RTT / 4)
    expect(sent(t)).toContain('A 2001:3001')
  })
  test('every gap at once, in their order, and nothing the peer holds', () => {
    const t = flight()
    t.recv('A 1001:1001 ack 1 <sack 1001:2001,sack 3001:4001,sack 5001:10001>'.replaceAll(',sack', ''))
    t.advance(RTT)
    t.recv('A 1001:1001 ack 1001 <sack 1001:2001 3001:4001 5001:10001>')
    t.advance(RTT)
    expect(sent(t).filter(line => !line.includes('10001'))).toEqual(['A 1:1001', 'A 2001:3001', 'A 4001:5001'])
  })
  test('the newest block comes first (RFC 2018 §4): that is no reordering', () => {
    const t = flight()
    t.recv('A 1001:1001 ack 1 <sack 3001:10001 1001:2001>')
    expect(t.connection.rack.reorderingSeen).toBe(false)
    expect(sent(t)).toEqual(['A 1:1001', 'A 2001:3001'])
  })
  test('what was sent again and overtaken again is lost again', () => {
    const t = flight()
    t.recv('A 1001:1001 ack 1 <sack 1001:5001>')
    expect(sent(t)).toContain('A 1:1001')
    t.write(3000)
    t.advance(RTT)
    t.recv('A 1001:1001 ack 1 <sack 1001:10001>')
    t.drainSent()
    t.advance(RTT)
    t.recv('A 1001:1001 ack 1 <sack 1001:13001>') // text sent behind the second copy is here
    t.advance(RTT / 2)
    expect(sent(t)).toContain('A 1:1001')
    expect(t.stack.stats.tcpTimeouts).toBe(0)
  })
  test('a block of data never sent, an empty and an inverted one say nothing', () => {
    const t = flight()
    t.recv('A 1001:1001 ack 1 <sack 10001:20001>')
    t.recv('A 1001:1001 ack 1 <sack 5001:5001>')
    t.recv('A 1001:1001 ack 1 <sack 9001:4001>')
    expect(t.connection.scoreboard.sacked).toBe(0)
  })
})

describe('RFC 6937: the window comes down in proportion to what arrives', () => {
  test('never more than was delivered is sent, and half of the flight is out at the end', () => {
    const t = flight({ segments: 10 })
    t.write(40_000)
    let out = 0
    for (let i = 2; i <= 10; i++) {
      t.recv(`A 1001:1001 ack 1 <sack 1001:${i * 1000 + 1}>`)
      out += sent(t).length
      if (t.connection.phase === RECOVERY) expect(out).toBeLessThanOrEqual(i)
    }
    expect(t.connection.congestion.ssthresh).toBeLessThanOrEqual(6000)
    t.advance(RTT)
    t.recv(`A 1001:1001 ack ${(t.connection.sndNxt - t.connection.iss) | 0}`)
    expect(t.connection.phase).toBe(OPEN)
    expect(t.connection.congestion.cwnd).toBe(t.connection.congestion.ssthresh)
  })
  test('a segment for every two delivered, from the first on: not a pause until half is out', () => {
    const t = flight({ segments: 1 })
    t.recv('A 1001:1001 ack 1001')
    t.connection.congestion.cwnd = 40_000
    t.write(60_000)
    expect(t.drainSent().length).toBe(40)
    t.advance(RTT)
    t.recv('A 1001:1001 ack 1001 <sack 2001:5001>') // recovery
    t.drainSent()
    for (let held = 7; held <= 25; held += 2) {
      t.recv(`A 1001:1001 ack 1001 <sack 2001:${held * 1000 + 1}>`)
      expect(sent(t).length, `${held} held`).toBe(1)
    }
  })
})

describe('RFC 8985 §7: the tail loss probe', () => {
  test('two round trips of silence and the peer’s delayed ACK later the last segment goes again, with no loss assumed', () => {
    const t = flight()
    t.advance(RTT + 49)
    expect(sent(t)).toEqual([])
    t.advance(1)
    expect(sent(t)).toEqual(['PA 9001:10001'])
    expect([t.connection.phase, t.stack.stats.tcpLossProbes, t.stack.stats.tcpTimeouts]).toEqual([OPEN, 1, 0])
  })
  test('what it brings to light is repaired without a timeout', () => {
    const t = flight()
    t.advance(RTT + 50)
    t.drainSent()
    t.advance(RTT)
    t.recv('A 1001:1001 ack 7001 <sack 9001:10001>')
    t.advance(RTT / 4)
    expect(sent(t)).toEqual(['A 7001:8001', 'A 8001:9001'])
    expect(t.stack.stats.tcpTimeouts).toBe(0)
  })
  test('text that waits for the window goes instead, one segment beyond the congestion window', () => {
    const t = flight({ segments: 20 })
    t.advance(RTT + 50)
    expect(sent(t)).toEqual(['A 10001:11001'])
  })
  test('a DSACK tells that it was needless; a window is reduced for it only if it filled the hole itself', () => {
    const t = flight()
    t.advance(RTT + 50)
    t.drainSent()
    t.recv('A 1001:1001 ack 10001 <sack 9001:10001>')
    expect(t.connection.congestion.ssthresh).toBe(1 << 30)
    const u = flight({ segments: 8 })
    u.advance(RTT + 50)
    u.write(1000)
    u.drainSent()
    u.recv('A 1001:1001 ack 9001')
    expect(u.connection.congestion.ssthresh).toBe(9000 / 2)
  })
  test('one probe a flight, then the timer', () => {
    const t = flight()
    t.advance(2000)
    expect([t.stack.stats.tcpLossProbes, t.stack.stats.tcpTimeouts > 0]).toEqual([1, true])
  })
  test('a peer without SACK gets none', () => {
    const t = flight({ peer: 'mss 1000' })
    t.advance(RTT + 60)
    expect(t.stack.stats.tcpLossProbes).toBe(0)
  })
})

describe('the timer', () => {
  test('RFC 8985 §6.3: it takes the first for lost, and what is out as long; what left a moment ago is not', () => {
    const t = flight({ segments: 5 })
    const c = t.connection
    t.recv('A 1001:1001 ack 1 <sack 4001:5001>') // no probe beside that; the gap's own time is not over
    t.write(1000)
    t.drainSent()
    c.rexmitAt = t.clock.now
    c.wake(t.clock.now)
    expect([c.phase, c.scoreboard.lost, c.scoreboard.sacked]).toEqual([LOSS, 4000, 1000]) // of 6000
  })
  test('RFC 5681 (4): one loss lowers ssthresh once, however often its timer fires', () => {
    const t = flight()
    t.advance(700)
    const { ssthresh } = t.connection.congestion
    t.advance(10_000)
    expect(t.stack.stats.tcpTimeouts).toBeGreaterThan(2)
    expect(t.connection.congestion.ssthresh).toBe(ssthresh)
  })
})

describe('RFC 5681 §3.2 (2), RFC 6675 §5 (4.2): what limited transmit sent does not count in ssthresh', () => {
  test.each([
    ['with SACK', 'mss 1000,sackOK', (i: number) => ` <sack 1001:${i}001>`],
    ['without', 'mss 1000', () => ''],
  ])('%s', (_, peer, sack) => {
    const t = flight({ segments: 20, peer })
    for (let i = 2; i <= 4; i++) t.recv(`A 1001:1001 ack 1${sack(i)}`)
    expect(t.drainSent().length).toBe(3) // two new ones, and the first again
    expect(t.connection.congestion.ssthresh).toBe(5000)
  })
})
