// Owns: the UDP socket as outbounds use it: what may be asked of it, and which implementation a machine gets:
// UdpBatchSocket where the addon has it (Linux), node:dgram elsewhere. Read udp(7) for what a send may answer.

import type { Buffer } from 'node:buffer'
import { hasUdpSockets } from '@tun/native'
import type { Owner, PathReport } from '@tun/stack'
import { UdpBatchSocket } from './udp-batch-socket.js'
import { UdpDgramSocket } from './udp-dgram-socket.js'
import type { UdpPeer } from './udp-peer.js'

export interface UdpSocketOptions {
  /** A socket is of one family; those of IPv6 are IPV6_V6ONLY, so that source binding, limits and errors are of one protocol. */
  family: 4 | 6
  /** Source address. Default: the kernel chooses one for each datagram. */
  localAddress?: string
  localPort?: number
  /** Connects there: sends go there alone, and only what comes from there is received (connect(2)). */
  peer?: { address: string; port: number }
  /** Only through this NIC (SO_BINDTODEVICE). Linux. */
  device?: string
  /** SO_MARK of what is sent, for `ip rule` and nftables; needs CAP_NET_ADMIN. Linux. */
  mark?: number
  /** Bytes the kernel may queue (SO_RCVBUF, SO_SNDBUF): asked for; without CAP_NET_ADMIN its own bounds hold. */
  receiveBuffer?: number
  sendBuffer?: number
  /**
   * Bytes that wait here while the kernel's queue is full; beyond them `send` answers false. Default 1 MiB; a datagram counts for 256 at
   * least.
   */
  maxQueued?: number
  /** Several datagrams at once from and to the kernel where it can (UDP_GRO, UDP_SEGMENT). Default true. */
  offload?: boolean
}

/** What a socket tells. Handlers may close it. */
export interface UdpHandlers<Peer extends UdpPeer = UdpPeer> {
  /** A datagram: `bytes` from `start` to `end`, lent until this returns. `from` may be kept. */
  datagram(bytes: Buffer, start: number, end: number, from: UdpPeer): void
  /** The kernel would not send this datagram: `code` is an errno, e.g. ENETUNREACH, EMSGSIZE, EPERM (a firewall). `ttl` as in `send`. */
  refused?(code: string, payload: Uint8Array, peer: Peer | null, ttl?: number): void
  /**
   * ICMP came back for a datagram to `peer`, of whose payload it quotes `quoted`, lent until this returns. `code` is the errno that stands
   * for the report: ECONNREFUSED is a closed port, EHOSTUNREACH also a hop limit that ended on the way. Not by node:dgram.
   */
  unreachable?(code: string, peer: UdpPeer, report: PathReport, quoted: Buffer): void
  /** It is of no use any more and was closed. node:dgram tells ECONNREFUSED of a connected socket this way. */
  error(error: Error): void
}

export interface UdpSocket<Peer extends UdpPeer = UdpPeer> {
  readonly family: 4 | 6
  /** Bytes taken and not sent yet, as `maxQueued` counts them. */
  readonly queued: number
  /**
   * Takes a datagram, `header` and `payload` one after the other; neither may change before it is sent, at the latest after this turn
   * unless the kernel's queue is full. `peer` null: where it is connected to. `ttl`: its hop limit, 0 the kernel's own; node:dgram has
   * that only. False: dropped, because the queue is full, it is closed, or the datagram is longer than any can be.
   */
  send(payload: Uint8Array, peer: Peer | null, header?: Uint8Array | null, ttl?: number): boolean
  /**
   * The same for bytes[start, end), which `owner` lends: it is retained until they are sent or copied; without one they must stay as they
   * are. If `segment` is not 0 they are a train, datagrams of that many bytes each, of which the last may be shorter; each gets the header.
   * False: not all were taken.
   */
  sendLent(
    owner: Owner | null,
    bytes: Uint8Array,
    start: number,
    end: number,
    segment: number,
    peer: Peer | null,
    header?: Uint8Array | null,
    ttl?: number,
  ): boolean
  /** Where it is bound; a socket that has neither sent nor been bound has port 0. Undefined when closed. */
  address(): { address: string; port: number } | undefined
  ref(): void
  unref(): void
  /** Idempotent; what was not sent is dropped. */
  close(): void
}

/** A batch socket where there is one, else node:dgram. Throws a system error: `code` EADDRNOTAVAIL, EADDRINUSE, EMFILE, EPERM… */
export function openUdp<Peer extends UdpPeer>(options: UdpSocketOptions, handlers: UdpHandlers<Peer>): UdpSocket<Peer> {
  return hasUdpSockets() ? new UdpBatchSocket(options, handlers) : new UdpDgramSocket(options, handlers)
}
