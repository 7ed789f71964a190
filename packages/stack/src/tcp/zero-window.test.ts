import { describe, expect, test } from 'vitest'
import { Script } from '../testing/script.js'

describe('zero window (RFC 9293 §3.8.6)', () => {
  test('probes with back-off while it is closed, answered for ever; it goes on when it opens', () => {
    const t = new Script({ stack: { userTimeout: 5000 } }).establish('mss 1000', 0)
    t.write(3000)
    t.sentNothing()
    let gap = 200
    for (let i = 0; i < 12; i++) {
      t.advance(gap - 1)
      t.sentNothing()
      t.advance(1)
      t.sent('A 0:0 ack 1001') // one below SND.UNA: must be answered
      t.recv('A 1001:1001 ack 1 win 0')
      t.sentNothing()
      gap = Math.min(2 * gap, 60_000)
    }
    expect(t.events).not.toContain('gone ETIMEDOUT')
    t.recv('A 1001:1001 ack 1 win 65535')
    t.sent('A 1:1001')
    t.sent('A 1001:2001')
    t.sent('PA 2001:3001')
  })
  test('probes nobody answers end in ETIMEDOUT', () => {
    const t = new Script({ stack: { userTimeout: 5000 } }).establish('mss 1000', 0)
    t.write(3000)
    t.advance(60_000)
    expect(t.events).toContain('gone ETIMEDOUT')
  })
  test('a lone FIN waits for the window too, and probes', () => {
    const t = new Script().establish('mss 1000', 0)
    t.end()
    t.sentNothing()
    t.advance(200)
    t.sent('A 0:0')
    t.recv('A 1001:1001 ack 1 win 10')
    t.sent('FA 1:1')
  })
  test('closed while text is out and lost: RTO, probes, and all of it again when it opens', () => {
    const t = new Script().establish('mss 1000', 3000)
    t.write(3000)
    expect(t.drainSent().length).toBe(3)
    t.recv('A 1001:1001 ack 1 win 0') // shrunk (RFC 9293 §3.8.6: be prepared)
    t.advance(200)
    t.sent('A 1:1001') // as Linux: the first segment asks
    t.sentNothing()
    t.advance(400)
    for (const line of t.drainSent()) expect(line).toMatch(/^A 1:1001/)
    for (let i = 0; i < 5; i++) t.recv('A 1001:1001 ack 1 win 0') // answers, no duplicate ACKs
    expect(t.stack.stats.tcpFastRetransmits).toBe(0)
    t.sentNothing()
    t.recv('A 1001:1001 ack 1 win 3000')
    t.sent('A 1:1001')
  })
  test('a window shut over what is out never ends a connection whose peer answers', () => {
    const t = new Script().establish('mss 1000', 3000)
    t.write(3000)
    t.recv('A 1001:1001 ack 1 win 0')
    for (let i = 0; i < 40; i++) {
      t.advance(10_000)
      t.recv('A 1001:1001 ack 1 win 0')
    }
    expect(t.events).not.toContain('gone ETIMEDOUT')
  })
  test('a pure ACK stays inside a window that shrunk', () => {
    const t = new Script().establish('mss 1000', 3000)
    t.write(3000)
    t.drainSent()
    t.recv('A 1001:1001 ack 1001 win 100')
    t.recv('PA 1001:1011 ack 1001 win 100')
    t.advance(40)
    t.sent('A 1101:1101 ack 1011')
  })
  test('the window is taken from the newest segment: an old ACK does not open it', () => {
    const t = new Script().establish('mss 1000', 2000)
    t.write(10_000)
    t.drainSent()
    t.recv('A 1001:1001 ack 2001 win 0')
    t.recv('A 1001:1001 ack 1001 win 60000') // reordered
    t.sentNothing()
    expect(t.connection.sndWnd).toBe(0)
  })
  test('an ACK that moves SND.UNA brings its window along, whatever its sequence number', () => {
    const t = new Script().establish('mss 1000', 2000)
    t.write(10_000)
    t.drainSent()
    t.recv('PA 1501:1601 ack 1001 win 1000') // ahead of a gap
    t.drainSent()
    t.recv('PA 1001:1501 ack 2001 win 0') // the gap's filling, later but lower
    expect(t.connection.sndWnd).toBe(0)
  })
})
