// Owns: what a packet filter and a line ask of a packet: addresses, protocol, ports, where the payload lies. Nothing is verified:
// what the engine would drop is looked at all the same. RFC 791, RFC 8200 §4, RFC 9293 §3.1, RFC 768. Never throws, whatever the bytes.

import { type AddressWords, formatAddress } from '@tun/stack'

export const ICMP = 1
export const TCP = 6
export const UDP = 17
export const ICMPV6 = 58
/** Extension headers of the form "next, length in 8 bytes", and the fragment header. */
const EXTENSIONS: readonly number[] = [0, 43, 60]
const FRAGMENT = 44
const MAX_EXTENSIONS = 8

/** One object for many packets: read() fills it. Addresses are those of @tun/stack, IPv4 as ::ffff:a.b.c.d. */
export class PacketFacts {
  bytes: Uint8Array = new Uint8Array(0)
  version: 4 | 6 = 4
  protocol = 0
  readonly source: AddressWords = [0, 0, 0, 0]
  readonly destination: AddressWords = [0, 0, 0, 0]
  /** 0: it has none, or is a later fragment. */
  sourcePort = 0
  destinationPort = 0
  /** Of the transport's header. */
  payload = 0

  /** False: it is no IP packet. */
  read(bytes: Uint8Array): boolean {
    this.bytes = bytes
    this.sourcePort = 0
    this.destinationPort = 0
    if (bytes.length < 20) return false
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    const version = bytes[0] >> 4
    const first = version === 4 ? this.readV4(view) : version === 6 && bytes.length >= 40 && this.readV6(view)
    if (first === undefined) return version === 4 || version === 6 // a later fragment
    if (first === false) return false
    if ((this.protocol === TCP || this.protocol === UDP) && this.payload + 4 <= bytes.length) {
      this.sourcePort = view.getUint16(this.payload)
      this.destinationPort = view.getUint16(this.payload + 2)
    }
    return true
  }

  get sourceText(): string {
    return formatAddress(...this.source)
  }

  get destinationText(): string {
    return formatAddress(...this.destination)
  }

  private readV4(view: DataView): true | undefined {
    this.version = 4
    this.protocol = view.getUint8(9)
    this.payload = (view.getUint8(0) & 15) * 4
    for (const [words, at] of [
      [this.source, 12],
      [this.destination, 16],
    ] as const) {
      words[0] = 0
      words[1] = 0
      words[2] = 0xffff
      words[3] = view.getInt32(at)
    }
    return (view.getUint16(6) & 0x1fff) === 0 ? true : undefined
  }

  private readV6(view: DataView): true | undefined {
    this.version = 6
    for (let i = 0; i < 4; i++) {
      this.source[i] = view.getInt32(8 + 4 * i)
      this.destination[i] = view.getInt32(24 + 4 * i)
    }
    this.protocol = view.getUint8(6)
    this.payload = 40
    for (let i = 0; i < MAX_EXTENSIONS && this.payload + 8 <= view.byteLength; i++) {
      const isFragment = this.protocol === FRAGMENT
      if (!isFragment && !EXTENSIONS.includes(this.protocol)) break
      const later = isFragment && (view.getUint16(this.payload + 2) & 0xfff8) !== 0
      this.protocol = view.getUint8(this.payload)
      this.payload += isFragment ? 8 : 8 + 8 * view.getUint8(this.payload + 1)
      if (later) return undefined
    }
    return true
  }
}
