// Owns: the simulation's Link over real time: packets that go into one device come out of the other late, in bursts lost, twice, broken.
// How exactly it keeps time, and what it cannot do: the head of middlebox.mjs. The faults themselves: @tun/stack/testing, link.ts.

import { BLOCKED, DOWN, OK, PacketBatch, Slab } from '@tun/stack'
import { Link, Prng, VirtualClock } from '@tun/stack/testing'

/**
 * What one direction does to its packets. Times in ms, probabilities 0 to 1, `burst` the mean number of packets lost in a row, `hold` the
 * longest time a reordered packet is held back (-1: delay + jitter + 1), `rate` bit/s, `queue` bytes that may wait for that rate.
 * @typedef {{ delay: number, jitter: number, loss: number, burst: number, reorder: number, hold: number, duplicate: number,
 *   corrupt: number, rate: number, queue: number }} Faults
 *
 * `refused`: the device did not take it. `late` ms: the most a packet came out behind its time.
 * @typedef {import('@tun/stack/testing').LinkCounters & { refused: number, late: number }} Counters
 *
 * @typedef {import('@tun/stack').Device} Device
 */

/** @type {Faults} */
export const NO_FAULTS = {
  ...{ delay: 0, jitter: 0, loss: 0, burst: 1, reorder: 0, hold: -1, duplicate: 0, corrupt: 0 },
  ...{ rate: Infinity, queue: 256 * 1024 },
}

const ROWS = 256
const ROW_BYTES = 65_536
/** Batches read from one device before what is due, and the other device, get their turn. */
const BATCHES = 4
/** Node's timers count whole milliseconds and come late rather than early: the last ones before a deadline are slept through in naps. */
const TIMER_SLACK = 2 // ms
const NAP = 0.1 // ms; the kernel adds its timer slack of 50 µs, prctl(2)

export class FaultyWire {
  constructor(
    /** @type {Device} */ a,
    /** @type {Device} */ b,
    /** @type {{ seed?: number, ab?: Partial<Faults>, ba?: Partial<Faults> }} */ { seed = 1, ab = {}, ba = {} } = {},
  ) {
    const prng = new Prng(seed)
    /** Virtual time that follows the real one: it stands while packets are taken in, and is moved on in `step`. */
    this.clock = new VirtualClock(performance.now())
    this.ab = new Direction(this.clock, prng.fork(), prng.fork(), a, b, ab)
    this.ba = new Direction(this.clock, prng.fork(), prng.fork(), b, a, ba)
    this.closed = false
    /** A device is of no use any more: the wire is closed. @type {(name: string) => void} */
    this.onlost = () => {}
    /** @type {NodeJS.Timeout | undefined} */
    this.timer = undefined
    this.timerAt = Infinity
    this.napping = false
    this.cell = new Int32Array(new SharedArrayBuffer(4))
    this.nap = () => {
      this.napping = false
      const left = this.clock.next() - performance.now()
      if (left > 0) Atomics.wait(this.cell, 0, 0, Math.min(left, NAP)) // blocks: what comes meanwhile is read right behind it
      this.step()
    }
    this.step = this.step.bind(this)
    for (const direction of [this.ab, this.ba]) {
      direction.from.onReadable(() => {
        this.advance()
        if (direction.takeIn()) return this.step()
        this.close()
        this.onlost(direction.from.name)
      })
    }
  }

  /** Changes faults; packets under way are not touched. */
  set(/** @type {{ ab?: Partial<Faults>, ba?: Partial<Faults> }} */ { ab = {}, ba = {} }) {
    this.ab.set(ab)
    this.ba.set(ba)
  }

  /** @returns {{ ab: Counters, ba: Counters }} since the start, or the last `reset` */
  counters(reset = false) {
    return { ab: this.ab.counters(reset), ba: this.ba.counters(reset) }
  }

  /** What is under way is lost. The devices are closed. */
  close() {
    if (this.closed) return
    this.closed = true
    clearTimeout(this.timer)
    for (const { from } of [this.ab, this.ba]) from.close()
  }

  /** Time goes on to now; what is due on the way comes out. */
  advance() {
    const now = performance.now()
    while (this.clock.next() <= now) {
      this.clock.runNext()
      this.ab.note(now - this.clock.now)
      this.ba.note(now - this.clock.now)
    }
    this.clock.advanceTo(now)
  }

  step() {
    if (this.closed) return
    this.advance()
    this.ab.flush()
    this.ba.flush()
    this.arm()
  }

  arm() {
    const next = this.clock.next()
    if (this.napping || next === Infinity) return
    const left = next - performance.now()
    if (left <= TIMER_SLACK) {
      this.napping = true
      setImmediate(this.nap)
    } else if (next < this.timerAt || this.timerAt <= this.clock.now) {
      clearTimeout(this.timer)
      this.timerAt = next
      this.timer = setTimeout(
        () => {
          this.timerAt = Infinity
          this.step()
        },
        Math.floor(left - TIMER_SLACK),
      )
    }
  }
}

class Direction {
  constructor(
    /** @type {VirtualClock} */ clock,
    /** @type {Prng} */ prng,
    /** @type {Prng} */ burstPrng,
    /** @type {Device} */ from,
    /** @type {Device} */ to,
    /** @type {Partial<Faults>} */ faults,
  ) {
    this.from = from
    this.to = to
    this.faults = { ...NO_FAULTS, ...faults }
    this.refused = 0
    this.late = 0
    this.delivered = 0
    this.rx = new PacketBatch(new Slab(ROWS * 2048 + ROW_BYTES), ROWS)
    this.tx = new PacketBatch(new Slab(ROWS * ROW_BYTES), ROWS, 1)
    this.bursts = new Bursts(burstPrng)
    this.link = new Link(clock, prng, {}, packet => this.deliver(packet))
    this.link.drop = () => this.bursts.next(clock.now)
    this.set({})
  }

  set(/** @type {Partial<Faults>} */ faults) {
    Object.assign(this.faults, faults)
    const { delay, jitter, loss, burst, reorder, hold, duplicate, corrupt, rate, queue } = this.faults
    const alone = burst <= 1
    this.bursts.set(alone ? 0 : loss, burst)
    Object.assign(this.link.options, {
      ...{ delayMs: delay, jitterMs: jitter, loss: alone ? loss : 0, reorder, reorderMs: hold, duplicate, corrupt },
      ...{ bytesPerSecond: rate / 8, queueBytes: queue },
    })
  }

  counters(/** @type {boolean} */ reset) {
    const { link, refused, late } = this
    const counters = { ...link.counters, refused, late }
    if (reset) {
      for (const key of /** @type {(keyof typeof link.counters)[]} */ (Object.keys(link.counters))) link.counters[key] = 0
      this.refused = this.late = 0
    }
    return counters
  }

  /** Reads what is there, up to a bound, into the link. False: the device is gone. */
  takeIn() {
    const { rx, from, link } = this
    for (let batch = 0; batch < BATCHES; batch++) {
      from.read(rx)
      for (let row = 0; row < rx.count; row++) {
        const start = rx.start[row]
        link.send(rx.slab.bytes.subarray(start, start + rx.length[row]))
      }
      const { status } = rx
      rx.reset()
      if (status === BLOCKED || status === DOWN) return true
      if (status !== OK) return false
    }
    return true
  }

  deliver(/** @type {Uint8Array} */ packet) {
    const { tx } = this
    if (tx.count === tx.capacity) this.flush()
    const row = tx.count
    const at = row * ROW_BYTES
    tx.beginRow()
    tx.start[row] = at
    tx.slab.bytes.set(packet, at)
    tx.finishRow(packet.length)
  }

  note(/** @type {number} */ late) {
    // The event was this direction's if it delivered.
    if (this.link.counters.delivered === this.delivered) return
    this.delivered = this.link.counters.delivered
    this.late = Math.max(this.late, late)
  }

  /** A device that does not take packets loses them, as a wire does: nothing waits here. */
  flush() {
    const { tx, to } = this
    if (tx.count === 0) return
    to.write(tx)
    if (tx.status !== OK) this.refused += tx.count - (tx.status === DOWN ? 0 : tx.first)
    tx.reset()
  }
}

/** A wire without packets for so long is a good one again: else a burst of four could be the four retransmissions of seconds. */
const BURST_PAUSE = 10 // ms

/**
 * Losses in a row, the two states of Gilbert ("Capacity of a burst-noise channel", 1960): in the bad one every packet is lost. The
 * Link's own bursts are counted in packets alone, for runs that can be repeated; here they are also over in time.
 */
class Bursts {
  enter = 0
  leave = 1
  bad = false
  lastAt = -Infinity

  constructor(/** @type {Prng} */ prng) {
    this.prng = prng
  }

  /** On the whole `loss` of all packets are lost, `length` in a row on average. */
  set(/** @type {number} */ loss, /** @type {number} */ length) {
    this.leave = 1 / length
    this.enter = Math.min(1, (loss * this.leave) / (1 - loss)) // so that enter / (enter + leave) = loss
    if (loss === 0) this.bad = false
  }

  /** Is the next packet lost? */
  next(/** @type {number} */ now) {
    if (now - this.lastAt > BURST_PAUSE) this.bad = false
    this.lastAt = now
    this.bad = this.prng.chance(this.bad ? 1 - this.leave : this.enter)
    return this.bad
  }
}
