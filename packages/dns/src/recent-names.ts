// Owns: which name a real address was last answered for, as long as that answer holds: a hint about a connection to the address, no more,
// for many names may share it. The newest answer wins; the number of addresses is bounded, those told about longest ago go first.

import { formatIpv4, formatIpv6, parseIpv6, textOfAddress } from './address.js'
import { addressesOf } from './records.js'

/** Addresses remembered at once. */
const CAPACITY = 65536
/** Of one answer: a bound for a hostile one. */
const MAX_ADDRESSES = 64

interface Entry {
  name: string
  /** On the clock of `now`. */
  until: number
}

export class RecentNames {
  private readonly entries = new Map<string, Entry>()
  private readonly capacity: number
  private readonly now: () => number

  /** @param now milliseconds, monotonic */
  constructor({ capacity = CAPACITY, now = () => performance.now() }: { capacity?: number; now?: () => number } = {}) {
    this.capacity = capacity
    this.now = now
  }

  /** Addresses remembered, outdated ones among them. */
  get size(): number {
    return this.entries.size
  }

  /** An answer for `name` (lower case, no last dot) has been given to somebody. */
  learn(name: string, answer: Uint8Array): void {
    const { addresses, ttlSeconds } = addressesOf(answer)
    // Whoever was told 0 connects at once, and is to be known when it does.
    const until = this.now() + 1000 * Math.max(1, ttlSeconds)
    for (const bytes of addresses.slice(0, MAX_ADDRESSES)) {
      const address = textOfAddress(bytes)
      this.entries.delete(address) // to stand last
      this.entries.set(address, { name, until })
      if (this.entries.size > this.capacity) this.entries.delete(this.entries.keys().next().value as string)
    }
  }

  /** The name that was last answered with this address, undefined if there was none or the answer's TTL is over. */
  nameOf(address: string): string | undefined {
    const key = canonical(address)
    const entry = this.entries.get(key)
    if (entry === undefined || this.now() < entry.until) return entry?.name
    this.entries.delete(key)
    return undefined
  }

  flush(): void {
    this.entries.clear()
  }
}

const words = new Uint32Array(4)

function canonical(address: string): string {
  if (!address.includes(':') || !parseIpv6(address, words)) return address
  const mapped = words[0] === 0 && words[1] === 0 && words[2] === 0xffff
  return mapped ? formatIpv4(words[3]) : formatIpv6(words)
}
