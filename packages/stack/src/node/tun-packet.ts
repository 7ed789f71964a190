// Owns: TunPacket, a row as the `packet` hook sees it, before the stack: any protocol, any address, whatever it is.

import { Buffer } from 'node:buffer'
import { CSUM_PARTIAL } from '../memory/packet-batch.js'
import type { Slab } from '../memory/slab.js'
import { DROP, HANDLED, PASS } from '../stack.js'

/** One reused record: valid during the call. */
export class TunPacket {
  /** The IP packet, borrowed: copy what you keep. What is written into it is what the stack sees. */
  bytes: Buffer = Buffer.alloc(0)
  /** The transport checksum is not complete: a local sender left that to its hardware. */
  partial = false
  /** Payload bytes of each of the segments that this packet stands for; 0: it is one. */
  segmentSize = 0
  /** What is to become of it: as the first who decided had it. */
  verdict = PASS
  private decided = false
  private readonly send: (packet: Uint8Array) => boolean

  constructor(send: (packet: Uint8Array) => boolean) {
    this.send = send
  }

  /** @internal */
  show(slab: Slab, start: number, length: number, flags: number, gsoSize: number): void {
    this.bytes = Buffer.from(slab.bytes.buffer, slab.bytes.byteOffset + start, length)
    this.partial = (flags & CSUM_PARTIAL) !== 0
    this.segmentSize = gsoSize
    this.verdict = PASS
    this.decided = false
  }

  /** 4 or 6; anything else is no IP packet. */
  get version(): number {
    return this.bytes.length > 0 ? this.bytes[0] >> 4 : 0
  }

  /** The number in the IP header: the transport's, or with IPv6 that of the first extension header. −1: too short. */
  get protocol(): number {
    const at = this.version === 4 ? 9 : 6
    return at < this.bytes.length ? this.bytes[at] : -1
  }

  /** The stack gets it: what happens if nobody decides. */
  pass(): void {
    this.decide(PASS)
  }

  /** Nobody gets it; counted in `drops.hook`. */
  drop(): void {
    this.decide(DROP)
  }

  /** You have dealt with it: the stack does not get it. */
  handled(): void {
    this.decide(HANDLED)
  }

  /** Sends a whole IP packet (copied) to the NIC: an answer, usually. As `TunInbound.write`. */
  write(packet: Uint8Array): boolean {
    return this.send(packet)
  }

  private decide(verdict: number): void {
    if (this.decided) return
    this.decided = true
    this.verdict = verdict
  }
}
