// Owns: nameservers on loopback and a resolver that asks them, for tests. All of them end with the test.

import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { encode } from 'dns-packet'
import { afterEach } from 'vitest'
import { decodeMessage } from './codec.js'
import { frame, TcpFramer } from './frames.js'
import { createResolver, type ResolverOptions } from './resolver.js'

export const QUERY = encode({ type: 'query', id: 0x1234, flags: 0x100, questions: [{ type: 'A', name: 'rEaL.test' }] })

export const opened: (() => void)[] = []
afterEach(() => {
  for (const close of opened.splice(0)) close()
})

export const answerTo = (query: Uint8Array, data: string, flags = 0x180): Buffer =>
  encode({
    type: 'response',
    id: (query[0] << 8) | query[1],
    flags,
    questions: [{ type: 'A', name: 'real.test' }],
    answers: [{ type: 'A', name: 'real.test', ttl: 9, data }],
  })

/** A nameserver on loopback; what it does with a datagram is the test's. */
export async function udpServer(onQuery: (query: Buffer, from: RemoteInfo, socket: Socket) => void): Promise<number> {
  const socket = createSocket('udp4')
  socket.on('message', (query, from) => onQuery(query, from, socket))
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  opened.push(() => socket.close())
  return socket.address().port
}

export async function tcpServer(port: number, answer: (query: Uint8Array) => Uint8Array | null, onSocket = () => {}): Promise<number> {
  const server: Server = createServer(socket => {
    onSocket()
    opened.push(() => socket.destroy())
    const framer = new TcpFramer()
    socket.on('error', () => {})
    socket.on('data', chunk => {
      for (const query of framer.push(chunk)) {
        const bytes = answer(query)
        if (bytes === null) return void socket.end()
        const framed = frame(bytes)
        socket.write(framed.subarray(0, 5))
        setTimeout(() => socket.write(framed.subarray(5)), 5)
      }
    })
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  opened.push(() => server.close())
  return (server.address() as { port: number }).port
}

export function resolver(nameservers: string[], options: Partial<ResolverOptions> = {}): ReturnType<typeof createResolver> {
  const made = createResolver({ nameservers, timeoutMs: 10_000, attemptMs: 400, cache: false, ...options })
  opened.push(() => made.close())
  return made
}

/** For tests in which every server answers: a busy machine must not look like a silent one. */
export const PATIENT = { timeoutMs: 15_000, attemptMs: 10_000, raceMs: 10_000 }

export const first = (answer: Uint8Array): unknown => decodeMessage(answer)?.answers[0]?.data
