import { describe, expect, test } from 'vitest'
import { PacketBatch } from '../memory/packet-batch.js'
import { Pair } from '../testing/pair.js'
import { Script } from '../testing/script.js'
import { IpPacket } from '../wire/ip.js'
import { Segment } from '../wire/tcp.js'
import { TimeWaitEntry, TimeWaitTable } from './time-wait.js'

describe('receive budget', () => {
  /** `n` connections to a receiver that reads nothing; each is sent `bytes`. */
  const fill = (n: number, bytes: number, b: ConstructorParameters<typeof Pair>[0] = {}) => {
    const pair = new Pair({ ...b, link: { delayMs: 1 } })
    pair.b.onrequest = stream => {
      stream.reading = false
      stream.connection.accept()
    }
    for (let i = 0; i < n; i++) pair.connect().write(new Uint8Array(bytes))
    pair.until(() => false, 2000)
    return pair
  }
  test('it is a bound, whatever the windows have promised: a quarter beyond it, and a segment', () => {
    const pair = fill(20, 60_000, { b: { rcvBuf: 64_000, receiveBudget: 200_000 } })
    const { tcp, stats } = pair.b.stack
    expect(tcp.receiveQueued).toBeGreaterThan(200_000)
    expect(tcp.receiveQueued).toBeLessThanOrEqual(250_000 + 65_535)
    expect(stats.tcpPruned).toBeGreaterThan(0)
    for (const stream of pair.b.accepted) stream.reading = true
    for (const stream of pair.b.accepted) stream.drain()
    expect(pair.until(() => pair.b.accepted.every(s => s.receivedBytes === 60_000))).toBe(true)
  })
  test('who reads goes on, two segments at a time, while those who do not hold the budget', () => {
    const pair = fill(4, 200_000, { b: { rcvBuf: 100_000, receiveBudget: 150_000 } })
    const [reader] = pair.b.accepted
    expect(pair.b.stack.tcp.overBudget).toBe(true)
    reader.reading = true
    reader.drain()
    for (const stream of pair.b.accepted.slice(1)) stream.connection.tcp.receiveQueued += 200_000 // however much that is
    expect(pair.until(() => reader.receivedBytes === 200_000)).toBe(true)
  })
  test('windows held back are opened as soon as the budget allows it, not at the next probe; so many in a poll', () => {
    const pair = fill(200, 20_000, { b: { rcvBuf: 10_000, receiveBudget: 4_000_000 } })
    const { tcp } = pair.b.stack
    const [hog, ...others] = pair.b.accepted
    tcp.receiveQueued += 10_000_000 // held by somebody else
    for (const stream of others) stream.drain()
    pair.until(() => false, 0)
    const closed = () => others.filter(({ connection: c }) => ((c.rcvAdv - c.rcvNxt) | 0) < 5000).length
    expect(closed()).toBe(199)
    for (const stream of others) stream.reading = true
    tcp.receiveQueued -= 10_000_000
    const tx = PacketBatch.forSending(256)
    pair.b.stack.poll(pair.clock.now, tx)
    expect(tx.count).toBe(64)
    tx.reset()
    hog.drain()
    expect(pair.until(() => closed() === 0, 0)).toBe(true)
  })
})

describe('an orphan', () => {
  test('does not live on a peer that answers its zero-window probes for ever: 8 (Linux tcp_orphan_retries)', () => {
    const t = new Script().establish('mss 1000', 2000)
    t.write(5000)
    t.drainSent()
    t.recv('A 1001:1001 ack 2001 win 0')
    for (let i = 0; i < 40; i++) {
      t.recv('A 1001:1001 ack 2001 win 0')
      t.advance(60_000)
    }
    expect(t.state).toBe('ESTABLISHED') // while the application is there, it is its affair
    t.close()
    t.drainSent()
    let answered = 0
    for (; t.state !== 'CLOSED' && answered < 100; answered++) {
      t.recv('A 1001:1001 ack 2001 win 0')
      t.advance(60_000)
    }
    expect(answered).toBeLessThanOrEqual(10)
    expect(t.drainSent().at(-1)).toContain('R')
    expect(t.stack.tcp.flows.size).toBe(0)
  })
  test('goes on as long as the window opens now and then', () => {
    const t = new Script().establish('mss 1000', 2000)
    t.write(20_000)
    t.close()
    t.drainSent()
    let acked = 2001
    while (acked < 20_001) {
      t.recv(`A 1001:1001 ack ${acked} win 0`)
      t.advance(20_000)
      t.recv(`A 1001:1001 ack ${acked} win 2000`)
      t.drainSent()
      acked += 2000
    }
    t.recv('A 1001:1001 ack 20001')
    t.recv('A 1001:1001 ack 20002')
    expect(t.state).toBe('FIN-WAIT-2')
  })
})

test('a peer that repeats its FIN keeps its one row of TIME-WAIT, and puts nobody out', () => {
  const t = new Script({ stack: { maxTimeWait: 3 } }).establish('mss 1000')
  const { timeWait } = t.stack.tcp
  timeWait.key.fill(5)
  timeWait.add(new TimeWaitEntry(), t.clock.now + 60_000) // somebody else's
  t.end()
  t.sent('FA 1:1')
  t.recv('FA 1001:1001 ack 2')
  t.sent('A 2:2 ack 1002')
  for (let i = 0; i < 10; i++) {
    t.advance(100)
    t.recv('FA 1001:1001 ack 2')
    t.sent('A 2:2 ack 1002')
  }
  expect(timeWait.size).toBe(2)
  t.advance(59_500) // the other's time is over; its own began anew
  expect(timeWait.size).toBe(1)
  t.recv('FA 1001:1001 ack 2')
  t.sent('A 2:2 ack 1002')
  t.advance(60_000)
  expect(timeWait.size).toBe(0)
})

test('entries renewed at random leave neither early nor later than one time too late, and hold up nobody', () => {
  const table = new TimeWaitTable(10, 1, 2)
  const entry = new TimeWaitEntry()
  const at = (n: number) => table.key.set([n, 0, 0, 0, 0, 0, 0, 0, 0])
  for (let n = 0; n < 10; n++) {
    at(n)
    entry.sndNxt = n
    table.add(entry, 1000 + n)
  }
  for (const n of [0, 3, 9]) {
    at(n)
    table.renew(1900)
  }
  table.expire(1009)
  expect(table.size).toBe(3)
  for (const n of [0, 3, 9]) {
    at(n)
    expect(table.find(entry) && entry.sndNxt).toBe(n)
  }
  at(20)
  table.add(entry, 2009)
  table.expire(table.nextExpiry)
  expect(table.size).toBe(1)
  table.expire(2009)
  expect([table.size, table.nextExpiry]).toEqual([0, Infinity])
})

describe('half-open connections', () => {
  test('they count as pending ones do: beyond maxPending a SYN is dropped, until they answer, end, or are silent for 2 s', () => {
    const t = new Script({ stack: { maxPending: 1, synCookies: false } })
    const { handshake } = t.stack.tcp
    t.recv('S 1000:1000 <mss 1460>')
    t.sent('SA 0:0')
    expect(handshake.halfOpen.size).toBe(1)
    expect(t.stack.connect([0, 0, 0xffff, 1], 1, [0, 0, 0xffff, 2], 2)).not.toBe(null) // ours are not theirs
    expect(handshake.halfOpen.size).toBe(1)
    const other = Object.assign(new IpPacket(), { s2: 0xffff, s3: 9, d2: 0xffff, d3: 8 })
    handshake.syn(other, new Segment(), t.clock.now)
    expect(t.stack.stats.drops.synOverflow).toBe(1)
    t.recv('A 1001:1001 ack 1')
    expect(handshake.halfOpen.size).toBe(0)
    t.recv('RA 1001:1001 ack 1')
    t.drainSent()
    t.recv('S 9000:9000 <mss 1460>')
    t.sent('SA 0:0')
    const spoofed = t.connection
    t.advance(1900)
    handshake.syn(other, new Segment(), t.clock.now)
    expect(t.stack.stats.drops.synOverflow).toBe(2)
    t.advance(200)
    t.stack.tcp.flows.setKey(0, 0, 0xffff, 9, 0, 0, 0xffff, 8, 0, 0)
    handshake.syn(other, new Segment(), t.clock.now) // the silent one makes room
    expect(spoofed.error).toBe('ECONNABORTED')
    expect([handshake.halfOpen.size, handshake.pending, t.stack.stats.drops.synOverflow]).toEqual([0, 1, 2])
    t.stack.tcp.flows.setKey(0, 0, 0xffff, 9, 0, 0, 0xffff, 8, 0, 0)
    expect(t.stack.tcp.flows.find()).toBeDefined() // under its own key
  })
})

describe('challenge ACKs (RFC 5961 §7)', () => {
  test.each([
    ['a SYN', 'S 5000:5000'],
    ['a RST beside RCV.NXT', 'R 1500:1500'],
    ['an ACK of what was never sent', 'A 1001:1001 ack 900000'],
    ['an empty segment out of the window', 'A 900000:900000 ack 1'],
  ])('%s is answered ten times in 5 s, not more', (_, line) => {
    const t = new Script().establish('mss 1000')
    for (let i = 0; i < 30; i++) t.recv(line)
    expect(t.drainSent().length).toBe(10)
    expect(t.stack.stats.tcpChallengesWithheld).toBe(20)
    t.advance(5000)
    t.recv(line)
    t.sent('A 1:1 ack 1001')
  })
  test('old text is no challenge: it is acknowledged each time, for our ACK was lost', () => {
    const t = new Script().establish('mss 1000')
    t.recv('PA 1001:1101 ack 1')
    for (let i = 0; i < 30; i++) t.recv('PA 1001:1051 ack 1')
    expect(t.drainSent().length).toBe(30)
  })
})

test('a full batch: duplicate ACKs that take the last row leave the retransmission to the next one', () => {
  const t = new Script().establish('mss 1000')
  t.write(3000)
  t.drainSent()
  t.device.blockWrites()
  for (let i = 0; i < 12; i++) t.recv(`PA ${1101 + i * 10}:${1111 + i * 10} ack 1`)
  for (let i = 0; i < 3; i++) t.recv('A 1001:1001 ack 1')
  expect(t.connection.rexmitDue).toBe(true)
  const tx = PacketBatch.forSending(8)
  const small: number[] = []
  for (let more = true; more; ) {
    more = t.stack.poll(t.clock.now, tx)
    small.push(tx.count)
    tx.reset()
  }
  expect(small[0]).toBe(8)
  expect(t.stack.stats.tcpRetransmits).toBe(1)
})

test('all connections reset at once: every peer is told, not the first 512 only', () => {
  const pair = new Pair()
  const streams = Array.from({ length: 700 }, () => pair.connect())
  pair.until(() => streams.every(s => s.connected))
  for (const stream of pair.b.accepted) stream.connection.reset()
  pair.b.driver.wake()
  pair.until(() => false, 100)
  expect(streams.filter(s => s.error === 'ECONNRESET').length).toBe(700)
  expect(pair.b.stack.stats.drops.replyOverflow).toBe(0)
})

test('idle connections have no deadline: a thousand of them, as a hundred thousand, cost no CPU', () => {
  const pair = new Pair()
  const streams = Array.from({ length: 1000 }, () => pair.connect())
  for (const stream of streams) stream.write(new Uint8Array(100))
  expect(pair.until(() => pair.b.accepted.length === 1000 && pair.b.accepted.every(s => s.receivedBytes === 100))).toBe(true)
  pair.clock.advance(1000)
  for (const { stack } of [pair.a, pair.b]) {
    expect(stack.tcp.flows.size).toBe(1000)
    expect(stack.nextTimeout()).toBe(Infinity)
    expect((stack as unknown as { heap: { size: number } }).heap.size).toBe(0)
  }
  pair.clock.advance(2000) // and the drivers have looked once more whether the burst is over
  expect(pair.clock.next()).toBe(Infinity) // nor does a driver's timer tick
})
