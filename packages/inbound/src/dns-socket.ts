// Owns: DNS on a real socket of the host (Clash's `dns.listen`), UDP and TCP at one address, answered as on the TUN.

import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, isIPv6, type Server } from 'node:net'
import { openUdp } from '@tun/device'
import type { DnsServer } from '@tun/dns'
import { DnsStreams } from './dns-hijack.js'

/** Clients over TCP at once; for one more, the one that has asked nothing for longest is closed. */
const MAX_CONNECTIONS = 256
/** Bytes the kernel may queue: a burst comes while this process does something else. */
const RECEIVE_BUFFER = 1 << 20

/** What a UDP socket of either kind is used for here. */
interface Bound {
  address(): { address: string; port: number } | undefined
  ref(): void
  unref(): void
  close(): void
}

export class DnsSocket {
  private readonly streams: DnsStreams
  private isOpen = true

  private constructor(
    private readonly udp: Bound,
    private readonly tcp: Server,
    server: DnsServer,
  ) {
    this.streams = new DnsStreams(server, MAX_CONNECTIONS)
    this.tcp.on('connection', socket => {
      const { remoteAddress: address = '', remotePort: port = 0 } = socket
      this.streams.serve(socket, { source: { address, port }, destination: undefined })
    })
    this.tcp.on('error', () => {}) // of one accept: no descriptor left
  }

  /** @throws Error ERR_TUN_DNS_LISTEN */
  static async open(address: string, port: number, server: DnsServer): Promise<DnsSocket> {
    const tcp = createServer({ allowHalfOpen: true, noDelay: true })
    let udp: Bound | undefined
    try {
      udp = isIPv6(address) ? await openDgram(address, port, server) : openBatched(address, port, server)
      tcp.listen(udp.address()?.port, address)
      await once(tcp, 'listening')
      return new DnsSocket(udp, tcp, server)
    } catch (error) {
      udp?.close()
      tcp.close()
      const { message } = error as Error
      throw Object.assign(new Error(`cannot answer DNS at ${address} port ${port}: ${message}`, { cause: error }), {
        code: 'ERR_TUN_DNS_LISTEN',
      })
    }
  }

  get address(): { address: string; port: number } {
    return this.udp.address() ?? { address: '', port: 0 }
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

/** IPv4: many queries and answers in one system call each. */
function openBatched(address: string, port: number, server: DnsServer): Bound {
  const socket = openUdp(
    { family: 4, localAddress: address, localPort: port, receiveBuffer: RECEIVE_BUFFER },
    {
      datagram: (bytes, start, end, from) => {
        const answer = server.answer(bytes.subarray(start, end), { transport: 'udp', source: from })
        if (answer instanceof Promise) void answer.then(told => told && socket.send(told, from))
        else if (answer !== null) socket.send(answer, from)
      },
      error: () => {}, // the kernel took it away; TCP stays
    },
  )
  return socket
}

/** IPv6, and with `::` both families: who asks from a link-local address is answered through its zone, which a UdpPeer has not. */
async function openDgram(address: string, port: number, server: DnsServer): Promise<Bound> {
  const socket = createSocket({ type: 'udp6', recvBufferSize: RECEIVE_BUFFER })
  let isOpen = true
  socket.on('message', (query, from) => {
    const answer = server.answer(query, { transport: 'udp', source: { address: from.address, port: from.port } })
    const send = (bytes: Uint8Array | null): void => {
      if (bytes !== null && isOpen) socket.send(bytes, from.port, from.address, () => {}) // who has gone has gone
    }
    if (answer instanceof Promise) void answer.then(send)
    else send(answer)
  })
  socket.bind(port, address)
  try {
    await once(socket, 'listening')
  } catch (error) {
    socket.close()
    throw error
  }
  socket.on('error', () => {}) // of one datagram: an ICMP error, say
  return {
    address: () => (isOpen ? socket.address() : undefined),
    ref: () => void socket.ref(),
    unref: () => void socket.unref(),
    close: () => {
      if (isOpen) socket.close()
      isOpen = false
    },
  }
}
