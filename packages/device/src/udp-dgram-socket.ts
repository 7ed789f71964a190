// Owns: UdpDgramSocket, the same socket over node:dgram, for machines without batches. What it cannot do: a NIC, a mark, a hop limit of
// one datagram, and to say which destination of an unconnected socket ICMP was about.

import { createSocket, type Socket } from 'node:dgram'
import type { Owner } from '@tun/stack'
import { UdpPeer } from './udp-peer.js'
import type { UdpHandlers, UdpSocket, UdpSocketOptions } from './udp-socket.js'

const MAX_QUEUED = 1 << 20 // bytes
const LEAST_COST = 256
const LARGEST = { 4: 65_507, 6: 65_527 } as const

export class UdpDgramSocket<Peer extends UdpPeer = UdpPeer> implements UdpSocket<Peer> {
  readonly family: 4 | 6
  private readonly socket: Socket
  private readonly handlers: UdpHandlers<Peer>
  private readonly maxQueued: number
  private isClosed = false
  private source = new UdpPeer(0, 0, 0, 0, 0)
  private sourceText = ''
  /** The kernel took a datagram for this peer. Only where that is not known the outcome of a send is asked for, which costs. */
  private reached: Peer | null | undefined

  /** Throws a system error, `code` an errno; what connect(2) says comes as `error`. */
  constructor(options: UdpSocketOptions, handlers: UdpHandlers<Peer>) {
    const { family, localAddress, localPort = 0, peer, receiveBuffer, sendBuffer } = options
    if (options.device !== undefined || options.mark !== undefined) {
      const message = `a NIC or a mark for UDP sockets is not supported on ${process.platform}; bind to the address of the NIC`
      throw Object.assign(new Error(message), { code: 'ERR_TUN_UNSUPPORTED_PLATFORM' })
    }
    this.family = family
    this.handlers = handlers
    this.maxQueued = options.maxQueued ?? MAX_QUEUED
    this.socket = createSocket({
      type: family === 6 ? 'udp6' : 'udp4',
      ipv6Only: family === 6,
      recvBufferSize: receiveBuffer,
      sendBufferSize: sendBuffer,
      // Addresses only: an answer in the same turn means that it is bound and a datagram is sent in the same turn.
      lookup: (address, _options, done) => done(null, address, family),
    })
    let failure: Error | undefined
    this.socket.on('error', error => {
      if (this.isClosed) return
      this.close()
      if (isOpen) this.handlers.error(error)
      else failure = error
    })
    let isOpen = false
    this.socket.on('message', (bytes, { address, port }) => {
      if (!this.isClosed) this.handlers.datagram(bytes, 0, bytes.length, this.peerOf(address, port))
    })
    this.socket.bind(localPort, localAddress ?? (family === 6 ? '::' : '0.0.0.0'))
    if (failure) throw failure
    if (peer) this.socket.connect(peer.port, peer.address)
    isOpen = true
  }

  get queued(): number {
    return this.isClosed ? 0 : this.socket.getSendQueueSize()
  }

  send(payload: Uint8Array, peer: Peer | null, header: Uint8Array | null = null): boolean {
    const bytes = payload.length + (header === null ? 0 : header.length)
    if (this.isClosed || bytes > LARGEST[this.family] || this.queued + Math.max(bytes, LEAST_COST) > this.maxQueued) return false
    const parts = header === null ? [payload] : [header, payload]
    const done = this.handlers.refused === undefined || peer === this.reached ? undefined : this.outcome(payload, peer)
    try {
      if (peer === null) this.socket.send(parts, done)
      else this.socket.send(parts, peer.port, peer.address, done)
    } catch {
      return false // port 0, not connected
    }
    return true
  }

  sendLent(
    _owner: Owner | null,
    bytes: Uint8Array,
    start: number,
    end: number,
    segment: number,
    peer: Peer | null,
    header: Uint8Array | null = null,
  ): boolean {
    const step = segment > 0 ? segment : Math.max(1, end - start)
    let taken = true
    let at = start
    do {
      taken = this.send(Uint8Array.prototype.slice.call(bytes, at, Math.min(at + step, end)), peer, header) && taken
      at += step
    } while (at < end)
    return taken
  }

  address(): { address: string; port: number } | undefined {
    return this.isClosed ? undefined : this.socket.address()
  }

  ref(): void {
    this.socket.ref()
  }

  unref(): void {
    this.socket.unref()
  }

  close(): void {
    if (this.isClosed) return
    this.isClosed = true
    this.socket.close()
  }

  private outcome(payload: Uint8Array, peer: Peer | null): (error: Error | null) => void {
    return error => {
      if (error === null) this.reached = peer
      else if (!this.isClosed) this.handlers.refused?.((error as NodeJS.ErrnoException).code ?? '', payload, peer)
    }
  }

  private peerOf(address: string, port: number): UdpPeer {
    if (this.source.port === port && this.sourceText === address) return this.source
    this.sourceText = address
    this.source = UdpPeer.parse(address, port) ?? new UdpPeer(0, 0, 0, 0, port)
    return this.source
  }
}
