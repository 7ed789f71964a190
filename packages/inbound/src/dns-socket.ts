// Owns: DNS on a real socket of the host (Clash's `dns.listen`), UDP and TCP at one address, answered as on the TUN.

import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, isIPv6, type Server } from 'node:net'
import type { DnsServer } from '@tun/dns'
import { DnsStreams } from './dns-hijack.js'

/** Clients over TCP at once; for one more, the one that has asked nothing for longest is closed. */
const MAX_CONNECTIONS = 256

export class DnsSocket {
  private readonly streams: DnsStreams

  private constructor(
    private readonly udp: UdpSocket,
    private readonly tcp: Server,
    private readonly server: DnsServer,
  ) {
    this.streams = new DnsStreams(server, MAX_CONNECTIONS)
    this.tcp.on('connection', socket => {
      const { remoteAddress: address = '', remotePort: port = 0 } = socket
      this.streams.serve(socket, { source: { address, port }, destination: undefined })
    })
    this.udp.on('message', (query, from) => {
      const answer = this.server.answer(query, { transport: 'udp', source: { address: from.address, port: from.port } })
      const send = (bytes: Uint8Array | null): void => {
        if (bytes !== null && this.isOpen) this.udp.send(bytes, from.port, from.address, () => {}) // who has gone has gone
      }
      if (answer instanceof Promise) void answer.then(send)
      else send(answer)
    })
    this.udp.on('error', () => {}) // of one datagram: an ICMP error, say
    this.tcp.on('error', () => {}) // of one accept: no descriptor left
  }

  private isOpen = true

  /** @throws Error ERR_TUN_DNS_LISTEN */
  static async open(address: string, port: number, server: DnsServer): Promise<DnsSocket> {
    const udp = createSocket({ type: isIPv6(address) ? 'udp6' : 'udp4' })
    const tcp = createServer({ allowHalfOpen: true, noDelay: true })
    try {
      udp.bind(port, address)
      await once(udp, 'listening')
      tcp.listen(udp.address().port, address)
      await once(tcp, 'listening')
      return new DnsSocket(udp, tcp, server)
    } catch (error) {
      udp.close()
      tcp.close()
      const { message } = error as Error
      throw Object.assign(new Error(`cannot answer DNS at ${address} port ${port}: ${message}`, { cause: error }), {
        code: 'ERR_TUN_DNS_LISTEN',
      })
    }
  }

  get address(): { address: string; port: number } {
    const { address, port } = this.udp.address()
    return { address, port }
  }

  ref(): void {
    this.udp.ref()
    this.tcp.ref()
  }

  unref(): void {
    this.udp.unref()
    this.tcp.unref()
  }

  /** Idempotent. */
  close(): void {
    if (!this.isOpen) return
    this.isOpen = false
    this.udp.close()
    this.tcp.close()
    this.streams.close()
  }
}
