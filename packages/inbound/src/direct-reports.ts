// Owns: what ICMP said to this machine's own sockets, put into the terms of the application whose packet it was: who said it, of which
// family. Read first: RFC 792, RFC 4443 §3, RFC 7915 §4.2 and §5.2 (one family's errors in the other).

import { networkInterfaces } from 'node:os'
import type { PathReport } from './outbound.js'

const OWN_FOR = 1000 // ms that our addresses are remembered

const UNREACHABLE = { 4: 3, 6: 1 } as const
const TIME_EXCEEDED = { 4: 11, 6: 3 } as const

/** An address that a socket of ours asked, and the one that the application knows. */
interface Asked {
  readonly address: string
  readonly family: number
}

/**
 * The report as the application would have had it; undefined: nothing that would make sense to it. What the destination itself said comes
 * from the address that the application knows it by; what this machine said, from the router that the inbound is.
 */
export function asSeenFrom(report: PathReport, asked: Asked, known: Asked): PathReport | undefined {
  const { type, code, from } = report
  const family = asked.family === 6 ? 6 : 4
  const seen = known.family === 6 ? 6 : 4
  if (family !== seen) {
    if (type === TIME_EXCEEDED[family]) return { type: TIME_EXCEEDED[seen], code, from: '' }
    if (type === UNREACHABLE[family]) return { type: UNREACHABLE[seen], code: seen === 6 ? 3 : 1, from: known.address } // host, address
    return undefined
  }
  if (from === asked.address) return { ...report, from: known.address }
  return isOwn(from) ? { ...report, from: '' } : report
}

let own = new Set<string>()
let readAt = -Infinity

function isOwn(address: string): boolean {
  const now = performance.now()
  if (now - readAt >= OWN_FOR) {
    readAt = now
    own = new Set(Object.values(networkInterfaces()).flatMap(list => list?.map(entry => entry.address.split('%')[0]) ?? []))
  }
  return own.has(address)
}
