// Owns: DNS on the TUN: datagrams and streams to the hijacked address and port are answered here and make no flow.
// Read first: RFC 7766 (DNS over TCP: pipelining §6.2.1.1, idle §6.2.3).

import type { Buffer } from 'node:buffer'
import type { Socket } from 'node:net'
import { type DnsServer, frame, TcpFramer } from '@tun/dns'
import type { TunDatagram, TunSocket } from '@tun/stack'

/** A client that says nothing for this long is closed: RFC 7766 §6.2.3 asks for some seconds. */
const TCP_IDLE = 10_000 // ms
/** Queries of one connection that wait for their answers; reading stops until there are fewer. */
const TCP_PIPELINE = 64

/** Connections at once. */
const MAX_STREAMS = 1024

/** Answers one datagram, now or when the resolver has. */
export function answerDatagram(server: DnsServer, datagram: TunDatagram): void {
  const { source, destination } = datagram
  const answer = server.answer(datagram.payload, { transport: 'udp', source, destination })
  if (answer instanceof Promise) void answer.then(bytes => bytes && datagram.reply(bytes))
  else if (answer !== null) datagram.reply(answer)
}

/** Connections with DNS, of one server. */
export class DnsStreams {
  /** The one with the latest query stands last. */
  private readonly open = new Set<TunSocket | Socket>()

  constructor(
    private readonly server: DnsServer,
    private readonly limit = MAX_STREAMS,
  ) {}

  /**
   * Serves one until the client ends or goes silent; at the limit the one that has asked nothing for longest is closed (RFC 7766 §6.2.3).
   */
  serve(socket: TunSocket | Socket, from: { source: unknown; destination: unknown }): void {
    if (this.open.size >= this.limit) {
      for (const oldest of this.open) {
        this.open.delete(oldest)
        oldest.destroy()
        break
      }
    }
    this.open.add(socket)
    socket.on('close', () => this.open.delete(socket))
    serveStream(this.server, socket, from, () => {
      if (this.open.delete(socket)) this.open.add(socket)
    })
  }

  close(): void {
    for (const socket of this.open) socket.destroy()
  }
}

function serveStream(
  server: DnsServer,
  socket: TunSocket | Socket,
  { source, destination }: { source: unknown; destination: unknown },
  asking: () => void,
): void {
  const framer = new TcpFramer()
  let waiting = 0
  let ended = false
  socket.on('error', () => {}) // the client went away
  socket.setTimeout(TCP_IDLE, () => {
    if (waiting === 0) socket.destroy()
  })
  // Whoever asks on and on without reading the answers is not listened to meanwhile.
  const flow = () => {
    if (waiting >= TCP_PIPELINE || socket.writableNeedDrain) socket.pause()
    else socket.resume()
  }
  socket.on('drain', flow)
  const answered = (bytes: Uint8Array | null) => {
    waiting--
    if (bytes !== null && socket.writable) socket.write(frame(bytes))
    flow()
    if (ended && waiting === 0) socket.end()
  }
  socket.on('data', (chunk: Buffer) => {
    const queries = framer.push(chunk)
    if (queries.length > 0) asking()
    for (const query of queries) {
      waiting++
      const answer = server.answer(query, { transport: 'tcp', source, destination })
      if (answer instanceof Promise) void answer.then(answered)
      else answered(answer)
    }
    if (framer.failed) socket.destroy()
    else flow()
  })
  socket.on('end', () => {
    ended = true
    if (waiting === 0) socket.end()
  })
}
