// Owns: UDP through a SOCKS5 proxy: one association per flow, over which anybody's answer comes back. RFC 1928 §4 (UDP ASSOCIATE) and §7.

import type { Buffer } from 'node:buffer'
import type { Socket } from 'node:net'
import { type DialedSocket, openUdp, type UdpHandlers, type UdpSocket } from '@tun/device'
import { formatAddress, type Slab } from '@tun/stack'
import { onceOver } from './control-stream.js'
import { LendingDatagrams } from './lending-datagrams.js'
import { type DatagramOutbound, type Destination, DialError, type Endpoint } from './outbound.js'
import { ATYP_IPV4, ATYP_IPV6, ATYP_NAME, encodeAddress } from './socks5-address.js'

/** RSV RSV FRAG in front of every address. FRAG other than 0 is optional (§7), nobody sends it, and it is dropped. */
const HEADER = [0, 0, 0]
const MAX_DATAGRAM = 65_507 // bytes of UDP payload over IPv4, our header included
const MAX_QUEUED = 1 << 20 // bytes the kernel has not taken yet; beyond them datagrams are dropped
const RECEIVE_BUFFER = 1 << 20 // bytes, as far as we may: a burst comes while this process does something else
const KEEPALIVE = 60_000 // ms. Nothing is said on the stream: without it a proxy that vanished stays unnoticed

/**
 * The association that `control`, a connected stream whose handshake is done, stands for; it ends with it. `relay` is where the proxy wants
 * the datagrams. Call it in the turn of the handover. Throws what the kernel has against such a socket.
 */
export function openSocks5Datagrams(control: DialedSocket | Socket, relay: Endpoint, localAddress: string | undefined): DatagramOutbound {
  const datagrams = new Socks5Datagrams(control)
  datagrams.open(relay, localAddress)
  return datagrams
}

class Socks5Datagrams extends LendingDatagrams implements UdpHandlers {
  readonly closed: Promise<Error | undefined>
  private resolveClosed!: (error: Error | undefined) => void
  private isClosed = false
  private lastTo: Destination | undefined
  private lastHeader: Buffer | undefined
  /** Address and port of the last datagram's source, as they came, and what they mean. */
  private lastSource: Uint8Array = new Uint8Array(0)
  private lastEndpoint!: Endpoint
  private udp: UdpSocket | undefined
  private relayPort = 0

  constructor(private readonly control: DialedSocket | Socket) {
    super()
    this.closed = new Promise(resolve => {
      this.resolveClosed = resolve
    })
    control.setKeepAlive(true, KEEPALIVE)
    onceOver(control, error => this.end(error))
  }

  /** Only what comes from the relay is let in, by the kernel. */
  open({ address, port, family }: Endpoint, localAddress: string | undefined): void {
    const options = { family, localAddress, peer: { address, port }, receiveBuffer: RECEIVE_BUFFER, maxQueued: MAX_QUEUED }
    this.relayPort = port
    try {
      this.udp = openUdp(options, this)
    } catch (error) {
      this.end(error as Error)
      throw error
    }
  }

  send(payload: Uint8Array, to: Destination): boolean {
    if (this.isClosed || this.udp === undefined) return false
    const header = this.headerFor(to)
    if (header === undefined || header.length + payload.length > MAX_DATAGRAM) return false
    return this.udp.send(payload, null, header)
  }

  sendLent(slab: Slab, start: number, end: number, segment: number, to: Destination): boolean {
    if (this.isClosed || this.udp === undefined) return false
    const header = this.headerFor(to)
    if (header === undefined || header.length + (segment > 0 ? segment : end - start) > MAX_DATAGRAM) return false
    return this.udp.sendLent(slab, slab.bytes, start, end, segment, null, header)
  }

  close(): void {
    this.end(undefined)
  }

  private headerFor(to: Destination): Buffer | undefined {
    const last = this.lastTo
    if (last === to) return this.lastHeader
    if (last !== undefined && last.port === to.port && last.address === to.address && last.host === to.host) return this.lastHeader
    this.lastHeader = encodeAddress(HEADER, to)
    this.lastTo = to
    return this.lastHeader
  }

  unreachable(code: string): void {
    if (code === 'ECONNREFUSED') this.end(new DialError(code, `the SOCKS5 proxy's UDP port ${this.relayPort} is closed`))
  }

  error(error: Error): void {
    this.end(error)
  }

  /** §7: RSV RSV FRAG ATYP address port payload. What does not parse is dropped. */
  datagram(message: Buffer, start: number, end: number): void {
    if (end - start < 10 || message[start + 2] !== 0) return
    switch (message[start + 3]) {
      case ATYP_IPV4:
        return this.give(message, start + 10, end, this.sourceOf(message, start + 4, 4))
      case ATYP_IPV6:
        if (end - start >= 22) this.give(message, start + 22, end, this.sourceOf(message, start + 4, 16))
        return
      case ATYP_NAME:
        return this.unwrapNamed(message, start, end)
    }
  }

  /** Address and port as they lie at `at`. Most often they are those of the datagram before. */
  private sourceOf(message: Buffer, at: number, length: number): Endpoint {
    const last = this.lastSource
    let same = last.length === length + 2
    for (let i = 0; same && i < length + 2; i++) same = last[i] === message[at + i]
    if (same) return this.lastEndpoint
    const word = (i: number) => message.readInt32BE(at + 4 * i)
    const address = length === 4 ? formatAddress(0, 0, 0xffff, word(0)) : formatAddress(word(0), word(1), word(2), word(3))
    this.lastSource = Uint8Array.prototype.slice.call(message, at, at + length + 2)
    this.lastEndpoint = { address, port: message.readUInt16BE(at + length), family: address.includes(':') ? 6 : 4 }
    return this.lastEndpoint
  }

  /** Some proxies name the source by the name that was sent to. Any other name says nothing to an application. */
  private unwrapNamed(message: Buffer, start: number, end: number): void {
    const at = start + 5 + message[start + 4]
    const to = this.lastTo
    if (end < at + 2 || to?.host === undefined) return
    if (message.toString('latin1', start + 5, at).toLowerCase() !== to.host.toLowerCase()) return
    this.give(message, at + 2, end, { address: to.address, port: message.readUInt16BE(at), family: to.family })
  }

  private end(error: Error | undefined): void {
    if (this.isClosed) return
    this.isClosed = true
    this.udp?.close()
    this.control.destroy()
    this.resolveClosed(error)
  }
}
