import { describe, expect, test } from 'vitest'
import type { StackOptions } from '../options.js'
import { Script } from '../testing/script.js'
import type { TcpConnection } from './connection.js'
import { Rack } from './rack.js'
import { LOSS, OPEN, RECOVERY } from './states.js'

const RTT = 100
const PEER = 'mss 1000,sackOK'

/** Ten segments of 1,000 bytes are in flight on a path of 100 ms, sent at 0 ms of the script's time from here on. */
function flight(options: { segments?: number; peer?: string; stack?: StackOptions } = {}): Script {
  const { segments = 10, peer = PEER, stack = {} } = options
  const t = new Script({ stack: { congestion: 'newreno', ...stack } })
  t.recv(`S 1000:1000 win 65535 <${peer}>`)
  t.sent('SA 0:0')
  t.advance(RTT)
  t.recv(`A 1001:1001 ack 1${stamp(peer, RTT)}`)
  t.write(segments * 1000)
  t.drainSent()
  t.advance(RTT)
  return t
}

const stamp = (peer: string, ecr: number): string => (peer.includes('TS') ? ` <TS val ${ecr + 1} ecr ${ecr}>` : '')
const sent = (t: Script): string[] => t.drainSent().map(line => /\S+ \d+:\d+/.exec(line)?.[0] ?? line)

describe('RFC 8985 §6: losses are seen by what overtook them', () => {
  test('three segments held ahead of a gap, nothing ever reordered: it is lost at once', () => {
    const t = flight()
    t.recv('A 1001:1001 ack 1 <sack 1001:3001>')
    expect(t.connection.phase).toBe(OPEN)
    expect(sent(t)).toEqual([])
    t.recv('A 1001:1001 ack 1 <sack 1001:4001>')
    expect(t.connection.phase).toBe(RECOVERY)
    expect(sent(t)[0]).toBe('A 1:1001')
  })
  test('fewer: a quarter of the least round trip later', () => {
    const t = flight()
    t.recv('A 1001:1001 ack 1 <sack 1001:2001>')
    t.advance(RTT / 4 - 1)
    expect(sent(t)).toEqual([])
    t.advance(1)
    expect(sent(t)).toEqual(['A 1:1001'])
    expect(t.connection.phase).toBe(RECOVERY)
  })
  test('and if it comes before that, it was late, not lost', () => {
    const t = flight()
    t.recv('A 1001:1001 ack 1 <sack 1001:2001>')
    t.advance(10)
    t.recv('A 1001:1001 ack 2001')
    expect(t.connection.rack.reorderingSeen).toBe(true)
    t.advance(60)
    expect(sent(t)).toEqual([])
    expect(t.connection.congestion.ssthresh).toBe(1 << 30)
  })
  test('once reordering was seen, three segments prove nothing: time does', () => {
    const t = flight()
    t.recv('A 1001:1001 ack 1 <sack 1001:2001>')
    t.recv('A 1001:1001 ack 2001')
    t.drainSent()
    t.recv('A 1001:1001 ack 2001 <sack 3001:8001>')
    expect(t.connection.phase).toBe(OPEN)
    t.advance(RTT / 4)
    expect(sent(t)).toContain('A 2001:3001')
  })
  test('every gap at once, in their order, and nothing the peer holds', () => {
    const t = flight()
    t.recv('A 1001:1001 ack 1 <sack 1001:2001,sack 3001:4001,sack 5001:10001>'.replaceAll(',sack', ''))
    t.advance(RTT)
    t.recv('A 1001:1001 ack 1001 <sack 1001:2001 3001:4001 5001:10001>')
    t.advance(RTT)
    expect(sent(t).filter(line => !line.includes('10001'))).toEqual(['A 1:1001', 'A 2001:3001', 'A 4001:5001'])
  })
  test('the newest block comes first (RFC 2018 §4): that is no reordering', () => {
    const t = flight()
    t.recv('A 1001:1001 ack 1 <sack 3001:10001 1001:2001>')
    expect(t.connection.rack.reorderingSeen).toBe(false)
    expect(sent(t)).toEqual(['A 1:1001', 'A 2001:3001'])
  })
  test('what was sent again and overtaken again is lost again', () => {
    const t = flight()
    t.recv('A 1001:1001 ack 1 <sack 1001:5001>')
    expect(sent(t)).toContain('A 1:1001')
    t.write(3000)
    t.advance(RTT)
    t.recv('A 1001:1001 ack 1 <sack 1001:10001>')
    t.drainSent()
    t.advance(RTT)
    t.recv('A 1001:1001 ack 1 <sack 1001:13001>') // text sent behind the second copy is here
    t.advance(RTT / 2)
    expect(sent(t)).toContain('A 1:1001')
    expect(t.stack.stats.tcpTimeouts).toBe(0)
  })
  test('a block of data never sent, an empty and an inverted one say nothing', () => {
    const t = flight()
    t.recv('A 1001:1001 ack 1 <sack 10001:20001>')
    t.recv('A 1001:1001 ack 1 <sack 5001:5001>')
    t.recv('A 1001:1001 ack 1 <sack 9001:4001>')
    expect(t.connection.scoreboard.sacked).toBe(0)
  })
})

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

describe('RFC 6937: the window comes down in proportion to what arrives', () => {
  test('never more than was delivered is sent, and half of the flight is out at the end', () => {
    const t = flight({ segments: 10 })
    t.write(40_000)
    let out = 0
    for (let i = 2; i <= 10; i++) {
      t.recv(`A 1001:1001 ack 1 <sack 1001:${i * 1000 + 1}>`)
      out += sent(t).length
      if (t.connection.phase === RECOVERY) expect(out).toBeLessThanOrEqual(i)
    }
    expect(t.connection.congestion.ssthresh).toBeLessThanOrEqual(6000)
    t.advance(RTT)
    t.recv(`A 1001:1001 ack ${(t.connection.sndNxt - t.connection.iss) | 0}`)
    expect(t.connection.phase).toBe(OPEN)
    expect(t.connection.congestion.cwnd).toBe(t.connection.congestion.ssthresh)
  })
  test('a segment for every two delivered, from the first on: not a pause until half is out', () => {
    const t = flight({ segments: 1 })
    t.recv('A 1001:1001 ack 1001')
    t.connection.congestion.cwnd = 40_000
    t.write(60_000)
    expect(t.drainSent().length).toBe(40)
    t.advance(RTT)
    t.recv('A 1001:1001 ack 1001 <sack 2001:5001>') // recovery
    t.drainSent()
    for (let held = 7; held <= 25; held += 2) {
      t.recv(`A 1001:1001 ack 1001 <sack 2001:${held * 1000 + 1}>`)
      expect(sent(t).length, `${held} held`).toBe(1)
    }
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

describe('RFC 8985 §7: the tail loss probe', () => {
  test('two round trips of silence and the peer’s delayed ACK later the last segment goes again, with no loss assumed', () => {
    const t = flight()
    t.advance(RTT + 49)
    expect(sent(t)).toEqual([])
    t.advance(1)
    expect(sent(t)).toEqual(['PA 9001:10001'])
    expect([t.connection.phase, t.stack.stats.tcpLossProbes, t.stack.stats.tcpTimeouts]).toEqual([OPEN, 1, 0])
  })
  test('what it brings to light is repaired without a timeout', () => {
    const t = flight()
    t.advance(RTT + 50)
    t.drainSent()
    t.advance(RTT)
    t.recv('A 1001:1001 ack 7001 <sack 9001:10001>')
    t.advance(RTT / 4)
    expect(sent(t)).toEqual(['A 7001:8001', 'A 8001:9001'])
    expect(t.stack.stats.tcpTimeouts).toBe(0)
  })
  test('text that waits for the window goes instead, one segment beyond the congestion window', () => {
    const t = flight({ segments: 20 })
    t.advance(RTT + 50)
    expect(sent(t)).toEqual(['A 10001:11001'])
  })
  test('a DSACK tells that it was needless; a window is reduced for it only if it filled the hole itself', () => {
    const t = flight()
    t.advance(RTT + 50)
    t.drainSent()
    t.recv('A 1001:1001 ack 10001 <sack 9001:10001>')
    expect(t.connection.congestion.ssthresh).toBe(1 << 30)
    const u = flight({ segments: 8 })
    u.advance(RTT + 50)
    u.write(1000)
    u.drainSent()
    u.recv('A 1001:1001 ack 9001')
    expect(u.connection.congestion.ssthresh).toBe(9000 / 2)
  })
  test('one probe a flight, then the timer', () => {
    const t = flight()
    t.advance(2000)
    expect([t.stack.stats.tcpLossProbes, t.stack.stats.tcpTimeouts > 0]).toEqual([1, true])
  })
  test('a peer without SACK gets none', () => {
    const t = flight({ peer: 'mss 1000' })
    t.advance(RTT + 60)
    expect(t.stack.stats.tcpLossProbes).toBe(0)
  })
})

describe('taken back: what was no loss leaves the window as it was', () => {
  const window = (t: Script) => [t.connection.congestion.cwnd, t.connection.congestion.ssthresh]

  test('Eifel (RFC 3522): the ACK answers what was sent before anything went again', () => {
    const peer = `${PEER},TS val 1 ecr 0`
    const t = flight({ peer })
    const before = window(t)
    t.recv('A 1001:1001 ack 1 <TS val 210 ecr 100,sack 1001:5001>')
    expect(t.connection.phase).toBe(RECOVERY)
    t.drainSent()
    t.advance(20)
    t.recv('A 1001:1001 ack 5001 <TS val 215 ecr 100>')
    expect(t.connection.phase).toBe(OPEN)
    expect(window(t)).toEqual(before)
    expect(t.stack.stats.tcpUndos).toBe(1)
  })
  test('DSACK (RFC 2883, RFC 4015): all that went again arrived twice', () => {
    const t = flight()
    const before = window(t)
    t.recv('A 1001:1001 ack 1 <sack 1001:5001>')
    t.drainSent()
    t.advance(20)
    t.recv('A 1001:1001 ack 10001')
    expect(t.connection.phase).toBe(OPEN)
    expect(window(t)[1]).toBeLessThan(before[1])
    t.recv('A 1001:1001 ack 10001 <sack 1:1001>')
    expect(window(t)[1]).toBe(before[1])
    expect(t.connection.congestion.cwnd).toBeGreaterThanOrEqual(before[0])
  })
  test('F-RTO (RFC 5682): behind a timeout what was never sent again arrives', () => {
    const t = flight({ peer: 'mss 1000,sackOK', segments: 10 })
    const before = window(t)
    t.advance(450)
    expect(t.connection.phase).toBe(LOSS)
    t.drainSent()
    t.recv('A 1001:1001 ack 3001')
    expect(t.connection.phase).toBe(OPEN)
    expect(window(t)).toEqual(before)
    expect(t.stack.stats.tcpSpuriousTimeouts).toBe(1)
  })
  test('F-RTO: the first ACK covers the one that went again only: new text goes, and its echo decides', () => {
    const t = flight()
    t.write(20_000)
    t.advance(900)
    t.drainSent()
    expect(t.connection.phase).toBe(LOSS)
    const to = (t.connection.sndNxt - t.connection.iss) | 0
    t.recv('A 1001:1001 ack 1001')
    expect(sent(t)[0]).toBe(`A ${to}:${to + 1000}`)
    t.recv(`A 1001:1001 ack 1001 <sack ${to}:${to + 1000}>`)
    expect(t.connection.phase).toBe(LOSS) // it overtook: the rest is lost indeed
    expect(sent(t)[0]).toBe('A 1001:2001')
  })
  test('F-RTO without SACK: what waited for the copy proves nothing; what comes behind it does (RFC 5682 §2.1)', () => {
    const t = flight({ peer: 'mss 1000' })
    t.write(10_000)
    t.advance(900)
    t.drainSent()
    t.recv('A 1001:1001 ack 5001') // the first was lost, the others had arrived
    expect(t.connection.phase).toBe(LOSS)
    expect(sent(t)).toEqual(['A 10001:11001', 'A 11001:12001'])
    t.recv('A 1001:1001 ack 5001')
    expect(t.connection.phase).toBe(LOSS)
    expect(sent(t)[0]).toBe('A 5001:6001')
    const u = flight({ peer: 'mss 1000' })
    u.advance(900)
    u.drainSent()
    u.recv('A 1001:1001 ack 1001')
    u.recv('A 1001:1001 ack 2001')
    expect([u.connection.phase, u.stack.stats.tcpSpuriousTimeouts]).toEqual([LOSS, 0]) // nothing new could be sent, so nothing was proved
  })
  test('F-RTO (2b): the window lets no new text out, so the old goes at once, not at the next timeout', () => {
    const t = new Script({ stack: { congestion: 'newreno' } }).establish('mss 1000,sackOK', 10_000)
    t.write(20_000)
    t.advance(1000)
    expect(t.connection.phase).toBe(LOSS)
    t.drainSent()
    t.recv('A 1001:1001 ack 1001 win 9000')
    t.sent('A 1001:2001')
  })
  test('with undo off none of it is taken back', () => {
    const t = flight({ stack: { undo: false } })
    t.recv('A 1001:1001 ack 1 <sack 1001:5001>')
    t.recv('A 1001:1001 ack 10001')
    t.recv('A 1001:1001 ack 10001 <sack 1:1001>')
    expect([t.stack.stats.tcpUndos, t.connection.congestion.ssthresh]).toEqual([0, 5000])
  })
  test('a true loss stays one', () => {
    const t = flight({ peer: `${PEER},TS val 1 ecr 0` })
    t.recv('A 1001:1001 ack 1 <TS val 210 ecr 100,sack 1001:9001>')
    t.drainSent()
    t.advance(RTT)
    t.recv('A 1001:1001 ack 9001 <TS val 310 ecr 200>')
    expect([t.stack.stats.tcpUndos, t.connection.congestion.ssthresh]).toEqual([0, 9880 / 2])
  })
})

describe('the timer', () => {
  test('RFC 8985 §6.3: it takes the first for lost, and what is out as long; what left a moment ago is not', () => {
    const t = flight({ segments: 5 })
    const c = t.connection
    t.recv('A 1001:1001 ack 1 <sack 4001:5001>') // no probe beside that; the gap's own time is not over
    t.write(1000)
    t.drainSent()
    c.rexmitAt = t.clock.now
    c.wake(t.clock.now)
    expect([c.phase, c.scoreboard.lost, c.scoreboard.sacked]).toEqual([LOSS, 4000, 1000]) // of 6000
  })
  test('RFC 5681 (4): one loss lowers ssthresh once, however often its timer fires', () => {
    const t = flight()
    t.advance(700)
    const { ssthresh } = t.connection.congestion
    t.advance(10_000)
    expect(t.stack.stats.tcpTimeouts).toBeGreaterThan(2)
    expect(t.connection.congestion.ssthresh).toBe(ssthresh)
  })
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

describe('RFC 5681 §3.2 (2), RFC 6675 §5 (4.2): what limited transmit sent does not count in ssthresh', () => {
  test.each([
    ['with SACK', 'mss 1000,sackOK', (i: number) => ` <sack 1001:${i}001>`],
    ['without', 'mss 1000', () => ''],
  ])('%s', (_, peer, sack) => {
    const t = flight({ segments: 20, peer })
    for (let i = 2; i <= 4; i++) t.recv(`A 1001:1001 ack 1${sack(i)}`)
    expect(t.drainSent().length).toBe(3) // two new ones, and the first again
    expect(t.connection.congestion.ssthresh).toBe(5000)
  })
})
