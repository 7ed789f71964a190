// Owns: the contract between a Tun inbound and whatever carries its traffic on – a proxy protocol, a direct socket, a test.
// `direct()` and `socks5()` implement it; a proxy core implements it once per protocol. Errors speak errno because the
// application behind the TUN does: connect(2) lists what it can be told.

import { constants } from 'node:os'
import type { Duplex } from 'node:stream'
import type { Destination, EchoAnswer, Endpoint, PathReport } from '@tun/stack'

export type { Destination, EchoAnswer, Endpoint, PathReport }

/** What is known of a UDP flow when it asks for an outbound: flows are keyed by their source alone (RFC 4787 §4.1). */
export interface DatagramFlow {
  readonly source: Endpoint
  /** Tells the source of a datagram of `length` bytes that nobody can be reached at `to`. */
  reject?(to: Destination, length: number): void
  /**
   * Tells the source what a router on the way, or the destination, said of a datagram it sent `to`. `payload` is what is known of the
   * datagram's beginning, lent until this returns.
   */
  report?(to: Destination, report: PathReport, payload: Uint8Array): void
}

/** One socket for a whole flow: sends to any destination, receives from anybody. */
export interface DatagramOutbound {
  /**
   * Takes `payload`, which must not change any more, and sends it on. `ttl` is the hop limit it came with, 0 or none if that is not known:
   * an outbound that is a router goes on with one less. False: dropped, because a queue is full or it is closed.
   */
  send(payload: Uint8Array, to: Destination, ttl?: number): boolean
  /** `fn` gets every datagram that comes back, with its true source. One function; the payload is the callee's to keep. */
  onMessage(fn: (payload: Buffer, from: Endpoint) => void): void
  /** Resolves when it is over, with what ended it if that was an error. Never rejects. */
  readonly closed: Promise<Error | undefined>
  /** Idempotent. */
  close(): void
}

/** What an outbound needs to know of a ping; `TunEcho` is one. */
export interface Ping {
  /** Who asks. */
  readonly source: { readonly address: string }
  readonly destination: Omit<Destination, 'port'>
  /** Must not change any more. */
  readonly payload: Uint8Array
  /** The hop limit it came with: it goes on with one less. */
  readonly ttl: number
  /** Nobody waits for the answer any more. */
  readonly signal: AbortSignal
}

export interface Outbound {
  /**
   * Connects to `destination` and resolves to a connected stream. Rejects with an error whose `code` is an errno name – the
   * application gets that errno (see `TunSocket`) – or with `signal.reason` after an abort, which closes the attempt at once.
   *
   * Handover: the stream is not flowing and has no listeners; bytes that arrived early are in its buffer. The caller attaches its
   * listeners before it awaits anything else: a `net.Socket` tells its end and its errors once.
   */
  dial(destination: Destination, signal?: AbortSignal): Promise<Duplex>
  /** UDP. An outbound without it carries TCP only. */
  associate?(flow: DatagramFlow, signal?: AbortSignal): Promise<DatagramOutbound>
  /**
   * Pings: `echo.forward(outbound.ping)`. Resolves to the answer, or false after some time without one. Rejects with an error whose
   * `report` is what ICMP said (`PathReport`), or whose `code` is an errno name. An outbound without it carries none.
   */
  ping?(this: void, ping: Ping): Promise<EchoAnswer>
}

/**
 * Why a dial failed where the operating system has no error of its own. `code` is an errno name, `errno` its
 * negative number (that of ECONNABORTED for one of Node's own codes).
 */
export class DialError extends Error {
  override readonly name: string = 'DialError'
  readonly code: string
  readonly errno: number
  readonly syscall = 'connect'

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.errno = -(constants.errno[code as keyof typeof constants.errno] ?? constants.errno.ECONNABORTED)
  }
}

/** `host:port` for messages and logs; an IPv6 address gets its brackets. */
export function formatDestination(destination: Destination): string {
  const host = destination.host ?? destination.address
  return host.includes(':') ? `[${host}]:${destination.port}` : `${host}:${destination.port}`
}

/** The error of an aborted dial: what the one who aborted said. */
export function abortReason(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new DialError('ECANCELED', 'the dial was aborted', { cause: signal.reason })
}
