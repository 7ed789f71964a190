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

/** Answers one datagram, now or when the resolver has. */
export function answerDatagram(server: DnsServer, datagram: TunDatagram): void {
  const { source, destination } = datagram
  const answer = server.answer(datagram.payload, { transport: 'udp', source, destination })
  if (answer instanceof Promise) void answer.then(bytes => bytes && datagram.reply(bytes))
  else if (answer !== null) datagram.reply(answer)
}

/** Serves DNS over one connection until the client ends or goes silent. */
export function serveStream(
  server: DnsServer,
  socket: TunSocket | Socket,
  { source, destination }: { source: unknown; destination: unknown },
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
    for (const query of framer.push(chunk)) {
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
