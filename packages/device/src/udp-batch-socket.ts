// Owns: UdpBatchSocket: what was sent in a turn goes to the kernel in one call after it (sendmmsg, trains by UDP_SEGMENT), and one call
// takes what has come (recvmmsg, trains by UDP_GRO). An open socket that is idle holds no buffer. Read udp(7); native/src/udp_linux.cc.

import { getSystemErrorName } from 'node:util'
import { type NativeError, openUdpSockets, type UdpSockets } from '@tun/native'
import { BLOCKED, formatAddress, OK, type Owner } from '@tun/stack'
import { type DatagramBatch, RECEIVE_STRIDE, receiveBatch, sendBatch } from './datagram-batch.js'
import { SocketPoller } from './socket-poller.js'
import { UdpPeer } from './udp-peer.js'
import { type Queued, takeQueued } from './udp-queue.js'
import type { UdpHandlers, UdpSocket, UdpSocketOptions } from './udp-socket.js'

const READABLE = 1
const WRITABLE = 2
const REPORTS = 8
/** Calls of one wake-up: the other sockets wait meanwhile. */
const MAX_ROUNDS = 8
const MAX_QUEUED = 1 << 20 // bytes
/** What a datagram in the queue costs besides its bytes, at the least. */
const LEAST_COST = 256
/** Bytes of payload: 65,535 less the UDP header, and IPv4's. */
const LARGEST = { 4: 65_507, 6: 65_527 } as const
const NOBODY = new UdpPeer(0, 0, 0, 0, 0)
const NO_PEER = { address: undefined, port: undefined }

export class UdpBatchSocket<Peer extends UdpPeer = UdpPeer> implements UdpSocket<Peer> {
  readonly family: 4 | 6
  queued = 0
  private readonly poller: SocketPoller<UdpSockets>
  private readonly native: UdpSockets
  private readonly slot: number
  private readonly handlers: UdpHandlers<Peer>
  private readonly maxQueued: number
  /** What waits, from `head` on. */
  private readonly queue: Queued<Peer>[] = []
  private head = 0
  /** Datagrams in there. */
  private count = 0
  private isScheduled = false
  private isFlushing = false
  /** The kernel's queue is full: wait for writable. */
  private isBlocked = false
  private isClosed = false
  private isRef = true
  /** Of the last datagram received. */
  private source = NOBODY

  /** Throws a system error, `code` an errno. */
  constructor(options: UdpSocketOptions, handlers: UdpHandlers<Peer>) {
    this.family = options.family
    this.handlers = handlers
    this.maxQueued = options.maxQueued ?? MAX_QUEUED
    try {
      this.poller = poller()
      this.native = this.poller.native
      this.slot = open(this.native, options)
    } catch (cause) {
      throw openError(cause as NativeError, options)
    }
    this.poller.add(this.slot, this)
  }

  send(payload: Uint8Array, peer: Peer | null, header: Uint8Array | null = null, ttl = 0): boolean {
    return this.sendLent(null, payload, 0, payload.length, 0, peer, header, ttl)
  }

  sendLent(
    owner: Owner | null,
    bytes: Uint8Array,
    start: number,
    end: number,
    segment: number,
    peer: Peer | null,
    header: Uint8Array | null = null,
    ttl = 0,
  ): boolean {
    const isTrain = segment > 0 && segment < end - start
    const length = (isTrain ? segment : end - start) + (header === null ? 0 : header.length)
    const cost = Math.max(length, LEAST_COST) // the last of a train may be shorter: it is charged like the others
    const count = isTrain ? Math.ceil((end - start) / segment) : 1
    const taken = Math.min(count, Math.floor((this.maxQueued - this.queued) / cost))
    if (this.isClosed || length > LARGEST[this.family] || taken <= 0) return false
    this.queued += taken * cost
    this.count += taken
    const last = taken < count ? start + taken * segment : end
    const queued = takeQueued<Peer>(bytes, start, last, isTrain ? segment : 0, peer, header, cost, ttl)
    this.queue.push(queued)
    if (owner !== null && this.isBlocked) queued.copy()
    else if (owner !== null) {
      owner.retain()
      queued.owner = owner
    }
    if (this.isBlocked || this.isFlushing) return taken === count
    if (this.count >= sendBatch().capacity) this.flush()
    else this.schedule()
    return taken === count
  }

  private schedule(): void {
    if (this.isScheduled) return
    this.isScheduled = true
    flushLater(this)
  }

  address(): { address: string; port: number } | undefined {
    const at = this.isClosed ? undefined : this.native.address(this.slot)
    return at && { address: at[0], port: at[1] }
  }

  ref(): void {
    this.setRef(true)
  }

  unref(): void {
    this.setRef(false)
  }

  private setRef(isRef: boolean): void {
    if (isRef === this.isRef || this.isClosed) return
    this.isRef = isRef
    this.poller.count(isRef ? 1 : -1)
  }

  close(): void {
    if (this.isClosed) return
    this.isClosed = true
    this.native.closeSocket(this.slot)
    this.poller.remove(this.slot, this.isRef)
    this.clear()
  }

  /** Sends what is queued now, without waiting for the end of the turn. */
  flush(): void {
    this.isScheduled = false
    if (this.isFlushing) return
    this.isFlushing = true
    try {
      while (!this.isClosed && !this.isBlocked && this.head < this.queue.length) this.sendSome()
    } finally {
      this.isFlushing = false
      if (!this.isClosed && !this.isBlocked && this.head < this.queue.length) this.schedule() // a handler threw
    }
    if (!this.isBlocked) this.clear()
  }

  private sendSome(): void {
    const tx = sendBatch()
    const rows = this.fill(tx)
    const done = this.native.send(this.slot, tx.bytes, tx.table, tx.capacity, 0, rows)
    const { status, errno } = tx
    const refused = tx.refused === 0 || this.handlers.refused === undefined ? null : this.refusedRows(tx, done)
    this.shift(done)
    if (status === BLOCKED) this.block()
    if (status !== OK && status !== BLOCKED) return this.fail('sendmmsg', errno)
    // Last of all: these may send and close.
    if (refused) for (const [code, payload, peer, ttl] of refused) if (!this.isClosed) this.handlers.refused?.(code, payload, peer, ttl)
  }

  private fill(tx: DatagramBatch): number {
    const { bytes } = tx
    let used = 0
    let row = 0
    for (let i = this.head; i < this.queue.length && row < tx.capacity; i++) {
      const { payload, start, end, segment, header, peer, ttl } = this.queue[i]
      const headerLength = header === null ? 0 : header.length
      let at = start
      do {
        const to = segment === 0 ? end : Math.min(at + segment, end)
        const length = headerLength + to - at
        if (used + length > bytes.length || row === tx.capacity) return row
        tx.start[row] = used
        tx.length[row] = length
        tx.failure[row] = 0
        tx.ttl[row] = ttl
        for (let b = 0; b < headerLength; b++) bytes[used++] = (header as Uint8Array)[b]
        copyTo(bytes, used, payload, at, to)
        used += to - at
        tx.port[row] = peer === null ? 0 : peer.port
        if (peer !== null) {
          tx.w0[row] = peer.w0
          tx.w1[row] = peer.w1
          tx.w2[row] = peer.w2
          tx.w3[row] = peer.w3
        }
        at = to
        row++
      } while (at < end)
    }
    return row
  }

  /** Those of the first `done` rows that the kernel would not take. */
  private refusedRows(tx: DatagramBatch, done: number): [code: string, payload: Uint8Array, peer: Peer | null, ttl: number][] {
    const rows: [string, Uint8Array, Peer | null, number][] = []
    let row = 0
    for (let i = this.head; row < done; i++) {
      const queued = this.queue[i]
      for (let d = 0; d < queued.count && row < done; d++, row++) {
        if (tx.failure[row] !== 0) rows.push([getSystemErrorName(-tx.failure[row]), queued.datagram(d), queued.peer, queued.ttl])
      }
    }
    return rows
  }

  /** The first `done` datagrams are out, or were refused. */
  private shift(done: number): void {
    this.count -= done
    for (let left = done; left > 0; ) {
      const queued = this.queue[this.head]
      const gone = Math.min(left, queued.count)
      this.queued -= gone * queued.cost
      left -= gone
      if (queued.leave(gone)) this.head++
    }
  }

  /** What is sent already must not be held while the rest waits, nor what was lent. */
  private block(): void {
    this.isBlocked = true
    this.queue.splice(0, this.head)
    this.head = 0
    for (const queued of this.queue) if (queued.owner !== null) queued.copy()
    this.native.watchWritable(this.slot, true)
  }

  private clear(): void {
    for (; this.head < this.queue.length; this.head++) this.queue[this.head].leave(Infinity)
    this.queue.length = 0
    this.head = 0
    this.count = 0
    this.queued = 0
  }

  /** @internal */
  happened(events: number): void {
    if (events & WRITABLE && this.isBlocked) {
      this.isBlocked = false
      this.native.watchWritable(this.slot, false)
      this.flush()
    }
    if (events & REPORTS && !this.isClosed) this.tellReports()
    if (events & READABLE) this.receive()
  }

  private receive(): void {
    const rx = receiveBatch()
    for (let round = 0; round < MAX_ROUNDS && !this.isClosed; round++) {
      const rows = this.native.receive(this.slot, rx.bytes, RECEIVE_STRIDE, rx.table, rx.capacity)
      if (rows === 0) {
        if (rx.status !== OK && rx.status !== BLOCKED) this.fail('recvmmsg', rx.errno)
        return
      }
      for (let row = 0; row < rows && !this.isClosed; row++) if (rx.failure[row] === 0) this.deliver(rx, row)
      if (rows < rx.capacity) return
    }
  }

  private deliver(rx: DatagramBatch, row: number): void {
    const { bytes } = rx
    const from = this.peerOf(rx, row)
    const segment = rx.segment[row]
    let at = rx.start[row]
    const end = at + rx.length[row]
    if (segment === 0) return this.handlers.datagram(bytes, at, end, from)
    for (; at < end && !this.isClosed; at += segment) this.handlers.datagram(bytes, at, Math.min(at + segment, end), from)
  }

  private peerOf(rx: DatagramBatch, row: number): UdpPeer {
    const last = this.source
    const { w0, w1, w2, w3, port } = rx
    const same = last.w3 === w3[row] && last.port === port[row] && last.w2 === w2[row] && last.w1 === w1[row] && last.w0 === w0[row]
    if (!same) this.source = new UdpPeer(w0[row], w1[row], w2[row], w3[row], port[row])
    return this.source
  }

  private tellReports(): void {
    const rx: DatagramBatch = receiveBatch()
    const { bytes } = rx
    const rows = this.native.reports(this.slot, bytes, RECEIVE_STRIDE, rx.table, rx.capacity)
    if (this.handlers.unreachable === undefined) return
    for (let row = 0; row < rows && !this.isClosed; row++) {
      const peer = new UdpPeer(rx.w0[row], rx.w1[row], rx.w2[row], rx.w3[row], rx.port[row])
      const [b0, b1, b2, b3] = [rx.by0[row], rx.by1[row], rx.by2[row], rx.by3[row]]
      const from = (b0 | b1 | b2 | b3) === 0 ? '' : formatAddress(b0, b1, b2, b3)
      const kind = rx.segment[row]
      const report = { type: (kind >> 8) & 255, code: kind & 255, from, mtu: rx.ttl[row], ttl: kind >> 16 }
      const quoted = bytes.subarray(rx.start[row], rx.start[row] + rx.length[row])
      this.handlers.unreachable(getSystemErrorName(-rx.failure[row]), peer, report, quoted)
    }
  }

  private fail(syscall: string, errno: number): void {
    if (this.isClosed) return
    this.close()
    const code = getSystemErrorName(-errno)
    this.handlers.error(Object.assign(new Error(`${syscall} ${code}`), { code, errno: -errno, syscall }))
  }
}

/** One for each thread: modules are loaded once in each. */
let only: SocketPoller<UdpSockets> | undefined

function poller(): SocketPoller<UdpSockets> {
  only ??= new SocketPoller(openUdpSockets())
  return only
}

function open(native: UdpSockets, options: UdpSocketOptions): number {
  const { family, localAddress, localPort, peer, device, mark, receiveBuffer, sendBuffer, offload } = options
  const { address, port } = peer ?? NO_PEER
  return native.open(family, localAddress, localPort, address, port, device, mark, receiveBuffer, sendBuffer, offload)
}

/** Fewer bytes are copied faster one by one than by a call. */
const FEW = 96

function copyTo(target: Uint8Array, at: number, bytes: Uint8Array, start: number, end: number): void {
  if (end - start > FEW) target.set(start === 0 && end === bytes.length ? bytes : rangeOf(bytes, start, end), at)
  else for (let i = start, to = at; i < end; i++, to++) target[to] = bytes[i]
}

/** Not `subarray`, which for a Buffer asks for its species first. */
const rangeOf = (bytes: Uint8Array, start: number, end: number) => new Uint8Array(bytes.buffer, bytes.byteOffset + start, end - start)

/** Sockets that have something to send once the turn is over. */
let waiting: Flushing[] = []

interface Flushing {
  flush(): void
}

function flushLater(socket: Flushing): void {
  if (waiting.push(socket) === 1) process.nextTick(flushAll)
}

function flushAll(): void {
  const sockets = waiting
  waiting = []
  let i = 0
  try {
    while (i < sockets.length) sockets[i++].flush()
  } finally {
    for (; i < sockets.length; i++) flushLater(sockets[i]) // a handler threw
  }
}

function openError(cause: NativeError, options: UdpSocketOptions): Error {
  const { code, errno, syscall, detail } = cause
  if (typeof code !== 'string' || typeof errno !== 'number') return cause
  const { localAddress = '', localPort = 0, peer, device, mark } = options
  const what: Record<string, string> = {
    bind: `${localAddress}:${localPort}`,
    connect: `${peer?.address}:${peer?.port}`,
    device: `SO_BINDTODEVICE ${device}`,
    mark: `SO_MARK ${mark}: needs CAP_NET_ADMIN`,
  }
  const words = what[detail ?? syscall] ?? detail ?? ''
  return Object.assign(new Error(`${syscall} ${code} ${words}`.trim(), { cause }), { code, errno, syscall })
}
