// Owns: answers kept as long as they hold. RFC 2181 §8 (TTL), RFC 2308 (what does not exist), RFC 8767 (serving stale, if wanted).
// Bounded in entries and bytes; the least recently used go first.

import { KeptAnswer } from './kept-answer.js'
import type { Query } from './message.js'
import { lifetimeOf } from './records.js'

export interface CacheOptions {
  /** Answers kept; 0: none. */
  maxEntries?: number
  maxBytes?: number
  /** Seconds beyond its life that an answer may be given if nobody can be asked; 0: never. RFC 8767 §4 has one to three days. */
  staleSeconds?: number
  /** The most an answer is kept, whatever it says. RFC 8767 §4: a day to a week. */
  maxTtlSeconds?: number
  /** Milliseconds, monotonic. */
  now?: () => number
}

export const CACHE_DEFAULTS = { maxEntries: 4096, maxBytes: 4 << 20, staleSeconds: 0, maxTtlSeconds: 86400 } as const

/** RFC 8767 §4: what stale data says of itself. */
const STALE_TTL = 30 // s
/** What an entry costs beside its bytes. */
const OVERHEAD = 200

interface Entry {
  answer: KeptAnswer
  at: number
  lifeSeconds: number
}

export class AnswerCache {
  private readonly entries = new Map<string, Entry>()
  private bytes = 0
  private readonly options: Required<CacheOptions>

  constructor(options: CacheOptions = {}) {
    this.options = { ...CACHE_DEFAULTS, now: () => performance.now(), ...options }
  }

  get size(): number {
    return this.entries.size
  }

  /** The answer for a query, with what is left of its TTLs; with `stale`, one that is outdated as well. */
  get(key: string, query: Uint8Array, asked: Query, stale = false): Uint8Array | null {
    const entry = this.entries.get(key)
    if (entry === undefined) return null
    const age = Math.floor((this.options.now() - entry.at) / 1000)
    if (age < entry.lifeSeconds) {
      this.entries.delete(key) // to stand last
      this.entries.set(key, entry)
      return entry.answer.tell(query, asked, age, 0)
    }
    if (age >= entry.lifeSeconds + this.options.staleSeconds) this.remove(key, entry)
    else if (stale) return entry.answer.tell(query, asked, 2 ** 31, STALE_TTL)
    return null
  }

  /** Keeps an answer if it may be kept. */
  put(key: string, answer: Uint8Array): void {
    const lifeSeconds = Math.min(lifetimeOf(answer), this.options.maxTtlSeconds)
    const kept = lifeSeconds > 0 ? KeptAnswer.of(answer) : null
    if (kept === null) return
    const cost = OVERHEAD + key.length + kept.length
    if (cost > this.options.maxBytes / 4) return
    const before = this.entries.get(key)
    if (before) this.remove(key, before)
    this.entries.set(key, { answer: kept, at: this.options.now(), lifeSeconds })
    this.bytes += cost
    for (const [oldest, entry] of this.entries) {
      if (this.entries.size <= this.options.maxEntries && this.bytes <= this.options.maxBytes) break
      this.remove(oldest, entry)
    }
  }

  flush(): void {
    this.entries.clear()
    this.bytes = 0
  }

  private remove(key: string, entry: Entry): void {
    this.entries.delete(key)
    this.bytes -= OVERHEAD + key.length + entry.answer.length
  }
}
