// Owns: whole messages as objects, for own resolvers and logs; dns-packet does the work behind our own types. Nothing on the
// fast path comes here. Types dns-packet does not know (SVCB, HTTPS) appear as `UNKNOWN_65` with their raw bytes.

import { type Answer, decode, encode } from 'dns-packet'
import { answerEmpty, answerError, RCODE, readQuery, STATUS } from './message.js'

export interface DnsRecord {
  /** With its letters as they came. */
  name: string
  /** `A`, `AAAA`, `CNAME`, `TXT`, … */
  type: string
  /** Seconds; 1 if left out. */
  ttl?: number
  /** A string for A, AAAA, CNAME, NS, PTR; an object or bytes for others: see dns-packet's table of records. */
  data: unknown
}

export interface DnsMessage {
  id: number
  /** false: a query. */
  response: boolean
  /** `NOERROR`, `NXDOMAIN`, … */
  rcode: string
  questions: { name: string; type: string }[]
  answers: DnsRecord[]
  authorities: DnsRecord[]
  additionals: DnsRecord[]
}

/** The message, null if the bytes are none. Never throws. */
export function decodeMessage(bytes: Uint8Array): DnsMessage | null {
  try {
    const packet = decode(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)) as ReturnType<typeof decode> & { rcode: string }
    return {
      id: packet.id ?? 0,
      response: packet.type === 'response',
      rcode: packet.rcode,
      questions: (packet.questions ?? []).map(({ name, type }) => ({ name, type })),
      answers: (packet.answers ?? []).map(toRecord),
      authorities: (packet.authorities ?? []).map(toRecord),
      additionals: (packet.additionals ?? []).map(toRecord),
    }
  } catch {
    return null
  }
}

function toRecord(answer: Answer): DnsRecord {
  return {
    name: answer.name,
    type: answer.type,
    ttl: 'ttl' in answer ? (answer.ttl ?? 0) : 0,
    data: 'data' in answer ? answer.data : undefined,
  }
}

export interface DnsReply {
  rcode?: keyof typeof RCODE
  answers?: readonly DnsRecord[]
}

/**
 * The bytes of an answer to a query's bytes, for own resolvers: id, question and EDNS0 as the query has them; null if it is no query.
 * @throws what dns-packet throws for a record it cannot write
 */
export function encodeReply(query: Uint8Array, { rcode = 'NOERROR', answers = [] }: DnsReply = {}): Uint8Array | null {
  const asked = readQuery(query)
  if (asked.status !== STATUS.OK) return null
  const head = rcode === 'NOERROR' ? answerEmpty(query, asked) : answerError(query, asked, RCODE[rcode])
  if (answers.length === 0) return head
  // dns-packet writes names in full, without pointers, so that its records can stand anywhere.
  const records = encode({ type: 'response', answers: answers.map(record => ({ ttl: 1, ...record }) as Answer) }).subarray(12)
  const out = new Uint8Array(head.length + records.length)
  out.set(head.subarray(0, asked.end))
  out.set(records, asked.end)
  out.set(head.subarray(asked.end), asked.end + records.length)
  out[6] = answers.length >> 8
  out[7] = answers.length & 255
  return out
}
