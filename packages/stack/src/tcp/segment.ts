// Owns: putting segments of a connection into rows to send, and lone segments (RST, TIME-WAIT's ACKs) into plain bytes.
// Read first: RFC 9293 §3.1, RFC 7323 appendix A (option layout); packet-batch.ts (rows).

import { ByteRange } from '../memory/byte-queue.js'
import { CSUM_PARTIAL, GSO_TCP4, GSO_TCP6, type PacketBatch } from '../memory/packet-batch.js'
import type { Millis } from '../memory/slab.js'
import { pseudoSum, sumBytes } from '../wire/checksum.js'
import { IPV4_HEADER, IPV6_HEADER, PROTO_TCP, writeIpv4, writeIpv6 } from '../wire/ip.js'
import {
  FIN,
  PSH,
  SYN,
  TCP_CSUM_OFFSET,
  TCP_HEADER,
  TIMESTAMP_OPTION,
  writeMss,
  writeSack,
  writeSackPermitted,
  writeTcpHeader,
  writeTimestamps,
  writeWindowScale,
} from '../wire/tcp.js'
import type { TcpConnection } from './connection.js'
import { windowField } from './receiver.js'
import { seqAdd, seqDiff, seqGt } from './seq.js'

/** Payloads up to here are copied behind their headers: cheaper than a piece of their own. */
const INLINE = 512
/** Pieces a row gathers at most; a segment of more ends earlier. */
export const MAX_PIECES = 32

const range = new ByteRange()
const blocks = new Int32Array(8)

/** IP header + TCP header + timestamps: what a full data segment carries besides its payload. */
export function headerBytes(c: TcpConnection): number {
  return (c.v4 ? IPV4_HEADER : IPV6_HEADER) + TCP_HEADER + (c.tsOk ? TIMESTAMP_OPTION : 0)
}

/**
 * Emits one segment: `length` bytes of the send queue from sequence number `seq` on. The caller has made sure of a row and
 * MAX_PIECES pieces. Answers the payload bytes it took, fewer (and without FIN) where the queue's chunks
 * are too small to gather in one row.
 */
export function emitSegment(c: TcpConnection, tx: PacketBatch, now: Millis, seq: number, flags: number, length: number): number {
  const view = tx.slab.view
  const at = tx.beginRow()
  const ipBytes = c.v4 ? IPV4_HEADER : IPV6_HEADER
  const tcpAt = at + ipBytes
  let option = tcpAt + TCP_HEADER
  if (flags & SYN) option = writeSynOptions(c, view, option, now)
  else {
    if (c.tsOk) option = writeTimestamps(view, option, c.tsValAt(now), c.tsRecent)
    if (c.sackOk && length === 0) option = writeSackBlocks(c, view, option)
  }
  const headerLength = option - tcpAt
  // RFC 7323 §2.2: the window in a SYN is never scaled.
  const wnd = flags & SYN ? Math.min(c.rcvSpace, 0xffff) : windowField(c)
  const inHeader = option - at
  const payload = length > 0 ? gather(c, tx, option, seq, length) : 0
  const sent = payload < length ? flags & ~(FIN | PSH) : flags
  writeTcpHeader(view, tcpAt, c.localPort, c.remotePort, seq, c.rcvNxt, headerLength, sent, wnd)
  const row = tx.count
  const total = inHeader + payload
  if (c.v4) writeIpv4(view, at, total, PROTO_TCP, c.l3, c.r3)
  else writeIpv6(view, at, total - IPV6_HEADER, PROTO_TCP, c.l0, c.l1, c.l2, c.l3, c.r0, c.r1, c.r2, c.r3)
  const tcpLength = total - ipBytes
  view.setUint16(tcpAt + TCP_CSUM_OFFSET, pseudoSum(c.v4, c.l0, c.l1, c.l2, c.l3, c.r0, c.r1, c.r2, c.r3, PROTO_TCP, tcpLength))
  tx.flags[row] = CSUM_PARTIAL
  tx.csumStart[row] = ipBytes
  tx.csumOffset[row] = TCP_CSUM_OFFSET
  if (payload > c.smss) {
    tx.gsoType[row] = c.v4 ? GSO_TCP4 : GSO_TCP6
    tx.gsoSize[row] = c.smss
  }
  tx.finishRow(tx.pieceTotal > tx.pieceAt[row] ? inHeader : total)
  c.ackNow = false
  c.ackAt = Infinity
  c.unackedBytes = 0
  c.lastAckSent = c.rcvNxt
  return payload
}

/** RFC 2018 §4, what arrived last first; before that what arrived twice (RFC 2883 §4). */
function writeSackBlocks(c: TcpConnection, view: DataView, option: number): number {
  const max = c.tsOk ? 3 : 4
  let n = 0
  if (c.dsackLeft !== c.dsackRight) {
    blocks[0] = c.dsackLeft
    blocks[1] = c.dsackRight
    c.dsackLeft = c.dsackRight
    n = 1
  }
  const duplicates = n
  if (c.reassembly !== null) n += c.reassembly.blocks(blocks, n, max - n)
  if (c.finSeen && seqGt(c.finSeq, c.rcvNxt)) n = sackFin(c, duplicates, n, max)
  return n > 0 ? writeSack(view, option, blocks, n) : option
}

/** A FIN ahead of a gap has been received, too: it is the last number of the block it follows, or a block of its own. */
function sackFin(c: TcpConnection, from: number, n: number, max: number): number {
  for (let i = from; i < n; i++) {
    if (blocks[2 * i + 1] !== c.finSeq) continue
    blocks[2 * i + 1] = seqAdd(c.finSeq, 1)
    return n
  }
  if (n === max || c.reassembly?.endsAt(c.finSeq)) return n
  blocks[2 * n] = c.finSeq
  blocks[2 * n + 1] = seqAdd(c.finSeq, 1)
  return n + 1
}

/** Small payloads are copied behind the headers, others gathered from where they lie. */
function gather(c: TcpConnection, tx: PacketBatch, behind: number, seq: number, length: number): number {
  const queue = c.sndQueue
  let offset = seqDiff(seq, c.sndUna)
  let chunk = queue.indexOf(offset)
  let left = length
  let to = behind
  const inline = length <= INLINE
  for (let pieces = 0; left > 0 && (inline || pieces < MAX_PIECES); pieces++, chunk++) {
    queue.rangeAt(chunk, offset, range)
    const n = Math.min(left, range.end - range.start)
    if (inline) {
      tx.slab.bytes.set(range.bytes.subarray(range.start, range.start + n), to)
      to += n
    } else tx.addPiece(range.bytes, range.start, n, range.owner)
    offset += n
    left -= n
  }
  range.owner = null
  return length - left
}

function writeSynOptions(c: TcpConnection, view: DataView, at: number, now: Millis): number {
  let option = writeMss(view, at, c.tcp.ownMss(c.v4))
  if (c.sackOk) option = writeSackPermitted(view, option)
  if (c.tsOk) option = writeTimestamps(view, option, c.tsValAt(now), c.tsRecent)
  if (c.rcvWndShift > 0) option = writeWindowScale(view, option, c.rcvWndShift)
  return option
}

/**
 * A segment without text that belongs to no connection object: a reset, TIME-WAIT's ACKs, a cookie. One reused record,
 * named as it travels.
 */
export class LoneSegment {
  v4 = true
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
  ack = 0
  flags = 0
  wnd = 0
  hasTimestamps = false
  tsVal = 0
  tsEcr = 0
  /** With a SYN; 0: none, and none of the two below. */
  mss = 0
  sackPermitted = false
  wndShift = -1
}

/** Writes it with complete checksums into view[at…); answers its length. */
export function writeLoneSegment(view: DataView, at: number, p: LoneSegment): number {
  const ipBytes = p.v4 ? IPV4_HEADER : IPV6_HEADER
  const tcpAt = at + ipBytes
  let option = tcpAt + TCP_HEADER
  if (p.mss > 0) {
    option = writeMss(view, option, p.mss)
    if (p.sackPermitted) option = writeSackPermitted(view, option)
    if (p.wndShift >= 0) option = writeWindowScale(view, option, p.wndShift)
  }
  if (p.hasTimestamps) option = writeTimestamps(view, option, p.tsVal, p.tsEcr)
  const tcpBytes = option - tcpAt
  if (p.v4) writeIpv4(view, at, ipBytes + tcpBytes, PROTO_TCP, p.s3, p.d3)
  else writeIpv6(view, at, tcpBytes, PROTO_TCP, p.s0, p.s1, p.s2, p.s3, p.d0, p.d1, p.d2, p.d3)
  writeTcpHeader(view, tcpAt, p.srcPort, p.dstPort, p.seq, p.ack, tcpBytes, p.flags, p.wnd)
  const pseudo = pseudoSum(p.v4, p.s0, p.s1, p.s2, p.s3, p.d0, p.d1, p.d2, p.d3, PROTO_TCP, tcpBytes)
  view.setUint16(tcpAt + TCP_CSUM_OFFSET, ~sumBytes(view, tcpAt, tcpAt + tcpBytes, pseudo) & 0xffff)
  return ipBytes + tcpBytes
}
