// Owns: a small set of CIDRs, as `fallback-filter` has them.

import { addressBytes } from './address.js'
import { misuse } from './errors.js'

export class CidrSet {
  private readonly ranges: { base: Uint8Array; bits: number }[]

  /** @throws RangeError `ERR_TUN_DNS_ADDRESS` for what is no CIDR */
  constructor(cidrs: readonly string[]) {
    this.ranges = cidrs.map(text => {
      const [address, prefix, more] = text.split('/')
      const base = addressBytes(address)
      const bits = prefix === undefined && base ? 8 * base.length : /^\d{1,3}$/.test(prefix) ? Number(prefix) : -1
      if (!base || more !== undefined || bits < 0 || bits > 8 * base.length) {
        throw misuse('ERR_TUN_DNS_ADDRESS', `'${text}' is no CIDR: write e.g. 240.0.0.0/4`)
      }
      return { base, bits }
    })
  }

  /** @param address 4 or 16 bytes */
  has(address: Uint8Array): boolean {
    return this.ranges.some(({ base, bits }) => base.length === address.length && sharesBits(base, address, bits))
  }
}

function sharesBits(a: Uint8Array, b: Uint8Array, bits: number): boolean {
  const whole = bits >> 3
  for (let i = 0; i < whole; i++) if (a[i] !== b[i]) return false
  return (bits & 7) === 0 || (a[whole] ^ b[whole]) >> (8 - (bits & 7)) === 0
}
