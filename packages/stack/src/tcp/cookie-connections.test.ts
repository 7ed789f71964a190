// A SYN that is answered by a cookie, and the connection that the ACK of it makes. RFC 4987 §3.6.

import { describe, expect, test } from 'vitest'
import type { StackOptions } from '../options.js'
import { fillChecksums } from '../testing/oracle.js'
import { Script } from '../testing/script.js'
import { syn } from './syn.test-kit.js'

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
    t.advance(40)
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
