// Owns: what whoever hands out fake addresses offers its users. A pool of one process answers at once; one that several gateways share may
// have to ask, and answers with a promise. Promises never reject: a store that cannot be reached gives no address and no name.

export interface FakeIps {
  /** Is there a range for this family? */
  serves(family: 4 | 6): boolean
  /** The name's address, the same each time while it is remembered; null if there is no range or every address is in use. */
  lookup(name: string, family: 4 | 6): string | null | Promise<string | null>
  /** The name an address was handed out for. Counts as a use of it. */
  nameOf(address: string): string | undefined | Promise<string | undefined>
  /** Is the address in one of the ranges, handed out or not? */
  contains(address: string): boolean
  /** A live flow uses the address: it keeps its name until as many `unpin`s came. False (and nothing done) if it has no name. */
  pin(address: string): boolean
  unpin(address: string): void
  /** From now on the address or the CIDR's addresses are not handed out; a CIDR with a whole range in it changes nothing. */
  reserve(addresses: string): void
  /** Forgets all names but those of pinned addresses. */
  flush(): void
  /** Idempotent. */
  close(): void
}
