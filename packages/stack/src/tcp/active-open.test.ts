// Connections that we open, and the initial sequence numbers of all. RFC 9293 §3.10.7.3, RFC 6528.

import { describe, expect, test } from 'vitest'
import { Script } from '../testing/script.js'

describe('active open', () => {
  test('SYN with all options; the SYN-ACK settles them', () => {
    const t = new Script()
    t.connect()
    t.sent('S 0:0 <mss 1460,sackOK,TS val 0 ecr 0,wscale 7>')
    t.recv('SA 1000:1000 ack 1 win 1000 <mss 1000>')
    t.sent('A 1:1 ack 1001 <>')
    expect(t.events).toEqual(['connected'])
    t.write(1000)
    t.sent('PA 1:1001 ack 1001 <>')
  })
  test('refused, and a reset with a wrong ACK or none ignored', () => {
    const t = new Script()
    t.connect()
    t.sent('S 0:0')
    t.recv('RA 0:0 ack 7')
    t.recv('R 0:0')
    expect(t.events).toEqual([])
    t.recv('RA 0:0 ack 1')
    expect(t.events).toEqual(['gone ECONNREFUSED'])
  })
  test('a SYN-ACK of something else is reset, ours goes on', () => {
    const t = new Script()
    t.connect()
    t.sent('S 0:0')
    t.recv('SA 1000:1000 ack 500')
    t.sent('R 500:500')
    t.recv('SA 1000:1000 ack 1')
    t.sent('A 1:1 ack 1001')
  })
  test('no answer: SYN again with back-off, ETIMEDOUT', () => {
    const t = new Script()
    t.connect()
    t.advance(120_000)
    expect(t.drainSent().length).toBe(6)
    expect(t.events).toEqual(['gone ETIMEDOUT'])
  })
  test('written and ended before it is connected', () => {
    const t = new Script()
    t.connect()
    t.sent('S 0:0')
    t.write(5)
    t.end()
    t.recv('SA 1000:1000 ack 1 <mss 1000>')
    t.sent('FPA 1:6 ack 1001')
    expect(t.state).toBe('FIN-WAIT-1')
  })
  test('data and FIN in the SYN-ACK are taken', () => {
    const t = new Script()
    t.connect()
    t.sent('S 0:0')
    t.recv('SFA 1000:1005 ack 1 <mss 1000>')
    t.sent('A 1:1 ack 1007')
    expect(t.readBytes).toBe(5)
    expect(t.state).toBe('CLOSE-WAIT')
  })
  test('simultaneous open: SYN crosses SYN, both answer SYN-ACK (RFC 9293 figure 8)', () => {
    const t = new Script()
    t.connect()
    t.sent('S 0:0')
    t.recv('S 1000:1000 win 1000 <mss 1000,wscale 2>')
    t.sent('SA 0:0 ack 1001 <mss 1460,wscale 7>')
    expect(t.state).toBe('SYN-RECEIVED')
    t.recv('SA 1000:1000 ack 1 win 1000')
    expect(t.state).toBe('ESTABLISHED')
    expect(t.connection.sndWnd).toBe(1000)
    t.recv('PA 1001:1011 ack 1 win 1000')
    expect(t.connection.sndWnd).toBe(4000)
    expect(t.readBytes).toBe(10)
  })
  test('simultaneous open: our SYN-ACK was lost, theirs comes again: it is challenged, which establishes them', () => {
    const t = new Script()
    t.connect()
    t.sent('S 0:0')
    t.recv('S 1000:1000 <mss 1000>')
    t.sent('SA 0:0 ack 1001')
    t.recv('SA 1000:1000 ack 1')
    t.recv('SA 1000:1000 ack 1')
    t.sent('A 1:1 ack 1001')
  })
  test('close before the answer: gone, and the peer is told', () => {
    const t = new Script()
    t.connect()
    t.sent('S 0:0')
    t.close()
    expect(t.events).toEqual(['gone'])
    expect(t.stack.tcp.flows.size).toBe(0)
  })
})

describe('RFC 6528: initial sequence numbers', () => {
  /** ISS of a connection from `port` after `ms`, of a stack with the secrets of `seed`. */
  function iss(ms: number, port: number, seed: number) {
    const t = new Script({ seed, start: 1000 + ms })
    t.recv('R 1:1') // a turn, so that the stack knows the time
    const words = (n: number): [number, number, number, number] => [0, 0, 0xffff, n]
    const c = t.stack.connect(words(1), 80, words(2), port)
    return c === null ? 0 : c.iss
  }
  test('those of a flow follow a clock of 4 µs, also where it wraps', () => {
    const first = iss(0, 1, 1)
    for (const ms of [1, 1000, 86_400_000, 3 * 365 * 86_400_000]) expect((iss(ms, 1, 1) - first) | 0).toBe(((ms * 250) % 4294967296) | 0)
  })
  test('other flows and other secrets have others', () => {
    const all = new Set<number>()
    for (let port = 1; port <= 50; port++) for (let seed = 1; seed <= 4; seed++) all.add(iss(0, port, seed))
    expect(all.size).toBe(200)
  })
})
