// Owns: a NIC in memory that behaves as @tun/device does: gathers rows into packets, completes checksums, cuts GSO rows, judges
// checksums of what it hands up, and fails on demand. Its offload work is done by the naive models in oracle.ts and segmentation.ts.

import type { Device } from '../device.js'
import {
  BLOCKED,
  CSUM_BAD,
  CSUM_GOOD,
  CSUM_PARTIAL,
  DOWN,
  EOF,
  FAILED,
  GONE,
  GSO_NONE,
  OK,
  type PacketBatch,
} from '../memory/packet-batch.js'
import type { Bytes } from '../memory/slab.js'
import type { Deliver, Link } from './link.js'
import { completeChecksum, transportChecksumOk } from './oracle.js'
import { type Offload, segment } from './segmentation.js'

export interface MemoryDeviceOptions {
  /** Default `mem0`. */
  name?: string
  /** Default 1500. */
  mtu?: number
  /** Takes GSO rows. Default true. */
  offload?: boolean
  /** GSO rows leave as packets (true, default) or whole, with their fields. */
  splitGso?: boolean
  /** Injected packets that may wait to be read; more are dropped and counted. Default 1,000, a TUN's txqueuelen. */
  queuePackets?: number
  /** Judge transport checksums of injected packets as the native device does (CSUM_GOOD, CSUM_BAD). Default true. */
  verify?: boolean
}

export const MEMORY_DEVICE_DEFAULTS = {
  name: 'mem0',
  mtu: 1500,
  offload: true,
  splitGso: true,
  queuePackets: 1000,
  verify: true,
} satisfies Required<MemoryDeviceOptions>

export interface MemoryDeviceCounters {
  /** Rows written by the stack, and packets they left as. */
  rowsWritten: number
  packetsOut: number
  /** Packets that left longer than the MTU: a bug of the writer. They are delivered all the same. */
  oversized: number
  /** Rows lost because the NIC was down. */
  dropped: number
  injected: number
  overflowed: number
  rowsRead: number
}

interface Waiting {
  packet: Bytes
  offload: Offload
}

export class MemoryDevice implements Device {
  readonly name: string
  mtu: number
  readonly offload: boolean
  readonly counters: MemoryDeviceCounters = {
    rowsWritten: 0,
    packetsOut: 0,
    oversized: 0,
    dropped: 0,
    injected: 0,
    overflowed: 0,
    rowsRead: 0,
  }
  /** Packets the stack wrote come out here, one call each; they are yours. */
  ondeliver: Deliver = () => {}
  /** Readable goes through it; the default calls at once, from within `inject`. A test may give `fn => clock.after(0, fn)`. */
  notify: (fn: () => void) => void = fn => fn()
  /** Writable goes through it, never at once: the write that ended BLOCKED has to return first. In tests `fn => clock.after(0, fn)`. */
  later: (fn: () => void) => void = fn => queueMicrotask(fn)
  closed = false
  private readonly splitGso: boolean
  private readonly queuePackets: number
  private readonly verify: boolean
  private readonly queue: Waiting[] = []
  private readable: (() => void) | null = null
  private writable: (() => void) | null = null
  private paused = false
  private notifying = false
  private state = OK
  private errno = 0
  private blockedWrites = 0
  private wantsWritable = false

  constructor(options: MemoryDeviceOptions = {}) {
    const all = { ...MEMORY_DEVICE_DEFAULTS, ...options }
    this.name = all.name
    this.mtu = all.mtu
    this.offload = all.offload
    this.splitGso = all.splitGso
    this.queuePackets = all.queuePackets
    this.verify = all.verify
  }

  /** Packets waiting to be read. */
  get waiting(): number {
    return this.queue.length
  }

  // ---- what the engine sees

  read(rx: PacketBatch): number {
    let rows = 0
    rx.status = OK
    if (this.state === DOWN || this.state === GONE || this.state === FAILED) {
      rx.status = this.state
      rx.errno = this.errno
      return 0
    }
    while (rx.count < rx.capacity) {
      const next = this.queue[0]
      if (next === undefined) {
        rx.status = this.state === EOF ? EOF : BLOCKED
        break
      }
      // A packet that no empty slab could hold would wait for ever: it leaves the queue as an overflow.
      if (next.packet.length > rx.slab.bytes.length) {
        this.queue.shift()
        this.counters.overflowed++
        continue
      }
      if (rx.used + next.packet.length > rx.slab.bytes.length) break
      this.queue.shift()
      rx.slab.bytes.set(next.packet, rx.used)
      const row = rx.count++
      rx.start[row] = rx.used
      rx.length[row] = next.packet.length
      rx.flags[row] = next.offload.flags
      rx.gsoType[row] = next.offload.gsoType
      rx.gsoSize[row] = next.offload.gsoSize
      rx.csumStart[row] = next.offload.csumStart
      rx.csumOffset[row] = next.offload.csumOffset
      rx.pieceCount[row] = 0
      rx.used += next.packet.length
      rows++
    }
    this.counters.rowsRead += rows
    return rows
  }

  write(tx: PacketBatch): number {
    tx.status = OK
    if (this.state === GONE || this.state === EOF || this.state === FAILED) {
      tx.status = this.state
      tx.errno = this.errno
      return 0
    }
    if (this.state === DOWN) {
      const rows = tx.count - tx.first
      this.counters.dropped += rows
      tx.first = tx.count
      tx.status = DOWN
      return rows
    }
    if (this.blockedWrites > 0) {
      tx.status = BLOCKED
      this.wantsWritable = true
      if (Number.isFinite(this.blockedWrites--)) this.later(() => this.signalWritable())
      return 0
    }
    let rows = 0
    // `first` moves before a row is delivered: what is delivered may come back to this very batch.
    while (tx.first < tx.count) {
      const row = tx.first++
      rows++
      this.counters.rowsWritten++
      this.writeRow(tx, row)
    }
    return rows
  }

  onReadable(fn: () => void): void {
    this.readable = fn
  }

  onWritable(fn: () => void): void {
    this.writable = fn
  }

  ref(): void {}
  unref(): void {}

  close(): void {
    this.closed = true
    this.state = GONE
    this.queue.length = 0
    this.readable = null
    this.writable = null
  }

  // ---- the wire's side

  /**
   * A packet (taken over, not copied) for the stack to read; false if the queue was full. Without `flags` its checksum is judged
   * when it is injected; with them they are passed on as they are. `gso` is for whole GSO packets.
   */
  inject(packet: Bytes, flags = 0, gso: Omit<Offload, 'flags'> | null = null): boolean {
    if (this.closed || this.queue.length >= this.queuePackets) {
      this.counters.overflowed++
      return false
    }
    let judged = flags
    if (flags === 0 && gso === null && this.verify) {
      const ok = transportChecksumOk(packet)
      if (ok !== undefined) judged = ok ? CSUM_GOOD : CSUM_BAD
    }
    const fields = gso ?? { gsoType: GSO_NONE, gsoSize: 0, csumStart: 0, csumOffset: 0 }
    this.queue.push({ packet, offload: { ...fields, flags: judged } })
    this.counters.injected++
    this.signalReadable()
    return true
  }

  /** No `onReadable` calls until `resume`. */
  pause(): void {
    this.paused = true
  }

  resume(): void {
    this.paused = false
    this.signalReadable()
  }

  // ---- failures

  /** The next `calls` writes end BLOCKED, each followed by the writable callback; with Infinity it comes only at `unblock`. */
  blockWrites(calls = Infinity): void {
    this.blockedWrites = calls
  }

  /** Writes work again; the writable callback is called if a write was blocked. */
  unblock(): void {
    this.blockedWrites = 0
    this.signalWritable()
  }

  /** DOWN, GONE, EOF or FAILED (with an errno) from now on, or OK again. Signals readable, as a poll on the descriptor would. */
  setState(state: number, errno = 0): void {
    this.state = state
    this.errno = errno
    if (state === OK) this.signalReadable()
    else this.notify(() => this.callReadable())
  }

  private writeRow(tx: PacketBatch, row: number): void {
    const packet = gather(tx, row)
    const offload: Offload = {
      flags: tx.flags[row],
      gsoType: tx.gsoType[row],
      gsoSize: tx.gsoSize[row],
      csumStart: tx.csumStart[row],
      csumOffset: tx.csumOffset[row],
    }
    if (offload.gsoType === GSO_NONE) {
      if (offload.flags & CSUM_PARTIAL) completeChecksum(packet, offload.csumStart, offload.csumOffset)
      this.emit(packet)
      return
    }
    if (!this.offload) throw new Error(`${this.name}: a GSO row was written to a device without offload`)
    if (!(offload.flags & CSUM_PARTIAL)) throw new Error(`${this.name}: a GSO row must be CSUM_PARTIAL (virtio 1.2 §5.1.6.2)`)
    const segments = segment(packet, offload)
    if (this.splitGso) {
      for (const piece of segments) this.emit(piece)
      return
    }
    this.counters.packetsOut++
    if (segments.length > 0 && segments[0].length > this.mtu) this.counters.oversized++
    this.ondeliver(packet, offload)
  }

  private emit(packet: Bytes): void {
    this.counters.packetsOut++
    if (packet.length > this.mtu) this.counters.oversized++
    this.ondeliver(packet, null)
  }

  /** Level-triggered, as a poll is: again while the callback reads and something is left. Never nested. */
  private signalReadable(): void {
    if (this.notifying || this.paused || this.queue.length === 0 || this.readable === null) return
    this.notifying = true
    this.notify(() => {
      try {
        let before: number
        do {
          before = this.counters.rowsRead
          this.callReadable()
        } while (this.counters.rowsRead !== before && this.queue.length > 0 && !this.paused)
      } finally {
        this.notifying = false
      }
    })
  }

  private callReadable(): void {
    if (!this.paused) this.readable?.()
  }

  private signalWritable(): void {
    if (!this.wantsWritable) return
    this.wantsWritable = false
    this.writable?.()
  }
}

/** The whole packet of a row to send: its headers and its pieces. */
export function gather(tx: PacketBatch, row: number): Bytes {
  const packet = new Uint8Array(tx.packetLength(row))
  const start = tx.start[row]
  packet.set(tx.slab.bytes.subarray(start, start + tx.length[row]))
  let at = tx.length[row]
  for (let i = tx.pieceAt[row], end = i + tx.pieceCount[row]; i < end; i++) {
    packet.set(tx.pieces[i].subarray(tx.pieceStart[i], tx.pieceStart[i] + tx.pieceLength[i]), at)
    at += tx.pieceLength[i]
  }
  return packet
}

/** A wire in both directions: what either device sends goes through its link (or at once, without one) into the other. */
export function connectDevices(a: MemoryDevice, b: MemoryDevice, linkAtoB: Link | null = null, linkBtoA: Link | null = null): void {
  join(a, b, linkAtoB)
  join(b, a, linkBtoA)
}

function join(from: MemoryDevice, to: MemoryDevice, link: Link | null): void {
  const arrive: Deliver = (packet, offload) => {
    if (offload === null) to.inject(packet)
    else to.inject(packet, offload.flags, offload)
  }
  if (link === null) {
    from.ondeliver = arrive
    return
  }
  link.deliver = arrive
  from.ondeliver = (packet, offload) => link.send(packet, offload)
}
