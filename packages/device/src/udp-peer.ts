// Owns: UdpPeer, who is at the other end of a UDP socket, in words and in text.

import { type AddressWords, formatAddress, isMapped, parseAddress } from '@tun/stack'

/** An address with its port, as four words. Make one and send many to it: its text is parsed once. */
export class UdpPeer {
  private text: string | undefined

  constructor(
    readonly w0: number,
    readonly w1: number,
    readonly w2: number,
    readonly w3: number,
    readonly port: number,
  ) {}

  /** The words of an address in text; null if it is none. A zone (`%eth0`) is cut off. */
  static words(address: string): AddressWords | null {
    const zone = address.indexOf('%')
    return parseAddress(zone < 0 ? address : address.slice(0, zone))
  }

  static parse(address: string, port: number): UdpPeer | null {
    const words = UdpPeer.words(address)
    return words && new UdpPeer(...words, port)
  }

  get address(): string {
    this.text ??= formatAddress(this.w0, this.w1, this.w2, this.w3)
    return this.text
  }

  get family(): 4 | 6 {
    return isMapped(this.w0, this.w1, this.w2) ? 4 : 6
  }
}
