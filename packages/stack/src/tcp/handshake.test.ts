import { describe, expect, test } from 'vitest'
import { fillChecksums } from '../testing/oracle.js'
import { Script } from '../testing/script.js'
import { printHex, printPacket } from '../wire/print.js'

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
