// Owns: ICMP and ICMPv6 error messages as bytes. RFC 792, RFC 1812 §5.2.7.1, RFC 4443 §3.1.

import { pseudoSum, sumBytes } from './checksum.js'
import { IPV4_HEADER, IPV6_HEADER, PROTO_ICMP, PROTO_ICMPV6, writeIpv4, writeIpv6 } from './ip.js'

const ICMP_HEADER = 8
/** Behind the IP header a quotation holds this much of the transport header: RFC 792 asks for 8, kernels look at no more. */
const QUOTED_TRANSPORT = 8

export type Unreachable = 'port' | 'host' | 'net' | 'prohibited'

// Destination unreachable: type 3 in ICMP, type 1 in ICMPv6. Code 13 for IPv4, not 9 or 10: RFC 1812 §5.2.7.1.
const CODES4 = { port: 3, host: 1, net: 0, prohibited: 13 } satisfies Record<Unreachable, number>
const CODES6 = { port: 4, host: 3, net: 0, prohibited: 1 } satisfies Record<Unreachable, number>

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
