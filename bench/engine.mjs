// Two stacks in one process, joined by memory: rows of one are copied into the slab of the other, nothing is done by a kernel. What the
// engine itself costs, both ends together: per segment, per 64 KiB super-segment, per connection.
//
//   node bench/engine.mjs [--megabytes 4000] [--connections 20000] [--repeat 3]      needs npm run build

import { parseArgs } from 'node:util'
import { getHeapStatistics } from 'node:v8'
import { ByteRange, CONNECTED, CSUM_GOOD, ENDED, PacketBatch, READABLE, REQUEST, Stack, WRITABLE } from '@tun/stack'
import { Prng } from '@tun/stack/testing'
import { cpuSeconds, median, table } from './report.mjs'

const { values: args } = parseArgs({
  options: {
    megabytes: { type: 'string', default: '4000' },
    connections: { type: 'string', default: '20000' },
    repeat: { type: 'string', default: '3' },
  },
})
const repeat = Number(args.repeat)

const CHUNK = new Uint8Array(64 * 1024)
const KEPT = { retain() {}, release() {} }
const LARGEST = 66 * 1024
/** 10.0.0.2, as four words: ::ffff:10.0.0.2. */
const SERVER = /** @type {[number, number, number, number]} */ ([0, 0, 0xffff, 0x0a000002])

/** One stack with its batches: a driver without an event loop. */
class End {
  range = new ByteRange()
  rows = 0
  /** Only headers are carried over, and without an object for it: whatever the heap grows by is the engine's. */
  weightless = false

  constructor(/** @type {number} */ seed, /** @type {import('@tun/stack').StackOptions} */ options) {
    this.stack = new Stack(options, new Prng(seed))
    this.tx = PacketBatch.forSending(256)
    this.rx = new PacketBatch(this.stack.slabs.take(), 256)
    /** @type {(c: import('@tun/stack').TcpConnection, bits: number) => void} */
    this.ontcp = () => {}
    this.events = {
      tcp: (/** @type {import('@tun/stack').TcpConnection} */ c, /** @type {number} */ bits) => this.ontcp(c, bits),
      datagram() {},
      flowEnded() {},
    }
  }

  /** Everything that is due goes to `other`. False: nothing was. */
  sendTo(/** @type {End} */ other, /** @type {number} */ now) {
    const { stack, tx } = this
    let any = false
    for (let more = stack.wantsPoll; more; ) {
      more = stack.poll(now, tx)
      for (let row = 0; row < tx.count; row++) other.receive(tx, row, now)
      any ||= tx.count > 0
      tx.reset()
    }
    other.takeIn(now)
    return any
  }

  receive(/** @type {PacketBatch} */ tx, /** @type {number} */ row, /** @type {number} */ now) {
    const { rx } = this
    if (rx.count === rx.capacity || rx.slab.bytes.length - rx.used < LARGEST) this.takeIn(now)
    const at = rx.count++
    rx.start[at] = rx.used
    rx.length[at] = this.weightless ? this.carryHeaders(tx, row) : this.carryAll(tx, row)
    rx.gsoType[at] = tx.gsoType[row]
    rx.gsoSize[at] = tx.gsoSize[row]
    rx.flags[at] = CSUM_GOOD // sums are the device's work, and there is none
    rx.used += rx.length[at]
  }

  carryHeaders(/** @type {PacketBatch} */ tx, /** @type {number} */ row) {
    const { bytes } = this.rx.slab
    for (let i = 0, to = this.rx.used, from = tx.start[row]; i < tx.length[row]; i++) bytes[to + i] = tx.slab.bytes[from + i]
    return tx.packetLength(row)
  }

  carryAll(/** @type {PacketBatch} */ tx, /** @type {number} */ row) {
    let to = this.rx.used
    const put = (/** @type {Uint8Array} */ from, /** @type {number} */ start, /** @type {number} */ length) => {
      this.rx.slab.bytes.set(from.subarray(start, start + length), to)
      to += length
    }
    put(tx.slab.bytes, tx.start[row], tx.length[row])
    for (let i = tx.pieceAt[row], end = i + tx.pieceCount[row]; i < end; i++) put(tx.pieces[i], tx.pieceStart[i], tx.pieceLength[i])
    return to - this.rx.used
  }

  takeIn(/** @type {number} */ now) {
    const { rx, stack } = this
    this.rows += rx.count
    stack.input(rx, now)
    rx.count = 0
    if (rx.slab.sole) rx.used = 0
    else if (rx.slab.bytes.length - rx.used < LARGEST) {
      rx.slab.release()
      rx.slab = stack.slabs.take()
      rx.used = 0
    }
  }

  turn(/** @type {End} */ other, /** @type {number} */ now) {
    if (this.stack.nextTimeout() <= now) this.stack.expire(now)
    this.stack.drain(this.events)
    return this.sendTo(other, now)
  }

  /** Reads all and drops it. */
  discard(/** @type {import('@tun/stack').TcpConnection} */ c) {
    let bytes = 0
    while (c.read(this.range)) {
      bytes += this.range.end - this.range.start
      this.range.owner?.release()
    }
    return bytes
  }
}

/** Runs both until `done`. */
function run(/** @type {End} */ a, /** @type {End} */ b, /** @type {() => boolean} */ done) {
  while (!done()) {
    const now = performance.now()
    const moved = a.turn(b, now)
    if (b.turn(a, now) || moved) idle = 0
    else if (++idle > 1e7) throw new Error('nothing moves any more')
  }
}
let idle = 0

/** As a relay does it, which gives back what it reads. */
function accept(/** @type {import('@tun/stack').TcpConnection} */ c) {
  c.accept()
  c.lend()
}

/** One stream from a to b. */
function bulk(/** @type {boolean} */ offload, /** @type {number} */ total) {
  const a = new End(1, { offload })
  const b = new End(2, { offload })
  const fill = (/** @type {import('@tun/stack').TcpConnection} */ c) => {
    while (c.sendRoom > 0) c.send(CHUNK, 0, CHUNK.length, KEPT)
  }
  let received = 0
  a.ontcp = (c, bits) => {
    if (bits & (CONNECTED | WRITABLE)) fill(c)
  }
  b.ontcp = (c, bits) => {
    if (bits & REQUEST) accept(c)
    if (bits & READABLE) received += b.discard(c)
  }
  a.stack.connect([0, 0, 0xffff, 0x0a000001], 40_000, SERVER, 80)
  run(a, b, () => received >= total / 10) // warm
  const from = { at: performance.now(), cpu: cpuSeconds(), received, rows: b.rows }
  run(a, b, () => received >= total + from.received)
  const bytes = received - from.received
  const cpu = cpuSeconds() - from.cpu
  return { gbits: (bytes * 8) / (performance.now() - from.at) / 1e6, cpu: cpu / (bytes / 1e9), row: (cpu * 1e9) / (b.rows - from.rows) }
}

/** Bytes by which the heap grows for each row, both ends: the median of many short steps, of which some have a collection in them. */
function allocated(/** @type {boolean} */ offload) {
  const a = new End(1, { offload })
  const b = new End(2, { offload })
  a.weightless = b.weightless = true
  a.ontcp = (c, bits) => {
    if (bits & (CONNECTED | WRITABLE)) while (c.sendRoom > 0) c.send(CHUNK, 0, CHUNK.length, KEPT)
  }
  b.ontcp = (c, bits) => {
    if (bits & REQUEST) accept(c)
    if (bits & READABLE) b.discard(c)
  }
  a.stack.connect([0, 0, 0xffff, 0x0a000001], 40_000, SERVER, 80)
  let now = 1000
  const rows = (/** @type {number} */ many) => {
    for (const until = b.rows + many; b.rows < until; now += 0.5) {
      a.turn(b, now)
      b.turn(a, now)
    }
  }
  rows(100_000) // warm
  return median(
    Array.from({ length: 101 }, () => {
      const from = a.rows + b.rows
      const heap = getHeapStatistics().used_heap_size
      rows(1000)
      return (getHeapStatistics().used_heap_size - heap) / (a.rows + b.rows - from)
    }),
  )
}

/** Whole lives: SYN, one byte there and back, FINs; 64 at a time, each from a flow of its own, TIME-WAIT included. */
function lives(/** @type {number} */ total) {
  const a = new End(1, {})
  const b = new End(2, {})
  let opened = 0
  let over = 0
  const open = () => {
    const n = opened++
    a.stack.connect([0, 0, 0xffff, 0x0a010000 + (n >> 14)], 1024 + (n & 16383), SERVER, 80)
  }
  a.ontcp = (c, bits) => {
    if (bits & CONNECTED) c.send(CHUNK, 0, 1, KEPT)
    if (bits & READABLE) {
      a.discard(c)
      c.end()
    }
    if (bits & ENDED) {
      over++
      c.close()
      if (opened < total) open()
    }
  }
  b.ontcp = (c, bits) => {
    if (bits & REQUEST) c.accept()
    if (bits & READABLE) c.send(CHUNK, 0, b.discard(c), KEPT)
    if (bits & ENDED) {
      c.end()
      c.close()
    }
  }
  const from = { at: performance.now(), cpu: cpuSeconds() }
  for (let i = 0; i < 64; i++) open()
  run(a, b, () => over >= total)
  return { perSecond: (total * 1000) / (performance.now() - from.at), micros: ((cpuSeconds() - from.cpu) * 1e6) / total }
}

const megabytes = Number(args.megabytes)
const connections = Number(args.connections)
const times = (/** @type {() => Record<string, number>} */ fn) => {
  const all = Array.from({ length: repeat }, fn)
  return (/** @type {string} */ key) => median(all.map(one => one[key]))
}
const heap = [true, false].map(allocated) // first: what is compiled for one way only makes no object of a number
const whole = times(() => bulk(true, megabytes * 1e6))
const cut = times(() => bulk(false, (megabytes / 4) * 1e6))
lives(connections / 10) // warm
const life = times(() => lives(connections))

const stream = (/** @type {string} */ name, /** @type {(key: string) => number} */ of, /** @type {number} */ heap) => {
  return [
    name,
    `${of('gbits').toFixed(1)} Gbit/s`,
    `${of('cpu').toFixed(3)} s/GB, ${Math.round(of('row'))} ns a row`,
    `${Math.round(heap)} B a row`,
  ]
}
console.log(`## Two stacks over memory, one thread, both ends counted\n\nMedians of ${repeat} runs; the heap's growth of 101 steps.\n`)
const lines = [
  stream('one stream, super-segments', whole, heap[0]),
  stream('one stream, 1500-byte packets', cut, heap[1]),
  ['connections: SYN, a byte there and back, FINs', `${Math.round(life('perSecond'))} /s`, `${life('micros').toFixed(1)} µs each`, '–'],
]
console.log(table(['what', 'rate', 'CPU', 'allocated'], lines))
