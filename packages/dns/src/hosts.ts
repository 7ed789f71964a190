// Owns: names with addresses of our own, as Clash's `hosts` has them: a name (`*.example.com` and `+.example.com` are possible), and one
// address, several, or another name which is asked for in its stead.

import { isIP } from 'node:net'
import { addressBytes } from './address.js'
import { DomainSet } from './domain-set.js'

export type HostValue = string | readonly string[]

export interface HostEntry {
  /** 4 or 16 bytes each. */
  addresses: Uint8Array[]
  /** Asked for instead. */
  alias: string | undefined
}

export class HostTable {
  private readonly exact = new Map<string, HostEntry>()
  private readonly patterns: { domains: DomainSet; entry: HostEntry }[] = []

  /** @throws RangeError `ERR_TUN_DOMAIN_PATTERN` */
  constructor(hosts: Readonly<Record<string, HostValue>> = {}) {
    for (const [name, value] of Object.entries(hosts)) {
      const texts = typeof value === 'string' ? [value] : value
      const addresses = texts.map(addressBytes).filter(bytes => bytes !== null)
      const alias = texts.find(text => isIP(text) === 0)
      const entry = { addresses, alias: addresses.length > 0 ? undefined : alias?.replace(/\.$/, '').toLowerCase() }
      const domains = new DomainSet([name])
      if (/^[^*+.][^*+]*$/.test(name)) this.exact.set(name.replace(/\.$/, '').toLowerCase(), entry)
      else this.patterns.push({ domains, entry })
    }
  }

  get size(): number {
    return this.exact.size + this.patterns.length
  }

  /** What stands for a name (lower case, no last dot); aliases of aliases are followed, at most eight. */
  find(name: string): HostEntry | undefined {
    let entry = this.look(name)
    for (let i = 0; i < 8 && entry?.alias !== undefined; i++) {
      const next = this.look(entry.alias)
      if (!next || next === entry) break
      entry = next
    }
    return entry
  }

  private look(name: string): HostEntry | undefined {
    return this.exact.get(name) ?? this.patterns.find(({ domains }) => domains.has(name))?.entry
  }
}
