// What arrives twice: what its DSACK teaches us, and what we tell of it. RFC 2883, RFC 8985 §6.2.

import { describe, expect, test } from 'vitest'
import { Script } from '../testing/script.js'
import type { TcpConnection } from './connection.js'
import { flight, PEER, RTT } from './flight.test-kit.js'
import { Rack } from './rack.js'

describe('RFC 8985 §6.2 step 4: what duplicates teach', () => {
  test('the DSACK of a needless tail loss probe: nothing', () => {
    const t = flight()
    t.advance(RTT + 50)
    t.recv('A 1001:1001 ack 10001 <sack 9001:10001>')
    expect([t.stack.stats.tcpDsacks, t.connection.rack.reoWnd(t.connection)]).toEqual([1, RTT / 4])
  })
  test('a DSACK widens the window by a quarter of the least round trip; 16 recoveries later it is narrow again', () => {
    const t = flight()
    const { rack } = t.connection
    t.recv('A 1001:1001 ack 1 <sack 1001:5001>')
    t.recv('A 1001:1001 ack 10001')
    t.recv('A 1001:1001 ack 10001 <sack 1:1001>')
    expect(rack.reoWnd(t.connection)).toBe((2 * RTT) / 4)
    for (let i = 0; i < 15; i++) rack.recovered()
    expect(rack.reoWnd(t.connection)).toBe((2 * RTT) / 4)
    rack.recovered()
    expect(rack.reoWnd(t.connection)).toBe(RTT / 4)
  })
  test('one DSACK a round trip counts', () => {
    const t = flight()
    t.recv('A 1001:1001 ack 1 <sack 1001:5001>')
    t.drainSent()
    t.recv('A 1001:1001 ack 5001 <sack 1:1001>')
    t.recv('A 1001:1001 ack 5001 <sack 1:1001>')
    t.recv('A 1001:1001 ack 5001 <sack 1:1001>')
    expect(t.connection.rack.reoWnd(t.connection)).toBe((2 * RTT) / 4)
  })
})

test('RFC 8985 §6.2 step 4: one DSACK a round trip widens the window, also 3 GiB after the last', () => {
  const t = flight()
  const rack = new Rack()
  rack.minRtt = 4
  rack.reorderingSeen = true
  const after = (sndUna: number, sndNxt: number) => {
    const c = { sndUna, sndNxt, rtt: t.connection.rtt } as TcpConnection
    rack.duplicated(c)
    return rack.reoWnd(c)
  }
  expect([after(0, 1000), after(999, 1500), after(1000, 2000)]).toEqual([2, 2, 3])
  expect(after((3 * 2 ** 30) | 0, (3 * 2 ** 30 + 1000) | 0)).toBe(4)
})

describe('RFC 2883: what arrives twice is told', () => {
  test('below RCV.NXT: the duplicate is the first block', () => {
    const t = new Script().establish(PEER)
    t.recv('PA 1001:2001 ack 1')
    t.advance(40)
    t.drainSent()
    t.recv('PA 1001:2001 ack 1')
    t.sent('A 1:1 ack 2001 <sack 1001:2001>')
    t.recv('PA 2001:2101 ack 1')
    t.advance(40)
    t.sent('A 1:1 ack 2101 <>') // once
  })
  test('partly: the part that is', () => {
    const t = new Script().establish(PEER)
    t.recv('PA 1001:2001 ack 1')
    t.advance(40)
    t.drainSent()
    t.recv('PA 1501:2501 ack 1')
    t.sent('A 1:1 ack 2501 <sack 1501:2001>')
  })
  test('ahead of a gap: the duplicate, then the block it lies in', () => {
    const t = new Script().establish(PEER)
    t.recv('PA 3001:5001 ack 1')
    t.drainSent()
    t.recv('PA 3001:4001 ack 1')
    t.sent('A 1:1 ack 1001 <sack 3001:4001 3001:5001>')
  })
  test('§4 (1): at once, in a segment of its own where text goes out as well', () => {
    const t = new Script().establish(PEER, 1000)
    t.recv('PA 1001:2001 ack 1')
    t.write(2000)
    t.drainSent()
    t.recv('PA 1001:2001 ack 1001')
    t.sent('A 1001:1001 ack 2001 <sack 1001:2001>')
    t.sent('PA 1001:2001 ack 2001')
  })
  test('what overlaps text held ahead of a gap, and what fills the gap and more', () => {
    const t = new Script().establish(PEER)
    t.recv('PA 1101:1201 ack 1')
    t.drainSent()
    t.recv('PA 1151:1301 ack 1')
    t.sent('A 1:1 ack 1001 <sack 1151:1201 1101:1301>')
    t.recv('PA 1001:1401 ack 1')
    t.sent('A 1:1 ack 1401 <sack 1101:1301>')
  })
  test('RFC 2018 §3: a FIN ahead of a gap is the last number of its block, or a block of its own', () => {
    const t = new Script().establish(PEER)
    t.recv('FPA 1011:1021 ack 1')
    t.sent('A 1:1 ack 1001 <sack 1011:1022>')
    const u = new Script().establish(PEER)
    u.recv('FA 1021:1021 ack 1')
    u.sent('A 1:1 ack 1001 <sack 1021:1022>')
  })
  test('a peer without SACK is told nothing', () => {
    const t = new Script().establish('mss 1000')
    t.recv('PA 1001:2001 ack 1')
    t.recv('PA 1001:2001 ack 1')
    t.sent('A 1:1 ack 2001 <>')
  })
})
