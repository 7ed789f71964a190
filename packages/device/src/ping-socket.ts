// Owns: PingSocket: ICMP echo requests out, answers and what the path said of them in. One socket of a family asks any number of hosts;
// who asked what is told apart by sequence numbers, the caller's. Read icmp(7); native/src/ping_linux.cc.

import { Buffer } from 'node:buffer'
import { getSystemErrorName } from 'node:util'
import { type NativeError, openPing as openNative, type Ping } from '@tun/native'
import { formatAddress, type PathReport } from '@tun/stack'
import { TunError } from './errors.js'
import { UdpPeer } from './udp-peer.js'

const READABLE = 1
const REPORTS = 8
/** Messages of one wake-up. */
const MAX_MESSAGES = 256
/** The largest packet: of raw sockets, with its IP header. */
const MAX_BYTES = 65_536

// Words of what receive() and report() fill, as PingResult of native/src/ping.h has them.
const LENGTH = 0
const SEQUENCE = 1
const TTL = 2
const PEER = 3
const KIND = 7
const BY = 9
const RESULT_WORDS = 13

export interface PingSocketOptions {
  /** A socket is of one family. */
  family: 4 | 6
  /** Source address. Default: the kernel chooses one for each ping. */
  localAddress?: string
  /** Only through this NIC (SO_BINDTODEVICE). */
  device?: string
  /** SO_MARK, for `ip rule` and nftables; needs CAP_NET_ADMIN. */
  mark?: number
}

/** What a socket tells. Handlers may close it. */
export interface PingHandlers {
  /** `from` answered. The payload is yours; `ttl` is the hop limit it came with, 0 if that is not known. */
  reply(sequence: number, from: string, payload: Buffer, ttl: number): void
  /** ICMP said so of the ping `to` somebody. */
  report(sequence: number, to: string, report: PathReport): void
}

export class PingSocket {
  readonly family: 4 | 6
  private readonly native: Ping
  private readonly handlers: PingHandlers
  private readonly result = new Int32Array(RESULT_WORDS)
  private readonly to = new Int32Array(4)
  private isClosed = false

  constructor(options: PingSocketOptions, handlers: PingHandlers) {
    const { family, localAddress, device, mark } = options
    this.family = family
    this.handlers = handlers
    try {
      this.native = openNative({ family, address: localAddress, device, mark })
    } catch (cause) {
      throw openError(cause as NativeError, options)
    }
    try {
      this.native.watch(READABLE, this.ready)
    } catch (cause) {
      this.native.close()
      throw openError(cause as NativeError, options)
    }
  }

  /** It is a raw socket, because ping sockets are not permitted to this user's groups. */
  get raw(): boolean {
    return this.native.raw
  }

  /**
   * Asks `address`; `ttl` 0 is the kernel's own hop limit. Answers undefined if it left, else an errno name: ENETUNREACH, EACCES,
   * EMSGSIZE, EAGAIN (the kernel's queue is full), EBADF (closed), EAFNOSUPPORT (the other family), EINVAL (no address).
   */
  send(address: string, sequence: number, ttl: number, payload: Uint8Array): string | undefined {
    if (this.isClosed) return 'EBADF'
    const words = UdpPeer.words(address)
    if (words === null) return 'EINVAL'
    this.to.set(words)
    const errno = this.native.send(this.to, sequence, ttl, payload)
    return errno === 0 ? undefined : getSystemErrorName(-errno)
  }

  ref(): void {
    this.native.ref()
  }

  unref(): void {
    this.native.unref()
  }

  /** Idempotent. */
  close(): void {
    if (this.isClosed) return
    this.isClosed = true
    this.native.close()
  }

  private readonly ready = (events: number): void => {
    const { native, result } = this
    buffer ??= Buffer.from(new ArrayBuffer(MAX_BYTES)) // whose pages exist when they are first used
    if (events & REPORTS) {
      for (let i = 0; i < MAX_MESSAGES && !this.isClosed && native.report(buffer, result); i++) {
        const kind = result[KIND]
        const report = { type: (kind >> 8) & 255, code: kind & 255, from: this.addressAt(BY), mtu: result[TTL], ttl: kind >> 16 }
        this.handlers.report(result[SEQUENCE], this.addressAt(PEER), report)
      }
    }
    for (let i = 0; i < MAX_MESSAGES && !this.isClosed && native.receive(buffer, result); i++) {
      const payload = Buffer.from(buffer.subarray(0, result[LENGTH]))
      this.handlers.reply(result[SEQUENCE], this.addressAt(PEER), payload, result[TTL])
    }
  }

  /** '' for no address. */
  private addressAt(at: number): string {
    const { result } = this
    const [w0, w1, w2, w3] = [result[at], result[at + 1], result[at + 2], result[at + 3]]
    return (w0 | w1 | w2 | w3) === 0 ? '' : formatAddress(w0, w1, w2, w3)
  }
}

/** What all ping sockets of a thread receive into, one after the other. */
let buffer: Buffer | undefined

/**
 * Opens a ping socket, or, where those are not permitted, a raw one. Linux. Throws TunError ERR_TUN_PERMISSION, whose hint names the
 * sysctl; ERR_TUN_UNSUPPORTED_PLATFORM; or a system error: EADDRNOTAVAIL, ENODEV, EMFILE…
 */
export function openPing(options: PingSocketOptions, handlers: PingHandlers): PingSocket {
  return new PingSocket(options, handlers)
}

function openError(cause: NativeError, { localAddress = '', device, mark }: PingSocketOptions): Error {
  const { code, errno, syscall, detail } = cause
  const details = { errno, syscall, cause }
  if (code === 'ERR_TUN_UNSUPPORTED_PLATFORM') {
    return new TunError('ERR_TUN_UNSUPPORTED_PLATFORM', `pings are not supported on ${process.platform}`, { ...details, hint: 'use Linux' })
  }
  if (typeof code !== 'string' || typeof errno !== 'number') return cause
  if (syscall === 'socket' && (code === 'EACCES' || code === 'EPERM')) {
    const hint = "permit ping sockets to all groups: sudo sysctl -w net.ipv4.ping_group_range='0 2147483647' (or give node CAP_NET_RAW)"
    return new TunError('ERR_TUN_PERMISSION', `this user may open no ping socket (${code})`, { ...details, hint })
  }
  const what: Record<string, string> = {
    bind: localAddress,
    device: `SO_BINDTODEVICE ${device}`,
    mark: `SO_MARK ${mark}: needs CAP_NET_ADMIN`,
  }
  const words = what[detail ?? syscall] ?? ''
  return Object.assign(new Error(`${syscall} ${code} ${words}`.trim(), { cause }), { code, errno, syscall })
}
