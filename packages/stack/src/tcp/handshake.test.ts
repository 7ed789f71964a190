// What a SYN and our SYN-ACK agree on, and the way from SYN-RECEIVED. RFC 9293 §3.10.7.4, RFC 7323, RFC 6691.

import { describe, expect, test } from 'vitest'
import { fillChecksums } from '../testing/oracle.js'
import { Script } from '../testing/script.js'

const SYN = 'S 1000:1000 win 65535 <mss 1460>'

describe('options', () => {
  test('a SYN without options gets a SYN-ACK with our MSS alone', () => {
    const t = new Script()
    t.recv('S 1000:1000 win 65535 <>')
    t.sent('SA 0:0 ack 1001 win 65535 <mss 1460>')
  })
  test('over IPv6 our MSS is 20 less', () => {
    const t = new Script({ v6: true })
    t.recv('S 1000:1000 win 65535 <>')
    t.sent('SA 0:0 ack 1001 <mss 1440>')
  })
  test.each([
    ['wscale 3', 'mss 1460,wscale 7'],
    ['sackOK', 'mss 1460,sackOK'],
    ['TS val 77 ecr 0', 'mss 1460,TS val 0 ecr 77'],
    ['mss 1460,sackOK,TS val 77 ecr 0,nop,wscale 0', 'mss 1460,sackOK,TS val 0 ecr 77,wscale 7'],
  ])('%s in the SYN is answered by %s: only what was offered', (offered, answered) => {
    const t = new Script()
    t.recv(`S 1000:1000 win 65535 <${offered}>`)
    t.sent(`SA 0:0 ack 1001 <${answered}>`)
  })
  test('with timestamps every later segment carries them, and echoes the newest in order', () => {
    const t = new Script()
    t.recv('S 1000:1000 <mss 1460,TS val 500 ecr 0>')
    t.sent('SA 0:0 ack 1001 <mss 1460,TS val 0 ecr 500>')
    t.advance(10)
    t.recv('A 1001:1001 ack 1 <TS val 510 ecr 0>')
    t.write(10)
    t.sent('PA 1:11 ack 1001 <TS val 10 ecr 510>')
  })
  test.each([
    ['mss 536', 536],
    ['mss 1220', 1220],
    ['mss 100', 100],
    ['mss 0', 536], // no sense in it: as if absent
    ['mss 1', 48], // CVE-2019-11479
    ['', 536],
    ['mss 9000', 1460], // the NIC's MTU bounds it
    ['mss 536,TS val 1 ecr 0', 524], // options count: RFC 6691
  ])('peer with <%s> gets segments of %i bytes', (options, size) => {
    const t = new Script().establish(options)
    t.write(size + 1)
    t.sent(`A 1:${1 + size} ack 1001`)
    t.sent(`PA ${1 + size}:${2 + size} ack 1001`)
  })
  test('the window field of a SYN is not scaled, later ones are by the shift of the SYN', () => {
    const t = new Script().establish('mss 1000,wscale 10', 500, 1)
    t.write(3000)
    t.sent('A 1:1001 ack 1001') // 1 << 10 = 1024
    t.sentNothing()
    t.recv('A 1001:1001 ack 1001 win 4')
    t.sent('A 1001:2001 ack 1001')
    t.sent('PA 2001:3001 ack 1001')
  })
  test('a shift beyond 14 counts as 14', () => {
    const t = new Script().establish('mss 1000,wscale 255', 500, 1)
    expect(t.connection.sndWnd).toBe(1 << 14)
  })
  test('malformed options end the reading, the SYN is answered', () => {
    for (const raw of [
      '020005b4',
      '020105b4',
      '022805b4',
      '03000101',
      '080a0000',
      '05020101',
      'fe000000',
      '01'.repeat(40),
      'ff'.repeat(40),
    ]) {
      const t = new Script()
      t.recv(`S 1000:1000 <raw ${raw}>`)
      t.sent('SA 0:0 ack 1001')
    }
  })
})

describe('SYN-RECEIVED', () => {
  test('the SYN again gets the same SYN-ACK', () => {
    const t = new Script()
    t.recv(SYN)
    t.sent('SA 0:0 ack 1001 <mss 1460>')
    t.recv(SYN)
    t.sent('SA 0:0 ack 1001 <mss 1460>')
  })
  test('SYN-ACK is sent again after 1, 2, 4, 8, 16 s, then the connection is given up', () => {
    const t = new Script()
    t.recv(SYN)
    t.sent('SA 0:0 ack 1001')
    for (const gap of [1000, 2000, 4000, 8000, 16_000]) {
      t.advance(gap - 1)
      t.sentNothing()
      t.advance(1)
      t.sent('SA 0:0 ack 1001')
    }
    t.advance(32_000)
    t.sentNothing()
    expect(t.events).toEqual(['request', 'gone ETIMEDOUT'])
    expect(t.stack.nextTimeout()).toBe(Infinity)
  })
  test('an ACK of something we never sent is answered by a reset, the connection stays', () => {
    const t = new Script()
    t.recv(SYN)
    t.sent('SA 0:0 ack 1001')
    t.recv('A 1001:1001 ack 700')
    t.sent('R 700:700')
    t.recv('A 1001:1001 ack 1')
    expect(t.state).toBe('ESTABLISHED')
  })
  test('RST ends it', () => {
    const t = new Script()
    t.recv(SYN)
    t.sent('SA 0:0 ack 1001')
    t.recv('R 1001:1001')
    expect(t.events).toEqual(['request', 'gone ECONNRESET'])
  })
  test('another SYN (the client forgot us) is challenged, so that its reset can clear the way', () => {
    const t = new Script()
    t.recv(SYN)
    t.sent('SA 0:0 ack 1001')
    t.recv('S 90000:90000 <mss 1460>')
    t.sent('A 1:1 ack 1001')
  })
  test('data and FIN with the third ACK are taken', () => {
    const t = new Script()
    t.recv(SYN)
    t.sent('SA 0:0 ack 1001')
    t.recv('FPA 1001:1011 ack 1')
    t.advance(40)
    t.sent('A 1:1 ack 1012')
    expect(t.events).toEqual(['request', 'connected', 'readable', 'ended'])
    expect(t.readBytes).toBe(10)
  })
  test('data without the third ACK establishes too', () => {
    const t = new Script()
    t.recv(SYN)
    t.sent('SA 0:0 ack 1001')
    t.recv('PA 1002:1010 ack 1')
    t.sent('A 1:1 ack 1001')
    expect(t.state).toBe('ESTABLISHED')
  })
  test('written and ended before the handshake: text and FIN leave behind it', () => {
    const t = new Script()
    t.recv(SYN)
    t.sent('SA 0:0 ack 1001')
    t.write(10)
    t.end()
    t.sentNothing()
    t.recv('A 1001:1001 ack 1')
    t.sent('FPA 1:11 ack 1001')
    expect(t.state).toBe('FIN-WAIT-1')
  })
  test('closed before the handshake: FIN behind it', () => {
    const t = new Script()
    t.recv(SYN)
    t.sent('SA 0:0 ack 1001')
    t.close()
    t.recv('A 1001:1001 ack 1')
    t.sent('FA 1:1 ack 1001')
  })
  test('the round trip of a SYN-ACK sent twice is not measured (Karn)', () => {
    const t = new Script()
    t.recv(SYN)
    t.sent('SA 0:0 ack 1001')
    t.advance(900)
    t.recv(SYN)
    t.sent('SA 0:0 ack 1001')
    t.advance(1)
    t.recv('A 1001:1001 ack 1')
    expect(t.connection.rtt.srtt).toBe(0)
  })
  test('the initial congestion window is ten segments of the peer (RFC 6928)', () => {
    const t = new Script().establish('mss 1460')
    t.write(100_000)
    expect(t.drainSent().length).toBe(10)
  })
})

test('RFC 1122 §3.2.1.3: a segment from its own destination (LAND) is dropped, whatever its ports', () => {
  for (const v6 of [false, true]) {
    const t = new Script({ v6 })
    t.recv(SYN)
    t.drainSent()
    const packet = new Uint8Array(v6 ? 60 : 40)
    const at = v6 ? 40 : 20
    packet.set(v6 ? [0x60, 0, 0, 0, 0, 20, 6, 64] : [0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6])
    packet.fill(10, v6 ? 8 : 12, at)
    packet.set([0, 80, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 255, 255], at)
    t.inject(fillChecksums(packet))
    t.sentNothing()
    expect([t.events.length, t.stack.stats.drops.martian]).toEqual([1, 1])
  }
})
