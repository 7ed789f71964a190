// Owns: TunFlow and TunDatagram, UDP as the application of this library sees it: a flow by source, answers from any address.

import { Buffer } from 'node:buffer'
import { EventEmitter } from 'eventemitter3'
import type { Stack } from '../stack.js'
import type { UdpFlow } from '../udp/flow.js'
import type { Datagram } from '../udp/udp.js'
import { formatAddress, isBroadcast, isLoopback, isMapped, isMulticast, isUnspecified, parseAddress } from '../wire/address.js'
import type { Driver } from './driver.js'
import type { Destination, Endpoint } from './net-surface.js'

type End = readonly [number, number, number, number, number]

interface FlowEvents {
  /** A datagram of the flow's source. The payload is yours. */
  message: (payload: Buffer, to: Destination) => void
  /** Idle, evicted by a newer flow, or closed. */
  close: () => void
}

/** Everything one socket of an application sends and gets. */
export class TunFlow extends EventEmitter<FlowEvents> {
  readonly source: Endpoint
  closed = false
  /** Yours. */
  context: unknown = undefined
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
   * Sends `payload` (copied) to the flow's source, as if it came from `from`. False: not sent, the queue is full or the flow is closed.
   * @throws TypeError ERR_TUN_ADDRESS: `from` is loopback, multicast, unspecified or of the other family; RangeError: over 65,507 bytes
   */
  send(payload: Uint8Array, from: { address: string; port: number }): boolean {
    if (this.closed) return false
    const { flow } = this
    this.port.touch(flow)
    return this.port.send(flow.v4, senderOf(from, flow.v4), [flow.s0, flow.s1, flow.s2, flow.s3, flow.srcPort], payload)
  }

  /** Tells the source that nobody is at `to`: ICMP port unreachable for a datagram of `length` bytes it sent there. */
  reject(to: { address: string; port: number }, length = 0): void {
    const { flow } = this
    const words = parseAddress(to.address)
    if (this.closed || words === null) return
    this.port.reject(flow.v4, [flow.s0, flow.s1, flow.s2, flow.s3, flow.srcPort], [...words, to.port], length)
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
    this.flow.idleTimeout = ms
    this.port.touch(this.flow)
  }
}

/** One datagram that arrived. */
export class TunDatagram {
  readonly source: Endpoint
  readonly destination: Destination
  /** Yours to keep. */
  readonly payload: Buffer
  /** null for services (`listenDatagrams`, DNS): they make no flow. */
  readonly flow: TunFlow | null
  private readonly port: UdpPort
  private readonly v4: boolean
  private readonly from: End
  private readonly to: End

  constructor(d: Datagram, port: UdpPort, flow: TunFlow | null, host: string | undefined) {
    this.port = port
    this.flow = flow
    this.v4 = d.v4
    this.from = [d.s0, d.s1, d.s2, d.s3, d.srcPort]
    this.to = [d.d0, d.d1, d.d2, d.d3, d.dstPort]
    this.source = { address: formatAddress(d.s0, d.s1, d.s2, d.s3), port: d.srcPort, family: d.v4 ? 4 : 6 }
    this.destination = { address: formatAddress(d.d0, d.d1, d.d2, d.d3), port: d.dstPort, family: d.v4 ? 4 : 6 }
    if (host !== undefined) this.destination.host = host
    this.payload = payloadOf(d)
  }

  /**
   * Answers, by default from where the datagram was sent to, as the application saw it. False: not sent, the queue is full.
   * @throws TypeError ERR_TUN_ADDRESS, RangeError as TunFlow.send
   */
  reply(payload: Uint8Array, from?: { address: string; port: number }): boolean {
    this.flow?.touch()
    return this.port.send(this.v4, from === undefined ? this.to : senderOf(from, this.v4), this.from, payload)
  }

  /** Nobody is there: ICMP port unreachable, ECONNREFUSED at a connected socket. */
  reject(): void {
    this.port.reject(this.v4, this.from, this.to, this.payload.length)
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

  send(v4: boolean, from: End, to: End, payload: Uint8Array): boolean {
    if (payload.length > 65_507) throw coded(new RangeError(`a datagram holds 65507 bytes, not ${payload.length}`), 'ERR_TUN_DATAGRAM_SIZE')
    const sent = this.stack.udp.send(v4, from, to, new Uint8Array(payload))
    this.driver.wake()
    return sent
  }

  reject(v4: boolean, from: End, to: End, length: number): void {
    this.stack.udp.reject(v4, from, to, length, this.driver.now())
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
