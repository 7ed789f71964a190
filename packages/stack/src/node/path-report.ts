// Owns: PathReport, what ICMP said of a packet that went on from here, as the application of this library hands it back.
// Read first: RFC 792 and RFC 4443 for types and codes.

import type { PathError } from '../icmp.js'
import { type AddressWords, isBroadcast, isLoopback, isMapped, isMulticast, isUnspecified, parseAddress } from '../wire/address.js'

export interface PathReport {
  /** Type and code, of ICMP for a destination of IPv4, of ICMPv6 for one of IPv6: unreachable, time exceeded, too big. */
  readonly type: number
  readonly code: number
  /** The router, or the destination, that said so. '' or an address no other host has: said by the router that the inbound is. */
  readonly from: string
  /** The MTU of "too big". */
  readonly mtu?: number
  /** The hop limit that the error came with; 0 or none: not known. */
  readonly ttl?: number
}

/** What an error has that brings a report with it: `forward` of a ping passes it on. */
export interface PathFailure {
  readonly report: PathReport
}

export function reportOf(error: unknown): PathReport | undefined {
  const report = (error as Partial<PathFailure> | null)?.report
  return typeof report?.type === 'number' && typeof report.code === 'number' && typeof report.from === 'string' ? report : undefined
}

export function pathErrorOf({ type, code, from, mtu = 0, ttl = 0 }: PathReport, v4: boolean): PathError {
  const words = parseAddress(from)
  // One hop more from here; tracepath counts them.
  return { type, code, mtu, by: words !== null && mayReport(words, v4) ? words : null, ttl: ttl > 1 && ttl <= 255 ? ttl - 1 : undefined }
}

const mayReport = (words: AddressWords, v4: boolean): boolean =>
  isMapped(words[0], words[1], words[2]) === v4 &&
  !isLoopback(...words) &&
  !isMulticast(...words) &&
  !isUnspecified(...words) &&
  !isBroadcast(...words)
