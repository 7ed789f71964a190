// Owns: what a fake-IP pool's memory outlives its process with: the interface of a store, and the one that keeps nothing.

export interface FakeIpEntry {
  /** In RFC 5952's form, as the pool writes it. */
  address: string
  /** Lower case, without the last dot. */
  name: string
}

/** Kept by one pool, which calls it synchronously: a store that has to wait writes behind. Nothing here throws for what a disk does. */
export interface FakeIpStore {
  /** Everything that was kept, least recently used first. Called once, before anything else. */
  load(): Iterable<FakeIpEntry>
  /** From now on the name has this address; whoever had either of them before has not. */
  set(entry: FakeIpEntry): void
  /** Everything but `entries` is forgotten. */
  reset(entries: Iterable<FakeIpEntry>): void
  /** Told once, before `load`: where to take what there is, least recently used first, when the store tidies up. */
  attach?(entries: () => Iterable<FakeIpEntry>): void
  /** What is not written yet is. Idempotent. */
  close(): void
}

/** Keeps nothing: a pool of its own makes the same of it. */
export const MEMORY_STORE: FakeIpStore = {
  load: () => [],
  set: () => {},
  reset: () => {},
  close: () => {},
}
