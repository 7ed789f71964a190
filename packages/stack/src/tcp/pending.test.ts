// Before the SYN is answered: a request waits for accept or reject, and what becomes of it. RFC 9293 §3.10.7.2.

import { describe, expect, test } from 'vitest'
import { Script } from '../testing/script.js'
import { printHex, printPacket } from '../wire/print.js'

const SYN = 'S 1000:1000 win 65535 <mss 1460>'

describe('pending', () => {
  test('a SYN is not answered before accept', () => {
    const t = new Script({ accept: false })
    t.recv(SYN)
    t.sentNothing()
    expect(t.events).toEqual(['request'])
    t.accept()
    t.sent('SA 0:0 ack 1001')
    t.recv('A 1001:1001 ack 1')
    expect(t.events).toEqual(['request', 'connected'])
  })
  test('reject refused: RST+ACK with sequence number 0 that acknowledges the SYN', () => {
    const t = new Script({ accept: false })
    t.recv(SYN)
    t.reject('refused')
    t.sent('RA 0:0 ack 1001 win 0 <>')
    expect(t.events).toEqual(['request', 'gone'])
    expect(t.stack.tcp.flows.size).toBe(0)
    expect(t.stack.tcp.handshake.pending).toBe(0)
  })
  test.each([
    ['host-unreachable', '03 01'],
    ['net-unreachable', '03 00'],
    ['prohibited', '03 0d'],
  ] as const)('reject %s over IPv4: ICMP %s from the address dialled, quoting the SYN', (reason, code) => {
    const t = new Script({ accept: false })
    t.recv(SYN)
    t.reject(reason)
    const packet = t.takeSent()
    t.sentNothing()
    expect(printHex(packet, 12, 20)).toBe('0a 00 00 02 0a 00 00 01')
    expect(printHex(packet, 20, 22)).toBe(code)
    expect(printHex(packet, 24, 28)).toBe('00 00 00 00')
    // The quoted packet: IPv4, TCP, 10.0.0.1 → 10.0.0.2, ports and sequence number as they came.
    expect(printHex(packet, 28, 29)).toBe('45')
    expect(printHex(packet, 37, 38)).toBe('06')
    expect(printHex(packet, 40, 56)).toBe('0a 00 00 01 0a 00 00 02 9c 40 00 50 00 00 03 e8')
    expect(packet.length).toBe(56)
    expect(printPacket(packet)).toMatch(/about \(10\.0\.0\.1\.40000 > 10\.0\.0\.2\.80\)/)
  })
  test.each([
    ['host-unreachable', '01 03'],
    ['net-unreachable', '01 00'],
    ['prohibited', '01 01'],
  ] as const)('reject %s over IPv6: ICMPv6 %s', (reason, code) => {
    const t = new Script({ accept: false, v6: true })
    t.recv(SYN)
    t.reject(reason)
    const packet = t.takeSent()
    expect(packet[6]).toBe(58)
    expect(printHex(packet, 40, 42)).toBe(code)
    expect(printHex(packet, 48, 49)).toBe('60')
    expect(printHex(packet, 88, 96)).toBe('9c 40 00 50 00 00 03 e8')
    expect(printPacket(packet)).toMatch(/about \(2001:db8::1\.40000 > 2001:db8::2\.80\)/)
  })
  test('reject drop and silence', () => {
    const t = new Script({ accept: false })
    t.recv(SYN)
    t.reject('drop')
    t.advance(10_000)
    t.sentNothing()
  })
  test('close, destroy and reset of a pending connection refuse it', () => {
    for (const verb of ['close', 'reset'] as const) {
      const t = new Script({ accept: false })
      t.recv(SYN)
      t[verb]()
      t.sent('RA 0:0 ack 1001')
      t.sentNothing()
    }
  })
  test('the SYN again while pending is no second request', () => {
    const t = new Script({ accept: false })
    t.recv(SYN)
    t.advance(1000)
    t.recv(SYN)
    t.sentNothing()
    expect(t.events).toEqual(['request'])
  })
  test('data in the SYN is left unacknowledged and taken when sent again', () => {
    const t = new Script()
    t.recv('S 1000:1005 <mss 1460>')
    t.sent('SA 0:0 ack 1001')
    t.recv('PA 1001:1006 ack 1')
    expect(t.readBytes).toBe(5)
  })
  test('another ISN on the same tuple is another connection; the old one is told', () => {
    const t = new Script({ accept: false })
    t.recv(SYN)
    t.recv('S 5000:5000 win 65535 <mss 1460>')
    expect(t.connections.length).toBe(2)
    expect(t.events).toEqual(['request', 'gone ECONNABORTED', 'request'])
    t.accept()
    t.sent('SA 0:0 ack 5001')
    expect(t.stack.tcp.flows.size).toBe(1)
    expect(t.stack.tcp.handshake.pending).toBe(0)
  })
  test('the client aborts: RST ends it, an RST elsewhere does not', () => {
    const t = new Script({ accept: false })
    t.recv(SYN)
    t.recv('R 7000:7000')
    expect(t.events).toEqual(['request'])
    t.recv('R 1001:1001')
    expect(t.events).toEqual(['request', 'gone ECONNABORTED'])
    t.sentNothing()
  })
  test('when the SYNs stop, the request is given up in silence: 2.5 × the largest gap, 3 s at least', () => {
    const t = new Script({ accept: false })
    t.recv(SYN)
    t.advance(2999)
    expect(t.events).toEqual(['request'])
    t.advance(1)
    expect(t.events).toEqual(['request', 'gone ECONNABORTED'])

    const u = new Script({ accept: false })
    for (const gap of [0, 1000, 2000, 4000]) {
      u.advance(gap)
      u.recv(SYN)
    }
    u.advance(9999)
    expect(u.events).toEqual(['request'])
    u.advance(1)
    expect(u.events).toEqual(['request', 'gone ECONNABORTED'])
    u.sentNothing()
    expect(u.stack.nextTimeout()).toBe(Infinity)
  })
  test('pendingTimeout ends it although the SYNs go on', () => {
    const t = new Script({ accept: false, stack: { pendingTimeout: 10_000 } })
    t.recv(SYN)
    for (let i = 0; i < 9; i++) {
      t.advance(1000)
      t.recv(SYN)
    }
    expect(t.events).toEqual(['request'])
    t.advance(1000)
    expect(t.events).toEqual(['request', 'gone ECONNABORTED'])
  })
  test('beyond maxPending a SYN is dropped unanswered and counted', () => {
    const t = new Script({ accept: false, stack: { maxPending: 0 } })
    t.recv(SYN)
    expect(t.events).toEqual([])
    expect(t.stack.stats.drops.synOverflow).toBe(1)
  })
  test('a SYN with FIN or RST, null, FIN alone and xmas make no connection', () => {
    for (const flags of ['SF', 'SR', '-', 'F', 'FPU', 'R', 'SFRPAU']) {
      const t = new Script()
      t.recv(`${flags} 1000:1000`)
      expect(t.events).toEqual([])
      for (const line of t.drainSent()) expect(line).toMatch(/^RA? /)
    }
  })
  test('a segment for no connection: RST with its ACK number, or RST+ACK behind it', () => {
    const t = new Script()
    t.recv('A 1000:1000 ack 555')
    t.sent('R 555:555 win 0')
    t.recv('PU 1000:1010')
    t.sent('RA 0:0 ack 1010')
    t.recv('RA 1000:1000 ack 7')
    t.sentNothing()
  })
})
