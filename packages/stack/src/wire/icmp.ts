// Owns: ICMP and ICMPv6 messages as bytes: the errors we send, "too big", which we heed, and which is which.
// Read first: RFC 792, RFC 1191 §4, RFC 1812 §5.2.7.1, RFC 4443 §2.1, §3 and §4.

import { MAPPED } from './address.js'
import { pseudoSum, sumBytes } from './checksum.js'
import { IPV4_HEADER, IPV6_HEADER, PROTO_ICMP, PROTO_ICMPV6, PROTO_TCP, writeIpv4, writeIpv6 } from './ip.js'

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
export type Fault = 'protocol' | 'ttl'
const FAULTS4 = { protocol: 0x0302, ttl: 0x0b00 } satisfies Record<Fault, number>
const FAULTS6 = { protocol: 0x0401, ttl: 0x0300 } satisfies Record<Fault, number>

/** Type and code of the error about it, as a message's first word. */
export function faultWord(fault: Fault, v4: boolean): number {
  return (v4 ? FAULTS4 : FAULTS6)[fault] << 16
}

/** ICMPv6 Parameter Problem; its second word is the pointer. */
export function problemWord(code: number): number {
  return (4 << 24) | (code << 16)
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

function writeQuotedTransport(view: DataView, at: number, p: Offender): void {
  view.setUint16(at, p.srcPort)
  view.setUint16(at + 2, p.dstPort)
  view.setInt32(at + 4, p.word)
}

/** A "packet too big" about a TCP segment of ours: the path's MTU, and what the quotation says. One reused record. */
export class TooBig {
  /** 0: the router is older than RFC 1191 and does not tell. */
  mtu = 0
  // The segment quoted: it went from `s` (an address we stand in for) to `d`.
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
  seq = 0
}

/** Reads an ICMP message view[at, end). False: anything but a too-big error that quotes a TCP header's first 8 bytes. */
export function readTooBig(view: DataView, at: number, end: number, v4: boolean, out: TooBig): boolean {
  const quoted = at + ICMP_HEADER
  return v4 ? readTooBig4(view, at, quoted, end, out) : readTooBig6(view, at, quoted, end, out)
}

/** Type 3 code 4, the MTU in the last two bytes of the header: RFC 1191 §4. */
function readTooBig4(view: DataView, at: number, quoted: number, end: number, out: TooBig): boolean {
  if (quoted + IPV4_HEADER > end || view.getUint16(at) !== 0x0304) return false
  const headerLength = (view.getUint8(quoted) & 15) * 4
  if (view.getUint8(quoted) >> 4 !== 4 || headerLength < IPV4_HEADER || view.getUint8(quoted + 9) !== PROTO_TCP) return false
  if (view.getUint16(quoted + 6) & 0x1fff) return false // a later fragment has no ports
  out.mtu = view.getUint16(at + 6)
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

/** Type 2, the MTU in the four bytes behind the checksum: RFC 4443 §3.2. We send no extension headers. */
function readTooBig6(view: DataView, at: number, quoted: number, end: number, out: TooBig): boolean {
  if (quoted + IPV6_HEADER > end || view.getUint8(at) !== 2) return false
  if (view.getUint8(quoted) >> 4 !== 6 || view.getUint8(quoted + 6) !== PROTO_TCP) return false
  out.mtu = view.getUint32(at + 4)
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

function readQuotedTransport(view: DataView, at: number, end: number, out: TooBig): boolean {
  if (at + QUOTED_TRANSPORT > end) return false
  out.srcPort = view.getUint16(at)
  out.dstPort = view.getUint16(at + 2)
  out.seq = view.getInt32(at + 4)
  return true
}
