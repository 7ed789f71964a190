// Owns: what waits for the NIC and belongs to no connection: datagrams (UDP, ICMP) and whole packets, in order, bounded in bytes.
// Read first: RFC 791 §3.2, RFC 8200 §4.5 for what is larger than the MTU: fragments.ts.

import { CSUM_PARTIAL, type PacketBatch } from '../memory/packet-batch.js'
import type { Bytes } from '../memory/slab.js'
import type { StackOptions } from '../options.js'
import { IPV4_HEADER, IPV6_HEADER, PROTO_UDP, writeIpv4, writeIpv6 } from '../wire/ip.js'
import { type End, emitFragments, type Fragmented, pseudoSumOf, TRANSPORT_HEADER, writeTransportHeader } from './fragments.js'
import type { Identification } from './identification.js'

/** Whose bytes wait: a share of the budget is all that one of them gets. */
export interface Sender {
  /** Bytes that wait, overhead charged. */
  waiting: number
}

interface Waiting extends Fragmented {
  readonly sender: Sender
}

/** Nobody's protocol number: `payload` is a packet with its headers. */
const WHOLE = -1
/** An empty one is not free either. */
const OVERHEAD = 64
const INLINE = 512
/** Of all that does not say otherwise. */
const TTL = 64
/** Of a whole packet, so much goes where headers go. */
const WHOLE_HEAD = 40
/** What a sender may hold of the budget; so may all ICMP messages together, and all whole packets. */
const SHARE = 1 / 4
const NOWHERE: End = [0, 0, 0, 0, 0]

export class Output {
  private readonly options: Required<StackOptions>
  private readonly identification: Identification
  private readonly queue: Waiting[] = []
  private head = 0
  private bytes = 0
  private readonly icmp: Sender = { waiting: 0 }
  private readonly whole: Sender = { waiting: 0 }
  /** Of the datagram at the head, as far as its fragments are out already; the MTU they are cut for, and what they have in common. */
  private fragmented = 0
  private fragmentMtu = 0
  private fragmentId = 0

  constructor(options: Required<StackOptions>, identification: Identification) {
    this.options = options
    this.identification = identification
  }

  get empty(): boolean {
    return this.queue.length === this.head
  }

  /** False: the budget is spent, or `sender`'s share (null: it has no share of its own). `payload` is the stack's from now on. */
  udp(v4: boolean, from: End, to: End, payload: Bytes, sender: Sender | null): boolean {
    return this.add({ v4, proto: PROTO_UDP, from, to, word0: 0, word1: 0, payload, ttl: TTL, sender: sender ?? { waiting: 0 } })
  }

  /** An ICMP message: `word0` is type and code, the checksum is filled in. */
  message(v4: boolean, proto: number, from: End, to: End, word0: number, word1: number, payload: Bytes, ttl = TTL): boolean {
    return this.add({ v4, proto, from, to, word0, word1, payload, ttl, sender: this.icmp })
  }

  /** A packet as it stands. */
  packet(packet: Bytes): boolean {
    return this.add({
      v4: true,
      proto: WHOLE,
      from: NOWHERE,
      to: NOWHERE,
      word0: 0,
      word1: 0,
      payload: packet,
      ttl: TTL,
      sender: this.whole,
    })
  }

  private add(out: Waiting): boolean {
    const cost = out.payload.length + OVERHEAD
    const { udpSendBudget } = this.options
    if (this.bytes + out.payload.length > udpSendBudget) return false
    // The first is always taken: a share smaller than a datagram would be none.
    if (out.sender.waiting > 0 && out.sender.waiting + cost > udpSendBudget * SHARE) return false
    this.bytes += cost
    out.sender.waiting += cost
    this.queue.push(out)
    return true
  }

  /** Fills rows, at most up to `limit` of the batch. True: more is waiting. */
  poll(tx: PacketBatch, limit: number): boolean {
    while (this.head < this.queue.length) {
      if (tx.count >= limit || !tx.hasRoom(1)) return true
      const out = this.queue[this.head]
      if (out.proto === WHOLE) emitWhole(tx, out.payload)
      else {
        const total = (out.v4 ? IPV4_HEADER : IPV6_HEADER) + TRANSPORT_HEADER + out.payload.length
        if (total <= this.options.mtu && this.fragmented === 0) emitDatagram(tx, out)
        else if (!this.emitFragmented(tx, limit, out)) return true
      }
      this.shift(out)
    }
    this.queue.length = 0
    this.head = 0
    return false
  }

  private shift(out: Waiting): void {
    const cost = out.payload.length + OVERHEAD
    this.bytes -= cost
    out.sender.waiting -= cost
    if (++this.head < 256) return
    this.queue.splice(0, this.head) // a queue that never runs empty must not hold what is out
    this.head = 0
  }

  /** False: the batch was full before all fragments were out. */
  private emitFragmented(tx: PacketBatch, limit: number, out: Fragmented): boolean {
    if (this.fragmented === 0) {
      this.fragmentMtu = this.options.mtu
      this.fragmentId = this.identification.next(out.from, out.to)
    }
    this.fragmented = emitFragments(tx, limit, out, this.fragmentMtu, this.fragmentId, this.fragmented)
    if (this.fragmented < TRANSPORT_HEADER + out.payload.length) return false
    this.fragmented = 0
    return true
  }
}

function emitDatagram(tx: PacketBatch, out: Fragmented): void {
  const { v4, proto, from, to, payload, ttl } = out
  const view = tx.slab.view
  const at = tx.beginRow()
  const ipBytes = v4 ? IPV4_HEADER : IPV6_HEADER
  const length = TRANSPORT_HEADER + payload.length
  if (v4) writeIpv4(view, at, ipBytes + length, proto, from[3], to[3], ttl)
  else writeIpv6(view, at, length, proto, from[0], from[1], from[2], from[3], to[0], to[1], to[2], to[3], ttl)
  const behind = at + ipBytes
  const field = writeTransportHeader(view, behind, out)
  view.setUint16(behind + field, pseudoSumOf(out))
  const row = tx.count
  tx.flags[row] = CSUM_PARTIAL
  tx.csumStart[row] = ipBytes
  tx.csumOffset[row] = field
  finish(tx, behind + TRANSPORT_HEADER, ipBytes + TRANSPORT_HEADER, payload, 0)
}

function emitWhole(tx: PacketBatch, packet: Bytes): void {
  const at = tx.beginRow()
  const head = Math.min(packet.length, WHOLE_HEAD)
  tx.slab.bytes.set(packet.subarray(0, head), at)
  finish(tx, at + head, head, packet, head)
}

/** Puts bytes[start…) behind the `headers` bytes that end at `at`: copied if they are few, else from where they lie. */
function finish(tx: PacketBatch, at: number, headers: number, bytes: Bytes, start: number): void {
  const length = bytes.length - start
  if (length <= INLINE) {
    tx.slab.bytes.set(start === 0 ? bytes : bytes.subarray(start), at)
    tx.finishRow(headers + length)
  } else {
    tx.addPiece(bytes, start, length, null)
    tx.finishRow(headers)
  }
}
