// Owns: the ICMP layer of one stack: echo requests (queued until the turn's drain), and which errors leave, and how many.
// Read first: RFC 1122 §3.2.2, RFC 1812 §4.3.2, RFC 4443 §2.4(e) (never to what must not be answered) and §2.4(f) (rate).

import type { End } from './ip/fragments.js'
import type { Output } from './ip/output.js'
import type { Bytes, Millis, Slab } from './memory/slab.js'
import type { StackOptions } from './options.js'
import type { Replies } from './replies.js'
import type { Stats } from './stats.js'
import { type AddressWords, isBroadcast, isMulticast, parseAddress } from './wire/address.js'
import {
  echoReplyWord,
  echoRequestWord,
  type Fault,
  faultWord,
  ICMP_HEADER,
  isIcmpError,
  isPathError,
  Offender,
  pathErrorWord,
  problemWords,
  quotationOf,
  type Unreachable,
  writeUnreachable,
} from './wire/icmp.js'
import { IPV4_HEADER, IPV6_HEADER, type IpPacket, PROTO_ICMP, PROTO_ICMPV6 } from './wire/ip.js'

/** Bytes of an error, the quotation included: RFC 1812 §4.3.2.3, RFC 4443 §2.4(c). */
const MOST4 = 576
const MOST6 = 1280
/** Echo requests one turn hands over at most. */
const MAX_ECHOES = 512

/** What the path said of a packet that went on from here. */
export interface PathError {
  /** Of ICMP, or ICMPv6 for a packet of IPv6. */
  readonly type: number
  readonly code: number
  /** Of "too big", else 0. */
  readonly mtu: number
  /** Who said so; null: the router that we are. */
  readonly by: AddressWords | null
  /** Hop limit it leaves with, if not as any other. */
  readonly ttl?: number
}

/** An echo request: valid during the drain that hands it over. */
export class Echo {
  v4 = true
  s0 = 0
  s1 = 0
  s2 = 0
  s3 = 0
  d0 = 0
  d1 = 0
  d2 = 0
  d3 = 0
  ttl = 0
  /** Identifier and sequence number. */
  word = 0
  /** Its payload: bytes[start, end), borrowed. */
  slab: Slab | null = null
  start = 0
  end = 0
}

export class Icmp {
  /** Who reports what a router would, and answers pings: nobody else has these addresses. */
  readonly gateway4: AddressWords
  readonly gateway6: AddressWords
  private readonly options: Required<StackOptions>
  private readonly replies: Replies
  private readonly output: Output
  private readonly stats: Stats
  private tokens: number
  private refilledAt: Millis = 0
  private readonly echoes: Echo[] = []
  private queued = 0
  private readonly offender = new Offender()

  /** @throws TypeError ERR_TUN_ADDRESS: a gateway is no address of its family */
  constructor(options: Required<StackOptions>, replies: Replies, output: Output, stats: Stats) {
    this.options = options
    this.replies = replies
    this.output = output
    this.stats = stats
    this.tokens = options.icmpErrorRate
    this.gateway4 = gatewayOf(options.gateway4, false)
    this.gateway6 = gatewayOf(options.gateway6, true)
  }

  /** Is it the address of the router that we are? */
  isGateway(w0: number, w1: number, w2: number, w3: number): boolean {
    const { gateway4: a, gateway6: b } = this
    return (w3 === a[3] && w2 === a[2] && w1 === a[1] && w0 === a[0]) || (w3 === b[3] && w2 === b[2] && w1 === b[1] && w0 === b[0])
  }

  /** Queues a destination-unreachable error about `offender`; over the rate it is dropped and counted. */
  unreachable(why: Unreachable, p: Offender, now: Millis): void {
    if (isGroup(p.d0, p.d1, p.d2, p.d3)) this.stats.icmpWithheld++
    else if (this.mayTell(now)) {
      const at = this.replies.room
      if (at < 0) this.stats.drops.replyOverflow++
      else {
        this.replies.add(writeUnreachable(this.replies.view, at, why, p))
        this.stats.icmpErrors++
      }
    }
  }

  /** The same about an echo request, whose words are `word`; `from` asked for `to`. */
  echoUnreachable(why: Unreachable, v4: boolean, from: End, to: End, word: number, length: number, now: Millis): void {
    this.unreachable(why, this.echoOffender(v4, from, to, word, length), now)
  }

  /** The error `report` of the path about an echo request that went on from here; see `fromPath`. */
  echoFromPath(report: PathError, v4: boolean, from: End, to: End, word: number, payload: Uint8Array, now: Millis): void {
    this.fromPath(report, this.echoOffender(v4, from, to, word, payload.length), payload, now)
  }

  private echoOffender(v4: boolean, from: End, to: End, word: number, length: number): Offender {
    const p = this.offender
    p.v4 = v4
    p.proto = v4 ? PROTO_ICMP : PROTO_ICMPV6
    ;[p.s0, p.s1, p.s2, p.s3] = from
    ;[p.d0, p.d1, p.d2, p.d3] = to
    p.srcPort = echoRequestWord(v4) >>> 16
    p.dstPort = 0
    p.word = word
    p.length = ICMP_HEADER + length
    return p
  }

  /**
   * Queues what a router on the way, or the destination, said of the packet `p`, in its name: what was sent on for somebody comes back to
   * him, as RFC 5508 §4 has it of a NAT. Types that are no such error are dropped; over the rate it is dropped and counted.
   */
  fromPath({ type, code, mtu, by, ttl }: PathError, p: Offender, payload: Uint8Array, now: Millis): void {
    const { v4 } = p
    if (!isPathError(type, v4) || isGroup(p.d0, p.d1, p.d2, p.d3)) this.stats.icmpWithheld++
    else if (this.mayTell(now)) {
      const [w0, w1, w2, w3] = by ?? (v4 ? this.gateway4 : this.gateway6)
      const word0 = (type << 24) | ((code & 255) << 16)
      const quoted = quotationOf(p, payload, mostQuoted(v4))
      const to: End = [p.s0, p.s1, p.s2, p.s3, 0]
      if (this.message(v4, [w0, w1, w2, w3, 0], to, word0, pathErrorWord(type, code, mtu, v4), quoted, ttl)) this.stats.icmpErrors++
    }
  }

  /**
   * Queues an error about the packet in `ip`, with as much of it as an error may quote. A router's own error has the gateway's address.
   */
  about(fault: Fault, ip: IpPacket, slab: Slab, now: Millis): void {
    this.tell(ip, slab, faultWord(fault, ip.v4), fault === 'protocol' && !ip.v4 ? ip.nextAt : 0, fault === 'ttl', now)
  }

  /** Parameter Problem, as `ip` has it. */
  problem(ip: IpPacket, slab: Slab, now: Millis): void {
    const [word0, word1] = problemWords(ip.problemCode, ip.problemAt, ip.v4)
    this.tell(ip, slab, word0, word1, false, now)
  }

  private tell(ip: IpPacket, slab: Slab, word0: number, word1: number, asRouter: boolean, now: Millis): void {
    if (!mayBeAnswered(ip, slab)) {
      this.stats.icmpWithheld++
      return
    }
    if (!this.mayTell(now)) return
    const { v4, s0, s1, s2, s3, d0, d1, d2, d3, start, end } = ip
    const quoted = slab.bytes.slice(start, Math.min(end, start + mostQuoted(v4)))
    const gateway = v4 ? this.gateway4 : this.gateway6
    const from: End = asRouter ? [...gateway, 0] : [d0, d1, d2, d3, 0]
    if (this.message(v4, from, [s0, s1, s2, s3, 0], word0, word1, quoted)) this.stats.icmpErrors++
  }

  /** Queues an echo request for the drain. False: there are too many. */
  echo(ip: IpPacket, slab: Slab): boolean {
    if (this.queued === MAX_ECHOES) return false
    if (this.queued === this.echoes.length) this.echoes.push(new Echo())
    const e = this.echoes[this.queued++]
    e.v4 = ip.v4
    e.s0 = ip.s0
    e.s1 = ip.s1
    e.s2 = ip.s2
    e.s3 = ip.s3
    e.d0 = ip.d0
    e.d1 = ip.d1
    e.d2 = ip.d2
    e.d3 = ip.d3
    e.ttl = ip.ttl
    e.word = slab.view.getInt32(ip.payload + 4)
    slab.retain()
    e.slab = slab
    e.start = ip.payload + ICMP_HEADER
    e.end = ip.end
    return true
  }

  get wantsDrain(): boolean {
    return this.queued > 0
  }

  drain(take: (echo: Echo) => void): void {
    for (let i = 0; i < this.queued; i++) {
      const e = this.echoes[i]
      take(e)
      e.slab?.release()
      e.slab = null
    }
    this.queued = 0
  }

  /** Answers an echo request; `word` is its identifier and sequence number. `payload` is the stack's from now on. False: too many wait. */
  reply(v4: boolean, from: End, to: End, word: number, payload: Bytes, ttl?: number): boolean {
    return this.message(v4, from, to, echoReplyWord(v4), word, payload, ttl)
  }

  /** Sends an echo request. False: too many wait. */
  request(v4: boolean, from: End, to: End, word: number, payload: Bytes): boolean {
    return this.message(v4, from, to, echoRequestWord(v4), word, payload)
  }

  private message(v4: boolean, from: End, to: End, word0: number, word1: number, payload: Bytes, ttl?: number): boolean {
    const taken = this.output.message(v4, v4 ? PROTO_ICMP : PROTO_ICMPV6, from, to, word0, word1, payload, ttl)
    if (!taken) this.stats.drops.icmpSend++
    return taken
  }

  /** A token bucket, filled for a second. */
  private mayTell(now: Millis): boolean {
    const rate = this.options.icmpErrorRate
    this.tokens = Math.min(rate, this.tokens + (Math.max(0, now - this.refilledAt) * rate) / 1000)
    this.refilledAt = Math.max(now, this.refilledAt)
    if (this.tokens < 1) {
      this.stats.drops.replyOverflow++
      return false
    }
    this.tokens--
    return true
  }
}

/** RFC 1122 §3.2.2, RFC 4443 §2.4(e): not a later fragment, not what went to many, not an error. */
function mayBeAnswered(ip: IpPacket, slab: Slab): boolean {
  if (ip.fragmentOffset !== 0 || isGroup(ip.d0, ip.d1, ip.d2, ip.d3)) return false
  if (ip.proto !== (ip.v4 ? PROTO_ICMP : PROTO_ICMPV6)) return true
  return ip.payload < ip.end && !isIcmpError(slab.view.getUint8(ip.payload), ip.v4)
}

/** What is left for the packet in question. */
const mostQuoted = (v4: boolean): number => (v4 ? MOST4 - IPV4_HEADER : MOST6 - IPV6_HEADER) - ICMP_HEADER

const isGroup = (w0: number, w1: number, w2: number, w3: number): boolean => isMulticast(w0, w1, w2, w3) || isBroadcast(w0, w1, w2, w3)

function gatewayOf(text: string, v6: boolean): AddressWords {
  const words = parseAddress(text)
  if (words !== null && text.includes(':') === v6) return words
  throw Object.assign(new TypeError(`a gateway is an IPv${v6 ? 6 : 4} address, not '${text}'`), { code: 'ERR_TUN_ADDRESS' })
}
