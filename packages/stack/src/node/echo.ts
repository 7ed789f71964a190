// Owns: TunEcho, a ping as the application of this library sees it: an ICMP echo request that waits for somebody to answer for its target.

import { Buffer } from 'node:buffer'
import type { Echo } from '../icmp.js'
import type { End } from '../ip/fragments.js'
import type { Stack } from '../stack.js'
import { formatAddress } from '../wire/address.js'
import type { Unreachable } from '../wire/icmp.js'
import type { Driver } from './driver.js'
import { type PathReport, pathErrorOf, reportOf } from './path-report.js'

/** What an echo may be told: as for a connection. */
export type EchoRefusal = 'host-unreachable' | 'net-unreachable' | 'prohibited'

const REFUSALS = {
  'host-unreachable': 'host',
  'net-unreachable': 'net',
  prohibited: 'prohibited',
} satisfies Record<EchoRefusal, Unreachable>

/** errno names of a failed probe → what the application is told; any other is silence, as from a host that does not answer. */
const BY_CODE: Record<string, EchoRefusal | undefined> = {
  EHOSTUNREACH: 'host-unreachable',
  EHOSTDOWN: 'host-unreachable',
  ENOTFOUND: 'host-unreachable',
  ENETUNREACH: 'net-unreachable',
  ENETDOWN: 'net-unreachable',
  EACCES: 'prohibited',
  EPERM: 'prohibited',
  // This process may not ping, or cannot.
  ERR_TUN_PERMISSION: 'prohibited',
  ERR_TUN_UNSUPPORTED_PLATFORM: 'prohibited',
  ERR_TUN_NATIVE_UNAVAILABLE: 'prohibited',
}

interface Host {
  address: string
  family: 4 | 6
  /** The name behind the address, which is fake unless `real` is set: see Destination. */
  host?: string
  real?: true
}

/** True or the payload that came back, perhaps with the hop limit it came with, if the target answered; false if it did not. */
export type EchoAnswer = boolean | Uint8Array | { payload: Uint8Array; ttl: number }

/** Asks the target on the application's behalf. What it throws may bring a `report` of the path with it (`PathReport`), or a `code`. */
export type EchoCarrier = (echo: TunEcho) => EchoAnswer | Promise<EchoAnswer>

export class TunEcho {
  readonly source: Host
  readonly destination: Host
  readonly id: number
  readonly sequence: number
  /** The hop limit it came with. */
  readonly ttl: number
  /** Yours to keep. */
  readonly payload: Buffer
  /** Aborts when the inbound closes: nobody waits for an answer any more. */
  readonly signal: AbortSignal
  /** It was answered, refused or ignored, or what it was forwarded to has come back. */
  decided = false
  private forwarding = false
  private readonly stack: Stack
  private readonly driver: Driver
  private readonly v4: boolean
  private readonly from: End
  private readonly to: End
  private readonly word: number

  constructor(e: Echo, stack: Stack, driver: Driver, signal: AbortSignal) {
    this.stack = stack
    this.driver = driver
    this.signal = signal
    this.v4 = e.v4
    this.from = [e.s0, e.s1, e.s2, e.s3, 0]
    this.to = [e.d0, e.d1, e.d2, e.d3, 0]
    this.word = e.word
    this.source = { address: formatAddress(e.s0, e.s1, e.s2, e.s3), family: e.v4 ? 4 : 6 }
    this.destination = { address: formatAddress(e.d0, e.d1, e.d2, e.d3), family: e.v4 ? 4 : 6 }
    this.id = e.word >>> 16
    this.sequence = e.word & 0xffff
    this.ttl = e.ttl
    this.payload = Buffer.allocUnsafe(e.end - e.start)
    if (e.slab !== null) this.payload.set(e.slab.bytes.subarray(e.start, e.end))
  }

  /**
   * Answers in the target's name, by default with what was sent; `ttl` is the answer's hop limit. False: not sent, too much waits, or it
   * was decided before. @throws RangeError ERR_TUN_DATAGRAM_SIZE
   */
  reply(payload: Uint8Array = this.payload, ttl = DEFAULT_TTL): boolean {
    if (!this.decide()) return false
    if (payload.length > MAX_PAYLOAD)
      throw Object.assign(new RangeError(`an echo holds ${MAX_PAYLOAD} bytes, not ${payload.length}`), { code: 'ERR_TUN_DATAGRAM_SIZE' })
    const sent = this.stack.icmp.reply(this.v4, this.to, this.from, this.word, new Uint8Array(payload), hopLimit(ttl))
    this.driver.wake()
    return sent
  }

  /** Tells the application that there is no way to the target. */
  unreachable(why: EchoRefusal = 'host-unreachable'): void {
    if (!this.decide()) return
    const { v4, from, to, word, payload } = this
    this.stack.icmp.echoUnreachable(REFUSALS[why], v4, from, to, word, payload.length, this.driver.now())
    this.driver.wake()
  }

  /** Tells the application what the path told of its ping, in the name of who did. */
  report(report: PathReport): void {
    if (!this.decide()) return
    const { v4, from, to, word, payload } = this
    this.stack.icmp.echoFromPath(pathErrorOf(report, v4), v4, from, to, word, payload, this.driver.now())
    this.driver.wake()
  }

  /** Silence, as from a host that is not there. */
  ignore(): void {
    this.decide()
  }

  /**
   * Lets `carry` ask the target, and passes on what it finds: an answer, silence, what the path reported, or by the `code` of what it
   * throws that there is no way. Resolves when the application was told, with what was thrown, for a log; never rejects.
   */
  async forward(carry: EchoCarrier): Promise<unknown> {
    if (this.decided || this.forwarding) return undefined
    this.forwarding = true
    try {
      const answer = await carry(this)
      this.forwarding = false
      if (answer === false) this.ignore()
      else if (answer === true) this.reply()
      else if (answer instanceof Uint8Array) this.reply(answer)
      else this.reply(answer.payload, answer.ttl)
      return undefined
    } catch (error) {
      this.forwarding = false
      const report = reportOf(error)
      const why = BY_CODE[(error as NodeJS.ErrnoException | null)?.code ?? '']
      if (report !== undefined) this.report(report)
      else if (why === undefined) this.ignore()
      else this.unreachable(why)
      return error
    }
  }

  private decide(): boolean {
    if (this.decided || this.forwarding) return false
    this.decided = true
    return true
  }
}

/** Of everything that leaves. */
const DEFAULT_TTL = 64
const hopLimit = (ttl: number): number => (ttl >= 1 && ttl <= 255 ? ttl | 0 : DEFAULT_TTL)

/** RFC 791: 65,535 − 20 − 8; the same bound for IPv6. */
const MAX_PAYLOAD = 65_507
