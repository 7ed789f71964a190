// Owns: an answer as it is remembered: taken apart once, so that giving it costs a copy, a few TTLs and the OPT record this client may
// get. RFC 2181 §8 (TTL), RFC 6891 §6.1.1 (OPT is hop by hop).

import { EDNS_OPT_BYTES, HEADER_BYTES, type Query, TYPE, writeOpt } from './message.js'
import { readRecords } from './records.js'

export class KeptAnswer {
  private constructor(
    /** Without its OPT record. */
    private readonly bytes: Uint8Array,
    /** Of each record: where its TTL stands, and the TTL. */
    private readonly ttls: Int32Array,
    private readonly extendedRcode: number,
    readonly length: number,
  ) {}

  /** null: the message is broken, or has not one question. */
  static of(answer: Uint8Array): KeptAnswer | null {
    const records = readRecords(answer)
    if (records === null || answer[4] !== 0 || answer[5] !== 1) return null
    const opt = records.find(({ section, type }) => section === 2 && type === TYPE.OPT)
    const cut = opt ? opt.end - opt.at : 0
    const bytes = new Uint8Array(answer.length - cut)
    bytes.set(answer.subarray(0, opt?.at))
    if (opt) bytes.set(answer.subarray(opt.end), opt.at)
    if (opt) {
      const additional = ((answer[10] << 8) | answer[11]) - 1
      bytes[10] = additional >> 8
      bytes[11] = additional & 255
    }
    const others = records.filter(({ type }) => type !== TYPE.OPT)
    const ttls = others.flatMap(({ at, ttlAt, ttlSeconds }) => [opt && at > opt.at ? ttlAt - cut : ttlAt, ttlSeconds])
    return new KeptAnswer(bytes, Int32Array.from(ttls), opt ? answer[opt.ttlAt] : 0, bytes.length)
  }

  /** For the client with this query (of the same name, in any letters, and type): TTLs `ageSeconds` lower, none below `floor`. */
  tell(query: Uint8Array, asked: Query, ageSeconds: number, floor: number): Uint8Array {
    const { bytes, ttls } = this
    const out = new Uint8Array(asked.edns ? bytes.length + EDNS_OPT_BYTES : bytes.length)
    out.set(bytes)
    out[0] = asked.id >> 8
    out[1] = asked.id & 255
    for (let i = HEADER_BYTES; i < asked.end; i++) out[i] = query[i]
    for (let i = 0; i < ttls.length; i += 2) {
      const at = ttls[i]
      const ttl = Math.max(floor, ttls[i + 1] - ageSeconds)
      out[at] = ttl >>> 24
      out[at + 1] = ttl >>> 16
      out[at + 2] = ttl >>> 8
      out[at + 3] = ttl
    }
    if (asked.edns) {
      const additional = ((out[10] << 8) | out[11]) + 1
      out[10] = additional >> 8
      out[11] = additional & 255
      writeOpt(out, bytes.length, this.extendedRcode, asked.dnssecOk)
    }
    return out
  }
}
