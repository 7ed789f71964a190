// Owns: one direction of a wire between two stacks in virtual time: delay, jitter, loss, reordering, duplication, corruption,
// and a rate with a bounded queue. Everything it does follows from its seed.

import type { Bytes, Millis } from '../memory/slab.js'
import type { Prng } from './prng.js'
import type { Offload } from './segmentation.js'
import type { VirtualClock } from './virtual-clock.js'

export interface LinkOptions {
  /** One way. Default 0. */
  delayMs?: Millis
  /** Up to this much more delay, drawn per packet; packets keep their order. Default 0. */
  jitterMs?: Millis
  /** Probability that a packet vanishes. Default 0. */
  loss?: number
  /** Packets a loss takes at once on average: at that rate the wire turns bad and, packet by packet, good again (Gilbert). Default 1. */
  burst?: number
  /** Probability that a packet is held back for up to `reorderMs`, so that later ones overtake it. Default 0. */
  reorder?: number
  /** Longest time a reordered packet is held back. Default delayMs + jitterMs + 1. */
  reorderMs?: Millis
  /** Probability that a packet arrives twice. Default 0. */
  duplicate?: number
  /** Probability that one bit of a packet is flipped. Default 0. */
  corrupt?: number
  /** Speed of the wire. Default Infinity. */
  bytesPerSecond?: number
  /** Bytes that may wait for a slow wire; what does not fit is dropped (tail drop). Default 256 KiB. */
  queueBytes?: number
}

export const LINK_DEFAULTS = {
  delayMs: 0,
  jitterMs: 0,
  loss: 0,
  burst: 1,
  reorder: 0,
  reorderMs: -1, // -1: from delay and jitter
  duplicate: 0,
  corrupt: 0,
  bytesPerSecond: Infinity,
  queueBytes: 256 * 1024,
} satisfies Required<LinkOptions>

export interface LinkCounters {
  /** Packets given to `send`. At rest: sent + duplicated = delivered + lost + overflowed. */
  sent: number
  /** By chance or by `drop`. */
  lost: number
  duplicated: number
  corrupted: number
  reordered: number
  overflowed: number
  delivered: number
}

/** `offload` is null for a plain packet. The packet is the receiver's to keep. */
export type Deliver = (packet: Bytes, offload: Offload | null) => void

export class Link {
  readonly counters: LinkCounters = { sent: 0, lost: 0, duplicated: 0, corrupted: 0, reordered: 0, overflowed: 0, delivered: 0 }
  /** May be changed while packets are under way; they are not touched. */
  readonly options: Required<LinkOptions>
  /** Asked for every packet before chance is: true drops it (counted as lost). For tests which lose exactly the third SYN. */
  drop: (packet: Bytes) => boolean = () => false
  /** Where packets come out. */
  deliver: Deliver
  private readonly clock: VirtualClock
  private readonly prng: Prng
  private wireFreeAt: Millis
  private lastArrival: Millis
  private bad = false
  private badRun = 0

  constructor(clock: VirtualClock, prng: Prng, options: LinkOptions = {}, deliver: Deliver = () => {}) {
    this.clock = clock
    this.prng = prng
    this.options = { ...LINK_DEFAULTS, ...options }
    this.deliver = deliver
    this.wireFreeAt = clock.now
    this.lastArrival = clock.now
  }

  /** Packets (duplicates included) that are under way. */
  get inFlight(): number {
    const c = this.counters
    return c.sent + c.duplicated - c.lost - c.overflowed - c.delivered
  }

  /** Takes a copy of `packet`; `offload` goes with it. */
  send(packet: Bytes, offload: Offload | null = null): void {
    const { options, counters, prng } = this
    counters.sent++
    const dropped = this.drop(packet)
    // Every packet costs the same draws, whatever happens to it: one fault more or less leaves the others where they were.
    // Bad with probability loss / burst, good again with 1 / burst: a share of `loss` is lost, in runs of `burst`.
    const turn = prng.random()
    // No run is longer than three of them: where one packet a minute is sent, it would be an outage.
    this.badRun = this.bad ? this.badRun + 1 : 0
    this.bad =
      this.bad && this.badRun < 3 * options.burst
        ? turn >= 1 / options.burst
        : turn < options.loss / options.burst / Math.max(1 - options.loss, 0.01)
    const lost = options.burst > 1 ? this.bad : turn < options.loss
    const duplicated = prng.chance(options.duplicate)
    const corrupted = prng.chance(options.corrupt)
    const bit = prng.below(packet.length * 8)
    if (dropped || lost) {
      this.draws()
      counters.lost++
      return
    }
    const copy = packet.slice()
    if (corrupted && copy.length > 0) {
      counters.corrupted++
      copy[bit >> 3] ^= 1 << (bit & 7)
    }
    this.transmit(copy, offload)
    if (!duplicated) return
    counters.duplicated++
    this.transmit(copy.slice(), offload)
  }

  private draws(): { jitter: number; held: boolean; hold: number } {
    return { jitter: this.prng.random(), held: this.prng.chance(this.options.reorder), hold: this.prng.random() }
  }

  private transmit(packet: Bytes, offload: Offload | null): void {
    const { options, counters, clock } = this
    const draw = this.draws()
    const waiting = Math.max(0, this.wireFreeAt - clock.now)
    if (waiting > 0 && (waiting * options.bytesPerSecond) / 1000 + packet.length > options.queueBytes) {
      counters.overflowed++
      return
    }
    this.wireFreeAt = clock.now + waiting + (packet.length * 1000) / options.bytesPerSecond
    let arrival = Math.max(this.wireFreeAt + options.delayMs + draw.jitter * options.jitterMs, this.lastArrival)
    if (draw.held) {
      counters.reordered++
      const longest = options.reorderMs >= 0 ? options.reorderMs : options.delayMs + options.jitterMs + 1
      arrival += draw.hold * longest
    } else {
      this.lastArrival = arrival
    }
    clock.at(arrival, () => {
      counters.delivered++
      this.deliver(packet, offload)
    })
  }
}
