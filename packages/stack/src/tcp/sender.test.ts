import { describe, expect, test } from 'vitest'
import { PacketBatch } from '../memory/packet-batch.js'
import { Script } from '../testing/script.js'
import { OPEN } from './states.js'

const MSS = 1000

describe('what may leave', () => {
  test('segments of the peer’s MSS, the last pushed', () => {
    const t = new Script().establish('mss 1000')
    t.write(2500)
    t.sent('A 1:1001 ack 1001')
    t.sent('A 1001:2001 ack 1001')
    t.sent('PA 2001:2501 ack 1001')
    t.sentNothing()
  })
  test('with offload one row of up to 64 KiB', () => {
    const t = new Script({ offload: true }).establish('mss 1000,wscale 7', 65_535)
    t.write(9500)
    t.sent('PA 1:9501 ack 1001')
    t.recv('A 1001:1001 ack 9501')
    expect(t.connection.sndUna).toBe(t.connection.sndNxt)
  })
  test('the window is never overrun', () => {
    const t = new Script().establish('mss 1000', 2000)
    t.write(10_000)
    t.sent('A 1:1001')
    t.sent('A 1001:2001')
    t.sentNothing()
    t.recv('A 1001:1001 ack 1001 win 1000')
    t.sentNothing()
    t.recv('A 1001:1001 ack 2001 win 1000')
    t.sent('A 2001:3001')
    t.sentNothing()
  })
  test('the FIN waits for its place in the window', () => {
    const t = new Script().establish('mss 1000', 1000)
    t.write(1000)
    t.end()
    t.sent('PA 1:1001')
    t.sentNothing()
    t.recv('A 1001:1001 ack 1001 win 1000')
    t.sent('FA 1001:1001')
  })
  test('thousands of tiny pieces by reference: each row gathers 32, the FIN waits for the last', () => {
    for (const offload of [false, true]) {
      const t = new Script({ offload }).establish('mss 1000')
      t.write(1000, 10, true) // 100 pieces
      t.end()
      let text = 0
      for (let i = 0; i < 20 && t.state === 'FIN-WAIT-1'; i++) {
        for (const line of t.drainSent()) {
          const [, from, to] = /(\d+):(\d+)/.exec(line) ?? []
          text = Math.max(text, Number(to) - 1)
          if (line.startsWith('F')) expect(Number(to)).toBe(1001)
          expect(Number(to) - Number(from)).toBeLessThanOrEqual(1000)
        }
        t.recv(`A 1001:1001 ack ${t.connection.finSent ? 1002 : text + 1}`)
      }
      expect(text).toBe(1000)
      expect(t.state).toBe('FIN-WAIT-2')
    }
  })
  test('what is sent again from tiny pieces has its FIN behind the last byte too', () => {
    const t = new Script().establish('mss 1000')
    t.write(900, 10, true)
    t.end()
    t.drainSent()
    t.advance(200)
    t.sent('A 1:321')
  })
  test('empty writes by reference are given back and disturb nothing', () => {
    const t = new Script().establish('mss 1000')
    let released = 0
    const owner = { retain: () => {}, release: () => void released++ }
    t.connection.send(new Uint8Array(4), 2, 2, owner)
    t.write(10)
    t.sent('PA 1:11')
    t.recv('A 1001:1001 ack 11')
    expect(released).toBe(1)
  })
  test('pieces by reference are released as they are acknowledged, not before', () => {
    const t = new Script().establish('mss 1000')
    const owner = { refs: 1, retain: () => void owner.refs++, release: () => void owner.refs-- }
    t.connection.send(new Uint8Array(2000), 0, 2000, owner)
    t.driver.wake()
    t.advance(0)
    expect(owner.refs).toBe(1)
    t.recv('A 1001:1001 ack 1001')
    expect(owner.refs).toBe(1)
    t.recv('A 1001:1001 ack 2001')
    expect(owner.refs).toBe(0)
  })
  test('a smaller MTU cuts what is queued anew', () => {
    const t = new Script().establish('mss 1460', 2920)
    t.write(5000)
    expect(t.drainSent().length).toBe(2)
    t.stack.setMtu(540)
    t.device.mtu = 540
    t.recv('A 1001:1001 ack 2921')
    for (const line of t.drainSent()) {
      const [, from, to] = /(\d+):(\d+)/.exec(line) ?? []
      expect(Number(to) - Number(from)).toBeLessThanOrEqual(500)
    }
  })
  test('an absurd MTU ends in small segments, not in a loop', () => {
    const t = new Script({ mtu: 68, v6: true }).establish('mss 1460')
    t.write(20)
    expect(t.drainSent().length).toBeGreaterThan(0)
  })
})

describe('Nagle and silly windows', () => {
  test('noDelay (the default): small writes leave at once', () => {
    const t = new Script().establish('mss 1000')
    t.write(1)
    t.write(1)
    t.sent('PA 1:2')
    t.sent('PA 2:3')
  })
  test('Nagle: a partial segment waits while something is out; whole ones do not', () => {
    const t = new Script().establish('mss 1000')
    t.connection.setNoDelay(false)
    t.write(1)
    t.sent('PA 1:2')
    t.write(1)
    t.sentNothing()
    t.write(1500)
    t.sent('A 2:1002')
    t.sentNothing()
    t.recv('A 1001:1001 ack 2')
    t.sentNothing()
    t.recv('A 1001:1001 ack 1002')
    t.sent('PA 1002:1503')
  })
  test('Nagle never delays the FIN nor the text before it', () => {
    const t = new Script().establish('mss 1000')
    t.connection.setNoDelay(false)
    t.write(1)
    t.sent('PA 1:2')
    t.write(1)
    t.end()
    t.sent('FPA 2:3')
  })
  test('turning noDelay on lets go what waits', () => {
    const t = new Script().establish('mss 1000')
    t.connection.setNoDelay(false)
    t.write(1)
    t.write(1)
    t.sent('PA 1:2')
    t.connection.setNoDelay(true)
    t.driver.wake()
    t.advance(0)
    t.sent('PA 2:3')
  })
  test('a window of crumbs is not filled at once, but after the override timer it is', () => {
    const t = new Script().establish('mss 1000', 3000)
    t.write(10_000)
    t.drainSent()
    t.recv('A 1001:1001 ack 3001 win 20')
    t.sentNothing()
    t.advance(200)
    t.sent('A 3001:3021')
  })
  test('half of the largest window ever is worth a segment', () => {
    const t = new Script().establish('mss 1000', 1000)
    t.write(10_000)
    t.sent('A 1:1001')
    t.recv('A 1001:1001 ack 1001 win 500')
    t.sent('A 1001:1501')
  })
})

describe('retransmission', () => {
  test('not acknowledged: sent again after RTO, then 2, 4, 8 × RTO; the ACK ends it', () => {
    const t = new Script().establish('mss 1000')
    t.write(10)
    t.sent('PA 1:11')
    for (const gap of [200, 400, 800, 1600]) {
      t.advance(gap - 1)
      t.sentNothing()
      t.advance(1)
      t.sent('PA 1:11')
    }
    t.recv('A 1001:1001 ack 11')
    expect(t.stack.stats.tcpTimeouts).toBe(4)
    t.advance(10_000)
    t.sentNothing()
  })
  test('after a timeout one segment, then slow start; what was out counts as lost', () => {
    const t = new Script().establish('mss 1000')
    t.write(8000)
    expect(t.drainSent().length).toBe(8)
    t.advance(200)
    t.sent('A 1:1001')
    t.sentNothing()
    t.recv('A 1001:1001 ack 1001')
    expect(t.drainSent().length).toBeLessThanOrEqual(2)
  })
  test('a late ACK of everything after a timeout: nothing more is sent again', () => {
    const t = new Script().establish('mss 1000')
    t.write(8000)
    t.drainSent()
    t.advance(200)
    t.drainSent()
    t.recv('A 1001:1001 ack 8001')
    t.advance(5000)
    t.sentNothing()
  })
  test('text of several writes goes again as it was, new text behind it', () => {
    const t = new Script().establish('mss 1000')
    t.write(5)
    t.write(5)
    t.drainSent()
    t.advance(200)
    t.sent('PA 1:11')
    t.write(5)
    t.recv('A 1001:1001 ack 11')
    t.sent('PA 11:16')
  })
  test('the FIN alone is sent again, also after the text before it was acknowledged', () => {
    const t = new Script().establish('mss 1000')
    t.write(10)
    t.end()
    t.sent('PA 1:11')
    t.sent('FA 11:11')
    t.recv('A 1001:1001 ack 11')
    t.sentNothing()
    t.advance(200)
    t.sent('FA 11:11')
    t.advance(400)
    t.sent('FA 11:11')
    t.recv('A 1001:1001 ack 12')
    expect(t.state).toBe('FIN-WAIT-2')
    t.advance(10_000)
    t.sentNothing()
  })
  test('text and FIN, all lost: both go again', () => {
    const t = new Script().establish('mss 1000')
    t.write(2500)
    t.end()
    expect(t.drainSent().length).toBe(4)
    t.advance(200)
    t.sent('A 1:1001')
    t.recv('A 1001:1001 ack 1001')
    t.sent('A 1001:2001')
    t.sent('FPA 2001:2501')
    t.recv('A 1001:1001 ack 2502')
    expect(t.state).toBe('FIN-WAIT-2')
  })
  test('end after a timeout took SND.NXT back: the FIN follows what goes again', () => {
    const t = new Script().establish('mss 1000')
    t.write(3000)
    t.drainSent()
    t.advance(200)
    t.sent('A 1:1001')
    t.end()
    t.recv('A 1001:1001 ack 3001')
    t.sent('FA 3001:3001')
  })
  test('Karn: a segment sent twice gives no sample, and the back-off ends with the next new ACK', () => {
    const t = new Script().establish('mss 1000')
    t.write(10)
    t.sent('PA 1:11')
    t.advance(200)
    t.sent('PA 1:11')
    t.advance(390)
    t.recv('A 1001:1001 ack 11')
    expect(t.connection.rtt.srtt).toBe(0)
    expect(t.connection.rtt.rto).toBe(200)
  })
  test('with timestamps even that is measured', () => {
    const t = new Script()
    t.recv('S 1000:1000 <mss 1000,TS val 1 ecr 0>')
    t.sent('SA 0:0')
    t.recv('A 1001:1001 ack 1')
    t.write(10)
    t.sent('PA 1:11')
    t.advance(200)
    t.sent('PA 1:11 ack 1001 <TS val 200 ecr *>')
    t.advance(80)
    t.recv('A 1001:1001 ack 11 <TS val 300 ecr 200>')
    expect(t.connection.rtt.srtt).toBe(10) // 0 + 80/8
  })
  test('RFC 6298 (5.7): SYN-ACK repeated and nothing measured, the first RTO is 3 s', () => {
    const t = new Script()
    t.recv('S 1000:1000 <mss 1000>')
    t.sent('SA 0:0')
    t.advance(1000)
    t.sent('SA 0:0')
    t.recv('A 1001:1001 ack 1')
    t.write(10)
    t.sent('PA 1:11')
    t.advance(2999)
    t.sentNothing()
    t.advance(1)
    t.sent('PA 1:11')
  })
  test('the RTO follows SRTT + 4 · RTTVAR (RFC 6298 §2)', () => {
    const t = new Script()
    t.recv('S 1000:1000 <mss 1000>')
    t.sent('SA 0:0')
    t.advance(300)
    t.recv('A 1001:1001 ack 1')
    expect(t.connection.rtt.rto).toBe(900)
    t.write(10)
    t.sent('PA 1:11')
    t.advance(300)
    t.recv('A 1001:1001 ack 11')
    expect(t.connection.rtt.rto).toBe(300 + 4 * 112.5)
  })
  test('userTimeout: nothing acknowledged for so long, reset and ETIMEDOUT', () => {
    const t = new Script({ stack: { userTimeout: 5000 } }).establish('mss 1000')
    t.write(10)
    t.advance(60_000)
    const lines = t.drainSent()
    expect(lines.at(-1)).toBe('RA 11:11 ack 1001 win 0')
    expect(t.events.at(-1)).toBe('gone ETIMEDOUT')
    expect(t.stack.nextTimeout()).toBe(Infinity)
  })
  test('a pure ACK during a retransmission has the number behind all that was sent: an old one would be ignored', () => {
    const t = new Script().establish('mss 1000')
    t.write(3000)
    t.drainSent()
    t.advance(200)
    t.sent('A 1:1001')
    t.recv('PA 1001:1011 ack 1')
    t.advance(40)
    t.sent('A 3001:3001 ack 1011')
  })
})

describe('fast retransmit', () => {
  function flight(segments: number, congestion: 'cubic' | 'newreno' = 'newreno') {
    const t = new Script({ stack: { congestion } }).establish('mss 1000')
    t.write(segments * MSS)
    t.drainSent()
    return t
  }
  test('three duplicate ACKs: the first segment again at once (RFC 5681)', () => {
    const t = flight(8)
    t.recv('A 1001:1001 ack 1')
    t.recv('A 1001:1001 ack 1')
    t.sentNothing()
    t.recv('A 1001:1001 ack 1')
    t.sent('A 1:1001')
    expect(t.stack.stats.tcpFastRetransmits).toBe(1)
    t.recv('A 1001:1001 ack 8001')
    t.advance(1000)
    t.sentNothing()
  })
  test('a partial ACK: the next hole at once, no new duplicates needed (RFC 6582)', () => {
    const t = flight(8)
    for (let i = 0; i < 3; i++) t.recv('A 1001:1001 ack 1')
    t.sent('A 1:1001')
    t.recv('A 1001:1001 ack 3001')
    t.sent('A 3001:4001')
    t.recv('A 1001:1001 ack 5001')
    t.sent('A 5001:6001')
    t.recv('A 1001:1001 ack 8001')
    expect(t.connection.phase).toBe(OPEN)
    expect(t.stack.stats.tcpTimeouts).toBe(0)
  })
  test('the window is halved, not less than two segments', () => {
    const t = flight(8)
    for (let i = 0; i < 3; i++) t.recv('A 1001:1001 ack 1')
    expect(t.connection.congestion.ssthresh).toBe(4000)
  })
  test('CUBIC takes three tenths', () => {
    const t = flight(8, 'cubic')
    for (let i = 0; i < 3; i++) t.recv('A 1001:1001 ack 1')
    expect(t.connection.congestion.ssthresh).toBeCloseTo(5600)
  })
  test('limited transmit: the first two duplicates let new segments out (RFC 3042)', () => {
    const t = new Script().establish('mss 1000')
    t.write(20_000)
    expect(t.drainSent().length).toBe(10)
    t.recv('A 1001:1001 ack 1')
    t.sent('A 10001:11001')
    t.recv('A 1001:1001 ack 1')
    t.sent('A 11001:12001')
    t.sentNothing()
  })
  test('window updates, text, FIN and old ACKs are no duplicates', () => {
    const t = flight(8)
    for (let i = 0; i < 6; i++) t.recv(`A 1001:1001 ack 1 win ${60_000 + i}`)
    for (let i = 0; i < 6; i++) t.recv(`PA ${1001 + i}:${1002 + i} ack 1`)
    expect(t.connection.dupAcks).toBe(0)
  })
  test('duplicates of what went again after a timeout start no recovery (RFC 6582 §3.2)', () => {
    const t = flight(8)
    t.advance(200)
    t.drainSent()
    for (let i = 0; i < 5; i++) t.recv('A 1001:1001 ack 1')
    expect(t.stack.stats.tcpFastRetransmits).toBe(0)
  })
  test('it still works 3 GiB after the last loss: `recover` went along', () => {
    const t = flight(8)
    t.recv('A 1001:1001 ack 8001')
    const c = t.connection
    // As if 3 GiB had gone by: every number of ours, but `recover` as it was left, moved along in steps as ACKs would.
    const step = 1 << 30
    for (let i = 0; i < 3; i++) {
      c.sndUna = (c.sndUna + step) | 0
      c.sndNxt = c.sndUna
      c.scoreboard.begin(c.sndUna)
      c.sndWl2 = c.sndUna
      t.write(1000)
      t.outbox.length = 0
      const ack = (c.sndNxt - c.iss) | 0
      t.recv(`A 1001:1001 ack ${ack}`)
    }
    const base = (c.sndUna - c.iss) | 0
    t.write(8000)
    t.outbox.length = 0
    for (let i = 0; i < 3; i++) t.recv(`A 1001:1001 ack ${base}`)
    expect(t.stack.stats.tcpFastRetransmits).toBe(1)
  })
})

describe('zero window', () => {
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

test('a turn that comes late measures nothing and retransmits nothing: the process stood still, not the network', () => {
  const t = new Script().establish('mss 1000')
  t.write(10)
  t.sent('PA 1:11')
  const late = t.clock.now + 30_000
  const rx = new PacketBatch(t.stack.slabs.take(), 4)
  t.stack.input(rx, late, true)
  t.stack.expire(late)
  expect(t.stack.stats.tcpTimeouts).toBe(0)
  expect(t.stack.nextTimeout()).toBe(late + 200)
})

test('writable is told once half of a full queue is free', () => {
  const t = new Script({ stack: { sndBuf: 4000 } }).establish('mss 1000')
  t.write(4000)
  expect(t.connection.sendRoom).toBe(0)
  t.recv('A 1001:1001 ack 2001')
  expect(t.events).toContain('writable')
})
