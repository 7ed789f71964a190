// Owns: IPv4 and IPv6 headers: reading with every bound checked, writing.
// Read first: RFC 791 §3.1, RFC 1122 §3.2.1, RFC 7126 (options), RFC 8200 §3–4, RFC 7112 (headers of a first fragment).

import { isMapped, MAPPED } from './address.js'
import { fold, sumBytes, sumWord } from './checksum.js'

export const PROTO_ICMP = 1
export const PROTO_TCP = 6
export const PROTO_UDP = 17
export const PROTO_ICMPV6 = 58
const HOP_BY_HOP = 0
const ROUTING = 43
const FRAGMENT = 44
const DESTINATION = 60
/** RFC 8200 §4.7: nothing follows. */
export const NO_NEXT_HEADER = 59

export const IPV4_HEADER = 20
export const IPV6_HEADER = 40

// What readIp answers.
export const IP_OK = 0
/** Shorter than its own header says, or not 4 or 6 in the version field. */
export const IP_MALFORMED = 1
export const IP_BAD_CHECKSUM = 2
/** An IPv6 packet with ::ffff:a.b.c.d in it: such addresses never travel (RFC 4291 §2.5.5.2, draft-itojun-v6ops-v4mapped-harmful). */
export const IP_MARTIAN = 3
/** An extension header that is cut short or repeated beyond the bound, an option that says "discard", a jumbogram (RFC 2675). */
export const IP_BAD_EXTENSION = 4
/** An IPv4 source route: RFC 7126 §4.3 and §4.4 have it dropped. */
export const IP_SOURCE_ROUTE = 5
/** The sender is to be told by a Parameter Problem, `problemCode` and `problemAt` say which. */
export const IP_PROBLEM = 6

// Codes of Parameter Problem: RFC 4443 §3.4, RFC 7112 §7.
const PROBLEM_FIELD = 0
export const PROBLEM_NEXT_HEADER = 1
const PROBLEM_OPTION = 2
const PROBLEM_INCOMPLETE = 3

// IPv4 options.
const LOOSE_ROUTE = 131
const STRICT_ROUTE = 137
// IPv6 options.
const ROUTER_ALERT = 5
const JUMBO = 0xc2

/** Extension headers walked before a packet is dropped: a real one has two or three. */
const MAX_EXTENSIONS = 8

/** RFC 792: the pointer says where. RFC 1122 §3.2.2.5 has hosts send it. */
const PROBLEM_POINTER = 0

/** One reused record: what `readIp` found. Valid until the next call, never stored. */
export class IpPacket {
  v4 = true
  /** Transport protocol: the last next-header value. */
  proto = 0
  ttl = 0
  /** First byte of the IP header, of the transport payload, and the end of the packet in the view. */
  start = 0
  payload = 0
  end = 0
  s0 = 0
  s1 = 0
  s2 = 0
  s3 = 0
  d0 = 0
  d1 = 0
  d2 = 0
  d3 = 0
  /** A fragment: more follow or the offset is not 0. */
  fragment = false
  /** In bytes. */
  fragmentOffset = 0
  moreFragments = false
  identification = 0
  /** IPv6: where the last next-header field stands, from the packet's first byte. */
  nextAt = 0
  problemCode = 0
  /** Of the byte at fault, from the packet's first byte. */
  problemAt = 0
}

/** Reads the packet of `length` bytes at `at`. `trustLength`: the row's length rules (GSO rows), not the header's. */
export function readIp(view: DataView, at: number, length: number, trustLength: boolean, ip: IpPacket): number {
  if (length < IPV4_HEADER) return IP_MALFORMED
  ip.start = at
  ip.fragment = false
  ip.fragmentOffset = 0
  ip.moreFragments = false
  ip.identification = 0
  const version = view.getUint8(at) >> 4
  if (version === 4) return readIpv4(view, at, length, trustLength, ip)
  if (version === 6) return readIpv6(view, at, length, trustLength, ip)
  return IP_MALFORMED
}

function readIpv4(view: DataView, at: number, length: number, trustLength: boolean, ip: IpPacket): number {
  const headerLength = (view.getUint8(at) & 15) * 4
  if (headerLength < IPV4_HEADER || headerLength > length) return IP_MALFORMED
  const total = trustLength ? length : view.getUint16(at + 2)
  if (total < headerLength || total > length) return IP_MALFORMED
  if (sumBytes(view, at, at + headerLength, 0) !== 0xffff) return IP_BAD_CHECKSUM
  const fragment = view.getUint16(at + 6)
  ip.v4 = true
  ip.ttl = view.getUint8(at + 8)
  ip.proto = view.getUint8(at + 9)
  ip.payload = at + headerLength
  ip.end = at + total
  ip.s0 = 0
  ip.s1 = 0
  ip.s2 = MAPPED
  ip.s3 = view.getInt32(at + 12)
  ip.d0 = 0
  ip.d1 = 0
  ip.d2 = MAPPED
  ip.d3 = view.getInt32(at + 16)
  if ((fragment & 0x3fff) !== 0) {
    ip.fragment = true
    ip.fragmentOffset = (fragment & 0x1fff) * 8
    ip.moreFragments = (fragment & 0x2000) !== 0
    ip.identification = view.getUint16(at + 4)
  }
  return headerLength === IPV4_HEADER ? IP_OK : skipIpv4Options(view, at + IPV4_HEADER, ip.payload, ip)
}

/**
 * RFC 791 §3.1: an end of list, a nop, or kind, length, data. None is acted on; a router would have to. One whose length cannot be is a
 * Parameter Problem that points at that length, or at the option where it is the last byte (RFC 1122 §3.2.2.5, as Linux does it).
 */
function skipIpv4Options(view: DataView, from: number, end: number, ip: IpPacket): number {
  for (let at = from; at < end; ) {
    const kind = view.getUint8(at)
    if (kind === 0) return IP_OK
    if (kind === 1) {
      at++
      continue
    }
    const length = at + 1 < end ? view.getUint8(at + 1) : 0
    if (length < 2 || at + length > end) return problem(ip, PROBLEM_POINTER, at + 1 < end ? at + 1 : at)
    if (kind === LOOSE_ROUTE || kind === STRICT_ROUTE) return IP_SOURCE_ROUTE
    at += length
  }
  return IP_OK
}

function readIpv6(view: DataView, at: number, length: number, trustLength: boolean, ip: IpPacket): number {
  if (length < IPV6_HEADER) return IP_MALFORMED
  const total = trustLength ? length : IPV6_HEADER + view.getUint16(at + 4)
  if (total > length) return IP_MALFORMED
  ip.v4 = false
  ip.ttl = view.getUint8(at + 7)
  ip.end = at + total
  ip.s0 = view.getInt32(at + 8)
  ip.s1 = view.getInt32(at + 12)
  ip.s2 = view.getInt32(at + 16)
  ip.s3 = view.getInt32(at + 20)
  ip.d0 = view.getInt32(at + 24)
  ip.d1 = view.getInt32(at + 28)
  ip.d2 = view.getInt32(at + 32)
  ip.d3 = view.getInt32(at + 36)
  if (isMapped(ip.s0, ip.s1, ip.s2) || isMapped(ip.d0, ip.d1, ip.d2)) return IP_MARTIAN
  const first = view.getUint8(at + 6)
  const status = walkExtensions(view, at + IPV6_HEADER, first, ip)
  if (status === IP_PROBLEM) findTransport(view, at + IPV6_HEADER, first, ip) // an error is not told about an error
  return status
}

/** RFC 8200 §4: steps over the headers we need not act on, and into a fragment header. */
function walkExtensions(view: DataView, from: number, first: number, ip: IpPacket): number {
  let next = first
  let nextAt = ip.start + 6
  let at = from
  for (let i = 0; i < MAX_EXTENSIONS; i++) {
    if (!isExtension(next)) {
      ip.proto = next
      ip.payload = at
      ip.nextAt = nextAt - ip.start
      return IP_OK
    }
    if (next === HOP_BY_HOP && i > 0) return problem(ip, PROBLEM_NEXT_HEADER, nextAt) // only directly after the header: §4
    if (at + 8 > ip.end) return IP_BAD_EXTENSION
    const following = view.getUint8(at)
    nextAt = at
    if (next === FRAGMENT) {
      const field = view.getUint16(at + 2)
      ip.fragmentOffset = field & 0xfff8
      ip.moreFragments = (field & 1) !== 0
      ip.identification = view.getInt32(at + 4)
      at += 8
      // Offset 0 and no more: an atomic fragment, a packet like any other (RFC 6946).
      if (ip.fragmentOffset !== 0 || ip.moreFragments) {
        ip.fragment = true
        ip.nextAt = nextAt - ip.start
        if (ip.fragmentOffset === 0 && !findTransport(view, at, following, ip)) return problem(ip, PROBLEM_INCOMPLETE, ip.start)
        ip.proto = following
        ip.payload = at
        return IP_OK
      }
    } else {
      const end = at + 8 + view.getUint8(at + 1) * 8
      if (end > ip.end) return IP_BAD_EXTENSION
      // §4.4 and RFC 5095: a route that still leads on is none we know, whatever its type.
      if (next === ROUTING && view.getUint8(at + 3) !== 0) return problem(ip, PROBLEM_FIELD, at + 2)
      const status = next === ROUTING ? IP_OK : walkOptions(view, at + 2, end, ip)
      if (status !== IP_OK) return status
      at = end
    }
    next = following
  }
  return IP_BAD_EXTENSION
}

function isExtension(next: number): boolean {
  return next === HOP_BY_HOP || next === DESTINATION || next === ROUTING || next === FRAGMENT
}

function problem(ip: IpPacket, code: number, at: number): number {
  ip.problemCode = code
  ip.problemAt = at - ip.start
  return IP_PROBLEM
}

/** RFC 8200 §4.2: an option's two highest bits say what becomes of a packet with one that nobody knows. */
function walkOptions(view: DataView, from: number, end: number, ip: IpPacket): number {
  for (let at = from; at < end; ) {
    const type = view.getUint8(at)
    if (type === 0) {
      at++ // Pad1 has no length
      continue
    }
    if (at + 2 > end || at + 2 + view.getUint8(at + 1) > end) return IP_BAD_EXTENSION
    if (type === JUMBO) return problem(ip, PROBLEM_OPTION, at) // RFC 2675 §3: what a node without jumbograms answers
    if (type !== 1 && type !== ROUTER_ALERT) {
      const action = type >> 6
      if (action === 1) return IP_BAD_EXTENSION
      if (action > 1) return problem(ip, PROBLEM_OPTION, at) // not to a multicast destination, which gets no errors at all here
    }
    at += 2 + view.getUint8(at + 1)
  }
  return IP_OK
}

/** Looks for the transport header behind all others. False: it is not all there, as RFC 7112 §5 has it in a first fragment. */
function findTransport(view: DataView, from: number, first: number, ip: IpPacket): boolean {
  let next = first
  let at = from
  while (isExtension(next) && at + 8 <= ip.end) {
    const length = next === FRAGMENT ? 8 : 8 + view.getUint8(at + 1) * 8
    next = view.getUint8(at)
    at += length
  }
  ip.proto = next
  ip.payload = at
  const least = isExtension(next) ? 8 : next === PROTO_TCP ? 20 : next === PROTO_UDP ? 8 : next === PROTO_ICMPV6 ? 4 : 0
  return at + least <= ip.end
}

/**
 * Writes an IPv4 header without options, don't-fragment set unless `identification` is given for fragments elsewhere.
 * `total` is the whole packet's length.
 */
export function writeIpv4(view: DataView, at: number, total: number, proto: number, source: number, destination: number, ttl = 64): void {
  view.setUint16(at, 0x4500)
  view.setUint16(at + 2, total)
  view.setUint32(at + 4, 0x00004000) // identification 0 is right where DF is set: RFC 6864 §4.1
  view.setUint8(at + 8, ttl)
  view.setUint8(at + 9, proto)
  const sum = fold(0x4500 + total + 0x4000 + ((ttl << 8) | proto) + sumWord(source) + sumWord(destination))
  view.setUint16(at + 10, ~sum & 0xffff)
  view.setInt32(at + 12, source)
  view.setInt32(at + 16, destination)
}

/** Writes an IPv6 header. `payload` is what follows it, in bytes. */
export function writeIpv6(
  view: DataView,
  at: number,
  payload: number,
  next: number,
  s0: number,
  s1: number,
  s2: number,
  s3: number,
  d0: number,
  d1: number,
  d2: number,
  d3: number,
  hopLimit = 64,
): void {
  view.setUint32(at, 0x60000000)
  view.setUint16(at + 4, payload)
  view.setUint8(at + 6, next)
  view.setUint8(at + 7, hopLimit)
  view.setInt32(at + 8, s0)
  view.setInt32(at + 12, s1)
  view.setInt32(at + 16, s2)
  view.setInt32(at + 20, s3)
  view.setInt32(at + 24, d0)
  view.setInt32(at + 28, d1)
  view.setInt32(at + 32, d2)
  view.setInt32(at + 36, d3)
}
