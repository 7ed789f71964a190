// Owns: ICMP and ICMPv6 messages as bytes: the errors we send, what errors about packets of ours quote, and which is which.
// Read first: RFC 792, RFC 1191 §4, RFC 1812 §5.2.7.1, RFC 4443 §2.1, §3 and §4.

import { MAPPED } from './address.js'
import { pseudoSum, sumBytes } from './checksum.js'
import { IPV4_HEADER, IPV6_HEADER, PROTO_ICMP, PROTO_ICMPV6, PROTO_TCP, PROTO_UDP, writeIpv4, writeIpv6 } from './ip.js'

export const ICMP_HEADER = 8
const ECHO_REQUEST4 = 8
const ECHO_REQUEST6 = 128
const ECHO_REPLY4 = 0
const ECHO_REPLY6 = 129
/** Behind the IP header a quotation holds this much of the transport header: RFC 792 asks for 8, kernels look at no more. */
const QUOTED_TRANSPORT = 8

export type Unreachable = 'port' | 'host' | 'net' | 'prohibited'

// Destination unreachable: type 3 in ICMP, type 1 in ICMPv6. Code 13 for IPv4, not 9 or 10: RFC 1812 §5.2.7.1.
const CODES4 = { port: 3, host: 1, net: 0, prohibited: 13 } satisfies Record<Unreachable, number>
const CODES6 = { port: 4, host: 3, net: 0, prohibited: 1 } satisfies Record<Unreachable, number>

/** Is view[at, end) an echo request? */
export function isEchoRequest(view: DataView, at: number, end: number, v4: boolean): boolean {
  return end - at >= ICMP_HEADER && view.getUint16(at) === (v4 ? ECHO_REQUEST4 : ECHO_REQUEST6) << 8
}

/** Type and code of the answer, as a message's first word. */
export function echoReplyWord(v4: boolean): number {
  return (v4 ? ECHO_REPLY4 : ECHO_REPLY6) << 24
}

/** The first word of the message that an echo request is, for quoting it. */
export function echoRequestWord(v4: boolean): number {
  return (v4 ? ECHO_REQUEST4 : ECHO_REQUEST6) << 24
}

/** Does a message of this type report an error? Then none is sent about it: RFC 1122 §3.2.2, RFC 4443 §2.4(e.1) and (e.2). */
export function isIcmpError(type: number, v4: boolean): boolean {
  return v4 ? type === 3 || type === 4 || type === 5 || type === 11 || type === 12 : type < 128 || type === 137
}

/** What is wrong with a packet that goes no further; type and code of ICMP, then of ICMPv6. */
export type Fault = 'protocol' | 'ttl' | 'reassembly'
const FAULTS4 = { protocol: 0x0302, ttl: 0x0b00, reassembly: 0x0b01 } satisfies Record<Fault, number>
const FAULTS6 = { protocol: 0x0401, ttl: 0x0300, reassembly: 0x0301 } satisfies Record<Fault, number>

/** Type and code of the error about it, as a message's first word. */
export function faultWord(fault: Fault, v4: boolean): number {
  return (v4 ? FAULTS4 : FAULTS6)[fault] << 16
}

/** Parameter Problem, first word and second: for IPv6 the pointer fills it (RFC 4443 §3.4), for IPv4 its first byte (RFC 792). */
export function problemWords(code: number, pointer: number, v4: boolean): readonly [number, number] {
  return v4 ? [(12 << 24) | (code << 16), pointer << 24] : [(4 << 24) | (code << 16), pointer]
}

/**
 * Is it an error that a router, or the destination, tells of a packet on its way, and that whoever sent it on passes back? Unreachable,
 * time exceeded, too big. Not Parameter Problem: its pointer is into a header that was written anew.
 */
export function isPathError(type: number, v4: boolean): boolean {
  return v4 ? type === 3 || type === 11 : type === 1 || type === 2 || type === 3
}

/** The second word of such an error: the MTU of "too big" (RFC 1191 §4, RFC 4443 §3.2), else unused. */
export function pathErrorWord(type: number, code: number, mtu: number, v4: boolean): number {
  if (v4) return type === 3 && code === 4 ? mtu & 0xffff : 0
  return type === 2 ? mtu | 0 : 0
}

/** The packet an error is about, as it came: source is whom the error goes to. One reused record. */
export class Offender {
  v4 = true
  proto = 0
  s0 = 0
  s1 = 0
  s2 = 0
  s3 = 0
  srcPort = 0
  d0 = 0
  d1 = 0
  d2 = 0
  d3 = 0
  dstPort = 0
  /** The second word of the transport header: the sequence number for TCP, length and checksum for UDP. */
  word = 0
  /** Bytes of transport header and payload that it carried. */
  length = 0
}

/**
 * Writes an unreachable error about `p` into view[at…), as if the destination itself had sent it; answers its length. The quoted headers
 * are written anew from what identifies the flow: identification and TTL of the offender are not kept for a pending connection.
 */
export function writeUnreachable(view: DataView, at: number, why: Unreachable, p: Offender): number {
  return p.v4 ? writeUnreachable4(view, at, why, p) : writeUnreachable6(view, at, why, p)
}

function writeUnreachable4(view: DataView, at: number, why: Unreachable, p: Offender): number {
  const icmp = at + IPV4_HEADER
  const quoted = icmp + ICMP_HEADER
  const end = quoted + IPV4_HEADER + QUOTED_TRANSPORT
  writeIpv4(view, at, end - at, PROTO_ICMP, p.d3, p.s3)
  view.setUint32(icmp, (3 << 24) | (CODES4[why] << 16))
  view.setUint32(icmp + 4, 0)
  writeIpv4(view, quoted, IPV4_HEADER + p.length, p.proto, p.s3, p.d3)
  writeQuotedTransport(view, quoted + IPV4_HEADER, p)
  view.setUint16(icmp + 2, ~sumBytes(view, icmp, end, 0) & 0xffff)
  return end - at
}

function writeUnreachable6(view: DataView, at: number, why: Unreachable, p: Offender): number {
  const icmp = at + IPV6_HEADER
  const quoted = icmp + ICMP_HEADER
  const end = quoted + IPV6_HEADER + QUOTED_TRANSPORT
  writeIpv6(view, at, end - icmp, PROTO_ICMPV6, p.d0, p.d1, p.d2, p.d3, p.s0, p.s1, p.s2, p.s3)
  view.setUint32(icmp, (1 << 24) | (CODES6[why] << 16))
  view.setUint32(icmp + 4, 0)
  writeIpv6(view, quoted, p.length, p.proto, p.s0, p.s1, p.s2, p.s3, p.d0, p.d1, p.d2, p.d3)
  writeQuotedTransport(view, quoted + IPV6_HEADER, p)
  const pseudo = pseudoSum(false, p.d0, p.d1, p.d2, p.d3, p.s0, p.s1, p.s2, p.s3, PROTO_ICMPV6, end - icmp)
  view.setUint16(icmp + 2, ~sumBytes(view, icmp, end, pseudo) & 0xffff)
  return end - at
}

/** What an error about `p` quotes: its headers, written anew, and of `payload` as much as fits into `most` bytes. */
export function quotationOf(p: Offender, payload: Uint8Array, most: number): Uint8Array<ArrayBuffer> {
  const ip = p.v4 ? IPV4_HEADER : IPV6_HEADER
  const headers = ip + QUOTED_TRANSPORT
  const bytes = new Uint8Array(Math.min(most, headers + payload.length))
  const view = new DataView(bytes.buffer)
  if (p.v4) writeIpv4(view, 0, IPV4_HEADER + p.length, p.proto, p.s3, p.d3)
  else writeIpv6(view, 0, p.length, p.proto, p.s0, p.s1, p.s2, p.s3, p.d0, p.d1, p.d2, p.d3)
  writeQuotedTransport(view, ip, p)
  bytes.set(payload.subarray(0, bytes.length - headers), headers)
  return bytes
}

function writeQuotedTransport(view: DataView, at: number, p: Offender): void {
  view.setUint16(at, p.srcPort)
  view.setUint16(at + 2, p.dstPort)
  view.setInt32(at + 4, p.word)
}

/** An error about a packet of ours: what it says, and what its quotation says. One reused record. */
export class Reported {
  type = 0
  code = 0
  /** "Too big": of the path. 0: the router is older than RFC 1191 and does not tell. */
  mtu = 0
  // The packet quoted, TCP or UDP: it went from `s` (an address we stand in for) to `d`.
  proto = 0
  s0 = 0
  s1 = 0
  s2 = 0
  s3 = 0
  srcPort = 0
  d0 = 0
  d1 = 0
  d2 = 0
  d3 = 0
  dstPort = 0
  /** The second word of the transport header: the sequence number for TCP. */
  seq = 0
}

/** Type 3 code 4, or type 2 in ICMPv6: RFC 1191 §4, RFC 4443 §3.2. */
export function isTooBig({ type, code }: Reported, v4: boolean): boolean {
  return v4 ? type === 3 && code === 4 : type === 2
}

/** Destination unreachable, for another reason. */
export function isUnreachable({ type, code }: Reported, v4: boolean): boolean {
  return v4 ? type === 3 && code !== 4 : type === 1
}

/** Reads an ICMP message view[at, end). False: anything but an error that quotes the first 8 bytes of a TCP or UDP header. */
export function readReported(view: DataView, at: number, end: number, v4: boolean, out: Reported): boolean {
  const quoted = at + ICMP_HEADER
  if (quoted > end || !isIcmpError(view.getUint8(at), v4)) return false
  out.type = view.getUint8(at)
  out.code = view.getUint8(at + 1)
  return v4 ? readReported4(view, at, quoted, end, out) : readReported6(view, at, quoted, end, out)
}

/** The MTU is in the last two bytes of the header: RFC 1191 §4. */
function readReported4(view: DataView, at: number, quoted: number, end: number, out: Reported): boolean {
  if (quoted + IPV4_HEADER > end) return false
  const headerLength = (view.getUint8(quoted) & 15) * 4
  if (view.getUint8(quoted) >> 4 !== 4 || headerLength < IPV4_HEADER) return false
  if (view.getUint16(quoted + 6) & 0x1fff) return false // a later fragment has no ports
  out.mtu = view.getUint16(at + 6)
  out.proto = view.getUint8(quoted + 9)
  out.s0 = 0
  out.s1 = 0
  out.s2 = MAPPED
  out.s3 = view.getInt32(quoted + 12)
  out.d0 = 0
  out.d1 = 0
  out.d2 = MAPPED
  out.d3 = view.getInt32(quoted + 16)
  return readQuotedTransport(view, quoted + headerLength, end, out)
}

/** The MTU is in the four bytes behind the checksum: RFC 4443 §3.2. We send no extension headers. */
function readReported6(view: DataView, at: number, quoted: number, end: number, out: Reported): boolean {
  if (quoted + IPV6_HEADER > end || view.getUint8(quoted) >> 4 !== 6) return false
  out.mtu = view.getUint32(at + 4)
  out.proto = view.getUint8(quoted + 6)
  out.s0 = view.getInt32(quoted + 8)
  out.s1 = view.getInt32(quoted + 12)
  out.s2 = view.getInt32(quoted + 16)
  out.s3 = view.getInt32(quoted + 20)
  out.d0 = view.getInt32(quoted + 24)
  out.d1 = view.getInt32(quoted + 28)
  out.d2 = view.getInt32(quoted + 32)
  out.d3 = view.getInt32(quoted + 36)
  return readQuotedTransport(view, quoted + IPV6_HEADER, end, out)
}

function readQuotedTransport(view: DataView, at: number, end: number, out: Reported): boolean {
  if (at + QUOTED_TRANSPORT > end || (out.proto !== PROTO_TCP && out.proto !== PROTO_UDP)) return false
  out.srcPort = view.getUint16(at)
  out.dstPort = view.getUint16(at + 2)
  out.seq = view.getInt32(at + 4)
  return true
}
