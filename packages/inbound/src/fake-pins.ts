// Owns: which connection or flow uses which fake addresses: as long as it lives they keep their names.

import type { FakeIps } from '@tun/dns'

export class FakePins<Owner> {
  private readonly pool: FakeIps
  private readonly pinned = new Map<Owner, Set<string>>()

  constructor(pool: FakeIps) {
    this.pool = pool
  }

  pin(owner: Owner, address: string): void {
    const addresses = this.pinned.get(owner)
    if (addresses?.has(address) || !this.pool.pin(address)) return
    if (addresses) addresses.add(address)
    else this.pinned.set(owner, new Set([address]))
  }

  unpin(owner: Owner): void {
    const addresses = this.pinned.get(owner)
    if (!addresses) return
    for (const address of addresses) this.pool.unpin(address)
    this.pinned.delete(owner)
  }
}
