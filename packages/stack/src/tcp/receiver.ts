// Owns: RCV.*: taking text in order and out of order, the window to advertise, when an ACK is due.
// Read first: RFC 9293 §3.8.6 (window), §3.8.6.3 (delayed ACK), §3.10.7.4 seventh; RFC 5681 §4.2; RFC 7323 §2.4.

import type { Millis, Slab } from '../memory/slab.js'
import type { Segment } from '../wire/tcp.js'
import type { TcpConnection } from './connection.js'
import { Reassembly } from './reassembly.js'
import { type Seq, seqAdd, seqDiff, seqGt, seqLeq } from './seq.js'
import { READABLE } from './states.js'

/** Payloads from here on are kept by reference to their slab; smaller ones are copied, so that few bytes never pin 256 KiB. */
const BY_REFERENCE = 4096
export const DELAYED_ACK = 40 // ms. RFC 9293 §3.8.6.3: below 500; Linux TCP_DELACK_MIN.

/** Takes what of the segment's text is new and in the window. The segment is acceptable already. */
export function takeSegmentText(c: TcpConnection, seg: Segment, slab: Slab, now: Millis): void {
  let start = seg.data
  let length = seg.end - seg.data
  if (length === 0) return
  let seq = seg.seq
  const behind = seqDiff(c.rcvNxt, seq)
  if (behind > 0) {
    c.ackNow = true // some or all of it is old: the peer missed our ACK
    tellDuplicate(c, seq, seqAdd(seq, Math.min(behind, length)))
    if (behind >= length) return
    start += behind
    length -= behind
    seq = c.rcvNxt
  }
  if (c.finSeen && length > seqDiff(c.finSeq, seq)) length = Math.max(0, seqDiff(c.finSeq, seq)) // nothing comes behind a FIN
  const room = seqDiff(c.rcvAdv, seq)
  if (length > room) {
    c.ackNow = true // beyond the window: a zero-window probe, or a peer that ignores it
    if (room <= 0) return
    length = room
  }
  if (length === 0) return
  if (seq !== c.rcvNxt) return takeOutOfOrder(c, seq, slab, start, length)
  if (c.tcp.exhausted && c.rcvQueue.length > 0) {
    c.tcp.stats.tcpPruned++ // the last resort, as Linux tcp_prune_queue: the peer has our leave, and sends it again
    c.ackNow = true
    return
  }

  if (length >= BY_REFERENCE && c.tcp.slabs.lendable) {
    slab.retain()
    c.rcvQueue.push(slab.bytes, start, start + length, slab)
  } else c.rcvQueue.copy(slab.part(start, start + length), 0, length)
  if (c.reassembly !== null) tellHeld(c, c.reassembly, seq, length)
  advance(c, length)
  if (c.reassembly !== null) {
    takeReassembled(c)
    c.ackNow = true // RFC 5681 §4.2: a segment that fills a gap is acknowledged at once
  }
  c.unackedBytes += length
  if (c.unackedBytes >= 2 * c.smss || seg.segments > 1) c.ackNow = true
  else if (c.ackAt === Infinity) c.ackAt = now + DELAYED_ACK
  c.happened(READABLE)
}

/** RFC 2883: the peer learns that it sent [left, right) once too often. */
export function tellDuplicate(c: TcpConnection, left: Seq, right: Seq): void {
  c.dsackLeft = left
  c.dsackRight = right
}

const held = { seq: 0, end: 0 }

/** What of a new segment had come already, ahead of a gap. */
function tellHeld(c: TcpConnection, reassembly: Reassembly, seq: Seq, length: number): void {
  if (reassembly.held(seq, seqAdd(seq, length), held)) tellDuplicate(c, held.seq, held.end)
}

function advance(c: TcpConnection, length: number): void {
  c.rcvNxt = seqAdd(c.rcvNxt, length)
  c.tcp.receiveQueued += length
  c.bytesReceived += length
}

function takeOutOfOrder(c: TcpConnection, seq: number, slab: Slab, start: number, length: number): void {
  c.tcp.stats.tcpOutOfOrder++
  c.ackNow = true // a duplicate ACK tells the sender of the gap: RFC 5681 §4.2
  c.gapAcks++ // one each, also where a batch brings several: three of them start the fast retransmit of a peer without SACK
  if (c.tcp.overBudget) {
    c.tcp.stats.tcpPruned++ // out-of-order data is the first to go
    return
  }
  c.reassembly ??= new Reassembly()
  tellHeld(c, c.reassembly, seq, length)
  const before = c.reassembly.bytes
  c.reassembly.add(seq, slab.bytes, start, length)
  c.tcp.receiveQueued += c.reassembly.bytes - before
}

function takeReassembled(c: TcpConnection): void {
  const reassembly = c.reassembly
  if (reassembly === null) return
  const held = reassembly.bytes
  for (let bytes = reassembly.take(c.rcvNxt); bytes !== null; bytes = reassembly.take(c.rcvNxt)) {
    if (bytes.length >= BY_REFERENCE) c.rcvQueue.push(bytes, 0, bytes.length, null)
    else c.rcvQueue.copy(bytes, 0, bytes.length)
    advance(c, bytes.length)
  }
  c.tcp.receiveQueued -= held - reassembly.bytes
  if (reassembly.empty) c.reassembly = null
}

/** The largest window the field can tell: 64 KiB if scaling was not agreed on. */
const largestWindow = (c: TcpConnection): number => Math.min(c.rcvSpace, 0xffff << c.rcvWndShift)

/** RCV.BUFF − RCV.USER: the window, were it drawn anew. What waits in the reassembly lies inside it. */
function freeSpace(c: TcpConnection): number {
  return Math.max(0, Math.min(c.rcvSpace - c.rcvQueue.length, largestWindow(c)))
}

/**
 * Moves the right edge as far as the buffer allows, but not by crumbs: RFC 9293 §3.8.6.2.2 (silly window avoidance of the receiver).
 * It never moves left. Over budget it stays where it is until `tcp` tells, but for those who have read everything: they go on by two
 * segments (Linux tcp_rmem[0]), or the slow would stop the quick. Answers true if the peer should be told although nothing else is to be
 * sent.
 */
export function openWindow(c: TcpConnection): boolean {
  const worth = Math.min(c.rcvSpace >> 1, 2 * c.smss)
  let edge = seqAdd(c.rcvNxt, freeSpace(c))
  if (seqDiff(edge, c.rcvAdv) < worth) return false
  if (c.tcp.overBudget) {
    c.tcp.hold(c)
    edge = seqAdd(c.rcvNxt, worth)
    if (c.rcvQueue.length > 0 || seqDiff(edge, c.rcvAdv) < worth >> 1) return false
  }
  const advertised = seqDiff(c.rcvAdv, c.rcvNxt)
  c.rcvAdv = edge
  // Worth a segment of its own if the peer saw less than half the buffer: while it sees more, data and its ACKs carry the news. A little
  // less: the 64 KiB of a SYN-ACK are half of what follows, and the first request would be acknowledged apart from its answer. But never
  // so little that no segment fits: a peer that has nothing out sends none then, and asks when its persist timer fires (RFC 9293
  // §3.8.6.2.1).
  const half = largestWindow(c) >> 1
  return advertised < Math.min(half, Math.max(half - (half >> 4), c.tcp.ownMss(c.v4)))
}

/** The window field to send: rounded down to the scale; text between the rounded and the true edge is still taken (RFC 7323 §2.4). */
export function windowField(c: TcpConnection): number {
  const wnd = seqDiff(c.rcvAdv, c.rcvNxt)
  if (wnd <= 0) return 0
  return Math.min(wnd >> c.rcvWndShift, 0xffff)
}

/** Is [seq, seq + len) acceptable? RFC 9293 §3.10.7.4 first, in the form that lets ACKs, RSTs and probes at a closed window through. */
export function acceptable(c: TcpConnection, seq: number, len: number): boolean {
  return seqLeq(seq, seqGt(c.rcvAdv, c.rcvNxt) ? c.rcvAdv : c.rcvNxt) && seqDiff(seqAdd(seq, len), c.rcvNxt) >= 0
}
