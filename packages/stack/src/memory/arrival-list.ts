// Owns: items in the order they came, each of which may leave at any time. The links lie in the items: adding and leaving make nothing.

/** Something that can be in one list. The fields are the list's. */
export interface Listed<T> {
  older: T | null
  newer: T | null
}

/**
 * What a Set would do, for items that come and go by the thousand. A Set grows into one table after another, and V8 (11.3, Node 20) lets each
 * point to the next and keep what was in it: once one of them has become old, young collections take all that follow for alive, and with
 * them nearly every item that ever was in the Set, until the next full collection (`OrderedHashTable::Rehash`, `SetNextTable`).
 */
export class ArrivalList<T extends Listed<T>> {
  size = 0
  oldest: T | null = null
  newest: T | null = null

  /** Behind all others; it must be in no list. */
  add(item: T): void {
    const { newest } = this
    item.older = newest
    if (newest === null) this.oldest = item
    else newest.newer = item
    this.newest = item
    this.size++
  }

  /** False: it was not in here. */
  delete(item: T): boolean {
    const { older, newer } = item
    if (older === null && this.oldest !== item) return false
    if (older === null) this.oldest = newer
    else older.newer = newer
    if (newer === null) this.newest = older
    else newer.older = older
    item.older = null // an item that is gone must not keep others alive: see above
    item.newer = null
    this.size--
    return true
  }
}
