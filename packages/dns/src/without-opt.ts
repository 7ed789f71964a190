// Owns: an answer without its OPT record, which is from hop to hop, and with the one that a client may get. RFC 6891 §6.1.1: it may stand
// anywhere in the additional section, and there may be one only. What stands behind it moves, and names that are pointed at there with it.

import { adoptAnswer, EDNS_OPT_BYTES, type Query, TYPE, writeOpt } from './message.js'
import { namesOf, pointerOf, targetOf } from './record-names.js'
import { type RecordAt, readRecords } from './records.js'

export interface WithoutOpt {
  /** A copy. */
  bytes: Uint8Array
  /** The upper bits of the rcode, which the record had. */
  extendedRcode: number
  /** Those that are left, where they stand now. */
  records: RecordAt[]
}

/** null: the message is broken, or has two of them, or one where none may be, or a name that leads into it. */
export function withoutOpt(answer: Uint8Array): WithoutOpt | null {
  const all = readRecords(answer)
  if (all === null) return null
  const opts = all.filter(({ type }) => type === TYPE.OPT)
  if (opts.length === 0) return { bytes: new Uint8Array(answer), extendedRcode: 0, records: all }
  const [opt] = opts
  if (opts.length > 1 || opt.section !== 2) return null
  const cut = opt.end - opt.at
  const bytes = new Uint8Array(answer.length - cut)
  bytes.set(answer.subarray(0, opt.at))
  bytes.set(answer.subarray(opt.end), opt.at)
  const additional = ((answer[10] << 8) | answer[11]) - 1
  bytes[10] = additional >> 8
  bytes[11] = additional & 255
  const records = all
    .filter(record => record !== opt)
    .map(record => {
      const by = record.at > opt.at ? cut : 0
      return { ...record, at: record.at - by, ttlAt: record.ttlAt - by, rdata: record.rdata - by, end: record.end - by }
    })
  for (const record of records) {
    if (record.at < opt.at) continue // names lead backwards only
    for (const name of namesOf(bytes, record)) {
      const pointer = pointerOf(bytes, name)
      const target = pointer < 0 ? 0 : targetOf(bytes, pointer)
      if (target < opt.at) continue
      if (target < opt.end) return null
      bytes[pointer] = 0xc0 | ((target - cut) >> 8)
      bytes[pointer + 1] = (target - cut) & 255
    }
  }
  return { bytes, extendedRcode: answer[opt.ttlAt], records }
}

/** Somebody's answer for this query: adopted, and with the OPT record that this client may get, if any. null as for `adoptAnswer`. */
export function toldTo(answer: Uint8Array, query: Uint8Array, asked: Query): Uint8Array | null {
  const adopted = adoptAnswer(answer, query, asked)
  if (adopted === null || (answer[4] === 0 && answer[5] === 0)) return adopted
  const bare = withoutOpt(adopted)
  if (bare === null) return null
  if (!asked.edns) return bare.bytes
  const { bytes, extendedRcode } = bare
  const additional = ((bytes[10] << 8) | bytes[11]) + 1
  const out = new Uint8Array(bytes.length + EDNS_OPT_BYTES)
  out.set(bytes)
  writeOpt(out, bytes.length, extendedRcode, asked.dnssecOk)
  out[10] = additional >> 8
  out[11] = additional & 255
  return out
}
