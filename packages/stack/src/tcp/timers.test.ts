import { describe, expect, test } from 'vitest'
import { Pair } from '../testing/pair.js'
import { Script } from '../testing/script.js'
import { OPEN } from './states.js'

const RTT = 400

/** A path whose round trip of 400 ms is known well. */
function far(): Script {
  const t = new Script({ stack: { congestion: 'newreno' } })
  t.recv('S 1000:1000 win 65535 <mss 1000,sackOK>')
  t.advance(RTT)
  t.recv('A 1001:1001 ack 1')
  for (let end = 1001; end <= 20_001; end += 1000) {
    t.write(1000)
    t.advance(RTT)
    t.recv(`A 1001:1001 ack ${end}`)
  }
  t.drainSent()
  return t
}

/** Runs for `seconds`, and the peer answers every question about it. */
function answering(t: Script, seconds: number, answer: string): void {
  for (let i = 0; i < seconds; i++) {
    t.advance(1000)
    for (const line of t.drainSent()) if (/^A \d+:/.test(line)) t.recv(answer)
  }
}

test('RFC 8985 §7.3: on a long path the tail loss probe is due with the timeout; it goes first and has a timeout for its answer', () => {
  const t = far()
  t.write(3000)
  t.drainSent()
  const { rto, srtt } = t.connection.rtt
  expect(2 * srtt).toBeGreaterThan(rto)
  t.advance(rto)
  t.sent('PA 22001:23001')
  t.advance(rto - 1)
  t.sentNothing()
  expect([t.connection.phase, t.stack.stats.tcpLossProbes, t.stack.stats.tcpTimeouts]).toEqual([OPEN, 1, 0])
})

test('RFC 6298 (5.3): an acknowledgment starts the timer by the RTO it leads to, not by the one that had backed off', () => {
  const t = far()
  t.write(9000)
  t.advance(20_000)
  expect(t.connection.rtt.rto).toBeGreaterThan(10_000)
  t.recv('A 1001:1001 ack 22001')
  expect(t.connection.rexmitAt - t.clock.now).toBe(t.connection.rtt.rto)
  expect(t.connection.rtt.rto).toBeLessThan(1000)
})

describe('a process that stands still', () => {
  /** The text's first copy is lost. */
  function lossy() {
    const pair = new Pair({ link: { delayMs: 5 } })
    const stream = pair.connect()
    pair.until(() => stream.connected)
    let lost = 0
    pair.ab.drop = packet => packet.length > 100 && lost++ === 0
    stream.write(new Uint8Array(1000))
    pair.clock.advance(1)
    const arrived = () => pair.b.accepted[0]?.receivedBytes === 1000
    return { pair, stream, arrived }
  }
  test('again and again, late for each of its deadlines, sends what was lost all the same', () => {
    const { pair, arrived } = lossy()
    const busy = () => {
      pair.a.freeze(300)
      pair.clock.after(301, busy)
    }
    busy()
    expect(pair.until(arrived, 5000)).toBe(true)
  })
  test('longer than userTimeout: that time the peer had not let pass', () => {
    const { pair, stream, arrived } = lossy()
    pair.a.freeze(130_000)
    expect(pair.until(arrived, 140_000)).toBe(true)
    expect(stream.error).toBe('')
  })
  test('and whose peer is gone ends in ETIMEDOUT, however late it always is', () => {
    const { pair, stream } = lossy()
    pair.ab.drop = () => true
    const busy = () => {
      pair.a.freeze(300)
      if (!stream.gone) pair.clock.after(301, busy)
    }
    busy()
    expect(pair.until(() => stream.gone, 400_000)).toBe(true)
    expect(stream.error).toBe('ETIMEDOUT')
  })
})

test('RFC 5681 §4.1: a pause counts once, though a shut window has us look at it many times', () => {
  const t = new Script().establish('mss 1000')
  const { congestion } = t.connection
  let idle = 0
  const onIdle = congestion.onIdle.bind(congestion)
  congestion.onIdle = (ms, rto) => {
    idle += ms
    onIdle(ms, rto)
  }
  t.write(10_000)
  t.recv('A 1001:1001 ack 10001 win 0')
  t.write(20_000)
  const from = t.clock.now
  answering(t, 200, 'A 1001:1001 ack 10001 win 0')
  for (let i = 0; i < 50; i++) t.recv('A 1001:1001 ack 10001 win 0')
  expect(idle).toBeGreaterThan(0)
  expect(idle).toBeLessThanOrEqual(t.clock.now - from)
})
