// Owns: an answer as it is remembered: taken apart once, so that giving it costs a copy, a few TTLs and the OPT record this client may
// get. RFC 2181 §8 (TTL), RFC 6891 §6.1.1 (OPT is hop by hop).

import { EDNS_OPT_BYTES, HEADER_BYTES, type Query, writeOpt } from './message.js'
import { withoutOpt } from './without-opt.js'

export class KeptAnswer {
  private constructor(
    /** Without its OPT record. */
    private readonly bytes: Uint8Array,
    /** Of each record: where its TTL stands, and the TTL. */
    private readonly ttls: Int32Array,
    private readonly extendedRcode: number,
    readonly length: number,
  ) {}

  /** null: the message is broken, has not one question, or two OPT records. */
  static of(answer: Uint8Array): KeptAnswer | null {
    const bare = answer[4] !== 0 || answer[5] !== 1 ? null : withoutOpt(answer)
    if (bare === null) return null
    const { bytes, extendedRcode, records } = bare
    const ttls = Int32Array.from(records.flatMap(({ ttlAt, ttlSeconds }) => [ttlAt, ttlSeconds]))
    return new KeptAnswer(bytes, ttls, extendedRcode, bytes.length)
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
