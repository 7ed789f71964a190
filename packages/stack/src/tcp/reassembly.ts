// Owns: data that arrived ahead of a gap, as sorted ranges that do not overlap. RFC 9293 §3.10.7.4 (seventh), RFC 2018 §4 (blocks).

import type { Bytes } from '../memory/slab.js'
import { type Seq, seqDiff, seqGeq, seqGt, seqLeq, seqLt, seqMax, seqMin } from './seq.js'

interface Range {
  seq: Seq
  end: Seq
  /** Holds [seq, end) from its start on; may have room behind. */
  bytes: Bytes
  /** When it was touched last, as a counter: the newest comes first among SACK blocks. */
  touched: number
}

/** Ranges kept; a peer that sends every second byte gets no further than this. */
const MAX_RANGES = 512
/** Behind a gap segments come one after the other: they share a buffer of up to this, so that a whole window is a few ranges. */
const MAX_BUFFER = 64 * 1024

export class Reassembly {
  /** Payload bytes held. */
  bytes = 0
  private readonly ranges: Range[] = []
  private clock = 0

  get empty(): boolean {
    return this.ranges.length === 0
  }

  /** The first part of [seq, end) that is here already, as [seq, end) in `out`; false: all of it is new. */
  held(seq: Seq, end: Seq, out: { seq: Seq; end: Seq }): boolean {
    for (const range of this.ranges) {
      if (!seqLt(seq, range.end)) continue
      if (!seqLt(range.seq, end)) return false
      out.seq = seqMax(seq, range.seq)
      out.end = seqMin(end, range.end)
      return true
    }
    return false
  }

  /** Does the last range end there? */
  endsAt(seq: Seq): boolean {
    return this.ranges.at(-1)?.end === seq
  }

  /** Keeps a copy of what of [seq, seq + length) is new. False: the bound was reached, dropped. */
  add(seq: Seq, source: Bytes, start: number, length: number): boolean {
    const { ranges } = this
    const end = (seq + length) | 0
    let at = seq
    let i = 0
    this.clock++
    // Ranges that end before it are stepped over; from there on the gaps between ranges are filled one by one.
    while (i < ranges.length && seqLeq(ranges[i].end, at)) i++
    while (seqLt(at, end)) {
      const next = i < ranges.length ? ranges[i] : null
      if (next && seqLeq(next.seq, at)) {
        next.touched = this.clock
        if (seqGt(next.end, at)) at = next.end
        i++
        continue
      }
      const stop = next && seqLt(next.seq, end) ? next.seq : end
      const from = start + seqDiff(at, seq)
      const n = seqDiff(stop, at)
      if (i > 0 && this.extend(ranges[i - 1], at, source, from, n)) {
        at = stop
        continue
      }
      if (ranges.length >= MAX_RANGES) return false
      ranges.splice(i, 0, { seq: at, end: stop, bytes: source.slice(from, from + n), touched: this.clock })
      this.bytes += n
      at = stop
      i++
    }
    return true
  }

  /** Appends `n` bytes to a range that ends at `at`, if they fit into a buffer of bounded size; it doubles as it fills. */
  private extend(range: Range, at: Seq, source: Bytes, from: number, n: number): boolean {
    const length = seqDiff(range.end, range.seq)
    if (range.end !== at || length + n > MAX_BUFFER) return false
    if (length + n > range.bytes.length) {
      const grown: Bytes = new Uint8Array(Math.min(MAX_BUFFER, Math.max(2 * range.bytes.length, length + n)))
      grown.set(range.bytes.subarray(0, length))
      range.bytes = grown
    }
    range.bytes.set(source.subarray(from, from + n), length)
    range.end = (at + n) | 0
    range.touched = this.clock
    this.bytes += n
    return true
  }

  /** Takes out the range that `rcvNxt` has reached: its bytes from there on, or null. */
  take(rcvNxt: Seq): Bytes | null {
    const { ranges } = this
    while (ranges.length > 0 && seqGeq(rcvNxt, ranges[0].seq)) {
      const first = ranges.shift() as Range
      const length = seqDiff(first.end, first.seq)
      this.bytes -= length
      if (seqGt(first.end, rcvNxt)) return first.bytes.subarray(seqDiff(rcvNxt, first.seq), length) as Bytes
    }
    return null
  }

  /** Fills `out` with up to `max` SACK blocks from block `first` on, the most recently touched first (RFC 2018 §4); answers how many. */
  blocks(out: Int32Array, first: number, max: number): number {
    const { ranges } = this
    const merged: { seq: Seq; end: Seq; touched: number }[] = []
    for (const range of ranges) {
      const last = merged.at(-1)
      if (last && last.end === range.seq) {
        last.end = range.end
        last.touched = Math.max(last.touched, range.touched)
      } else merged.push({ seq: range.seq, end: range.end, touched: range.touched })
    }
    merged.sort((a, b) => b.touched - a.touched)
    const n = Math.min(max, merged.length)
    for (let i = 0; i < n; i++) {
      out[2 * (first + i)] = merged[i].seq
      out[2 * (first + i) + 1] = merged[i].end
    }
    return n
  }
}
