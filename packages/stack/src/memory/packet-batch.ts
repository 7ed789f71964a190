// Owns: many packets as rows of arrays (struct of arrays), the one shape that goes between a Device and the Stack.
//
//   table (one Int32Array, so that the addon gets rows by one pointer)
//   ┌──────── HEADER ────────┬─ start ─┬─ length ─┬─ gsoType ─┬─ … ─┬─ pieceCount ─┬─ pieceStart ─┬─ pieceLength ─┐
//   │ status errno count …   │ cap     │ cap      │ cap       │     │ cap          │ pieces       │ pieces        │
//   └────────────────────────┴─────────┴──────────┴───────────┴─────┴──────────────┴──────────────┴───────────────┘
//
// Received row: the whole packet is slab[start, start+length). Row to send: slab[start, start+length) holds the headers
// (and small payloads), then come its pieces, gathered from where they lie; a row holds its pieces' owners until it is written.

import { emptied } from './byte-queue.js'
import { type Bytes, type Owner, Slab } from './slab.js'

/** What a device's `read` or `write` ended with. */
export const OK = 0
/** Nothing (more) to read now; cannot write now: wait for readable or writable. */
export const BLOCKED = 1
/** The NIC is down: rows written are lost (drop and count); wait for up. */
export const DOWN = 2
/** The NIC was deleted, or the descriptor is of no use any more. */
export const GONE = 3
/** The other end of a socket device closed it. */
export const EOF = 4
/** Any other errno, in `batch.errno`. */
export const FAILED = 5

// Row flags.
/** The checksum field holds only the pseudo-header sum: received from a local sender, trusted; to send: to be completed. */
export const CSUM_PARTIAL = 1
/** The transport checksum was verified (by the device or natively). */
export const CSUM_GOOD = 2
/** The transport checksum was verified and is wrong. */
export const CSUM_BAD = 4
/** The device's metadata for this row makes no sense (unknown gso type, csum offsets out of bounds): drop and count. */
export const ROW_INVALID = 8

// gsoType: what the device may cut this row into.
export const GSO_NONE = 0
export const GSO_TCP4 = 1
export const GSO_TCP6 = 2
/** UDP datagrams of gsoSize payload bytes each (USO). */
export const GSO_UDP = 3

export const HEADER_WORDS = 8
const ROW_COLUMNS = 9

/** Room in the header slab per row: IPv4 or IPv6 header, TCP header with options, and a small payload. */
export const TX_HEADER_ROOM = 640

export class PacketBatch {
  /** Rows it can hold. */
  readonly capacity: number
  readonly pieceCapacity: number
  readonly table: Int32Array<ArrayBuffer>
  /** Bytes in `slab` of the packet (received) or of its headers (to send). */
  readonly start: Int32Array<ArrayBuffer>
  readonly length: Int32Array<ArrayBuffer>
  readonly gsoType: Int32Array<ArrayBuffer>
  /** Payload bytes of each segment the row is cut into; 0 without GSO. */
  readonly gsoSize: Int32Array<ArrayBuffer>
  /** From the packet's first byte to where summing starts, and from there to the checksum field. */
  readonly csumStart: Int32Array<ArrayBuffer>
  readonly csumOffset: Int32Array<ArrayBuffer>
  readonly flags: Int32Array<ArrayBuffer>
  /** First piece and number of pieces (rows to send only). */
  readonly pieceAt: Int32Array<ArrayBuffer>
  readonly pieceCount: Int32Array<ArrayBuffer>
  readonly pieceStart: Int32Array<ArrayBuffer>
  readonly pieceLength: Int32Array<ArrayBuffer>
  readonly pieces: Bytes[] = []
  private readonly owners: (Owner | null)[] = []

  slab: Slab
  /** Rows filled. */
  count = 0
  /** Rows to send that are already written; the rest are [first, count). */
  first = 0
  /** Bytes of `slab` in use. */
  used = 0

  constructor(slab: Slab, capacity: number, pieceCapacity = 0) {
    this.slab = slab
    this.capacity = capacity
    this.pieceCapacity = pieceCapacity
    this.table = new Int32Array(HEADER_WORDS + ROW_COLUMNS * capacity + 2 * pieceCapacity)
    let at = HEADER_WORDS
    const column = (length: number) => this.table.subarray(at, (at += length))
    this.start = column(capacity)
    this.length = column(capacity)
    this.gsoType = column(capacity)
    this.gsoSize = column(capacity)
    this.csumStart = column(capacity)
    this.csumOffset = column(capacity)
    this.flags = column(capacity)
    this.pieceAt = column(capacity)
    this.pieceCount = column(capacity)
    this.pieceStart = column(pieceCapacity)
    this.pieceLength = column(pieceCapacity)
  }

  /** A batch for sending: every row has TX_HEADER_ROOM bytes for its headers in a slab of the batch's own. */
  static forSending(capacity: number, piecesPerRow = 4): PacketBatch {
    return new PacketBatch(new Slab(capacity * TX_HEADER_ROOM), capacity, capacity * piecesPerRow)
  }

  get status(): number {
    return this.table[0]
  }
  set status(value: number) {
    this.table[0] = value
  }

  /** The positive errno of a FAILED status. */
  get errno(): number {
    return this.table[1]
  }
  set errno(value: number) {
    this.table[1] = value
  }

  /** Pieces taken by the rows so far. */
  get pieceTotal(): number {
    return this.pieces.length
  }

  /** Is there room for one more row with `pieces` pieces? */
  hasRoom(pieces: number): boolean {
    return this.count < this.capacity && this.pieces.length + pieces <= this.pieceCapacity
  }

  /** Starts a row to send; its headers may be written at the answer in `slab`. Finish it with `finishRow`. */
  beginRow(): number {
    const row = this.count
    const at = row * TX_HEADER_ROOM
    this.start[row] = at
    this.gsoType[row] = GSO_NONE
    this.gsoSize[row] = 0
    this.flags[row] = 0
    this.csumStart[row] = 0
    this.csumOffset[row] = 0
    this.pieceAt[row] = this.pieces.length
    return at
  }

  /** Appends bytes[start, start+length) to the row begun; `owner` is retained until the row is written. */
  addPiece(bytes: Bytes, start: number, length: number, owner: Owner | null): void {
    const i = this.pieces.length
    this.pieceStart[i] = start
    this.pieceLength[i] = length
    this.pieces.push(bytes)
    this.owners.push(owner)
    owner?.retain()
  }

  /** The row begun has `headerLength` bytes of headers. */
  finishRow(headerLength: number): void {
    const row = this.count
    this.length[row] = headerLength
    this.pieceCount[row] = this.pieces.length - this.pieceAt[row]
    this.count++
  }

  /** Bytes of the row's packet: headers and pieces. */
  packetLength(row: number): number {
    let n = this.length[row]
    for (let i = this.pieceAt[row], end = i + this.pieceCount[row]; i < end; i++) n += this.pieceLength[i]
    return n
  }

  /** Everything written or dropped: owners get their pieces back, the batch is empty. */
  reset(): void {
    for (let i = 0; i < this.owners.length; i++) this.owners[i]?.release()
    emptied(this.owners, this.pieceCapacity)
    emptied(this.pieces, this.pieceCapacity)
    this.count = 0
    this.first = 0
    this.used = 0
    this.status = OK
  }
}
