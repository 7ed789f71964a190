// Owns: the identification of datagrams that leave in fragments: no two alike between two hosts for a long time, and nothing about
// one pair of hosts to be learned from another's. RFC 7739 §5.3 (the algorithm, for IPv6), RFC 6274 §3.5.2 and RFC 6864 (IPv4).

import { halfSipHash } from '../memory/keyed-hash.js'

const COUNTERS = 1024

/** Address words and port, of which the port does not count. */
type End = readonly [number, number, number, number, number]

export class Identification {
  private readonly offsetKey: readonly [number, number]
  private readonly counterKey: readonly [number, number]
  private readonly counters = new Int32Array(COUNTERS)
  private readonly words = new Int32Array(8)

  constructor(random32: () => number) {
    this.offsetKey = [random32(), random32()]
    this.counterKey = [random32(), random32()]
    for (let i = 0; i < COUNTERS; i++) this.counters[i] = halfSipHash(this.words, 0, 8, this.offsetKey[0], i, 2, 4)
  }

  /** The next one for datagrams between the two: 32 bits, of which IPv4 takes the lower half. */
  next(from: End, to: End): number {
    const { words, counters } = this
    for (let i = 0; i < 4; i++) {
      words[i] = from[i]
      words[4 + i] = to[i]
    }
    const offset = halfSipHash(words, 0, 8, this.offsetKey[0], this.offsetKey[1], 2, 4)
    const slot = halfSipHash(words, 0, 8, this.counterKey[0], this.counterKey[1], 1, 3) & (COUNTERS - 1)
    return (offset + counters[slot]++) | 0
  }
}
