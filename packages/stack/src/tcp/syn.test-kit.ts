// Owns: SYNs from any source, as a flood has them, for tests.

import { fillChecksums } from '../testing/oracle.js'
import { parseAddress } from '../wire/address.js'

/** A SYN without options from `source`, port `port`, as a flood's generator makes it; to 10.0.0.2:80 or its IPv6 sibling. */
export function syn(source: string, port = 1024, seq = 7) {
  const from = parseAddress(source) as number[]
  const v6 = source.includes(':')
  const at = v6 ? 40 : 20
  const packet = new Uint8Array(at + 20)
  const view = new DataView(packet.buffer)
  if (v6) {
    const to = parseAddress('2001:db8::2') as number[]
    view.setUint32(0, 0x60000000)
    view.setUint16(4, 20)
    view.setUint16(6, 0x0640)
    for (let i = 0; i < 4; i++) {
      view.setInt32(8 + 4 * i, from[i])
      view.setInt32(24 + 4 * i, to[i])
    }
  } else {
    view.setUint16(0, 0x4500)
    view.setUint16(2, 40)
    view.setUint16(8, 0x4006)
    view.setInt32(12, from[3])
    view.setUint32(16, 0x0a000002)
  }
  view.setUint16(at, port)
  view.setUint16(at + 2, 80)
  view.setInt32(at + 4, seq)
  view.setUint16(at + 12, 0x5002)
  view.setUint16(at + 14, 0xffff)
  return fillChecksums(packet)
}
