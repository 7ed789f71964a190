// Owns: where the names of a record stand, and where their pointers lead: for whoever takes something out of a message, so that what stands
// behind it moves. RFC 1035 §4.1.4, RFC 3597 §4 (which types may have compressed names).

import { TYPE } from './message.js'
import { skipName } from './name.js'
import type { RecordAt } from './records.js'

/** Offsets of the names in a record whose bytes are sound: the owner's, and those of rdata that may be compressed. */
export function namesOf(bytes: Uint8Array, { at, type, rdata, end }: Pick<RecordAt, 'at' | 'type' | 'rdata' | 'end'>): number[] {
  const names = [at, ...firstsIn(type).map(offset => rdata + offset)]
  if (type === TYPE.SOA) names.push(skipName(bytes, rdata))
  return names.filter(name => name >= 0 && name < end)
}

function firstsIn(type: number): number[] {
  switch (type) {
    case TYPE.NS:
    case TYPE.CNAME:
    case TYPE.PTR:
    case TYPE.SOA:
      return [0]
    case TYPE.MX:
      return [2]
    default:
      return []
  }
}

/** Offset of the two bytes of the pointer that a name ends in, −1 if it has none. */
export function pointerOf(bytes: Uint8Array, at: number): number {
  for (let i = at; i < bytes.length; i += bytes[i] + 1) {
    if (bytes[i] >= 0xc0) return i + 1 < bytes.length ? i : -1
    if (bytes[i] === 0) return -1
  }
  return -1
}

/** Where the pointer at `at` leads. */
export function targetOf(bytes: Uint8Array, at: number): number {
  return ((bytes[at] & 0x3f) << 8) | bytes[at + 1]
}
