// Owns: IPv4 and IPv6 headers: reading with every bound checked, writing.
// Read first: RFC 791 §3.1, RFC 1122 §3.2.1, RFC 8200 §3–4.

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

export const IPV4_HEADER = 20
export const IPV6_HEADER = 40

// What readIp answers.
export const IP_OK = 0
/** Shorter than its own header says, or not 4 or 6 in the version field. */
export const IP_MALFORMED = 1
export const IP_BAD_CHECKSUM = 2
/** An IPv6 packet with ::ffff:a.b.c.d in it: such addresses never travel (RFC 4291 §2.5.5.2, draft-itojun-v6ops-v4mapped-harmful). */
export const IP_MARTIAN = 3
/** An extension header that is cut short, repeated beyond the bound, or a routing header with segments left (RFC 5095). */
export const IP_BAD_EXTENSION = 4

/** Extension headers walked before a packet is dropped: a real one has two or three. */
const MAX_EXTENSIONS = 8

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
  return walkExtensions(view, at + IPV6_HEADER, view.getUint8(at + 6), ip)
}

/** RFC 8200 §4: steps over the headers we need not act on, and into a fragment header. */
function walkExtensions(view: DataView, from: number, first: number, ip: IpPacket): number {
  let next = first
  let at = from
  for (let i = 0; i < MAX_EXTENSIONS; i++) {
    if (next !== HOP_BY_HOP && next !== DESTINATION && next !== ROUTING && next !== FRAGMENT) {
      ip.proto = next
      ip.payload = at
      return IP_OK
    }
    if (at + 8 > ip.end) return IP_BAD_EXTENSION
    const following = view.getUint8(at)
    if (next === FRAGMENT) {
      const field = view.getUint16(at + 2)
      ip.fragmentOffset = field & 0xfff8
      ip.moreFragments = (field & 1) !== 0
      ip.identification = view.getInt32(at + 4)
      at += 8
      // Offset 0 and no more: an atomic fragment, a packet like any other (RFC 6946).
      if (ip.fragmentOffset !== 0 || ip.moreFragments) {
        ip.fragment = true
        ip.proto = following
        ip.payload = at
        return IP_OK
      }
    } else {
      if (next === HOP_BY_HOP && i > 0) return IP_BAD_EXTENSION // only directly after the header
      if (next === ROUTING && view.getUint8(at + 3) !== 0) return IP_BAD_EXTENSION
      at += 8 + view.getUint8(at + 1) * 8
      if (at > ip.end) return IP_BAD_EXTENSION
    }
    next = following
  }
  return IP_BAD_EXTENSION
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
): void {
  view.setUint32(at, 0x60000000)
  view.setUint16(at + 4, payload)
  view.setUint8(at + 6, next)
  view.setUint8(at + 7, 64)
  view.setInt32(at + 8, s0)
  view.setInt32(at + 12, s1)
  view.setInt32(at + 16, s2)
  view.setInt32(at + 20, s3)
  view.setInt32(at + 24, d0)
  view.setInt32(at + 28, d1)
  view.setInt32(at + 32, d2)
  view.setInt32(at + 36, d3)
}
