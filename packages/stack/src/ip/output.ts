// Owns: what waits for the NIC and belongs to no connection: datagrams (UDP, ICMP) and whole packets, in order, bounded in bytes.
// Neighbours of one size between the same ends wait as one train and leave as one row, which the NIC cuts (USO).
// Read first: RFC 791 §3.2, RFC 8200 §4.5 for what is larger than the MTU: fragments.ts; __udp_gso_segment in net/ipv4/udp_offload.c.

import { CSUM_PARTIAL, GSO_UDP, type PacketBatch } from '../memory/packet-batch.js'
import { type Bytes, type Owner, type Slab, SlabPool } from '../memory/slab.js'
import type { StackOptions } from '../options.js'
import { IPV4_HEADER, IPV6_HEADER, PROTO_UDP, writeIpv4, writeIpv6 } from '../wire/ip.js'
import { type End, emitFragments, type Fragmented, pseudoSumOf, TRANSPORT_HEADER, writeTransportHeader } from './fragments.js'
import type { Identification } from './identification.js'

/** Whose bytes wait: a share of the budget is all that one of them gets. */
export interface Sender {
  /** Bytes that wait, overhead charged. */
  waiting: number
}

/** Nobody's protocol number: `payload` is a packet with its headers. */
const WHOLE = -1
/** An empty one is not free either. */
const OVERHEAD = 64
const INLINE = 512
/** Of all that does not say otherwise. */
const TTL = 64
/** Fewer bytes are copied faster one by one than by a call. */
const FEW = 96
/** Of a whole packet, so much goes where headers go. */
const WHOLE_HEAD = 40
/** What a sender may hold of the budget; so may all ICMP messages together, and all whole packets. */
const SHARE = 1 / 4
/** Datagrams of a train (UDP_MAX_SEGMENTS of older kernels) and their bytes (the length fields of IPv4 and UDP). */
const MAX_DATAGRAMS = 64
const MAX_TRAIN = 65_507
/** Entries kept for the next datagrams. */
const MAX_SPARE = 256
const NOWHERE: End = [0, 0, 0, 0, 0]
const NOTHING = new Uint8Array(0)

/** A packet, a datagram, or a train of datagrams. */
class Waiting implements Fragmented {
  v4 = true
  proto = WHOLE
  from = NOWHERE
  to = NOWHERE
  word0 = 0
  word1 = 0
  ttl = TTL
  payload: Bytes = NOTHING
  start = 0
  /** Of the datagram; of a train's first one while that leaves in fragments. */
  length = 0
  owner: Owner | null = null
  sender: Sender | null = null
  /** Bytes of all datagrams, of each but the last, and how many there are. */
  total = 0
  size = 0
  count = 1
}

export class Output {
  private readonly options: Required<StackOptions>
  private readonly identification: Identification
  private readonly slabs: SlabPool
  private readonly queue: Waiting[] = []
  private readonly spare: Waiting[] = []
  private head = 0
  private bytes = 0
  private readonly icmp: Sender = { waiting: 0 }
  private readonly whole: Sender = { waiting: 0 }
  /** Where datagrams are copied to, one behind the other; null while none wait. */
  private slab: Slab | null = null
  private used = 0
  /** Of the datagram at the head, as far as its fragments are out already; the MTU they are cut for, and what they have in common. */
  private fragmented = 0
  private fragmentMtu = 0
  private fragmentId = 0

  constructor(options: Required<StackOptions>, identification: Identification, slabs = new SlabPool()) {
    this.options = options
    this.identification = identification
    this.slabs = slabs
  }

  get empty(): boolean {
    return this.queue.length === this.head
  }

  /** Takes a copy of bytes[start, end). False: the budget is spent, or `sender`'s share (null: it has no share of its own). */
  udp(v4: boolean, from: End, to: End, bytes: Uint8Array, sender: Sender | null, start = 0, end = bytes.length): boolean {
    const length = end - start
    if (!this.charge(length, sender)) return false
    const at = this.copy(bytes, start, end)
    if (at >= 0 && this.joins(v4, from, to, length, sender, at)) {
      const train = this.queue[this.queue.length - 1]
      train.total += length
      train.count++
      return true
    }
    const out = this.next(v4, PROTO_UDP, from, to, sender)
    out.payload = at < 0 ? new Uint8Array(bytes.subarray(start, end)) : (this.slab as Slab).bytes
    out.start = Math.max(0, at)
    out.total = out.size = out.length = length
    if (at < 0) return true
    out.owner = this.slab
    this.slab?.retain()
    return true
  }

  /** An ICMP message: `word0` is type and code, the checksum is filled in. `payload` is the stack's from now on. */
  message(v4: boolean, proto: number, from: End, to: End, word0: number, word1: number, payload: Bytes, ttl = TTL): boolean {
    if (!this.charge(payload.length, this.icmp)) return false
    const out = this.next(v4, proto, from, to, this.icmp)
    out.word0 = word0
    out.word1 = word1
    out.ttl = ttl
    out.payload = payload
    out.total = out.size = out.length = payload.length
    return true
  }

  /** A packet as it stands; the stack's from now on. */
  packet(packet: Bytes): boolean {
    if (!this.charge(packet.length, this.whole)) return false
    const out = this.next(true, WHOLE, NOWHERE, NOWHERE, this.whole)
    out.payload = packet
    out.total = out.size = out.length = packet.length
    return true
  }

  private charge(length: number, sender: Sender | null): boolean {
    const cost = length + OVERHEAD
    const { udpSendBudget } = this.options
    if (this.bytes + length > udpSendBudget) return false
    if (sender !== null) {
      // The first is always taken: a share smaller than a datagram would be none.
      if (sender.waiting > 0 && sender.waiting + cost > udpSendBudget * SHARE) return false
      sender.waiting += cost
    }
    this.bytes += cost
    return true
  }

  private next(v4: boolean, proto: number, from: End, to: End, sender: Sender | null): Waiting {
    const out = this.spare.pop() ?? new Waiting()
    out.v4 = v4
    out.proto = proto
    out.from = from
    out.to = to
    out.sender = sender
    out.ttl = TTL
    out.start = 0
    out.count = 1
    this.queue.push(out)
    return out
  }

  /** Puts the bytes behind those of the datagram before; answers where. −1: they are more than a slab holds. */
  private copy(bytes: Uint8Array, start: number, end: number): number {
    const length = end - start
    if (length > this.slabs.size) return -1
    if (this.slab === null || this.used + length > this.slab.bytes.length) {
      this.slab?.release()
      this.slab = this.slabs.take()
      this.used = 0
    }
    const at = this.used
    copyTo(this.slab.bytes, at, bytes, start, end)
    this.used += length
    return at
  }

  /** Does the datagram at `at` of the slab go on with the last one? All of a train are of one size, but for a shorter last one. */
  private joins(v4: boolean, from: End, to: End, length: number, sender: Sender | null, at: number): boolean {
    if (!this.options.offload || this.head === this.queue.length) return false // the last one has left
    const last = this.queue[this.queue.length - 1]
    const { count, total, size } = last
    return (
      last.proto === PROTO_UDP &&
      last.owner === this.slab &&
      last.start + total === at &&
      last.sender === sender &&
      last.v4 === v4 &&
      length > 0 &&
      length <= size &&
      total === count * size &&
      count < MAX_DATAGRAMS &&
      total + length <= MAX_TRAIN &&
      headersOf(v4) + size <= this.options.mtu &&
      isSame(last.from, from) &&
      isSame(last.to, to)
    )
  }

  /** Fills rows, at most up to `limit` of the batch. True: more is waiting. */
  poll(tx: PacketBatch, limit: number): boolean {
    while (this.head < this.queue.length) {
      if (tx.count >= limit || !tx.hasRoom(1)) return true
      const out = this.queue[this.head]
      if (out.proto === WHOLE) emitWhole(tx, out.payload)
      else if (headersOf(out.v4) + out.size <= this.options.mtu && this.fragmented === 0) {
        out.length = out.total
        emitDatagrams(tx, out)
      } else {
        if (!this.emitFragmented(tx, limit, out)) return true
        if (out.count > 1) {
          this.shorten(out)
          continue
        }
      }
      this.shift(out)
    }
    this.queue.length = 0
    this.head = 0
    this.slab?.release() // rows hold what is not written yet; who is idle holds nothing
    this.slab = null
    return false
  }

  /** The first of the train is out: it joined when the MTU was larger. */
  private shorten(out: Waiting): void {
    this.settle(out.size + OVERHEAD, out.sender)
    out.start += out.size
    out.total -= out.size
    out.count--
    out.length = Math.min(out.size, out.total)
  }

  private settle(cost: number, sender: Sender | null): void {
    this.bytes -= cost
    if (sender !== null) sender.waiting -= cost
  }

  private shift(out: Waiting): void {
    this.settle(out.total + out.count * OVERHEAD, out.sender)
    out.owner?.release()
    out.owner = null
    out.payload = NOTHING
    out.from = out.to = NOWHERE
    out.sender = null
    if (this.spare.length < MAX_SPARE) this.spare.push(out)
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
    if (this.fragmented < TRANSPORT_HEADER + out.length) return false
    this.fragmented = 0
    return true
  }
}

const headersOf = (v4: boolean): number => (v4 ? IPV4_HEADER : IPV6_HEADER) + TRANSPORT_HEADER

function isSame(a: End, b: End): boolean {
  return a === b || (a[3] === b[3] && a[4] === b[4] && a[2] === b[2] && a[1] === b[1] && a[0] === b[0])
}

function copyTo(target: Bytes, at: number, bytes: Uint8Array, start: number, end: number): void {
  if (end - start > FEW) target.set(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end), at)
  else for (let i = start, to = at; i < end; i++, to++) target[to] = bytes[i]
}

/** One datagram, or a train of them under one header whose lengths and pseudo-header speak of all. */
function emitDatagrams(tx: PacketBatch, out: Waiting): void {
  const { v4, proto, from, to, payload, start, total, ttl } = out
  const view = tx.slab.view
  const at = tx.beginRow()
  const ipBytes = v4 ? IPV4_HEADER : IPV6_HEADER
  const length = TRANSPORT_HEADER + total
  if (v4) writeIpv4(view, at, ipBytes + length, proto, from[3], to[3], ttl)
  else writeIpv6(view, at, length, proto, from[0], from[1], from[2], from[3], to[0], to[1], to[2], to[3], ttl)
  const behind = at + ipBytes
  const field = writeTransportHeader(view, behind, out)
  view.setUint16(behind + field, pseudoSumOf(out))
  const row = tx.count
  tx.flags[row] = CSUM_PARTIAL
  tx.csumStart[row] = ipBytes
  tx.csumOffset[row] = field
  if (out.count > 1) {
    tx.gsoType[row] = GSO_UDP
    tx.gsoSize[row] = out.size
  }
  finish(tx, behind + TRANSPORT_HEADER, ipBytes + TRANSPORT_HEADER, payload, start, total, out.owner)
}

function emitWhole(tx: PacketBatch, packet: Bytes): void {
  const at = tx.beginRow()
  const head = Math.min(packet.length, WHOLE_HEAD)
  copyTo(tx.slab.bytes, at, packet, 0, head)
  finish(tx, at + head, head, packet, head, packet.length - head, null)
}

/** Puts bytes[start, start + length) behind the `headers` bytes that end at `at`: copied if they are few, else from where they lie. */
function finish(tx: PacketBatch, at: number, headers: number, bytes: Bytes, start: number, length: number, owner: Owner | null): void {
  if (length <= INLINE) {
    copyTo(tx.slab.bytes, at, bytes, start, start + length)
    tx.finishRow(headers + length)
  } else {
    tx.addPiece(bytes, start, length, owner)
    tx.finishRow(headers)
  }
}
