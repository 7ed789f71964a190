// Owns: one deadline per connection, the earliest of its named ones, and what happens when one comes.
// Read first: RFC 6298 §5, RFC 9293 §3.8.3 (R1, R2), §3.8.6.1.

import type { Millis } from '../memory/slab.js'
import type { TcpConnection } from './connection.js'
import { suspectBlackHole } from './path-mtu.js'
import { reorderTimeout, retransmissionTimeout } from './recovery.js'
import { persistTimeout } from './sender.js'
import { ESTABLISHED, FIN_WAIT_2, SYN_RECEIVED, SYN_SENT } from './states.js'
import { armTailProbe, tailProbeTimeout } from './tail-loss.js'

/** SYN or SYN-ACK sent again at most this often: about 31 s, Linux tcp_synack_retries. */
const SYN_RETRIES = 5
/** The peer repeats its SYN while it still wants the connection; silence of this many gaps means that it gave up. */
const SYN_GAPS = 2.5
const SYN_SILENCE_MIN = 3000 // ms. The first SYN is repeated after 1 s, so two were missed.

/**
 * Questions without an answer before a silent peer counts as gone, and their distance. Linux waits 75 s,
 * for paths that we are only the first hop of.
 */
const KEEP_PROBES = 9
const KEEP_INTERVAL = 30_000 // ms

/** Zero-window probes on behalf of an application that is gone: Linux tcp_orphan_retries. A peer may answer them for ever. */
const ORPHAN_PROBES = 8

/** Puts the connection's next deadline into the heap. Call after any of its timers changed. */
export function schedule(c: TcpConnection): void {
  let next = c.rexmitAt
  if (c.ackAt < next) next = c.ackAt
  if (c.lifeAt < next) next = c.lifeAt
  if (c.keepAt < next) next = c.keepAt
  if (c.tailAt < next) next = c.tailAt
  if (c.reorderAt < next) next = c.reorderAt
  c.deadline = next
  c.tcp.heap.update(c)
}

/** The connection's deadline has come. */
export function wakeConnection(c: TcpConnection, now: Millis): void {
  if (c.ackAt <= now) {
    c.ackAt = Infinity
    c.ackNow = true
    c.tcp.output(c)
  }
  c.excused = c.tcp.stalled && !c.excused && restart(c, now)
  if (c.reorderAt <= now) reorderTimeout(c, now)
  if (c.tailAt <= now) tailProbeTimeout(c, now)
  else if (c.rexmitAt <= now) retransmit(c, now)
  if (c.keepAt <= now) keepAlive(c, now)
  if (c.lifeAt <= now) lifeOver(c)
  schedule(c)
}

/**
 * The process stood still, not the network: what answers may be a moment away. The deadlines of loss start anew; once, or a process that
 * is always late would never send anything again. False: none had come.
 */
function restart(c: TcpConnection, now: Millis): boolean {
  if (Math.min(c.rexmitAt, c.tailAt, c.reorderAt) > now) return false
  if (c.rexmitAt <= now) {
    c.unansweredSince += now - c.rexmitAt // nor did the peer let that time pass
    c.rexmitAt = now + c.rtt.rto
  }
  if (c.tailAt <= now) armTailProbe(c, now)
  if (c.reorderAt <= now) c.reorderAt = now + Math.max(c.rack.reoWnd(c), 1)
  return true
}

function retransmit(c: TcpConnection, now: Millis): void {
  const handshake = c.state === SYN_SENT || c.state === SYN_RECEIVED
  const abandoned = c.orphan && c.persisting && c.probes >= ORPHAN_PROBES
  const tooLong = handshake ? c.retries >= SYN_RETRIES : abandoned || now - c.unansweredSince >= c.tcp.options.userTimeout
  if (tooLong) {
    c.rexmitAt = Infinity
    if (!handshake) c.tcp.sendReset(c)
    c.tcp.remove(c, 'ETIMEDOUT')
    return
  }
  if (c.persisting) persistTimeout(c, now)
  else {
    retransmissionTimeout(c, now)
    suspectBlackHole(c)
  }
}

/** RFC 9293 §3.8.4: only an idle connection is asked; whatever the peer sends is an answer. */
function keepAlive(c: TcpConnection, now: Millis): void {
  const silent = now - c.heardAt
  if (c.state < ESTABLISHED || c.sndUna !== c.sndNxt || silent < c.keepAlive) {
    c.keepProbes = 0
    c.keepAt = now + Math.max(silent < c.keepAlive ? c.keepAlive - silent : c.keepAlive, 1)
    return
  }
  if (c.keepProbes >= KEEP_PROBES) {
    c.tcp.sendReset(c)
    return c.tcp.remove(c, 'ETIMEDOUT')
  }
  c.keepProbes++
  c.keepAt = now + KEEP_INTERVAL
  c.probeDue = true
  c.tcp.output(c)
}

function lifeOver(c: TcpConnection): void {
  c.lifeAt = Infinity
  if (c.undecided) c.tcp.handshake.giveUp(c)
  else if (c.state === FIN_WAIT_2) c.tcp.remove(c, '')
}

/** When a pending connection is given up: the client's SYNs have stopped, or `pendingTimeout` is over. */
export function pendingDeadline(c: TcpConnection): Millis {
  return Math.min(c.synLastAt + Math.max(SYN_SILENCE_MIN, SYN_GAPS * c.synGap), c.synAt + c.tcp.options.pendingTimeout)
}
