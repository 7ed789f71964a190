// Bounds of connections before ESTABLISHED, and what answers beyond them. RFC 4987 §3.

import { describe, expect, test } from 'vitest'
import type { StackOptions } from '../options.js'
import { fillChecksums } from '../testing/oracle.js'
import { Pair } from '../testing/pair.js'
import { Script } from '../testing/script.js'
import { parseAddress } from '../wire/address.js'

/** A SYN without options from `source`, port `port`, as a flood's generator makes it; to 10.0.0.2:80 or its IPv6 sibling. */
function syn(source: string, port = 1024, seq = 7) {
  const from = parseAddress(source) as number[]
  const v6 = source.includes(':')
  const at = v6 ? 40 : 20
  const packet = new Uint8Array(at + 20)
  const view = new DataView(packet.buffer)
  if (v6) {
    const to = parseAddress('2001:db8::2') as number[]
    view.setUint32(0, 0x60000000)
    view.setUint16(4, 20)
    view.setUint16(6, 0x0640)
    for (let i = 0; i < 4; i++) {
      view.setInt32(8 + 4 * i, from[i])
      view.setInt32(24 + 4 * i, to[i])
    }
  } else {
    view.setUint16(0, 0x4500)
    view.setUint16(2, 40)
    view.setUint16(8, 0x4006)
    view.setInt32(12, from[3])
    view.setUint32(16, 0x0a000002)
  }
  view.setUint16(at, port)
  view.setUint16(at + 2, 80)
  view.setInt32(at + 4, seq)
  view.setUint16(at + 12, 0x5002)
  view.setUint16(at + 14, 0xffff)
  return fillChecksums(packet)
}

const spoofed = (n: number) => `10.77.${(n >> 8) & 255}.${n & 255}`

const SYN = 'S 1000:1000 win 65535 <mss 1400>'
const FULL = 'S 1000:1000 win 65535 <mss 1400,sackOK,TS val 500 ecr 0,wscale 9>'

/** A stack whose one place is taken by somebody, so that the script's SYN gets a cookie. */
function crowded(stack: StackOptions = {}, start = 1000) {
  const t = new Script({ accept: false, start, stack: { maxPending: 1, synCookies: true, pendingTimeout: 1_000_000, ...stack } })
  t.inject(syn('10.9.9.9'))
  expect(t.events).toEqual(['request'])
  return t
}

/** The SYN-ACK just sent: how it reads, and what the ACK number in `recv` must be to answer it. */
function cookie(t: Script) {
  const packet = t.takeSent()
  const view = new DataView(packet.buffer)
  t.sentNothing()
  const base = t.connections.at(-1)?.iss ?? 0
  const stampAt = packet.length - 8 // TSval, if there are timestamps: they come last
  return { text: t.describe(packet), ack: (view.getInt32(24) + 1 - base) | 0, stamp: view.getInt32(stampAt) }
}

describe('RFC 4987 §3.6: a SYN beyond the bounds is answered by a cookie', () => {
  test('which keeps nothing; the ACK of it makes a connection that is told with its request', () => {
    const t = crowded()
    t.recv(SYN)
    const { text, ack } = cookie(t)
    expect(text).toMatch(/^SA .* ack 1001 win 65535 <mss 1460>$/)
    expect([t.stack.tcp.flows.size, t.connections.length]).toEqual([1, 1])
    t.recv(`A 1001:1001 ack ${ack} win 1000`)
    expect(t.events).toEqual(['request', 'request', 'connected'])
    expect(t.state).toBe('ESTABLISHED')
    const c = t.connection
    expect([c.cookie, c.undecided, c.peerMss, c.smss, c.sndWnd, c.sackOk, c.tsOk]).toEqual([true, true, 1400, 1400, 1000, false, false])
    t.accept()
    expect(c.undecided).toBe(false)
    t.recv('PA 1001:1011 ack 1')
    t.write(10)
    t.sent('PA 1:11 ack 1011')
    const { tcpCookiesSent, tcpCookiesAccepted, tcpCookiesBad, tcpAccepted } = t.stack.stats
    expect([tcpCookiesSent, tcpCookiesAccepted, tcpCookiesBad, tcpAccepted]).toEqual([1, 1, 0, 1])
  })
  test('with timestamps it also keeps window scale and SACK, and time goes on from there', () => {
    const t = crowded({}, 2 ** 32 - 200)
    t.recv(FULL)
    const { text, ack, stamp } = cookie(t)
    expect(text).toMatch(/<mss 1460,sackOK,TS val -?\d+ ecr 500,wscale 7>$/)
    t.advance(300)
    t.recv(`A 1001:1001 ack ${ack} win 10 <TS val 800 ecr ${stamp}>`)
    const c = t.connection
    expect([c.sndWndShift, c.rcvWndShift, c.sackOk, c.tsOk, c.sndWnd, c.smss, c.tsRecent]).toEqual([9, 7, true, true, 5120, 1388, 800])
    expect((((Math.floor(t.clock.now) + c.tsOffset) | 0) - stamp) | 0).toBeGreaterThanOrEqual(300)
    expect((((Math.floor(t.clock.now) + c.tsOffset) | 0) - stamp) | 0).toBeLessThan(332)
    expect(c.rtt.srtt).toBeGreaterThanOrEqual(300)
  })
  test('without window scale in the SYN none is agreed on', () => {
    const t = crowded()
    t.recv('S 1000:1000 <mss 1400,TS val 500 ecr 0>')
    const { text, ack, stamp } = cookie(t)
    expect(text).toMatch(/<mss 1460,TS val -?\d+ ecr 500>$/)
    t.recv(`A 1001:1001 ack ${ack} win 10 <TS val 800 ecr ${stamp}>`)
    expect([t.connection.sndWndShift, t.connection.rcvWndShift, t.connection.sackOk, t.connection.sndWnd]).toEqual([0, 0, false, 10])
  })
  test('without timestamps neither window scale nor SACK is, for nothing would remember it', () => {
    const t = crowded()
    t.recv('S 1000:1000 <mss 1400,sackOK,wscale 9>')
    expect(cookie(t).text).toMatch(/<mss 1460>$/)
  })
  test('over IPv6', () => {
    const t = new Script({ v6: true, accept: false, stack: { maxPending: 1, synCookies: true } })
    t.inject(syn('2001:db8:9::9'))
    t.recv(SYN)
    const packet = t.takeSent()
    const iss = new DataView(packet.buffer).getInt32(44)
    t.recv(`A 1001:1001 ack ${(iss + 1 - t.connection.iss) | 0}`)
    expect([t.state, t.connection.cookie]).toEqual(['ESTABLISHED', true])
  })
  test('the ACK was lost: the first text does as well, with the FIN behind it', () => {
    const t = crowded()
    t.recv(SYN)
    t.recv(`FPA 1001:1011 ack ${cookie(t).ack}`)
    t.sent('A 1:1 ack 1012')
    expect(t.events).toEqual(['request', 'request', 'connected', 'readable', 'ended'])
    expect(t.readBytes).toBe(10)
  })
  test.each([
    ['another number acknowledged', 1001, 1, 0],
    ['another number of its own', 1002, 0, 0],
    ['two minutes later', 1001, 0, 120_000],
  ])('%s: a reset, as for any flow unknown (RFC 9293 §3.10.7.1)', (_, seq, off, later) => {
    const t = crowded()
    t.recv(SYN)
    const { ack } = cookie(t)
    t.advance(later)
    t.recv(`A ${seq}:${seq} ack ${ack + off}`)
    t.sent(`R ${ack + off}:${ack + off}`)
    expect(t.events.filter(e => e === 'connected')).toEqual([])
    expect(t.stack.stats.tcpCookiesBad).toBe(later > 0 ? 0 : 1) // by then none is looked at
  })
  test('a SYN-ACK, a RST and an ACK with SYN are no answer to it', () => {
    const t = crowded()
    t.recv(SYN)
    const { ack } = cookie(t)
    t.recv(`R 1001:1001 ack ${ack}`)
    t.sentNothing()
    t.recv(`SA 1001:1001 ack ${ack}`)
    t.sent(`R ${ack}:${ack}`)
    expect(t.events).toEqual(['request'])
  })
  test('no cookie was sent: an ACK costs no look at it', () => {
    const t = new Script()
    t.recv('A 1001:1001 ack 5')
    t.sent('R 5:5')
    expect(t.stack.stats.tcpCookiesBad).toBe(0)
  })
  test('a flood of ACKs gets resets, as many as a turn has, and makes nothing', () => {
    const t = crowded()
    t.recv(SYN)
    cookie(t)
    for (let i = 0; i < 2000; i++) t.recv(`A ${i}:${i} ack ${i * 7919}`)
    expect(t.stack.tcp.flows.size).toBe(1)
    expect(t.stack.stats.tcpCookiesBad).toBe(2000)
    expect(t.drainSent().every(line => line.startsWith('R '))).toBe(true)
  })
})

describe('a connection that a cookie made', () => {
  function made(stack: StackOptions = {}) {
    const t = crowded(stack)
    t.recv(SYN)
    t.recv(`PA 1001:1101 ack ${cookie(t).ack}`)
    t.advance(50)
    t.sent('A 1:1 ack 1101')
    return t
  }
  test.each(['refused', 'host-unreachable', 'drop'] as const)('rejected (%s), it is reset: it was answered before', reason => {
    const t = made()
    t.reading = false
    t.reject(reason)
    t.sent('RA 1:1 ack 1101')
    expect([t.stack.tcp.flows.size, t.stack.tcp.handshake.admission.undecided, t.stack.tcp.receiveQueued]).toEqual([1, 0, 0])
  })
  test.each(['close', 'reset'] as const)('undecided, %s is a reset', verb => {
    const t = made()
    t[verb]()
    t.sent('RA 1:1 ack 1101')
    expect(t.stack.stats.tcpRejected).toBe(1)
  })
  test('is reset when nobody decides within pendingTimeout, and lives on if somebody does', () => {
    const t = made({ pendingTimeout: 10_000 })
    t.advance(9949)
    expect(t.state).toBe('ESTABLISHED')
    t.advance(1)
    t.sent('RA 1:1 ack 1101')
    expect(t.events.at(-1)).toBe('gone ECONNABORTED')

    const u = made({ pendingTimeout: 10_000 })
    u.accept()
    u.advance(100_000)
    expect(u.state).toBe('ESTABLISHED')
  })
  test('undecided, as many as maxPending: the next ACK is left without an answer until one is decided', () => {
    const t = made()
    const { admission } = t.stack.tcp.handshake
    expect(admission.undecided).toBe(1)
    const first = t.connection
    // Another client's cookie: the same script from another port would be another flow; the flow table is asked for that.
    t.inject(syn('10.8.8.8', 5555, 70))
    const packet = t.takeSent()
    const ack = fillChecksums(answerTo(packet))
    t.inject(ack)
    t.sentNothing()
    expect([t.events.filter(e => e === 'request').length, t.stack.stats.drops.synOverflow]).toEqual([2, 1])
    first.accept()
    t.inject(ack)
    expect([t.events.filter(e => e === 'request').length, admission.undecided]).toEqual([3, 1])
    t.reset()
    expect(admission.undecided).toBe(0)
  })
})

/** The third segment of the handshake, for a SYN-ACK as it was sent (IPv4). */
function answerTo(synAck: Uint8Array) {
  const from = new DataView(synAck.buffer, synAck.byteOffset)
  const packet = syn('0.0.0.0')
  const view = new DataView(packet.buffer)
  view.setInt32(12, from.getInt32(16))
  view.setInt32(16, from.getInt32(12))
  view.setUint16(20, from.getUint16(22))
  view.setUint16(22, from.getUint16(20))
  view.setInt32(24, from.getInt32(28))
  view.setInt32(28, from.getInt32(24) + 1)
  view.setUint16(32, 0x5010)
  view.setUint16(10, 0)
  view.setUint16(36, 0)
  return packet
}

describe('cookie and request cross: the client knows the cookie’s number only', () => {
  test.each([true, false])('a SYN that came again made a request (accepted: %s), then the cookie is answered', accepted => {
    const t = crowded()
    t.recv(SYN)
    const { ack } = cookie(t)
    const [occupant] = t.connections
    occupant.reject('drop')
    t.advance(1000)
    t.recv(SYN)
    expect(t.connections.length).toBe(2)
    if (accepted) t.accept()
    t.drainSent()
    t.recv(`A 1001:1001 ack ${(ack + occupant.iss - t.connection.iss) | 0}`)
    t.sentNothing()
    expect(t.events.slice(3)).toEqual(['gone ECONNABORTED', 'request', 'connected'])
    expect([t.state, t.connection.cookie, t.stack.tcp.flows.size]).toEqual(['ESTABLISHED', true, 1])
    expect([t.stack.tcp.handshake.pending, t.stack.tcp.handshake.halfOpen.size]).toEqual([0, 0])
  })
})

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
