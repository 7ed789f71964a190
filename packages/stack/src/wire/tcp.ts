// Owns: TCP segments: offsets, flag bits, options; reading into one reused record.
// Read first: RFC 9293 §3.1–3.2, RFC 7323 §2–3 (window scale, timestamps), RFC 2018 (SACK).

export const FIN = 1
export const SYN = 2
export const RST = 4
export const PSH = 8
export const ACK = 16
export const URG = 32

export const TCP_HEADER = 20
export const TCP_CSUM_OFFSET = 16
/** NOP NOP kind 8, as RFC 7323 appendix A lays it out. */
export const TIMESTAMP_OPTION = 12
const MAX_SACK_BLOCKS = 4

const END = 0
const NOP = 1
const MSS = 2
const WINDOW_SCALE = 3
const SACK_PERMITTED = 4
const SACK = 5
const TIMESTAMPS = 8

/** RFC 7323 §2.3: a larger shift is taken as 14. */
export const MAX_WINDOW_SHIFT = 14

/** One reused record: the segment being processed. Valid during the call only, never stored. */
export class Segment {
  srcPort = 0
  dstPort = 0
  seq = 0
  ack = 0
  flags = 0
  /** The window field as it stands; scale it with SND.WND.SHIFT. */
  wnd = 0
  /** Payload: view[data, end). */
  data = 0
  end = 0
  /** Segments that came in this row (GSO), at least 1. */
  segments = 1
  /** 0 if absent. */
  mss = 0
  /** −1 if absent. */
  wndShift = -1
  sackPermitted = false
  hasTimestamps = false
  tsVal = 0
  tsEcr = 0
  sackCount = 0
  /** [left, right) pairs. */
  readonly sack = new Int32Array(2 * MAX_SACK_BLOCKS)
}

/** SEG.LEN: payload bytes, SYN and FIN (RFC 9293 §3.3.1). */
export function segLen(seg: Segment): number {
  return seg.end - seg.data + ((seg.flags & SYN) >> 1) + (seg.flags & FIN)
}

/** Reads the segment view[at, end). False: too short, or a data offset that makes no sense (RFC 9293 §3.1). */
export function readSegment(view: DataView, at: number, end: number, seg: Segment): boolean {
  if (end - at < TCP_HEADER) return false
  const headerLength = (view.getUint8(at + 12) >> 4) * 4
  if (headerLength < TCP_HEADER || at + headerLength > end) return false
  seg.srcPort = view.getUint16(at)
  seg.dstPort = view.getUint16(at + 2)
  seg.seq = view.getInt32(at + 4)
  seg.ack = view.getInt32(at + 8)
  seg.flags = view.getUint8(at + 13)
  seg.wnd = view.getUint16(at + 14)
  seg.data = at + headerLength
  seg.end = end
  seg.mss = 0
  seg.wndShift = -1
  seg.sackPermitted = false
  seg.hasTimestamps = false
  seg.sackCount = 0
  if (headerLength === TCP_HEADER + TIMESTAMP_OPTION && view.getInt32(at + 20) === 0x0101080a) {
    seg.hasTimestamps = true // almost every segment: only timestamps, in the recommended layout
    seg.tsVal = view.getInt32(at + 24)
    seg.tsEcr = view.getInt32(at + 28)
  } else if (headerLength > TCP_HEADER) readOptions(view, at + TCP_HEADER, at + headerLength, seg)
  return true
}

/** RFC 9293 §3.2: unknown kinds are stepped over, an illegal length ends the reading (MUST-7), the segment stays. */
function readOptions(view: DataView, from: number, end: number, seg: Segment): void {
  let at = from
  while (at < end) {
    const kind = view.getUint8(at)
    if (kind === END) return
    if (kind === NOP) {
      at++
      continue
    }
    if (at + 2 > end) return
    const length = view.getUint8(at + 1)
    if (length < 2 || at + length > end) return
    if (kind === MSS && length === 4) seg.mss = view.getUint16(at + 2)
    else if (kind === WINDOW_SCALE && length === 3) seg.wndShift = Math.min(view.getUint8(at + 2), MAX_WINDOW_SHIFT)
    else if (kind === SACK_PERMITTED && length === 2) seg.sackPermitted = true
    else if (kind === TIMESTAMPS && length === 10) {
      seg.hasTimestamps = true
      seg.tsVal = view.getInt32(at + 2)
      seg.tsEcr = view.getInt32(at + 6)
    } else if (kind === SACK && length >= 10 && (length - 2) % 8 === 0) {
      const blocks = Math.min((length - 2) / 8, MAX_SACK_BLOCKS)
      for (let i = 0; i < 2 * blocks; i++) seg.sack[i] = view.getInt32(at + 2 + 4 * i)
      seg.sackCount = blocks
    }
    at += length
  }
}

/** Writes the fixed header; the checksum field is 0. `headerLength` is a multiple of 4. */
export function writeTcpHeader(
  view: DataView,
  at: number,
  srcPort: number,
  dstPort: number,
  seq: number,
  ack: number,
  headerLength: number,
  flags: number,
  wnd: number,
): void {
  view.setUint16(at, srcPort)
  view.setUint16(at + 2, dstPort)
  view.setInt32(at + 4, seq)
  view.setInt32(at + 8, ack)
  view.setUint8(at + 12, headerLength << 2)
  view.setUint8(at + 13, flags)
  view.setUint16(at + 14, wnd)
  view.setUint32(at + 16, 0) // checksum, urgent pointer
}

// The option writers answer where the next option goes.

export function writeMss(view: DataView, at: number, mss: number): number {
  view.setUint16(at, (MSS << 8) | 4)
  view.setUint16(at + 2, mss)
  return at + 4
}

export function writeWindowScale(view: DataView, at: number, shift: number): number {
  view.setUint32(at, (NOP << 24) | (WINDOW_SCALE << 16) | (3 << 8) | shift)
  return at + 4
}

export function writeSackPermitted(view: DataView, at: number): number {
  view.setUint32(at, (NOP << 24) | (NOP << 16) | (SACK_PERMITTED << 8) | 2)
  return at + 4
}

export function writeTimestamps(view: DataView, at: number, tsVal: number, tsEcr: number): number {
  view.setUint32(at, 0x0101080a)
  view.setInt32(at + 4, tsVal)
  view.setInt32(at + 8, tsEcr)
  return at + TIMESTAMP_OPTION
}

/** `blocks` holds `count` [left, right) pairs. */
export function writeSack(view: DataView, at: number, blocks: Int32Array, count: number): number {
  view.setUint32(at, (NOP << 24) | (NOP << 16) | (SACK << 8) | (2 + 8 * count))
  for (let i = 0; i < 2 * count; i++) view.setInt32(at + 4 + 4 * i, blocks[i])
  return at + 4 + 8 * count
}
