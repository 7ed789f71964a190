import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { encode } from 'dns-packet'
import { afterEach, describe, expect, test } from 'vitest'
import { decodeMessage } from './codec.js'
import { frame, TcpFramer } from './frames.js'
import { createResolver, type ResolverOptions } from './upstream.js'

const QUERY = encode({ type: 'query', id: 0x1234, flags: 0x100, questions: [{ type: 'A', name: 'rEaL.test' }] })

const opened: (() => void)[] = []
afterEach(() => {
  for (const close of opened.splice(0)) close()
})

const answerTo = (query: Uint8Array, data: string, flags = 0x180): Buffer =>
  encode({
    type: 'response',
    id: (query[0] << 8) | query[1],
    flags,
    questions: [{ type: 'A', name: 'real.test' }],
    answers: [{ type: 'A', name: 'real.test', ttl: 9, data }],
  })

/** A nameserver on loopback; what it does with a datagram is the test's. */
async function udpServer(onQuery: (query: Buffer, from: RemoteInfo, socket: Socket) => void): Promise<number> {
  const socket = createSocket('udp4')
  socket.on('message', (query, from) => onQuery(query, from, socket))
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  opened.push(() => socket.close())
  return socket.address().port
}

async function tcpServer(port: number, answer: (query: Uint8Array) => Uint8Array | null): Promise<number> {
  const server: Server = createServer(socket => {
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

function resolver(nameservers: string[], options: Partial<ResolverOptions> = {}): ReturnType<typeof createResolver> {
  const made = createResolver({ nameservers, timeoutMs: 10_000, attemptMs: 400, ...options })
  opened.push(() => made.close())
  return made
}

/** For tests in which every server answers: a busy machine must not look like a silent one. */
const PATIENT = { timeoutMs: 15_000, attemptMs: 10_000 }

const first = (answer: Uint8Array): unknown => decodeMessage(answer)?.answers[0]?.data

describe('UDP', () => {
  test('asks with another id each time and gives the answer the id and letters of the query', async () => {
    const ids = new Set<number>()
    const port = await udpServer((query, from, socket) => {
      ids.add(query.readUInt16BE())
      socket.send(answerTo(query, '203.0.113.5'), from.port, from.address)
    })
    const { resolve } = resolver([`127.0.0.1:${port}`], PATIENT)
    const answers = await Promise.all([1, 2, 3, 4].map(() => resolve(QUERY)))
    for (const answer of answers)
      expect(decodeMessage(answer)).toMatchObject({ id: 0x1234, questions: [{ name: 'rEaL.test' }], answers: [{ data: '203.0.113.5' }] })
    expect(ids.size).toBeGreaterThan(1)
  })

  test('is not taken in by a wrong id, a wrong question, a query or another port', async () => {
    const stranger = createSocket('udp4')
    opened.push(() => stranger.close())
    stranger.bind(0, '127.0.0.1')
    await once(stranger, 'listening')
    const port = await udpServer((query, from, socket) => {
      const send = (bytes: Uint8Array): void => socket.send(bytes, from.port, from.address)
      const forged = answerTo(query, '6.6.6.6')
      stranger.send(forged, from.port, from.address, () => {
        send(Uint8Array.from(forged, (byte, i) => (i === 1 ? byte ^ 1 : byte)))
        send(Uint8Array.from(forged, (byte, i) => (i === 13 ? byte ^ 1 : byte)))
        send(query)
        send(Buffer.alloc(3))
        send(answerTo(query, '203.0.113.5')) // behind the others: loopback keeps the order
      })
    })
    const made = resolver([`udp://127.0.0.1:${port}`], PATIENT) // a second attempt would bring the forgeries again
    expect(first(await made.resolve(QUERY))).toBe('203.0.113.5')
    expect(made.stats.mismatched).toBe(4)
  })

  test('a server without a route is passed over', async () => {
    const good = await udpServer((query, from, socket) => socket.send(answerTo(query, '203.0.113.5'), from.port, from.address))
    const { resolve } = resolver(['255.255.255.255', `127.0.0.1:${good}`], PATIENT) // connect(2) answers EACCES or ENETUNREACH
    expect(first(await resolve(QUERY))).toBe('203.0.113.5')
    const alone = resolver(['255.255.255.255'], PATIENT)
    await expect(alone.resolve(QUERY)).rejects.toMatchObject({ code: 'ERR_TUN_DNS_TIMEOUT', cause: { syscall: 'connect' } })
  })

  test('goes to the next server after silence, a closed port and a refusal', async () => {
    const silent = await udpServer(() => {})
    const refusing = await udpServer((query, from, socket) => socket.send(answerTo(query, '6.6.6.6', 0x185), from.port, from.address))
    const good = await udpServer((query, from, socket) => socket.send(answerTo(query, '203.0.113.5'), from.port, from.address))
    const closed = await udpServer(() => {})
    opened.pop()?.()
    const { resolve } = resolver([`127.0.0.1:${silent}`, `127.0.0.1:${refusing}`, `127.0.0.1:${closed}`, `127.0.0.1:${good}`])
    expect(first(await resolve(QUERY))).toBe('203.0.113.5')
  })

  test('a refusal is the answer if nobody knows better', async () => {
    const port = await udpServer((query, from, socket) =>
      socket.send(Buffer.concat([query.subarray(0, 2), Buffer.from('81850000000000000000', 'hex')]), from.port, from.address),
    )
    const answer = await resolver([`127.0.0.1:${port}`], PATIENT).resolve(QUERY)
    expect([answer[0], answer[1], answer[3] & 15, answer.length]).toEqual([0x12, 0x34, 5, QUERY.length])
  })

  test('a lost datagram is sent again', async () => {
    let count = 0
    const port = await udpServer((query, from, socket) => {
      if (++count === 2) socket.send(answerTo(query, '203.0.113.5'), from.port, from.address)
    })
    expect(first(await resolver([`127.0.0.1:${port}`]).resolve(QUERY))).toBe('203.0.113.5')
  })

  test('TC asks the same server again over TCP; without one the cut answer is passed on', async () => {
    const port = await udpServer((query, from, socket) => socket.send(answerTo(query, '6.6.6.6', 0x380), from.port, from.address))
    const { resolve } = resolver([`127.0.0.1:${port}`], PATIENT)
    expect((await resolve(QUERY))[2] & 2).toBe(2)
    await tcpServer(port, query => answerTo(query, '203.0.113.5'))
    expect(first(await resolve(QUERY))).toBe('203.0.113.5')
  })
})

test('TCP: framed, cut anywhere; a server that hangs up is passed over', async () => {
  const hangup = await tcpServer(0, () => null)
  const good = await tcpServer(0, query => answerTo(query, '203.0.113.5'))
  expect(first(await resolver([`tcp://127.0.0.1:${hangup}`, `tcp://127.0.0.1:${good}`], PATIENT).resolve(QUERY))).toBe('203.0.113.5')
})

test('hooks make the sockets', async () => {
  const port = await udpServer((query, from, socket) => socket.send(answerTo(query, from.address), from.port, from.address))
  const udp = async (): Promise<Socket> => {
    const socket = createSocket('udp4')
    await new Promise<void>(bound => socket.bind(0, '127.0.0.9', bound))
    return socket
  }
  expect(first(await resolver([`127.0.0.1:${port}`], { ...PATIENT, connect: { udp } }).resolve(QUERY))).toBe('127.0.0.9')
  const failing = resolver([`127.0.0.1:${port}`], { connect: { udp: async () => Promise.reject(new Error('no uplink')) } })
  await expect(failing.resolve(QUERY)).rejects.toMatchObject({ code: 'ERR_TUN_DNS_TIMEOUT', cause: { message: 'no uplink' } })
})

describe('gives up', () => {
  test('in time, on abort, when closed, when too many', async () => {
    const port = await udpServer(() => {})
    const made = resolver([`127.0.0.1:${port}`], { timeoutMs: 60, maxInFlight: 2 })
    await expect(made.resolve(QUERY)).rejects.toMatchObject({ code: 'ERR_TUN_DNS_TIMEOUT' })
    const controller = new AbortController()
    const aborted = made.resolve(QUERY, { signal: controller.signal })
    const other = made.resolve(QUERY)
    await expect(made.resolve(QUERY)).rejects.toMatchObject({ code: 'ERR_TUN_DNS_OVERLOAD' })
    controller.abort(new Error('enough'))
    await expect(aborted).rejects.toThrow('enough')
    made.close()
    await expect(other).rejects.toMatchObject({ code: 'ERR_TUN_DNS_CLOSED' })
    await expect(made.resolve(QUERY)).rejects.toMatchObject({ code: 'ERR_TUN_DNS_CLOSED' })
  })

  test('on what is no query', async () => {
    await expect(resolver(['127.0.0.1']).resolve(new Uint8Array(5))).rejects.toMatchObject({ code: 'ERR_TUN_DNS_LENGTH' })
  })
})

test.each([
  ['10.0.0.1', 'udp 10.0.0.1 53'],
  ['10.0.0.1:5353', 'udp 10.0.0.1 5353'],
  ['2001:db8::1', 'udp 2001:db8::1 53'],
  ['[2001:db8::1]:54', 'udp 2001:db8::1 54'],
  ['udp://1.2.3.4:53', 'udp 1.2.3.4 53'],
  ['TCP://[::1]', 'tcp ::1 53'],
  ['tls://1.1.1.1', 'ERR_TUN_DNS_SCHEME'],
  ['https://1.1.1.1/dns-query', 'ERR_TUN_DNS_SCHEME'],
  ['system', 'ERR_TUN_DNS_SCHEME'],
  ['dns.example', 'ERR_TUN_DNS_ADDRESS'],
  ['1.2.3.4:0', 'ERR_TUN_DNS_ADDRESS'],
  ['1.2.3.4:65536', 'ERR_TUN_DNS_ADDRESS'],
  ['8.8.8.8#eth0', 'ERR_TUN_DNS_ADDRESS'],
  ['', 'ERR_TUN_DNS_ADDRESS'],
])('nameserver %j is %s', (text, expected) => {
  const parse = (): string => {
    try {
      const [{ transport, address, port }] = createResolver({ nameservers: [text] }).servers
      return `${transport} ${address} ${port}`
    } catch (error) {
      return (error as { code: string }).code
    }
  }
  expect(parse()).toBe(expected)
})
