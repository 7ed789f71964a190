// Owns: nameservers on loopback and a resolver that asks them, for tests. All of them end with the test.

import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { encode } from 'dns-packet'
import { afterEach, onTestFinished, vi } from 'vitest'
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
export async function udpServer(onQuery: (query: Buffer, from: RemoteInfo, socket: Socket) => void, port = 0): Promise<number> {
  const socket = createSocket('udp4')
  socket.on('message', (query, from) => onQuery(query, from, socket))
  socket.bind(port, '127.0.0.1')
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
export const PATIENT = { timeoutMs: 60_000, attemptMs: 60_000, raceMs: 60_000 }

/**
 * For tests in which a server is silent. Until the test ends, time goes on by 5 ms at most between two looks at the sockets, however long
 * this process stands still: only who says nothing is late.
 */
export function steadyTime(): void {
  vi.useFakeTimers({ shouldAdvanceTime: true, advanceTimeDelta: 5, toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  onTestFinished(() => void vi.useRealTimers())
}

const later = setTimeout

/** Resolves when `condition` holds; how long that may take is the test's timeout. In real time, also where that of a test is not. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => later(resolve, 1))
}

export const first = (answer: Uint8Array): unknown => decodeMessage(answer)?.answers[0]?.data
