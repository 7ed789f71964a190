// Owns: a UDP socket of the addon in a set of its own, and rows of datagrams: what packages/device/src/datagram-batch.ts is, written down a
// second time.

import native from '../index.cjs'

export const OK = 0
export const BLOCKED = 1
export const GONE = 3
const STRIDE = 65_600

/**
 * @typedef {object} Request
 * @property {4 | 6} [family]
 * @property {string} [address]
 * @property {number} [port]
 * @property {string} [peerAddress]
 * @property {number} [peerPort]
 * @property {string} [device]
 * @property {number} [mark]
 * @property {number} [receiveBuffer]
 * @property {number} [sendBuffer]
 * @property {boolean} [offload]
 */

export class Socket {
  sockets = native.openUdpSockets()
  slot = -1

  constructor(/** @type {Request} */ request) {
    const { family = 4, address, port, peerAddress, peerPort, device, mark, receiveBuffer, sendBuffer, offload } = request
    this.slot = this.sockets.open(family, address, port, peerAddress, peerPort, device, mark, receiveBuffer, sendBuffer, offload)
  }

  watch(/** @type {(events: number) => void} */ callback) {
    const events = new Int32Array(2)
    this.sockets.watch(() => {
      if (this.sockets.wait(events) === 1) callback(events[1])
    })
  }

  get port() {
    return this.sockets.address(this.slot)?.[1] ?? 0
  }

  close() {
    this.sockets.close()
  }
}

export class Table {
  count = 0
  used = 0

  constructor(/** @type {number} */ capacity = 16) {
    this.capacity = capacity
    this.table = new Int32Array(8 + 14 * capacity)
    this.slab = Buffer.alloc(Math.min(capacity, 16) * STRIDE)
  }

  column(/** @type {number} */ i) {
    return this.table.subarray(8 + i * this.capacity, 8 + (i + 1) * this.capacity)
  }

  add(/** @type {Uint8Array} */ payload, /** @type {readonly number[]} */ words = [0, 0, 0, 0], port = 0, ttl = 0) {
    const row = this.count++
    this.slab.set(payload, this.used)
    for (const [i, value] of [this.used, payload.length, 0, ...words, port, -1, ttl].entries()) this.column(i)[row] = value
    this.used += payload.length
    return this
  }

  send(/** @type {Socket} */ { sockets, slot }) {
    return sockets.send(slot, this.slab, this.table, this.capacity, 0, this.count)
  }

  receive(/** @type {Socket} */ { sockets, slot }) {
    this.count = sockets.receive(slot, this.slab, STRIDE, this.table, this.capacity)
    return this.count
  }

  reports(/** @type {Socket} */ { sockets, slot }) {
    const rows = sockets.reports(slot, this.slab, STRIDE, this.table, this.capacity)
    this.count += rows
    return rows
  }

  get status() {
    return this.table[0]
  }

  get refused() {
    return this.table[2]
  }

  row(/** @type {number} */ row) {
    const columns = Array.from({ length: 14 }, (_, i) => this.column(i)[row])
    const [start, length, segment, w0, w1, w2, w3, port, failure, ttl, ...by] = columns
    return { start, length, segment, words: [w0, w1, w2, w3], port, failure, ttl, by }
  }

  /** What the rows received hold, trains cut into their datagrams. */
  datagrams() {
    const all = []
    for (let row = 0; row < this.count; row++) {
      const { start, length, segment } = this.row(row)
      if (segment === 0) all.push(this.slab.subarray(start, start + length))
      else for (let at = 0; at < length; at += segment) all.push(this.slab.subarray(start + at, start + Math.min(at + segment, length)))
    }
    return all
  }
}
