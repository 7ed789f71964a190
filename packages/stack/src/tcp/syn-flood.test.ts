// Bounds of connections before ESTABLISHED: when cookies answer beyond them, and how sources share them. RFC 4987 §3.

import { describe, expect, test } from 'vitest'
import type { StackOptions } from '../options.js'
import { Pair } from '../testing/pair.js'
import { Script } from '../testing/script.js'
import { syn } from './syn.test-kit.js'

const spoofed = (n: number) => `10.77.${(n >> 8) & 255}.${n & 255}`

const SYN = 'S 1000:1000 win 65535 <mss 1400>'

describe("synCookies: 'auto'", () => {
  const bound = 64
  /** What is sent to the addresses that the flood uses goes nowhere. */
  function pairOf(options: StackOptions = {}) {
    const pair = new Pair({ b: { maxPending: bound, ...options } })
    const { ondeliver } = pair.b.device
    pair.b.device.ondeliver = (packet, offload) => {
      if (packet[17] !== 77) ondeliver(packet, offload)
    }
    return pair
  }
  /** What finds out whether anybody is there: a round of them. */
  const SAMPLES = 16
  /** `each` SYNs of a flood in a millisecond, for `ms`. */
  function flood(pair: Pair, ms: number, each = 1, first = 0) {
    for (let i = 0; i < ms; i++) {
      for (let n = 0; n < each; n++) pair.b.device.inject(syn(spoofed(first + i * each + n), 1024 + (n & 255)))
      pair.clock.advance(1)
    }
  }
  /** One SYN a millisecond, of `distinct` connections: each is repeated as often. */
  function repeating(pair: Pair, ms: number, distinct: number) {
    for (let i = 0; i < ms; i++) {
      pair.b.device.inject(syn(spoofed(i % distinct)))
      pair.clock.advance(1)
    }
  }
  test.each([
    ['5 times a second', 200],
    ['every 2 s, as clients do', 2000],
  ])(
    'a flood that repeats its SYNs %s, of an application whose dials hang: nobody answers the samples, so cookies, and clients connect',
    (_, distinct) => {
      const pair = pairOf()
      const { stack } = pair.b
      pair.b.onrequest = ({ connection }) => {
        if (connection.r3 >>> 16 !== 0x0a4d) connection.accept() // 10.77: the flood's
      }
      repeating(pair, 3200, distinct)
      const before = stack.stats.tcpCookiesSent
      expect(before).toBeGreaterThan(SAMPLES)
      const client = pair.connect()
      client.write(new Uint8Array(5000))
      repeating(pair, 100, distinct)
      expect(client.connected).toBe(true)
      expect(pair.b.accepted.filter(s => s.connection.cookie).map(s => s.receivedBytes)).toEqual([5000])
    },
  )
  test('in the first second of an overflow nobody gets a cookie, and one round of samples is all until it is known', () => {
    const pair = pairOf()
    pair.b.onrequest = () => {}
    repeating(pair, 1000, 200)
    expect(pair.b.stack.stats.tcpCookiesSent).toBe(0)
    repeating(pair, 2000, 200)
    expect(pair.b.stack.stats.tcpCookiesSent).toBe(SAMPLES)
  })
  test.each([
    ['decides slowly: they stay pending', false],
    ['accepts at once: they stay half-open', true],
  ])('a flood for more than 3 s, of an application that %s: cookies, and clients connect in the midst of it', (_, accepts) => {
    const pair = pairOf()
    const { stack } = pair.b
    pair.b.onrequest = stream => {
      if (accepts || stream.connection.cookie) stream.connection.accept()
    }
    flood(pair, 3000)
    expect(stack.stats.tcpCookiesSent).toBeLessThanOrEqual(SAMPLES)
    expect(stack.stats.drops.synOverflow).toBeGreaterThan(2000)
    flood(pair, 200)
    expect(stack.stats.tcpCookiesSent).toBeGreaterThan(SAMPLES)
    const client = pair.connect()
    client.write(new Uint8Array(5000))
    flood(pair, 100)
    expect(client.connected).toBe(true)
    expect(pair.b.accepted.filter(s => s.connection.cookie).map(s => s.receivedBytes)).toEqual([5000])
  })
  test('while cookies answer, a flood takes no silent entry’s place: it reaches the application no more', () => {
    const pair = pairOf({ maxPending: 1024 })
    flood(pair, 3600, 2)
    expect(pair.b.stack.stats.tcpCookiesSent).toBeGreaterThan(0)
    const before = pair.b.accepted.length
    flood(pair, 1500, 2, 10_000)
    expect(pair.b.accepted.length - before).toBeLessThan(10)
  })
  test('clients of a slow application, however many: they answer the samples, so those are all the cookies there are', () => {
    const pair = pairOf()
    pair.b.onrequest = () => {}
    const clients = Array.from({ length: 400 }, () => pair.connect())
    for (let i = 0; i < 200; i++) {
      pair.clock.advance(100)
      pair.b.accepted.find(s => s.connection.undecided)?.connection.accept()
      pair.b.driver.wake()
    }
    expect(clients.filter(c => c.connected).length).toBeGreaterThan(100)
    const { drops, tcpCookiesSent, tcpCookiesAccepted } = pair.b.stack.stats
    expect(drops.synOverflow).toBeGreaterThan(1000)
    expect(tcpCookiesSent).toBeGreaterThan(0)
    expect(tcpCookiesSent).toBeLessThanOrEqual(3 * SAMPLES) // 20 s
    expect(tcpCookiesAccepted).toBe(tcpCookiesSent)
  })
  test('behind the flood, silent entries make room again and requests are requests', () => {
    const pair = pairOf()
    flood(pair, 3300)
    const sent = pair.b.stack.stats.tcpCookiesSent
    expect(sent).toBeGreaterThan(0)
    const late: number[] = []
    for (let i = 0; i < 20; i++) {
      pair.clock.advance(200)
      const client = pair.connect()
      pair.clock.advance(50)
      expect(client.connected).toBe(true)
      late.push(Number(pair.b.accepted.at(-1)?.connection.cookie))
    }
    expect(late.slice(10)).toEqual(Array(10).fill(0))
  })
  test('false: never', () => {
    const pair = pairOf({ synCookies: false })
    pair.b.onrequest = () => {}
    flood(pair, 4000)
    expect(pair.b.stack.stats.tcpCookiesSent).toBe(0)
  })
})

describe('a source has a quarter, while there are others', () => {
  function sources(stack: StackOptions) {
    const t = new Script({ accept: false, stack: { maxPending: 16, synCookies: false, pendingTimeout: 1_000_000, ...stack } })
    /** `n` SYNs; how many of them became requests. */
    const from = (source: string, n: number, port = 1024) => {
      const before = t.connections.length
      for (let i = 0; i < n; i++) t.inject(syn(source, port + i))
      return t.connections.length - before
    }
    return { t, from }
  }
  test('alone it has everything: all applications of a host are one source', () => {
    const { from } = sources({})
    expect(from('10.0.0.1', 20)).toBe(16)
  })
  test('one that floods leaves room to the others', () => {
    const { t, from } = sources({})
    expect(from('10.0.0.7', 1)).toBe(1)
    expect(from('10.0.0.1', 20)).toBe(4)
    expect(from('10.0.0.7', 20, 3000)).toBe(3)
    expect(from('10.0.0.8', 20)).toBe(4)
    expect(t.stack.stats.drops.synOverflow).toBe(16 + 17 + 16)
  })
  test('one that filled it while alone gets no more when another one is heard, until it holds less than its share', () => {
    const { t, from } = sources({})
    expect(from('10.0.0.1', 16)).toBe(16)
    expect(from('10.0.0.7', 1)).toBe(0) // full; but now they are two
    for (const c of t.connections.slice(0, 5)) c.reject('drop')
    expect(from('10.0.0.1', 1, 3000)).toBe(0)
    expect(from('10.0.0.7', 1)).toBe(1)
  })
  test('IPv6: a source is a /64; families do not count as company', () => {
    const { from } = sources({})
    expect(from('10.0.0.1', 1)).toBe(1)
    let taken = 0
    for (let i = 1; i <= 6; i++) taken += from(`2001:db8:1::${i}`, 1)
    expect(taken).toBe(6) // one /64, alone in its family
    expect(from('2001:db8:2::1', 1)).toBe(1)
    expect(from('2001:db8:1::77', 1)).toBe(0)
    expect(from('10.0.0.1', 8, 3000)).toBe(8)
  })
  test('what ended, was accepted and established, or rejected is not counted any more; a minute without others is alone again', () => {
    const { t, from } = sources({})
    from('10.0.0.7', 1)
    expect(from('10.0.0.1', 8)).toBe(4)
    t.recv(SYN)
    expect(t.connections.length).toBe(5) // it comes from 10.0.0.1 too
    for (const c of t.connections.slice(1, 3)) c.reject('drop')
    t.recv(SYN)
    t.accept()
    t.drainSent()
    t.recv('A 1001:1001 ack 1')
    expect(t.state).toBe('ESTABLISHED')
    expect(from('10.0.0.1', 8, 3000)).toBe(2)
    for (const c of t.connections) c.reject('drop')
    t.advance(60_000)
    expect(from('10.0.0.1', 20, 4000)).toBe(16)
    for (const c of t.connections) c.reject('drop')
    expect(t.stack.tcp.handshake.pending).toBe(0)
    expect(t.stack.tcp.handshake.admission.sources).toBe(0)
  })
  test('maxPendingPerSource sets another share, and maxPending lifts it', () => {
    for (const [maxPendingPerSource, share] of [
      [6, 6],
      [16, 15],
    ]) {
      const { from } = sources({ maxPendingPerSource })
      from('10.0.0.7', 1)
      expect(from('10.0.0.1', 20)).toBe(share)
    }
  })
})
