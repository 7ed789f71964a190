// Owns: UDP through a SOCKS5 proxy: one association per flow, over which anybody's answer comes back. RFC 1928 §4 (UDP ASSOCIATE) and §7.

import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import type { Socket } from 'node:net'
import { formatAddress } from '@tun/stack'
import { type DatagramOutbound, type Destination, DialError, type Endpoint } from './outbound.js'
import { ATYP_IPV4, ATYP_IPV6, ATYP_NAME, encodeAddress } from './socks5-address.js'

/** RSV RSV FRAG in front of every address. FRAG other than 0 is optional (§7), nobody sends it, and it is dropped. */
const HEADER = [0, 0, 0]
const MAX_QUEUED = 1 << 20 // bytes the kernel has not taken yet; beyond them datagrams are dropped
const MAX_DATAGRAM = 65_507 // bytes of UDP payload over IPv4, our header included
const KEEPALIVE = 60_000 // ms. Nothing is said on the stream: without it a proxy that vanished stays unnoticed

/**
 * The association that `control`, a connected stream whose handshake is done, stands for; it ends with it. `relay` is where the proxy wants
 * the datagrams. Call it in the turn of the handover. Rejects with what ended it before it was there.
 */
export async function openSocks5Datagrams(control: Socket, relay: Endpoint, localAddress: string | undefined): Promise<DatagramOutbound> {
  const datagrams = new Socks5Datagrams(control, relay.family)
  await datagrams.connect(relay, localAddress)
  return datagrams
}

class Socks5Datagrams implements DatagramOutbound {
  readonly closed: Promise<Error | undefined>
  private resolveClosed!: (error: Error | undefined) => void
  private isClosed = false
  private receive: (payload: Buffer, from: Endpoint) => void = () => {}
  private lastTo: Destination | undefined
  private lastHeader: Buffer | undefined
  private readonly udp: UdpSocket

  constructor(
    private readonly control: Socket,
    family: 4 | 6,
  ) {
    this.closed = new Promise(resolve => {
      this.resolveClosed = resolve
    })
    this.udp = createSocket({ type: family === 6 ? 'udp6' : 'udp4' })
    this.udp.on('message', message => this.unwrap(message))
    this.udp.on('error', error => this.end(error)) // ECONNREFUSED: the relay's port is closed
    control.on('error', error => this.end(error))
    control.on('end', () => this.end(undefined))
    control.on('close', () => this.end(undefined))
    control.setKeepAlive(true, KEEPALIVE)
    control.resume() // nothing is said on it any more, but its end
  }

  /** Only what comes from the relay is let in then, by the kernel. */
  async connect(relay: Endpoint, localAddress: string | undefined): Promise<void> {
    const connected = new Promise<void>((resolve, reject) => {
      void this.closed.then(error => reject(error ?? new DialError('ECONNRESET', 'the SOCKS5 proxy closed the connection')))
      this.udp.bind(0, localAddress, () => {
        if (!this.isClosed) this.udp.connect(relay.port, relay.address, (error?: Error) => (error ? this.end(error) : resolve()))
      })
    })
    await connected
  }

  onMessage(fn: (payload: Buffer, from: Endpoint) => void): void {
    this.receive = fn
  }

  send(payload: Uint8Array, to: Destination): boolean {
    if (this.isClosed || this.udp.getSendQueueSize() + payload.length > MAX_QUEUED) return false
    const header = this.headerFor(to)
    if (header === undefined || header.length + payload.length > MAX_DATAGRAM) return false
    try {
      this.udp.send([header, payload])
    } catch {
      return false
    }
    return true
  }

  close(): void {
    this.end(undefined)
  }

  private headerFor(to: Destination): Buffer | undefined {
    const last = this.lastTo
    if (last !== undefined && last.port === to.port && last.address === to.address && last.host === to.host) return this.lastHeader
    this.lastHeader = encodeAddress(HEADER, to)
    this.lastTo = to
    return this.lastHeader
  }

  /** §7: RSV RSV FRAG ATYP address port payload. What does not parse is dropped. */
  private unwrap(message: Buffer): void {
    if (message.length < 10 || message[2] !== 0) return
    switch (message[3]) {
      case ATYP_IPV4: {
        const address = formatAddress(0, 0, 0xffff, message.readInt32BE(4))
        return this.receive(message.subarray(10), { address, port: message.readUInt16BE(8), family: 4 })
      }
      case ATYP_IPV6: {
        if (message.length < 22) return
        const address = formatAddress(message.readInt32BE(4), message.readInt32BE(8), message.readInt32BE(12), message.readInt32BE(16))
        return this.receive(message.subarray(22), { address, port: message.readUInt16BE(20), family: address.includes(':') ? 6 : 4 })
      }
      case ATYP_NAME:
        return this.unwrapNamed(message)
    }
  }

  /** Some proxies name the source by the name that was sent to. Any other name says nothing to an application. */
  private unwrapNamed(message: Buffer): void {
    const end = 5 + message[4]
    const to = this.lastTo
    if (message.length < end + 2 || to?.host === undefined) return
    if (message.toString('latin1', 5, end).toLowerCase() !== to.host.toLowerCase()) return
    this.receive(message.subarray(end + 2), { address: to.address, port: message.readUInt16BE(end), family: to.family })
  }

  private end(error: Error | undefined): void {
    if (this.isClosed) return
    this.isClosed = true
    this.udp.close()
    this.control.destroy()
    this.resolveClosed(error)
  }
}
