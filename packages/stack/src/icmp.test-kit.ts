// Owns: a stack that is given single packets, and the packets, for tests.

import { expect } from 'vitest'
import type { Bytes } from './memory/slab.js'
import type { StackOptions } from './options.js'
import { fillChecksums, layoutOf, packetOk } from './testing/oracle.js'
import { Endpoint } from './testing/pair.js'
import { Prng } from './testing/prng.js'
import { VirtualClock } from './testing/virtual-clock.js'
import { parseAddress } from './wire/address.js'
import { printPacket } from './wire/print.js'

export function bench(options: StackOptions = {}) {
  const clock = new VirtualClock(1000)
  const endpoint = new Endpoint(clock, new Prng(1), options)
  const out: Bytes[] = []
  endpoint.device.ondeliver = packet => out.push(packet)
  const { stack } = endpoint
  return {
    clock,
    endpoint,
    stack,
    /** What is answered to a packet. */
    give(packet: Bytes): string[] {
      out.length = 0
      endpoint.device.inject(packet)
      clock.advance(0)
      for (const answer of out) expect(packetOk(answer)).toBe(true)
      const { rowsIn, accounted } = stack.stats
      expect(accounted).toBe(rowsIn)
      return out.map(answer => printPacket(answer))
    },
    out,
  }
}

interface Packet {
  from?: string
  to?: string
  ttl?: number
  proto?: number
  body?: number[]
  /** IPv4: flags and offset, and options, whose length is a multiple of 4. */
  fragment?: number
  options?: number[]
}

export function ip({ from, to = '192.0.2.9', ttl = 64, proto = 17, body = [], fragment = 0, options = [] }: Packet): Bytes {
  const v6 = to.includes(':')
  const source = parseAddress(from ?? (v6 ? '2001:db8::1' : '10.0.0.1')) as number[]
  const destination = parseAddress(to) as number[]
  const header = v6 ? 40 : 20 + options.length
  const packet = new Uint8Array(header + body.length)
  const view = new DataView(packet.buffer)
  packet.set(options, 20)
  packet.set(body, header)
  packet[0] = v6 ? 0x60 : 0x45 + options.length / 4
  view.setUint16(v6 ? 4 : 2, v6 ? body.length : packet.length)
  packet[v6 ? 6 : 9] = proto
  packet[v6 ? 7 : 8] = ttl
  if (!v6) view.setUint16(6, fragment)
  for (let i = v6 ? 0 : 3; i < 4; i++) {
    view.setInt32(v6 ? 8 + 4 * i : 12, source[i])
    view.setInt32(v6 ? 24 + 4 * i : 16, destination[i])
  }
  return layoutOf(packet).protocol >= 0 ? fillChecksums(packet) : packet
}

export const udp = [0x13, 0x88, 0, 80, 0, 10, 0, 0, 1, 2]
export const echo4 = [8, 0, 0, 0, 0x12, 0x34, 0, 7, 0xaa, 0xbb, 0xcc]
export const echo6 = [128, ...echo4.slice(1)]
export const GATEWAY = '192.0.0.8'
