// Owns: ranges of addresses as numbers, for checks of a config: which holds which, and what is written behind a prefix.
// RFC 4632, RFC 4291.

import { isIP } from 'node:net'

export interface Cidr {
  family: 4 | 6
  bits: number
  /** As it was written. */
  address: bigint
  first: bigint
  last: bigint
}

/** `ADDRESS/BITS`, or an address, which is a range of one; undefined if it is neither. */
export function parseCidr(text: string): Cidr | undefined {
  const [written, prefix, more] = text.split('/')
  const family = isIP(written)
  if (family === 0 || written.includes('%') || more !== undefined) return undefined
  const all = family === 4 ? 32 : 128
  if (prefix !== undefined && !(/^\d{1,3}$/.test(prefix) && Number(prefix) <= all)) return undefined
  const bits = prefix === undefined ? all : Number(prefix)
  const address = family === 4 ? numberOf4(written) : numberOf6(written)
  const size = 1n << BigInt(all - bits)
  const first = address - (address % size)
  return { family: family as 4 | 6, bits, address, first, last: first + size - 1n }
}

export function hasHostBits({ address, first }: Cidr): boolean {
  return address !== first
}

export function overlaps(a: Cidr, b: Cidr): boolean {
  return a.family === b.family && a.first <= b.last && b.first <= a.last
}

/** Is `inner` wholly in `outer`? */
export function holds(outer: Cidr, inner: Cidr): boolean {
  return overlaps(outer, inner) && outer.first <= inner.first && inner.last <= outer.last
}

/** The first address of the range, as text. */
export function firstAddress({ family, first }: Cidr): string {
  return formatAddress(family, first)
}

/** `198.18.0.1/16` is 198.18.0.0/16 to `ip route`, which refuses bits behind the prefix. What is no range stays as it is. */
export function networkOf(text: string | undefined): string | undefined {
  const range = text === undefined ? undefined : parseCidr(text)
  return range ? `${firstAddress(range)}/${range.bits}` : text
}

export function formatAddress(family: 4 | 6, address: bigint): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map(shift => (address >> shift) & 255n).join('.')
  const groups = Array.from({ length: 8 }, (_, i) => ((address >> BigInt(112 - 16 * i)) & 0xffffn).toString(16))
  // RFC 5952 §4.2: the longest run of two zeroes or more, the first of them.
  const runs = [...groups.join(':').matchAll(/\b0(?::0)+\b/g)].sort((a, b) => b[0].length - a[0].length || a.index - b.index)
  const text = groups.join(':')
  if (runs.length === 0) return text
  const { 0: run, index } = runs[0]
  return `${text.slice(0, index).replace(/:$/, '')}::${text.slice(index + run.length).replace(/^:/, '')}`
}

function numberOf4(text: string): bigint {
  return text.split('.').reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n)
}

function numberOf6(text: string): bigint {
  const plain = text.replace(/(\d+\.\d+\.\d+\.\d+)$/, dotted => {
    const low = numberOf4(dotted)
    return `${(low >> 16n).toString(16)}:${(low & 0xffffn).toString(16)}`
  })
  const [head, tail] = plain.split('::').map(part => part.split(':').filter(group => group !== ''))
  const missing = tail === undefined ? 0 : 8 - head.length - tail.length
  const groups = [...head, ...Array<string>(missing).fill('0'), ...(tail ?? [])]
  return groups.reduce((sum, group) => (sum << 16n) | BigInt(`0x${group}`), 0n)
}
