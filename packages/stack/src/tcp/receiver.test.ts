import { describe, expect, test } from 'vitest'
import type { Block } from '../memory/block-pool.js'
import { ByteRange, ByteRanges } from '../memory/byte-queue.js'
import { PacketBatch } from '../memory/packet-batch.js'
import type { Owner } from '../memory/slab.js'
import { Prng } from '../testing/prng.js'
import { Script } from '../testing/script.js'
import { seqAdd } from './seq.js'

describe('acknowledgments', () => {
  test('one segment: after 40 ms; unless the answer carries it', () => {
    const t = new Script().establish('mss 1000')
    t.recv('PA 1001:1101 ack 1')
    t.advance(39)
    t.sentNothing()
    t.advance(1)
    t.sent('A 1:1 ack 1101')
    t.recv('PA 1101:1201 ack 1')
    t.write(5)
    t.sent('PA 1:6 ack 1201')
    t.advance(100)
    t.sentNothing()
  })
  test('of a FIN, too, with what came before it: ours carries it', () => {
    const t = new Script().establish('mss 1000')
    t.recv('PA 1001:1101 ack 1')
    t.advance(30)
    t.recv('FA 1101:1101 ack 1')
    t.advance(9)
    t.sentNothing()
    t.advance(1)
    t.sent('A 1:1 ack 1102')
    const quick = new Script().establish('mss 1000')
    quick.recv('FPA 1001:1101 ack 1')
    quick.advance(39)
    quick.end()
    quick.sent('FA 1:1 ack 1102')
    quick.advance(100)
    quick.sentNothing()
  })
  test('of a FIN that came ahead of a gap: at once when the gap is filled (RFC 5681 §4.2), also by a segment with the FIN again', () => {
    const t = new Script().establish('mss 1000')
    t.recv('FA 1011:1011 ack 1')
    t.sent('A 1:1 ack 1001')
    t.recv('FPA 1001:1011 ack 1')
    t.sent('A 1:1 ack 1012')
    expect(t.state).toBe('CLOSE-WAIT')
  })
  test('every second full segment at once (RFC 9293 §3.8.6.3)', () => {
    const t = new Script().establish('mss 1000')
    t.recv('A 1001:2001 ack 1')
    t.sentNothing()
    t.recv('A 2001:3001 ack 1')
    t.sent('A 1:1 ack 3001')
    t.recv('A 3001:4001 ack 1')
    t.sentNothing()
    t.recv('A 4001:5001 ack 1')
    t.sent('A 1:1 ack 5001')
  })
  test('a batch of plain segments: one ACK, one event, and a few pieces that grow, whatever its number', () => {
    const t = new Script({ read: false }).establish('mss 1000')
    t.device.pause()
    for (let i = 0; i < 60; i++) t.recv(`A ${1001 + i * 1000}:${2001 + i * 1000} ack 1`)
    t.device.resume()
    t.advance(0)
    t.sent('A 1:1 ack 61001')
    t.sentNothing()
    expect(t.events.filter(event => event === 'readable')).toEqual(['readable'])
    expect(t.connection.rcvQueue.count).toBeLessThan(8)
    const ranges = new ByteRanges()
    t.connection.peek(ranges) // all that the batch brought, for one system call
    expect([ranges.count, ranges.length]).toEqual([t.connection.rcvQueue.count, 60_000])
    t.read()
    expect(t.readBytes).toBe(60_000)
  })
  test('above a gap each segment is a duplicate ACK at once; what fills it is acknowledged at once', () => {
    const t = new Script().establish('mss 1000')
    for (let i = 1; i < 4; i++) {
      t.recv(`PA ${1001 + i * 100}:${1101 + i * 100} ack 1`)
      t.sent('A 1:1 ack 1001 <>')
    }
    t.recv('PA 1001:1101 ack 1')
    t.sent('A 1:1 ack 1401')
    expect(t.readBytes).toBe(400)
  })
  test('old text is acknowledged at once and not delivered again', () => {
    const t = new Script().establish('mss 1000')
    t.recv('PA 1001:1101 ack 1')
    t.advance(40)
    t.sent('A 1:1 ack 1101')
    t.recv('PA 1001:1101 ack 1')
    t.sent('A 1:1 ack 1101')
    t.recv('PA 1051:1151 ack 1') // half old, half new
    t.sent('A 1:1 ack 1151')
    expect(t.readBytes).toBe(150)
  })
  test('keepalive probes of 0 and 1 byte below RCV.NXT are answered', () => {
    const t = new Script().establish('mss 1000')
    t.recv('A 1000:1000 ack 1')
    t.sent('A 1:1 ack 1001')
    t.recv('A 1000:1001 ack 1')
    t.sent('A 1:1 ack 1001')
    expect(t.readBytes).toBe(0)
  })
  test('urgent data stays in line (RFC 6093)', () => {
    const t = new Script().establish('mss 1000')
    t.recv('UPA 1001:1005 ack 1 urg 4')
    t.recv('PA 1005:1009 ack 1')
    expect(t.readBytes).toBe(8)
  })
})

describe('SACK blocks (RFC 2018)', () => {
  test('the newest range first, three beside timestamps, four without', () => {
    for (const [options, most] of [['mss 1000,sackOK', 4] as const, ['mss 1000,sackOK,TS val 1 ecr 0', 3] as const]) {
      const t = new Script().establish(options)
      const blocks: string[] = []
      for (let i = 1; i <= 6; i++) {
        const from = 1001 + i * 200
        t.recv(`PA ${from}:${from + 100} ack 1`)
        blocks.unshift(`${from}:${from + 100}`)
        const ts = most === 3 ? 'TS val * ecr *,' : ''
        t.sent(`A 1:1 ack 1001 <${ts}sack ${blocks.slice(0, most).join(' ')}>`)
      }
    }
  })
  test('adjacent ranges are one block; a range that fills grows', () => {
    const t = new Script().establish('mss 1000,sackOK')
    t.recv('PA 1101:1201 ack 1')
    t.sent('A 1:1 ack 1001 <sack 1101:1201>')
    t.recv('PA 1201:1301 ack 1')
    t.sent('A 1:1 ack 1001 <sack 1101:1301>')
    t.recv('PA 1401:1501 ack 1')
    t.sent('A 1:1 ack 1001 <sack 1401:1501 1101:1301>')
    t.recv('PA 1301:1401 ack 1')
    t.sent('A 1:1 ack 1001 <sack 1101:1501>')
    t.recv('PA 1001:1101 ack 1')
    t.sent('A 1:1 ack 1501 <>')
    expect(t.readBytes).toBe(500)
  })
  test('none if not permitted', () => {
    const t = new Script().establish('mss 1000')
    t.recv('PA 1101:1201 ack 1')
    t.sent('A 1:1 ack 1001 <>')
  })
})

describe('window', () => {
  test('it closes as nobody reads, its right edge never moves left, probes are answered, and it opens at once when somebody reads', () => {
    for (const scale of [true, false]) {
      const t = new Script({ read: false, stack: { rcvBuf: 20_000 } }).establish(scale ? 'mss 1000,wscale 7' : 'mss 1000')
      const shift = scale ? 7 : 0
      let seq = 1001
      let edge = 1001 + 20_000
      for (let i = 0; i < 25; i++) {
        const n = Math.min(1000, edge - seq)
        if (n <= 0) break
        t.recv(`A ${seq}:${seq + n} ack 1`)
        seq += n
        for (const line of t.drainSent()) {
          const [, ack, win] = /ack (\d+) win (\d+)/.exec(line) ?? []
          const right = Number(ack) + (Number(win) << shift)
          expect(right).toBeGreaterThan(edge - (1 << shift))
          edge = Math.max(edge, right)
        }
      }
      t.advance(40)
      t.drainSent()
      expect(edge - seq).toBeLessThan(1 << shift)
      t.recv(`A ${seq - 1}:${seq - 1} ack 1`)
      t.sent(`A 1:1 ack ${seq} win 0`)
      t.recv(`A ${seq}:${seq + 1} ack 1`)
      t.sent(`A 1:1 ack ${seq} win 0`)
      expect(t.read()).toBe(seq - 1001)
      t.sent(`A 1:1 ack ${seq} win ${20_000 >> shift}`)
      t.recv(`PA ${seq}:${seq + 100} ack 1`)
      expect(t.read()).toBe(100)
    }
  })
  test('no crumbs: it opens by two segments or half the buffer (RFC 9293 §3.8.6.2.2)', () => {
    const t = new Script({ read: false, stack: { rcvBuf: 20_000 } }).establish('mss 1000')
    for (let i = 0; i < 20; i++) t.recv(`A ${1001 + i * 1000}:${2001 + i * 1000} ack 1`)
    t.drainSent()
    t.advance(40)
    t.drainSent()
    t.read(1)
    t.sentNothing()
    t.read(1)
    t.sent('A 1:1 ack 21001 win 5000') // the queue gives its chunks whole
  })
  test('without scaling the field is 65,535 at most and text beyond it is not taken', () => {
    const t = new Script({ read: false }).establish('mss 1460')
    t.recv('PA 1001:1002 ack 1')
    t.advance(40)
    t.sent('A 1:1 ack 1002 win 65534')
    t.recv(`PA ${1001 + 65_535}:${1001 + 65_635} ack 1`)
    t.sent('A 1:1 ack 1002 win 65534')
    expect(t.connection.reassembly).toBe(null)
  })
  test('with scaling twice 64 KiB are offered from the first ACK on', () => {
    const t = new Script().establish('mss 1460,wscale 2')
    t.recv('PA 1001:1002 ack 1')
    t.advance(40)
    t.sent(`A 1:1 ack 1002 win ${(128 * 1024) >> 7}`)
  })
  test('the buffer grows with what the application takes in a round trip, up to its bound', () => {
    const t = new Script({ stack: { rcvBuf: 500_000 } }).establish('mss 60000,wscale 2')
    const widths: number[] = []
    let seq = 1001
    for (let round = 0; round < 12; round++) {
      t.advance(1)
      while (((t.connection.rcvAdv - t.connection.rcvNxt) | 0) >= 50_000) {
        t.recv(`A ${seq}:${seq + 50_000} ack 1`)
        seq += 50_000
        if (seq > 1001 + (round + 1) * 300_000) break
      }
      t.drainSent()
      widths.push(t.connection.rcvSpace)
    }
    expect(widths[0]).toBeGreaterThanOrEqual(128 * 1024)
    expect(widths.at(-1)).toBe(500_000)
  })
  test('the ACK of a first request waits for the answer, though the window may now be larger than a SYN-ACK can say', () => {
    const t = new Script().establish('mss 1460,wscale 7')
    t.recv('PA 1001:1501 ack 1')
    t.sentNothing()
    t.write(100)
    t.sent(`PA 1:101 ack 1501 win ${(128 * 1024) >> 7}`)
    t.sentNothing()
  })
  test('a window that no whole segment of the peer fits into is told as soon as it opens, or a peer with nothing out would wait', () => {
    const t = new Script({ read: false, mtu: 65_535 }).establish('mss 65483,wscale 7')
    t.recv('PA 1001:1101 ack 1')
    t.advance(40)
    t.sent(`A 1:1 ack 1101 win ${(128 * 1024 - 100) >> 7}`)
    for (let seq = 1101; seq < 65_101; seq += 32_000) t.recv(`A ${seq}:${seq + 32_000} ack 1`)
    t.recv('PA 65101:66801 ack 1')
    t.advance(40)
    t.drainSent()
    const seen = (t.connection.rcvAdv - t.connection.rcvNxt) | 0
    expect(seen).toBeGreaterThan(60 * 1024)
    expect(seen).toBeLessThan(65_483)
    t.read()
    t.sent(`A 1:1 ack 66801 win ${(128 * 1024) >> 7}`)
  })
  test('it grows to its bound where the length of the path is not known: nothing was ever sent on it', () => {
    const t = new Script().establish('mss 60000,wscale 7')
    const c = t.connection
    c.rack.minRtt = Infinity
    for (let round = 0; round < 8; round++) {
      t.advance(1)
      c.tookBytes = 8 << 20
      const seq = c.rcvNxt - c.irs + 1000
      t.recv(`A ${seq}:${seq + 1000} ack 1`)
    }
    t.drainSent()
    expect(c.rcvSpace).toBe(4 << 20)
  })
  test('on a path without length it grows no further than 512 KiB, on a long one by 100 KB for each millisecond', () => {
    const t = new Script().establish('mss 60000,wscale 7')
    const c = t.connection
    const grown = (minRtt: number): number => {
      c.rack.minRtt = minRtt
      for (let round = 0; round < 8; round++) {
        t.advance(1)
        c.tookBytes = 8 << 20
        const seq = c.rcvNxt - c.irs + 1000 // in the script's numbers, where their SYN is 1000
        t.recv(`A ${seq}:${seq + 1000} ack 1`)
      }
      t.drainSent()
      return c.rcvSpace
    }
    expect(grown(0.05)).toBe(512 * 1024 + 5000)
    expect(grown(10)).toBe(512 * 1024 + 1_000_000)
    expect(grown(200)).toBe(4 << 20)
  })
  test('it does not grow for one who does not read, nor for one who reads little', () => {
    const t = new Script({ read: false }).establish('mss 60000,wscale 2')
    t.recv('A 1001:51001 ack 1')
    t.recv('A 51001:101001 ack 1')
    t.advance(100)
    expect(t.connection.rcvSpace).toBe(128 * 1024)
    const u = new Script().establish('mss 1000,wscale 2')
    for (let i = 0; i < 100; i++) {
      u.advance(2)
      u.recv(`A ${1001 + 1000 * i}:${2001 + 1000 * i} ack 1`)
    }
    expect(u.connection.rcvSpace).toBe(128 * 1024)
  })
  test('text beyond the window is cut off at its edge', () => {
    const t = new Script({ stack: { rcvBuf: 1000 } }).establish('mss 1000')
    t.recv('PA 1001:2401 ack 1')
    t.sent('A 1:1 ack 2001')
    expect(t.readBytes).toBe(1000)
  })
  test('a segment wholly beyond the window is dropped and answered', () => {
    const t = new Script().establish('mss 1000')
    t.recv(`PA ${1001 + (1 << 28)}:${1011 + (1 << 28)} ack 1`)
    t.sent('A 1:1 ack 1001')
    expect(t.connection.reassembly).toBe(null)
  })
  test('over the budget: out-of-order text is dropped, no window grows, what was promised is taken up to a quarter more', () => {
    const t = new Script({ read: false, stack: { rcvBuf: 20_000, receiveBudget: 5000 } }).establish('mss 1000')
    for (let i = 0; i < 8; i++) t.recv(`A ${1001 + i * 1000}:${2001 + i * 1000} ack 1`)
    t.recv('A 10001:11001 ack 1')
    expect(t.connection.reassembly).toBe(null)
    expect(t.stack.tcp.receiveQueued).toBe(7000)
    expect(t.stack.stats.tcpPruned).toBe(2)
    expect(t.read()).toBe(7000)
    expect(t.stack.tcp.receiveQueued).toBe(0)
  })
})

test('text is lent by the slab from 4 KiB on, and as long as the pool lends; reading gives the slab back', () => {
  const t = new Script({ read: false, mtu: 9000 }).establish('mss 8000')
  const { slabs } = t.stack
  const range = new ByteRange()
  /** Did it come by reference? */
  const lent = (from: number, to: number): boolean => {
    t.recv(`A ${1001 + from}:${1001 + to} ack 1`)
    const before = slabs.inUse
    expect(t.connection.read(range)).toBe(true)
    const { owner, start, end } = range
    expect(end - start).toBe(to - from)
    owner?.release()
    expect(slabs.inUse).toBe(before) // the driver's own
    return owner !== null
  }
  expect([lent(0, 4095), lent(4095, 8191), lent(8191, 15_191)]).toEqual([false, true, true])
  const others = Array.from({ length: slabs.cap - 1 }, () => slabs.take())
  expect(lent(15_191, 22_191)).toBe(false)
  for (const slab of others) slab.release()
  expect(lent(22_191, 29_191)).toBe(true)
})

test('what is copied goes to blocks that come back, if the reader gives back: else to memory of its own', () => {
  const range = new ByteRange()
  const blocksOf = (t: Script, lends: boolean) => {
    t.establish('mss 1000,wscale 7')
    if (lends) t.connection.lend()
    for (let i = 0; i < 60; i++) t.recv(`A ${1001 + i * 1000}:${2001 + i * 1000} ack 1`)
    const blocks: Owner[] = []
    let bytes = 0
    for (; t.connection.read(range); bytes += range.end - range.start) if (range.owner !== null) blocks.push(range.owner)
    expect(bytes).toBe(60_000)
    for (const block of blocks) block.release()
    return blocks
  }
  const first = blocksOf(new Script({ read: false }), true)
  expect(first.map(block => (block as Block).bytes.length)).toEqual([4096, 4096, 4096, 4096, 4096, 65_536])
  expect(new Set(blocksOf(new Script({ read: false }), true))).toEqual(new Set(first))
  expect(blocksOf(new Script({ read: false }), false)).toEqual([])
})

describe('reassembly', () => {
  test('1,000 shuffled, overlapping, repeated segments deliver the stream once, in order: as a model that marks bytes', () => {
    for (let seed = 1; seed <= 30; seed++) {
      const prng = new Prng(seed)
      const total = 20_000
      // Numbers wrap in the middle of the stream.
      const first = seed % 2 ? 0x1_0000_0000 - 7000 : 1000
      const t = new Script({ seed })
      t.recv(`S ${first}:${first} <mss 1460,wscale 7,sackOK>`)
      t.sent('SA 0:0')
      const base = (first + 1) >>> 0
      t.recv(`A ${base}:${base} ack 1`)
      const have = new Uint8Array(total)
      let next = 0
      for (let i = 0; next < total; i++) {
        // Mostly near the gap, sometimes the very next bytes, so that it ends.
        const from = i % 7 === 0 ? next : Math.max(0, Math.min(total - 1, next - 2000 + prng.below(9000)))
        const to = Math.min(total, from + 1 + prng.below(1400))
        t.recv(`A ${base + from}:${base + to} ack 1`)
        have.fill(1, from, to)
        while (next < total && have[next] === 1) next++
        expect(t.readBytes, `seed ${seed}`).toBe(next)
        for (const line of t.drainSent()) expect(Number(/ack (\d+)/.exec(line)?.[1])).toBeLessThanOrEqual((base + next) % 0x1_0000_0000)
        expect(t.stack.tcp.receiveQueued).toBe(t.connection.reassembly?.bytes ?? 0)
      }
      expect(t.connection.reassembly).toBe(null)
      expect(t.connection.rcvNxt).toBe(seqAdd(base | 0, total))
    }
  })
  test('a whole window of segments behind one gap is kept', () => {
    const t = new Script().establish('mss 1460,wscale 7')
    t.recv('A 1001:1002 ack 1')
    const segments = 100
    for (let i = 1; i <= segments; i++) t.recv(`A ${1002 + i * 1000}:${2002 + i * 1000} ack 1`)
    expect(t.connection.reassembly?.bytes).toBe(segments * 1000)
    t.recv('A 1002:2002 ack 1')
    expect(t.readBytes).toBe(1 + (segments + 1) * 1000)
  })
  test('every second byte: bounded', () => {
    const t = new Script().establish('mss 1000')
    for (let i = 1; i < 3000; i += 2) t.recv(`A ${1001 + i}:${1002 + i} ack 1`)
    expect(t.connection.reassembly?.bytes).toBeLessThanOrEqual(1024)
  })
})

test('every second byte ahead of the one before it: what nobody reads costs what it holds, not a block a byte', () => {
  const t = new Script({ read: false }).establish('mss 1460,wscale 7')
  let at = 1001
  for (; at < 65_001; at += 1000) t.recv(`A ${at}:${at + 1000} ack 1 win 1000`)
  for (let i = 0; i < 500; i++, at += 2) {
    t.recv(`A ${at + 1}:${at + 2} ack 1 win 1000`)
    t.recv(`A ${at}:${at + 1} ack 1 win 1000`)
  }
  const { rcvQueue } = t.connection
  expect(rcvQueue.length).toBe(65_000)
  expect(rcvQueue.count).toBeLessThan(100)
  const buffers = new Set<ArrayBuffer>()
  const range = new ByteRange()
  while (t.connection.read(range)) buffers.add(range.bytes.buffer)
  expect([...buffers].reduce((sum, buffer) => sum + buffer.byteLength, 0)).toBeLessThan(4 * 65_000)
})

test('a batch is consumed whole, whatever is in it', () => {
  const t = new Script()
  const rx = new PacketBatch(t.stack.slabs.take(), 4)
  rx.count = 4
  t.stack.input(rx, 2000)
  expect(t.stack.stats.rowsIn).toBe(4)
  expect(t.stack.stats.drops.ipMalformed).toBe(4)
})
