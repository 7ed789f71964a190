// Owns: which connection or flow uses which fake addresses: as long as it lives they keep their names.

import type { FakeIps } from '@tun/dns'

export interface Pinning {
  /** The addresses it uses; most use one. No table from owner to addresses: see arrival-list.ts of the stack. */
  pinned: string | Set<string> | null
}

export class FakePins {
  constructor(private readonly pool: FakeIps) {}

  pin(owner: Pinning, address: string): void {
    const { pinned } = owner
    if (typeof pinned === 'string' ? pinned === address : pinned?.has(address)) return
    if (!this.pool.pin(address)) return
    if (pinned === null) owner.pinned = address
    else if (typeof pinned === 'string') owner.pinned = new Set([pinned, address])
    else pinned.add(address)
  }

  unpin(owner: Pinning): void {
    const { pinned } = owner
    owner.pinned = null
    if (typeof pinned === 'string') this.pool.unpin(pinned)
    else if (pinned !== null) for (const address of pinned) this.pool.unpin(address)
  }
}
