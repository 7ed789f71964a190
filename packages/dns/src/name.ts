// Owns: domain names between wire and text. RFC 1035 §3.1, §4.1.4 (compression), §5.1 (escapes), RFC 4343 (case).
// Text here is lower case, without the last dot, '' for the root; bytes that could be mistaken are escaped as `\.` and `\DDD`.

import { formatIpv4, formatIpv6 } from './address.js'

/** RFC 1035 §2.3.4, the root's length byte included. */
export const MAX_NAME_BYTES = 255
export const MAX_LABEL_BYTES = 63

/** Every byte of a name may become `\DDD`. */
const text = Buffer.alloc(4 * MAX_NAME_BYTES)

export interface NameAt {
  name: string
  /** Offset behind the name, -1 if it is broken. */
  end: number
}

/** Reads an uncompressed name: what a question has, where there is nothing before it to point at. Writes into `out`. */
export function readName(bytes: Uint8Array, at: number, out: NameAt): boolean {
  const limit = Math.min(bytes.length, at + MAX_NAME_BYTES)
  let length = 0
  let i = at
  out.name = ''
  out.end = -1
  while (i < limit) {
    const label = bytes[i++]
    if (label === 0) {
      out.name = text.toString('latin1', 0, length)
      out.end = i
      return true
    }
    if (label > MAX_LABEL_BYTES || i + label >= limit) return false
    if (length > 0) text[length++] = DOT
    for (const end = i + label; i < end; i++) {
      const byte = bytes[i]
      if (byte >= UPPER_A && byte <= UPPER_Z) text[length++] = byte + 32
      else if (byte > 32 && byte < 127 && byte !== DOT && byte !== BACKSLASH) text[length++] = byte
      else length = escapeByte(byte, length)
    }
  }
  return false
}

function escapeByte(byte: number, at: number): number {
  text[at++] = BACKSLASH
  if (byte !== DOT && byte !== BACKSLASH) {
    text[at++] = 48 + Math.trunc(byte / 100)
    text[at++] = 48 + (Math.trunc(byte / 10) % 10)
    text[at++] = 48 + (byte % 10)
  } else text[at++] = byte
  return at
}

/** Offset behind a name that may end in a pointer; -1 if broken. The pointer is not followed: its target was read or does not matter. */
export function skipName(bytes: Uint8Array, at: number): number {
  const limit = Math.min(bytes.length, at + MAX_NAME_BYTES)
  let i = at
  while (i < limit) {
    const label = bytes[i++]
    if (label === 0) return i
    if (label >= 0xc0) return i < bytes.length ? i + 1 : -1
    if (label > MAX_LABEL_BYTES) return -1
    i += label
  }
  return -1
}

/** The wire form of a name's text, null if it has none (empty or long labels, too long a whole, not ASCII). */
export function writeName(name: string): Uint8Array | null {
  const out = new Uint8Array(MAX_NAME_BYTES)
  let labelAt = 0
  let at = 1
  const end = name.endsWith('.') && !name.endsWith('\\.') ? name.length - 1 : name.length
  for (let i = 0; i < end; i++) {
    let code = name.charCodeAt(i)
    if (code > 127 || at >= MAX_NAME_BYTES) return null
    if (code === DOT) {
      if (at === labelAt + 1) return null
      out[labelAt] = at - labelAt - 1
      labelAt = at++
      continue
    }
    if (code === BACKSLASH) {
      const digits = name.slice(i + 1, i + 4)
      const byte = /^\d{3}$/.test(digits) ? Number(digits) : -1
      if (byte > 255 || i + 1 >= end) return null
      code = byte >= 0 ? byte : name.charCodeAt(i + 1)
      i += byte >= 0 ? 3 : 1
      if (code > 255) return null
    }
    if (at - labelAt > MAX_LABEL_BYTES) return null
    out[at++] = code
  }
  if (end === 0) return new Uint8Array(1)
  if (at === labelAt + 1 || at >= MAX_NAME_BYTES) return null
  out[labelAt] = at - labelAt - 1
  return out.slice(0, at + 1)
}

/** The address a PTR question is about (RFC 1035 §3.5, RFC 3596 §2.5), null if the name is no complete reverse name. */
export function addressOfReverseName(name: string): string | null {
  if (name.endsWith('.in-addr.arpa')) {
    const octets = name.slice(0, -13).split('.')
    if (octets.length !== 4 || !octets.every(octet => /^(0|[1-9]\d{0,2})$/.test(octet) && Number(octet) < 256)) return null
    return formatIpv4(octets.reduceRight((value, octet) => value * 256 + Number(octet), 0))
  }
  if (name.endsWith('.ip6.arpa')) {
    const nibbles = name.slice(0, -9)
    if (!/^([0-9a-f]\.){31}[0-9a-f]$/.test(nibbles)) return null
    const digits = nibbles.split('.').reverse().join('')
    return formatIpv6([0, 8, 16, 24].map(at => Number.parseInt(digits.slice(at, at + 8), 16)))
  }
  return null
}

const DOT = 0x2e
const BACKSLASH = 0x5c
const UPPER_A = 0x41
const UPPER_Z = 0x5a
