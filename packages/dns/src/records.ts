// Owns: where the records of a message stand, for those who look into somebody else's answer or change it: TTLs, addresses, rdata.
// RFC 1035 §4.1.3 (form), RFC 2181 §8 (a TTL is 31 bits). Nothing here throws; null: the message is broken.

import { HEADER_BYTES, RCODE, TYPE } from './message.js'
import { skipName } from './name.js'

/** More in one message are not looked at: it takes 11 bytes for each, so a frame of TCP could have 5,957. */
const MAX_RECORDS = 6000

export interface RecordAt {
  /** 0 answer, 1 authority, 2 additional. */
  section: number
  /** Offset of the owner's name. */
  at: number
  type: number
  class: number
  ttlSeconds: number
  /** Offset of the TTL's four bytes; two bytes of length and the rdata follow. */
  ttlAt: number
  rdata: number
  end: number
}

/** All records behind the questions, null if they are not as the header says. */
export function readRecords(bytes: Uint8Array): RecordAt[] | null {
  if (bytes.length < HEADER_BYTES) return null
  let at = HEADER_BYTES
  for (let i = u16(bytes, 4); i > 0; i--) {
    at = skipName(bytes, at)
    if (at < 0 || at + 4 > bytes.length) return null
    at += 4
  }
  const records: RecordAt[] = []
  for (let section = 0; section < 3; section++) {
    for (let i = u16(bytes, 6 + 2 * section); i > 0; i--) {
      const start = at
      at = skipName(bytes, at)
      if (at < 0 || at + 10 > bytes.length || records.length === MAX_RECORDS) return null
      const rdata = at + 10
      const end = rdata + u16(bytes, at + 8)
      if (end > bytes.length) return null
      records.push({
        section,
        at: start,
        type: u16(bytes, at),
        class: u16(bytes, at + 2),
        ttlSeconds: ttlOf(bytes, at + 4),
        ttlAt: at + 4,
        rdata,
        end,
      })
      at = end
    }
  }
  return records
}

/** RFC 2181 §8: with the most significant bit set it counts as zero. */
function ttlOf(bytes: Uint8Array, at: number): number {
  return bytes[at] & 0x80 ? 0 : ((bytes[at] << 24) | (bytes[at + 1] << 16) | u16(bytes, at + 2)) >>> 0
}

/** What an answer says about its name's addresses: as bytes of 4 or 16, and the TTL of the shortest-lived record on the way. */
export function addressesOf(bytes: Uint8Array): { addresses: Uint8Array[]; ttlSeconds: number } {
  const addresses: Uint8Array[] = []
  let ttlSeconds = Number.POSITIVE_INFINITY
  for (const record of readRecords(bytes) ?? []) {
    if (record.section !== 0) break
    const length = record.end - record.rdata
    if (record.type !== TYPE.A && record.type !== TYPE.AAAA && record.type !== TYPE.CNAME) continue
    ttlSeconds = Math.min(ttlSeconds, record.ttlSeconds) // a chain of CNAMEs holds as long as its weakest link
    if ((record.type === TYPE.A && length === 4) || (record.type === TYPE.AAAA && length === 16)) {
      addresses.push(bytes.slice(record.rdata, record.end))
    }
  }
  return { addresses, ttlSeconds: addresses.length > 0 ? ttlSeconds : 0 }
}

/** Seconds an answer may be kept, 0: not at all. RFC 2308 §5 for what says that there is nothing; SERVFAIL and the like never. */
export function lifetimeOf(bytes: Uint8Array): number {
  const rcode = bytes[3] & 15
  if (rcode !== RCODE.NOERROR && rcode !== RCODE.NXDOMAIN) return 0
  if (bytes[2] & 0x02) return 0 // cut: RFC 2181 §9
  const records = readRecords(bytes)
  if (records === null) return 0
  let least = Number.POSITIVE_INFINITY
  let soa = -1
  let answers = 0
  for (const { section, type, ttlSeconds, end, rdata } of records) {
    if (type === TYPE.OPT) continue
    least = Math.min(least, ttlSeconds)
    if (section === 0 && type !== TYPE.CNAME) answers++
    // MINIMUM is the last of five numbers behind two names.
    if (section === 1 && type === TYPE.SOA && end - rdata >= 22) soa = Math.min(ttlSeconds, ttlOf(bytes, end - 4))
  }
  if (rcode === RCODE.NOERROR && answers > 0) return least
  return soa < 0 ? 0 : Math.min(soa, least, MAX_NEGATIVE)
}

/** RFC 2308 §5: one to three hours are a sensible most for what does not exist. */
const MAX_NEGATIVE = 3600

function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1]
}
