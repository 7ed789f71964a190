// Owns: the addresses of our own NIC, as far as the host gives it some: who pings one of them pings us.

import { networkInterfaces } from 'node:os'
import { type AddressWords, parseAddress } from '@tun/stack'

/** Asking the kernel costs tens of microseconds, and pings come in floods. */
const MEMORY = 1000 // ms

export class LocalAddresses {
  private readonly nic: { readonly name: string }
  private known: AddressWords[] = []
  private askedAt = -Infinity

  /** `nic` may be renamed. */
  constructor(nic: { readonly name: string }) {
    this.nic = nic
  }

  /** They may be others: asked anew for the next ping. */
  forget(): void {
    this.askedAt = -Infinity
  }

  has(w0: number, w1: number, w2: number, w3: number): boolean {
    const now = performance.now()
    if (now - this.askedAt > MEMORY) {
      this.askedAt = now
      const own = networkInterfaces()[this.nic.name] ?? []
      this.known = own.map(({ address }) => parseAddress(address.replace(/%.*$/, ''))).filter(words => words !== null)
    }
    return this.known.some(words => words[3] === w3 && words[2] === w2 && words[1] === w1 && words[0] === w0)
  }
}
