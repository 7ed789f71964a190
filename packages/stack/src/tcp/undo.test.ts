// Losses that were none, and the window given back. RFC 3522 (Eifel), RFC 4015, RFC 5682 (F-RTO).

import { describe, expect, test } from 'vitest'
import { Script } from '../testing/script.js'
import { flight, PEER, RTT, sent } from './flight.test-kit.js'
import { LOSS, OPEN, RECOVERY } from './states.js'

describe('taken back: what was no loss leaves the window as it was', () => {
  const window = (t: Script) => [t.connection.congestion.cwnd, t.connection.congestion.ssthresh]

  test('Eifel (RFC 3522): the ACK answers what was sent before anything went again', () => {
    const peer = `${PEER},TS val 1 ecr 0`
    const t = flight({ peer })
    const before = window(t)
    t.recv('A 1001:1001 ack 1 <TS val 210 ecr 100,sack 1001:5001>')
    expect(t.connection.phase).toBe(RECOVERY)
    t.drainSent()
    t.advance(20)
    t.recv('A 1001:1001 ack 5001 <TS val 215 ecr 100>')
    expect(t.connection.phase).toBe(OPEN)
    expect(window(t)).toEqual(before)
    expect(t.stack.stats.tcpUndos).toBe(1)
  })
  test('DSACK (RFC 2883, RFC 4015): all that went again arrived twice', () => {
    const t = flight()
    const before = window(t)
    t.recv('A 1001:1001 ack 1 <sack 1001:5001>')
    t.drainSent()
    t.advance(20)
    t.recv('A 1001:1001 ack 10001')
    expect(t.connection.phase).toBe(OPEN)
    expect(window(t)[1]).toBeLessThan(before[1])
    t.recv('A 1001:1001 ack 10001 <sack 1:1001>')
    expect(window(t)[1]).toBe(before[1])
    expect(t.connection.congestion.cwnd).toBeGreaterThanOrEqual(before[0])
  })
  test('F-RTO (RFC 5682): behind a timeout what was never sent again arrives', () => {
    const t = flight({ peer: 'mss 1000,sackOK', segments: 10 })
    const before = window(t)
    t.advance(450)
    expect(t.connection.phase).toBe(LOSS)
    t.drainSent()
    t.recv('A 1001:1001 ack 3001')
    expect(t.connection.phase).toBe(OPEN)
    expect(window(t)).toEqual(before)
    expect(t.stack.stats.tcpSpuriousTimeouts).toBe(1)
  })
  test('F-RTO: the first ACK covers the one that went again only: new text goes, and its echo decides', () => {
    const t = flight()
    t.write(20_000)
    t.advance(900)
    t.drainSent()
    expect(t.connection.phase).toBe(LOSS)
    const to = (t.connection.sndNxt - t.connection.iss) | 0
    t.recv('A 1001:1001 ack 1001')
    expect(sent(t)[0]).toBe(`A ${to}:${to + 1000}`)
    t.recv(`A 1001:1001 ack 1001 <sack ${to}:${to + 1000}>`)
    expect(t.connection.phase).toBe(LOSS) // it overtook: the rest is lost indeed
    expect(sent(t)[0]).toBe('A 1001:2001')
  })
  test('F-RTO without SACK: what waited for the copy proves nothing; what comes behind it does (RFC 5682 §2.1)', () => {
    const t = flight({ peer: 'mss 1000' })
    t.write(10_000)
    t.advance(900)
    t.drainSent()
    t.recv('A 1001:1001 ack 5001') // the first was lost, the others had arrived
    expect(t.connection.phase).toBe(LOSS)
    expect(sent(t)).toEqual(['A 10001:11001', 'A 11001:12001'])
    t.recv('A 1001:1001 ack 5001')
    expect(t.connection.phase).toBe(LOSS)
    expect(sent(t)[0]).toBe('A 5001:6001')
    const u = flight({ peer: 'mss 1000' })
    u.advance(900)
    u.drainSent()
    u.recv('A 1001:1001 ack 1001')
    u.recv('A 1001:1001 ack 2001')
    expect([u.connection.phase, u.stack.stats.tcpSpuriousTimeouts]).toEqual([LOSS, 0]) // nothing new could be sent, so nothing was proved
  })
  test('F-RTO (2b): the window lets no new text out, so the old goes at once, not at the next timeout', () => {
    const t = new Script({ stack: { congestion: 'newreno' } }).establish('mss 1000,sackOK', 10_000)
    t.write(20_000)
    t.advance(1000)
    expect(t.connection.phase).toBe(LOSS)
    t.drainSent()
    t.recv('A 1001:1001 ack 1001 win 9000')
    t.sent('A 1001:2001')
  })
  test('with undo off none of it is taken back', () => {
    const t = flight({ stack: { undo: false } })
    t.recv('A 1001:1001 ack 1 <sack 1001:5001>')
    t.recv('A 1001:1001 ack 10001')
    t.recv('A 1001:1001 ack 10001 <sack 1:1001>')
    expect([t.stack.stats.tcpUndos, t.connection.congestion.ssthresh]).toEqual([0, 5000])
  })
  test('a true loss stays one', () => {
    const t = flight({ peer: `${PEER},TS val 1 ecr 0` })
    t.recv('A 1001:1001 ack 1 <TS val 210 ecr 100,sack 1001:9001>')
    t.drainSent()
    t.advance(RTT)
    t.recv('A 1001:1001 ack 9001 <TS val 310 ecr 200>')
    expect([t.stack.stats.tcpUndos, t.connection.congestion.ssthresh]).toEqual([0, 9880 / 2])
  })
})
