// Owns: TunFlow and TunDatagram, UDP as the application of this library sees it: a flow by source, answers from any address.

import { Buffer } from 'node:buffer'
import { EventEmitter } from 'eventemitter3'
import type { PathError } from '../icmp.js'
import type { End } from '../ip/fragments.js'
import type { Stack } from '../stack.js'
import type { UdpFlow } from '../udp/flow.js'
import { type Datagram, MAX_DATAGRAM } from '../udp/udp.js'
import { formatAddress, isBroadcast, isLoopback, isMapped, isMulticast, isUnspecified, parseAddress } from '../wire/address.js'
import type { Driver } from './driver.js'
import type { Destination, Endpoint } from './net-surface.js'
import { type PathReport, pathErrorOf } from './path-report.js'

interface FlowEvents {
  /** A datagram of the flow's source, and the hop limit it came with. The payload is yours. */
  message: (payload: Buffer, to: Destination, ttl: number) => void
  /**
   * The application's kernel, or a router before it, says that something sent to the flow's source as if from `from` reached nobody: its
   * socket is closed, or connected to somebody else. One connected to `from` alone is the only one it can tell; so this is no reason to
   * end the flow, and RFC 4787 REQ-12 forbids it. Type and code are those of ICMP or ICMPv6.
   */
  undelivered: (from: Endpoint, why: { type: number; code: number }) => void
  /** Idle, evicted by a newer flow, or closed. */
  close: () => void
}

/** Takes the datagrams of a flow where they lie, in place of 'message'. */
export interface DatagramCarrier {
  /** The datagram, or train of datagrams, is borrowed for the call. False: 'message' shall tell of each. */
  carry(datagram: Datagram): boolean
}

/** Whom a datagram is from, checked and in the stack's own form; see TunFlow.sender. */
export type Sender = End

/** Everything one socket of an application sends and gets. */
export class TunFlow extends EventEmitter<FlowEvents> {
  readonly source: Endpoint
  closed = false
  /** Yours. */
  context: unknown = undefined
  /** Asked before the only listener of 'message', which must be its own. @internal */
  carrier: DatagramCarrier | null = null
  private readonly flow: UdpFlow
  private readonly port: UdpPort

  constructor(flow: UdpFlow, port: UdpPort) {
    super()
    this.flow = flow
    this.port = port
    flow.user = this
    this.source = { address: formatAddress(flow.s0, flow.s1, flow.s2, flow.s3), port: flow.srcPort, family: flow.v4 ? 4 : 6 }
  }

  /**
   * Sends `payload` (copied) to the flow's source, as if it came from `from`. False: not sent, because the queue is full, the flow is
   * closed, or its filter (`udp-filter`) keeps out what comes from there.
   * @throws TypeError ERR_TUN_ADDRESS: `from` is loopback, multicast, unspecified or of the other family; RangeError: over 65,507 bytes
   */
  send(payload: Uint8Array, from: { address: string; port: number }): boolean {
    if (this.closed) return false
    const { flow } = this
    this.port.touch(flow)
    return this.port.sendTo(flow, senderOf(from, flow.v4), payload)
  }

  /** `from` for `sendLent`; throws as `send` does. @internal */
  sender(from: { address: string; port: number }): Sender {
    return senderOf(from, this.flow.v4)
  }

  /** `send` of bytes[start, end), which are borrowed. @internal */
  sendLent(bytes: Uint8Array, start: number, end: number, from: Sender): boolean {
    return !this.closed && this.port.sendLent(this.flow, from, bytes, start, end)
  }

  /** Does somebody carry this datagram, or train, away? @internal */
  carry(datagram: Datagram): boolean {
    return this.carrier !== null && this.listenerCount('message') === 1 && this.carrier.carry(datagram)
  }

  /** Tells the source that nobody is at `to`: ICMP port unreachable for a datagram of `length` bytes it sent there. */
  reject(to: { address: string; port: number }, length = 0): void {
    const { flow } = this
    const words = parseAddress(to.address)
    if (this.closed || words === null) return
    this.port.reject(flow.v4, [flow.s0, flow.s1, flow.s2, flow.s3, flow.srcPort], [...words, to.port], length)
  }

  /**
   * Tells the source what the path told of a datagram it sent `to`, in the name of who did; `payload` is what the error quoted of it, or
   * all of it. That the destination itself has a closed port is `reject`.
   */
  report(to: { address: string; port: number }, report: PathReport, payload: Uint8Array): void {
    const words = parseAddress(to.address)
    if (this.closed || words === null) return
    this.port.report(this.flow, pathErrorOf(report, this.flow.v4), [...words, to.port], payload)
  }

  /** It is in use: the idle time begins anew. */
  touch(): void {
    this.port.touch(this.flow)
  }

  /** Ends the flow; the source's next datagram makes a new one. Idempotent. */
  close(): void {
    this.port.closeFlow(this.flow)
  }

  /** How long it may be idle, milliseconds. @throws RangeError ERR_TUN_TIMEOUT */
  setIdleTimeout(ms: number): void {
    if (!(ms >= 0)) throw coded(new RangeError(`an idle time is 0 or more milliseconds, not ${ms}`), 'ERR_TUN_TIMEOUT')
    this.port.setIdleTimeout(this.flow, ms)
  }
}

/** One datagram that arrived. */
export class TunDatagram {
  readonly source: Endpoint
  readonly destination: Destination
  /** Yours to keep. */
  readonly payload: Buffer
  /** The hop limit it came with. */
  readonly ttl: number
  /** null for services (`listenDatagrams`, DNS): they make no flow. */
  readonly flow: TunFlow | null
  private readonly port: UdpPort
  private readonly udp: UdpFlow | null
  private readonly v4: boolean
  private readonly from: End
  private readonly to: End

  constructor(d: Datagram, port: UdpPort, flow: TunFlow | null, host: string | undefined) {
    this.port = port
    this.flow = flow
    this.udp = d.flow
    this.v4 = d.v4
    this.from = [d.s0, d.s1, d.s2, d.s3, d.srcPort]
    this.to = [d.d0, d.d1, d.d2, d.d3, d.dstPort]
    this.source = { address: formatAddress(d.s0, d.s1, d.s2, d.s3), port: d.srcPort, family: d.v4 ? 4 : 6 }
    this.destination = { address: formatAddress(d.d0, d.d1, d.d2, d.d3), port: d.dstPort, family: d.v4 ? 4 : 6 }
    if (host !== undefined) this.destination.host = host
    this.payload = payloadOf(d)
    this.ttl = d.ttl
  }

  /**
   * Answers, by default from where the datagram was sent to, as the application saw it. False: not sent, because the queue is full or the
   * flow's filter keeps out what comes from `from`.
   * @throws TypeError ERR_TUN_ADDRESS (also without `from`, if the datagram went to a multicast address), RangeError as TunFlow.send
   */
  reply(payload: Uint8Array, from?: { address: string; port: number }): boolean {
    this.flow?.touch()
    if (from === undefined && !isGroup(this.to)) return this.port.send(this.v4, this.to, this.from, payload, this.udp)
    const sender = senderOf(from ?? this.destination, this.v4)
    return this.udp === null ? this.port.send(this.v4, sender, this.from, payload) : this.port.sendTo(this.udp, sender, payload)
  }

  /** Nobody is there: ICMP port unreachable, ECONNREFUSED at a connected socket; or the host is not: EHOSTUNREACH. */
  reject(why: 'port' | 'host' = 'port'): void {
    this.port.reject(this.v4, this.from, this.to, this.payload.length, why)
  }
}

/** What flows and datagrams need of the inbound: one per stack. */
export class UdpPort {
  private readonly stack: Stack
  private readonly driver: Driver

  constructor(stack: Stack, driver: Driver) {
    this.stack = stack
    this.driver = driver
  }

  /** `flow`: whose share of the queue it takes. */
  send(v4: boolean, from: End, to: End, payload: Uint8Array, flow: UdpFlow | null = null): boolean {
    const sent = this.stack.udp.send(v4, from, to, checked(payload), flow)
    this.driver.wake()
    return sent
  }

  sendTo(flow: UdpFlow, from: End, payload: Uint8Array): boolean {
    const sent = this.stack.udp.sendTo(flow, from, checked(payload), this.driver.now())
    this.driver.wake()
    return sent
  }

  /** The flow is in use by that. */
  sendLent(flow: UdpFlow, from: End, bytes: Uint8Array, start: number, end: number): boolean {
    const now = this.driver.now()
    const { udp } = this.stack
    udp.flows.touch(flow, now)
    const sent = udp.sendTo(flow, from, bytes, now, start, end)
    this.driver.wake()
    return sent
  }

  setIdleTimeout(flow: UdpFlow, ms: number): void {
    this.stack.udp.flows.setIdleTimeout(flow, ms)
    this.touch(flow)
  }

  reject(v4: boolean, from: End, to: End, length: number, why: 'port' | 'host' = 'port'): void {
    this.stack.udp.reject(v4, from, to, length, this.driver.now(), why)
    this.driver.wake()
  }

  report(flow: UdpFlow, error: PathError, to: End, payload: Uint8Array): void {
    this.stack.udp.fromPath(flow, error, to, payload, this.driver.now())
    this.driver.wake()
  }

  touch(flow: UdpFlow): void {
    // The clock's time, not the last turn's: that may lie minutes back, and the flow would end as much too early.
    if (!flow.closed) this.stack.udp.flows.touch(flow, this.driver.now())
  }

  closeFlow(flow: UdpFlow): void {
    this.stack.udp.flows.close(flow)
    this.driver.wake()
  }
}

/** The datagram's bytes, copied out of the slab. */
export function payloadOf(d: Datagram): Buffer {
  const payload = Buffer.allocUnsafe(d.end - d.start)
  if (d.slab !== null) payload.set(d.slab.bytes.subarray(d.start, d.end))
  return payload
}

function checked(payload: Uint8Array): Uint8Array {
  if (payload.length <= MAX_DATAGRAM) return payload
  throw coded(new RangeError(`a datagram holds ${MAX_DATAGRAM} bytes, not ${payload.length}`), 'ERR_TUN_DATAGRAM_SIZE')
}

/** Nobody answers from an address that many have. */
const isGroup = ([w0, w1, w2, w3]: End): boolean => isMulticast(w0, w1, w2, w3) || isBroadcast(w0, w1, w2, w3)

function senderOf(from: { address: string; port: number }, v4: boolean): End {
  const words = parseAddress(from.address)
  if (words === null || isMapped(words[0], words[1], words[2]) !== v4) {
    throw coded(new TypeError(`cannot send from '${from.address}': an IPv${v4 ? 4 : 6} address is needed here`), 'ERR_TUN_ADDRESS')
  }
  if (isLoopback(...words) || isMulticast(...words) || isUnspecified(...words) || isBroadcast(...words)) {
    throw coded(new TypeError(`cannot send from '${from.address}': no host has such an address`), 'ERR_TUN_ADDRESS')
  }
  if (!Number.isInteger(from.port) || from.port < 0 || from.port > 65_535) {
    throw coded(new RangeError(`'${from.port}' is no port`), 'ERR_TUN_ADDRESS')
  }
  return [...words, from.port]
}

function coded<E extends Error>(error: E, code: string): E & { code: string } {
  return Object.assign(error, { code })
}
