// Owns: many datagrams as rows of arrays, the one shape that goes between a UDP socket of the addon and this package; the sibling of
// @tun/stack's PacketBatch. The addon's view of it is DatagramRows in native/src/udp.h, whose numbers must agree.

import { Buffer } from 'node:buffer'
import { markAsUntransferable } from 'node:worker_threads'

const HEADER_WORDS = 8
const ROW_COLUMNS = 14

export class DatagramBatch {
  readonly capacity: number
  readonly bytes: Buffer
  readonly table: Int32Array
  /** Bytes in `bytes` of the datagram, or of the train of datagrams. */
  readonly start: Int32Array
  readonly length: Int32Array
  /**
   * Received: 0, or the row is a train of datagrams of this length, the last of which may be shorter (UDP_GRO, udp(7)). Of a report: its
   * hop limit << 16 | ICMP type << 8 | code.
   */
  readonly segment: Int32Array
  /** The peer: four words as in the engine, IPv4 a.b.c.d being ::ffff:a.b.c.d, and the port. */
  readonly w0: Int32Array
  readonly w1: Int32Array
  readonly w2: Int32Array
  readonly w3: Int32Array
  readonly port: Int32Array
  /** The errno (positive) of a row that was not sent, or of an ICMP report; received: EMSGSIZE if it was cut off. */
  readonly failure: Int32Array
  /** To send: the hop limit, 0 the kernel's own. Of a report: its MTU. */
  readonly ttl: Int32Array
  /** Of a report: who said so, four words. */
  readonly by0: Int32Array
  readonly by1: Int32Array
  readonly by2: Int32Array
  readonly by3: Int32Array

  constructor(size: number, capacity: number) {
    this.capacity = capacity
    this.bytes = Buffer.from(new ArrayBuffer(size)) // whose pages exist when they are first used
    this.table = new Int32Array(HEADER_WORDS + ROW_COLUMNS * capacity)
    markAsUntransferable(this.bytes.buffer)
    markAsUntransferable(this.table.buffer)
    let at = HEADER_WORDS
    const column = () => this.table.subarray(at, (at += capacity))
    this.start = column()
    this.length = column()
    this.segment = column()
    this.w0 = column()
    this.w1 = column()
    this.w2 = column()
    this.w3 = column()
    this.port = column()
    this.failure = column()
    this.ttl = column()
    this.by0 = column()
    this.by1 = column()
    this.by2 = column()
    this.by3 = column()
  }

  /** OK, BLOCKED, GONE or FAILED, as PacketBatch has them. */
  get status(): number {
    return this.table[0]
  }

  /** The positive errno of a FAILED status. */
  get errno(): number {
    return this.table[1]
  }

  /** After a send: rows of this call that the kernel would not take. */
  get refused(): number {
    return this.table[2]
  }
}

/**
 * Room for each row received: the largest datagram or train. The odd 1,600 bytes let the rows begin in different lines of the caches; at
 * distances of 64 KiB they would all compete for the same ones.
 */
export const RECEIVE_STRIDE = 65_536 + 1600
const RECEIVE_ROWS = 32
const SEND_ROWS = 128
const SEND_BYTES = 256 * 1024

let receiving: DatagramBatch | undefined
let sending: DatagramBatch | undefined

/**
 * What all sockets of a thread receive into, one after the other: an idle socket holds no memory for it. Small datagrams touch 128 KiB.
 */
export function receiveBatch(): DatagramBatch {
  receiving ??= new DatagramBatch(RECEIVE_ROWS * RECEIVE_STRIDE, RECEIVE_ROWS)
  return receiving
}

/** What all sockets of a thread send from: filled and sent in one go, nothing stays in it. */
export function sendBatch(): DatagramBatch {
  sending ??= new DatagramBatch(SEND_BYTES, SEND_ROWS)
  return sending
}
