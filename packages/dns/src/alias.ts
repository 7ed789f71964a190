// Owns: the answer for a name that is another's alias (`hosts`). RFC 1034 §3.6.2 (CNAME), RFC 1035 §4.1.4 (pointers).

import { answerError, answerRecord, CLASS_IN, type Query, RCODE, RECORD_BYTES, TYPE } from './message.js'
import { addressesOf } from './records.js'

/**
 * A CNAME to `target` (a name's bytes), and behind it the addresses that `answer` has, as the target's own: their owner is written as a
 * pointer to it. The rcode is that of `answer`; without one SERVFAIL.
 */
export function withAlias(bytes: Uint8Array, query: Query, ttlSeconds: number, target: Uint8Array, answer: Uint8Array | null): Uint8Array {
  const rcode = answer === null ? RCODE.SERVFAIL : answer[3] & 15
  if (answer === null || (rcode !== RCODE.NOERROR && rcode !== RCODE.NXDOMAIN)) return answerError(bytes, query, rcode)
  const cname = answerRecord(bytes, query, TYPE.CNAME, ttlSeconds, target)
  const targetAt = query.end + RECORD_BYTES
  const { addresses, ttlSeconds: ttl } = addressesOf(answer)
  const records = addresses.map(address => {
    const record = new Uint8Array(RECORD_BYTES + address.length)
    const view = new DataView(record.buffer)
    view.setUint16(0, 0xc000 | targetAt)
    view.setUint16(2, address.length === 4 ? TYPE.A : TYPE.AAAA)
    view.setUint16(4, CLASS_IN)
    view.setUint32(6, ttl)
    view.setUint16(10, address.length)
    record.set(address, RECORD_BYTES)
    return record
  })
  const at = targetAt + target.length
  const out = Uint8Array.from(Buffer.concat([cname.subarray(0, at), ...records, cname.subarray(at)]))
  out[3] |= rcode
  out[6] = (1 + records.length) >> 8
  out[7] = (1 + records.length) & 255
  return out
}
