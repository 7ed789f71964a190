// Owns: UDP through a SOCKS5 proxy: one association per flow, over which anybody's answer comes back. RFC 1928 §4 (UDP ASSOCIATE) and §7.

import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import type { Socket } from 'node:net'
import { formatAddress } from '@tun/stack'
import type { DatagramOutbound, Destination, Endpoint } from './outbound.js'
import { ATYP_IPV4, ATYP_IPV6, encodeAddress } from './socks5-address.js'

/** RSV RSV FRAG in front of every address. FRAG other than 0 is optional (§7), nobody sends it, and it is dropped. */
const HEADER = [0, 0, 0]
const MAX_QUEUED = 1 << 20 // bytes the kernel has not taken yet; beyond them datagrams are dropped

/**
 * The association that `control`, a connected stream whose handshake is done, stands for; it ends with it. `relay` is where the proxy wants
 * the datagrams.
 */
export function openSocks5Datagrams(control: Socket, relay: Endpoint, localAddress: string | undefined): Promise<DatagramOutbound> {
  return new Promise((resolve, reject) => {
    const udp = createSocket({ type: relay.family === 6 ? 'udp6' : 'udp4' })
    const failed = (error: Error) => {
      control.destroy()
      udp.close()
      reject(error)
    }
    udp.once('error', failed)
    udp.bind(0, localAddress, () => {
      // Connected: the kernel drops what does not come from the relay.
      udp.connect(relay.port, relay.address, (error?: Error) => {
        udp.off('error', failed)
        if (error) failed(error)
        else resolve(new Socks5Datagrams(control, udp))
      })
    })
  })
}

class Socks5Datagrams implements DatagramOutbound {
  readonly closed: Promise<Error | undefined>
  private resolveClosed!: (error: Error | undefined) => void
  private isClosed = false
  private receive: (payload: Buffer, from: Endpoint) => void = () => {}
  private lastTo: Destination | undefined
  private lastHeader: Buffer | undefined

  constructor(
    private readonly control: Socket,
    private readonly udp: UdpSocket,
  ) {
    this.closed = new Promise(resolve => {
      this.resolveClosed = resolve
    })
    udp.on('message', message => this.unwrap(message))
    udp.on('error', error => this.end(error)) // ECONNREFUSED: the relay's port is closed
    control.on('error', error => this.end(error))
    control.on('end', () => this.end(undefined))
    control.on('close', () => this.end(undefined))
    control.resume() // nothing is said on it any more, but its end
    if (control.destroyed) this.end(undefined)
  }

  onMessage(fn: (payload: Buffer, from: Endpoint) => void): void {
    this.receive = fn
  }

  send(payload: Uint8Array, to: Destination): boolean {
    if (this.isClosed || this.udp.getSendQueueSize() + payload.length > MAX_QUEUED) return false
    const header = this.headerFor(to)
    if (header === undefined) return false
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

  /** §7: RSV RSV FRAG ATYP address port payload. What does not parse is dropped. A name as source says nothing to an application. */
  private unwrap(message: Buffer): void {
    if (message.length < 10 || message[2] !== 0) return
    if (message[3] === ATYP_IPV4) {
      const address = formatAddress(0, 0, 0xffff, message.readInt32BE(4))
      this.receive(message.subarray(10), { address, port: message.readUInt16BE(8), family: 4 })
    } else if (message[3] === ATYP_IPV6 && message.length >= 22) {
      const address = formatAddress(message.readInt32BE(4), message.readInt32BE(8), message.readInt32BE(12), message.readInt32BE(16))
      this.receive(message.subarray(22), { address, port: message.readUInt16BE(20), family: address.includes(':') ? 6 : 4 })
    }
  }

  private end(error: Error | undefined): void {
    if (this.isClosed) return
    this.isClosed = true
    this.udp.close()
    this.control.destroy()
    this.resolveClosed(error)
  }
}
