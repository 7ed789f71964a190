import { describe, expect, test } from 'vitest'
import { PacketBatch } from '../memory/packet-batch.js'
import { Pair } from '../testing/pair.js'
import { Script } from '../testing/script.js'

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
  test.each([
    { minRtt: Number.POSITIVE_INFINITY, srtt: 0, cwnd: 1_000_000, largest: 65_000, why: 'no round trip is known' },
    { minRtt: 0.1, srtt: 400, cwnd: 100_000, largest: 65_000, why: 'a near path, whatever waits on it now' },
    { minRtt: 1.1, srtt: 10, cwnd: 100_000, largest: 26_000, why: 'two halvings of a near path’s, and 10 kB in a millisecond' },
    { minRtt: 100, srtt: 100, cwnd: 700_000, largest: 7000, why: 'a far path: 7 kB in a millisecond' },
    { minRtt: 100, srtt: 100, cwnd: 100_000, largest: 2000, why: 'a far and slow path: two segments' },
  ])('super-segments are of the path’s rate: $why', ({ minRtt, srtt, cwnd, largest }) => {
    const t = new Script({ offload: true }).establish('mss 1000,wscale 7', 65_535)
    t.recv('A 1001:1001 ack 1 win 1000') // scaled: 128 kB
    const c = t.connection
    Object.assign(c.rtt, { measured: true, srtt })
    c.rack.minRtt = minRtt
    c.congestion.cwnd = cwnd
    t.write(80_000)
    const lengths = t.drainSent().map(line => Number(/(\d+):(\d+)/.exec(line)?.[2]) - Number(/(\d+):/.exec(line)?.[1]))
    expect(lengths[0]).toBe(largest)
    expect(lengths.reduce((sum, length) => sum + length)).toBe(80_000)
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

test('a peer that does not scale its window gets one segment a packet, whatever the device cuts', () => {
  const t = new Script({ offload: true }).establish('mss 1000')
  t.write(2500)
  t.sent('A 1:1001 ack 1001')
  t.sent('A 1001:2001 ack 1001')
  t.sent('PA 2001:2501 ack 1001')
})

test('who has much to send gives way behind four rows: in one batch connections take turns', () => {
  const pair = new Pair({ device: { offload: false } })
  const streams = [pair.connect(), pair.connect()]
  pair.until(() => streams.every(stream => stream.connected))
  for (const { connection } of streams) connection.send(new Uint8Array(14_480), 0, 14_480, null) // ten segments: the first window
  const tx = PacketBatch.forSending(256)
  pair.a.stack.poll(pair.clock.now, tx)
  const ports = Array.from({ length: tx.count }, (_, row) => tx.slab.view.getUint16(tx.start[row] + 20))
  const [one, other] = streams.map(({ connection }) => connection.localPort)
  const turn = (port: number, rows: number) => Array<number>(rows).fill(port)
  expect(ports).toEqual([turn(one, 4), turn(other, 4), turn(one, 4), turn(other, 4), turn(one, 2), turn(other, 2)].flat())
})

test('writable is told once half of a full queue is free', () => {
  const t = new Script({ stack: { sndBuf: 4000 } }).establish('mss 1000')
  t.write(4000)
  expect(t.connection.sendRoom).toBe(0)
  t.recv('A 1001:1001 ack 2001')
  expect(t.events).toContain('writable')
})

test('the send buffer grows with the congestion window, but on a path without length no further than 1 MiB', () => {
  const t = new Script().establish('mss 1000')
  const c = t.connection
  expect(c.sndLimit).toBe(128 * 1024)
  c.congestion.cwnd = 1 << 29
  expect(c.sndLimit).toBe(1 << 20)
  c.rack.minRtt = 10
  expect(c.sndLimit).toBe((1 << 20) + 1_000_000)
  c.rack.minRtt = 200
  expect(c.sndLimit).toBe(4 << 20)
})

test('connections that send at the same time share 2 MiB of send buffers, no less than 256 KiB each; one that has sent all counts no more', () => {
  const t = new Script().establish('mss 1000')
  const c = t.connection
  c.congestion.cwnd = 1 << 29
  t.write(3000)
  expect(c.tcp.senders).toBe(1)
  t.write(2000)
  expect(c.tcp.senders).toBe(1)
  c.tcp.senders += 3
  expect(c.sndLimit).toBe((2 << 20) / 4)
  c.tcp.senders += 96
  expect(c.sndLimit).toBe(256 * 1024)
  c.tcp.senders = 20_000 // stalled ones: 256 MiB are the bound of all
  expect(c.sndLimit).toBe(16 * 1024)
  expect(c.fetchSize(65_536)).toBe(16 * 1024 - 5000)
  c.tcp.senders = 4096
  expect(c.sndLimit).toBe(64 * 1024)
  c.tcp.senders = 1
  expect(c.fetchSize(65_536)).toBe(65_536)
  t.recv('A 1001:1001 ack 3001')
  expect(c.tcp.senders).toBe(1)
  t.recv('A 1001:1001 ack 5001')
  expect(c.tcp.senders).toBe(0)
  t.write(1000)
  t.recv('R 1001:1001')
  expect(c.tcp.senders).toBe(0)
})
