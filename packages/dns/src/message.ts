// Owns: the part of a DNS message a server on the TUN needs on its fast path: header, one question, EDNS0 in; short answers out.
// RFC 1035 §4.1 first, then RFC 6891 (EDNS0), RFC 9619 (one question), RFC 2181 §9 (TC).

import { type NameAt, readName, skipName, writeName } from './name.js'

export const TYPE = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  AAAA: 28,
  OPT: 41,
  SVCB: 64,
  HTTPS: 65,
  TKEY: 249,
  MAILA: 254,
  ANY: 255,
} as const
export const RCODE = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5, BADVERS: 16 } as const
export const CLASS_IN = 1
export const HEADER_BYTES = 12

export const QR = 0x8000
export const OPCODE = 0x7800
export const AA = 0x0400
export const TC = 0x0200
export const RD = 0x0100
export const RA = 0x0080
export const CD = 0x0010

/** RFC 1035 §4.2.1: what every client takes over UDP. */
export const UDP_BYTES = 512
/** What we say we take and the most we send over UDP: fits every path without fragments (DNS flag day 2020). */
export const EDNS_BYTES = 1232

/** What `readQuery` found; everything from MALFORMED on is answered with an error. */
export const STATUS = {
  OK: 0,
  /** Not ours to answer: shorter than a header, or itself an answer. */
  IGNORE: 1,
  MALFORMED: 2,
  /** An opcode other than QUERY. */
  OPCODE: 3,
  /** EDNS version above 0 (RFC 6891 §6.1.3). */
  VERSION: 4,
} as const

export interface Query {
  /** One of STATUS. */
  status: number
  id: number
  /** The 16 bits behind the id. */
  flags: number
  /** Lower case, without the last dot; see name.ts. */
  name: string
  type: number
  class: number
  /** Offset behind the question; 12 if there is none to echo. */
  end: number
  /** It carried an OPT record, so the answer must (RFC 6891 §6.1.1). */
  edns: boolean
  /** Bytes the client takes over UDP. */
  udpBytes: number
  /** The DO bit (RFC 3225). */
  dnssecOk: boolean
}

const nameAt: NameAt = { name: '', end: -1 }

/** Reads a query. Never throws; `status` says how far it came. */
export function readQuery(bytes: Uint8Array): Query {
  const query: Query = {
    status: STATUS.IGNORE,
    id: 0,
    flags: 0,
    name: '',
    type: 0,
    class: 0,
    end: HEADER_BYTES,
    edns: false,
    udpBytes: UDP_BYTES,
    dnssecOk: false,
  }
  if (bytes.length < HEADER_BYTES) return query
  query.id = u16(bytes, 0)
  query.flags = u16(bytes, 2)
  if (query.flags & QR) return query // an answer to an answer could go on for ever
  query.status = query.flags & OPCODE ? STATUS.OPCODE : readBody(bytes, query)
  return query
}

function readBody(bytes: Uint8Array, query: Query): number {
  if (u16(bytes, 4) !== 1) return STATUS.MALFORMED // RFC 9619 §4
  if (!readName(bytes, HEADER_BYTES, nameAt) || nameAt.end + 4 > bytes.length) return STATUS.MALFORMED
  query.name = nameAt.name
  query.type = u16(bytes, nameAt.end)
  query.class = u16(bytes, nameAt.end + 2)
  query.end = nameAt.end + 4
  return query.type === TYPE.OPT ? STATUS.MALFORMED : readRecords(bytes, query)
}

/** Walks over what follows the question, only to find the OPT record. */
function readRecords(bytes: Uint8Array, query: Query): number {
  const before = u16(bytes, 6) + u16(bytes, 8)
  const records = before + u16(bytes, 10)
  let version = 0
  let at = query.end
  for (let i = 0; i < records; i++) {
    const root = bytes[at] === 0
    at = skipName(bytes, at)
    if (at < 0 || at + 10 > bytes.length) return STATUS.MALFORMED
    if (u16(bytes, at) === TYPE.OPT) {
      if (query.edns || !root || i < before) return STATUS.MALFORMED // RFC 6891 §6.1.1
      query.edns = true
      query.udpBytes = Math.max(UDP_BYTES, u16(bytes, at + 2)) // (§6.2.3)
      version = bytes[at + 5]
      query.dnssecOk = (bytes[at + 6] & 0x80) !== 0
    }
    at += 10 + u16(bytes, at + 8)
    if (at > bytes.length) return STATUS.MALFORMED
  }
  return version === 0 ? STATUS.OK : STATUS.VERSION
}

/** A query of our own: id 0, recursion desired. null if the name cannot be written. */
export function writeQuery(name: string, type: number): Uint8Array | null {
  const labels = writeName(name)
  if (labels === null) return null
  const out = new Uint8Array(HEADER_BYTES + labels.length + 4)
  out[2] = RD >> 8
  out[5] = 1
  out.set(labels, HEADER_BYTES)
  out.set([type >> 8, type & 255, 0, CLASS_IN], HEADER_BYTES + labels.length)
  return out
}

/** An error without records; the question is echoed if it could be read. */
export function answerError(bytes: Uint8Array, query: Query, rcode: number): Uint8Array {
  return writeAnswer(bytes, query, 0, rcode, 0, 0, NOTHING)
}

/** Several records of one type that answer the question's name. */
export function answerRecords(bytes: Uint8Array, query: Query, ttlSeconds: number, rdatas: readonly Uint8Array[]): Uint8Array {
  if (rdatas.length === 0) return answerEmpty(bytes, query)
  const first = answerRecord(bytes, query, query.type, ttlSeconds, rdatas[0])
  const at = query.end
  const record = first.subarray(at, at + RECORD_BYTES + rdatas[0].length) // all have the same length: addresses of one family
  const others = rdatas.slice(1).flatMap(rdata => [record.subarray(0, RECORD_BYTES), rdata])
  const out = Uint8Array.from(Buffer.concat([first.subarray(0, at), record, ...others, first.subarray(at + record.length)]))
  out[6] = rdatas.length >> 8
  out[7] = rdatas.length & 255
  return out
}

/** NOERROR without records: the name exists, this type does not. Without a SOA nobody caches it (RFC 2308 §5). */
export function answerEmpty(bytes: Uint8Array, query: Query): Uint8Array {
  return writeAnswer(bytes, query, AA, RCODE.NOERROR, 0, 0, NOTHING)
}

/** One record that answers the question's name. */
export function answerRecord(bytes: Uint8Array, query: Query, type: number, ttlSeconds: number, rdata: Uint8Array): Uint8Array {
  return writeAnswer(bytes, query, AA, RCODE.NOERROR, type, ttlSeconds, rdata)
}

const NOTHING = new Uint8Array(0)
/** Of an OPT record without options. */
export const EDNS_OPT_BYTES = 11
/** What stands before the rdata of a record whose owner is a pointer. */
export const RECORD_BYTES = 12 // pointer, type, class, TTL, length

function writeAnswer(
  bytes: Uint8Array,
  query: Query,
  flags: number,
  rcode: number,
  type: number,
  ttlSeconds: number,
  rdata: Uint8Array,
): Uint8Array {
  const record = type === 0 ? 0 : RECORD_BYTES + rdata.length
  const out = new Uint8Array(query.end + record + (query.edns ? EDNS_OPT_BYTES : 0))
  const bits = QR | RA | flags | (query.flags & (OPCODE | RD | CD)) | (rcode & 15)
  out[0] = query.id >> 8
  out[1] = query.id
  out[2] = bits >> 8
  out[3] = bits
  out[5] = query.end > HEADER_BYTES ? 1 : 0
  let at = query.end
  // Byte for byte: clients that vary the case check it (0x20). Faster than set() and subarray() for what is this short.
  for (let i = HEADER_BYTES; i < at; i++) out[i] = bytes[i]
  if (record > 0) {
    out[7] = 1
    out[at] = 0xc0
    out[at + 1] = HEADER_BYTES
    out[at + 2] = type >> 8
    out[at + 3] = type
    out[at + 5] = CLASS_IN
    out[at + 6] = ttlSeconds >>> 24
    out[at + 7] = ttlSeconds >>> 16
    out[at + 8] = ttlSeconds >>> 8
    out[at + 9] = ttlSeconds
    out[at + 10] = rdata.length >> 8
    out[at + 11] = rdata.length
    out.set(rdata, at + RECORD_BYTES)
    at += record
  }
  if (query.edns) {
    out[11] = 1
    writeOpt(out, at, rcode >> 4, query.dnssecOk)
  }
  return out
}

/** RFC 6891 §6.1.2: root name, type, our size for the class, upper bits of the rcode, version 0, DO, no options. */
export function writeOpt(out: Uint8Array, at: number, extendedRcode: number, dnssecOk: boolean): void {
  out[at + 2] = TYPE.OPT
  out[at + 3] = EDNS_BYTES >> 8
  out[at + 4] = EDNS_BYTES & 255
  out[at + 5] = extendedRcode
  out[at + 7] = dnssecOk ? 0x80 : 0
}

/** The answer as it is, or if it is longer than `limit` only header, question and OPT with TC set: the client comes back over TCP. */
export function fitAnswer(answer: Uint8Array, bytes: Uint8Array, query: Query, limit: number): Uint8Array {
  if (answer.length <= limit) return answer
  const short = writeAnswer(bytes, query, 0, RCODE.NOERROR, 0, 0, NOTHING)
  short[2] = answer[2] | (TC >> 8)
  short[3] = answer[3]
  return short
}

/** Does `answer` answer this query: QR, one question, the same name (letters of any case), type and class? The id is not looked at. */
export function isAnswerTo(answer: Uint8Array, bytes: Uint8Array, query: Query): boolean {
  if (answer.length < query.end || (answer[2] & 0x80) === 0 || u16(answer, 4) !== 1) return false
  const labels = query.end - 4
  for (let i = HEADER_BYTES; i < labels; i++) if (lower(answer[i]) !== lower(bytes[i])) return false
  for (let i = labels; i < query.end; i++) if (answer[i] !== bytes[i]) return false
  return true
}

/** An error without the question, as some servers send: nothing but its id vouches for it. */
export function isBareError(answer: Uint8Array): boolean {
  return answer.length >= HEADER_BYTES && (answer[2] & 0x80) !== 0 && u16(answer, 4) === 0 && (answer[3] & 15) !== 0
}

/** The query as we ask it ourselves: only its question, RD, CD and DO are the client's; EDNS0 is ours (RFC 6891 §7: hop by hop). */
export function askedUpstream(bytes: Uint8Array, query: Query): Uint8Array {
  const out = new Uint8Array(query.end + EDNS_OPT_BYTES)
  const view = new DataView(out.buffer)
  view.setUint16(2, RD | (query.flags & CD))
  view.setUint16(4, 1)
  view.setUint16(10, 1)
  out.set(bytes.subarray(HEADER_BYTES, query.end), HEADER_BYTES)
  writeOpt(out, query.end, 0, query.dnssecOk)
  return out
}

/** A query of `askedUpstream` with one EDNS option: its OPT record is the last eleven bytes. */
export function withOption(query: Uint8Array, code: number, data: Uint8Array): Uint8Array {
  const out = new Uint8Array(query.length + 4 + data.length)
  out.set(query)
  const view = new DataView(out.buffer)
  view.setUint16(query.length - 2, 4 + data.length)
  view.setUint16(query.length, code)
  view.setUint16(query.length + 2, data.length)
  out.set(data, query.length + 4)
  return out
}

/** A copy of somebody's answer with this query's id and the question in its own letters; null if it does not answer this query. */
export function adoptAnswer(answer: Uint8Array, bytes: Uint8Array, query: Query): Uint8Array | null {
  if (isAnswerTo(answer, bytes, query)) {
    const out = new Uint8Array(answer) // not slice(): of a Buffer that is a view
    out[0] = query.id >> 8
    out[1] = query.id & 255
    out.set(bytes.subarray(HEADER_BYTES, query.end), HEADER_BYTES)
    return out
  }
  return isBareError(answer) ? answerError(bytes, query, answer[3] & 15) : null
}

function lower(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte + 32 : byte
}

function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1]
}
