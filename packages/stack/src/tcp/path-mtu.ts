// Owns: what a "too big" from a router does to a connection. RFC 1191 §3 and §6.3, RFC 8201 §4–5; RFC 5927 §7 (forged ones).

import type { TcpConnection } from './connection.js'
import { updateSmss } from './handshake.js'
import { resegment } from './recovery.js'
import { headerBytes } from './segment.js'
import { type Seq, seqDiff, seqLeq, seqLt } from './seq.js'
import { ESTABLISHED } from './states.js'

/** No path is believed to be narrower: Linux ip_rt_min_pmtu, and IPv6's minimum link (RFC 8200 §5). */
const FLOOR4 = 552
const FLOOR6 = 1280
/** RFC 1191 §7.1, the plateaus below Ethernet: for routers that do not tell their MTU. */
const PLATEAUS = [1492, 1006, FLOOR4]

/**
 * Takes a path MTU over, if the error quotes a segment that is really in flight and says something new. What was in flight goes again in
 * smaller segments; the congestion window stays, for nothing was lost to congestion (RFC 1191 §3). False: not heeded.
 */
export function takePathMtu(c: TcpConnection, told: number, seq: Seq): boolean {
  if (c.state < ESTABLISHED || !seqLeq(c.sndUna, seq) || !seqLt(seq, c.sndNxt)) return false
  const now = Math.min(c.tcp.options.mtu, c.pathMtu)
  const mtu = told === 0 && c.v4 ? (PLATEAUS.find(plateau => plateau < now) ?? FLOOR4) : told
  const next = Math.max(mtu, c.v4 ? FLOOR4 : FLOOR6)
  if (next >= now) return false
  c.pathMtu = next
  c.mtuBefore = 0
  updateSmss(c)
  resegment(c)
  c.tcp.output(c)
  return true
}

/** Timeouts in a row behind which routers are suspected of swallowing large packets without a word. Linux tcp_retries1. */
const BLACK_HOLE = 3

/**
 * The timer fired again and again with large segments out: maybe nothing of that size gets through, and whoever drops it does not tell
 * (RFC 2923 §2.1, RFC 4821 §7.7). Tries the next smaller size, until it turns out that the peer had only stood still (`undo`).
 */
export function suspectBlackHole(c: TcpConnection): void {
  if (c.retries < BLACK_HOLE || c.scoreboard.empty) return
  const now = Math.min(c.tcp.options.mtu, c.pathMtu)
  const next = c.v4 ? (PLATEAUS.find(plateau => plateau < Math.min(now, 1280)) ?? FLOOR4) : FLOOR6
  const first = seqDiff(c.scoreboard.endOf(c.scoreboard.first), c.sndUna)
  if (next >= now || Math.min(first, c.smss) + headerBytes(c) <= next) return
  if (c.mtuBefore === 0) c.mtuBefore = c.pathMtu
  c.pathMtu = next
  c.tcp.stats.tcpBlackHoles++
  updateSmss(c)
}
