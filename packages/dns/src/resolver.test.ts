import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket as NetSocket, type Server } from 'node:net'
import { encode } from 'dns-packet'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { decodeMessage, encodeReply } from './codec.js'
import { frame, TcpFramer } from './frames.js'
import { KeptAnswer } from './kept-answer.js'
import { readQuery } from './message.js'
import { createResolver, type ResolverOptions } from './resolver.js'
import type { UpstreamDatagrams } from './upstream/exchange.js'
import { toldTo } from './without-opt.js'

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

async function tcpServer(port: number, answer: (query: Uint8Array) => Uint8Array | null, onSocket = () => {}): Promise<number> {
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

function resolver(nameservers: string[], options: Partial<ResolverOptions> = {}): ReturnType<typeof createResolver> {
  const made = createResolver({ nameservers, timeoutMs: 10_000, attemptMs: 400, cache: false, ...options })
  opened.push(() => made.close())
  return made
}

/** For tests in which every server answers: a busy machine must not look like a silent one. */
const PATIENT = { timeoutMs: 15_000, attemptMs: 10_000, raceMs: 10_000 }

const first = (answer: Uint8Array): unknown => decodeMessage(answer)?.answers[0]?.data

describe('UDP', () => {
  test('asks with another id each time and gives the answer the id and letters of the query', async () => {
    const ids = new Set<number>()
    const port = await udpServer((query, from, socket) => {
      ids.add(query.readUInt16BE())
      socket.send(answerTo(query, '203.0.113.5'), from.port, from.address)
    })
    const { resolve } = resolver([`127.0.0.1:${port}`], PATIENT)
    const answers: Uint8Array[] = []
    for (let i = 0; i < 4; i++) answers.push(await resolve(QUERY))
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

test('another network: answers are forgotten, who was silent is asked first again, no connection of the old one is used', async () => {
  let silent = true
  const quiet = await udpServer((query, from, socket) => {
    if (!silent) socket.send(answerTo(query, '203.0.113.1'), from.port, from.address)
  })
  const second = await udpServer((query, from, socket) => socket.send(answerTo(query, '203.0.113.2'), from.port, from.address))
  const made = resolver([`127.0.0.1:${quiet}`, `127.0.0.1:${second}`], { cache: {} })
  expect(first(await made.resolve(QUERY))).toBe('203.0.113.2')
  silent = false
  expect(first(await made.resolve(QUERY))).toBe('203.0.113.2')
  made.networkChanged()
  expect(first(await made.resolve(QUERY))).toBe('203.0.113.1')

  const port = await tcpServer(0, query => answerTo(query, '203.0.113.5'))
  const sockets: NetSocket[] = []
  const tcp = () => {
    const socket = connect(port, '127.0.0.1')
    sockets.push(socket)
    return socket
  }
  const over = resolver([`tcp://127.0.0.1:${port}`], { ...PATIENT, connect: { tcp } })
  await over.resolve(QUERY)
  await over.resolve(QUERY)
  expect(sockets).toHaveLength(1)
  over.networkChanged()
  expect(first(await over.resolve(QUERY))).toBe('203.0.113.5')
  expect(sockets.map(socket => socket.destroyed)).toEqual([true, false])
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
  ['tls://1.1.1.1', 'tls 1.1.1.1 853'],
  ['tls://dns.example:8853', 'tls dns.example 8853'],
  ['https://1.1.1.1/dns-query', 'https 1.1.1.1 443'],
  ['https://dns.example', 'https dns.example 443'],
  ['system', 'system  0'],
  ['rcode://refused', 'rcode  0'],
  ['rcode://nonsense', 'ERR_TUN_DNS_ADDRESS'],
  ['dns.example', 'udp dns.example 53'],
  ['quic://1.1.1.1', 'ERR_TUN_DNS_SCHEME'],
  ['1.2.3.256', 'ERR_TUN_DNS_ADDRESS'],
  ['1.2.3.4:0', 'ERR_TUN_DNS_ADDRESS'],
  ['1.2.3.4:65536', 'ERR_TUN_DNS_ADDRESS'],
  ['8.8.8.8#eth0', 'udp 8.8.8.8 53'],
  ['8.8.8.8#eth0&nonsense=1', 'ERR_TUN_DNS_ADDRESS'],
  ['8.8.8.8#ecs=1.2.3.4/33', 'ERR_TUN_DNS_ADDRESS'],
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

describe('streams', () => {
  const named = (query: Uint8Array, data = '203.0.113.5'): Uint8Array => {
    const { name } = readQuery(query)
    return encodeReply(query, {
      answers: [{ name, type: 'A', ttl: 60, data: name.startsWith('n') ? `10.0.0.${name.slice(1, -5)}` : data }],
    }) as Uint8Array
  }

  test('many queries share a connection, and answers come in any order', async () => {
    const held: { query: Uint8Array; socket: NetSocket }[] = []
    let connections = 0
    const server = createServer(socket => {
      connections++
      opened.push(() => socket.destroy())
      const framer = new TcpFramer()
      socket.on('data', chunk => {
        for (const query of framer.push(chunk)) held.push({ query, socket })
        if (held.length === 30) for (const { query, socket } of held.reverse()) socket.write(frame(named(query)))
      })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    opened.push(() => server.close())
    const made = resolver([`tcp://127.0.0.1:${(server.address() as AddressInfo).port}`], PATIENT)
    const asked = Array.from({ length: 30 }, (_, i) => made.addresses(`n${i}.test`, [4]))
    expect((await Promise.all(asked)).flat()).toEqual(Array.from({ length: 30 }, (_, i) => `10.0.0.${i}`))
    expect(connections).toBe(1)
  })

  test('one that the server closed while it was idle costs no query', async () => {
    let connections = 0
    const ends: (() => void)[] = []
    const server = createServer(socket => {
      connections++
      opened.push(() => socket.destroy())
      const framer = new TcpFramer()
      let answered = 0
      socket.on('error', () => {})
      socket.on('data', chunk => {
        // The second query of a connection meets a server that has just hung up.
        for (const query of framer.push(chunk)) answered++ === 0 ? socket.write(frame(named(query))) : socket.resetAndDestroy()
      })
      ends.push(() => socket.end())
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    opened.push(() => server.close())
    const made = resolver([`tcp://127.0.0.1:${(server.address() as AddressInfo).port}`], { ...PATIENT, rounds: 1 })
    for (let i = 1; i <= 3; i++) expect(await made.addresses(`n${i}.test`, [4])).toEqual([`10.0.0.${i}`])
    expect(connections).toBe(3)
  })
})

describe('several servers', () => {
  const says = (data: string) => udpServer((query, from, socket) => socket.send(answerTo(query, data), from.port, from.address))

  test('the next is asked when the first is late, and the first good answer wins', async () => {
    const silent = await udpServer(() => {})
    const good = await says('203.0.113.5')
    const made = resolver([`127.0.0.1:${silent}`, `127.0.0.1:${good}`], { ...PATIENT, raceMs: 20 })
    expect(first(await made.resolve(QUERY))).toBe('203.0.113.5')
  })

  test('one that gave no answer is asked last for a while', async () => {
    let asked = 0
    const silent = await udpServer(() => asked++)
    const good = await says('203.0.113.5')
    const made = resolver([`127.0.0.1:${silent}`, `127.0.0.1:${good}`], { ...PATIENT, attemptMs: 50 })
    for (let i = 0; i < 5; i++) await made.resolve(QUERY)
    expect(asked).toBe(1)
  })

  test('policy: a name’s own servers; the most specific entry decides, of equal ones the first', async () => {
    const [main, own, other] = [await says('1.1.1.1'), await says('2.2.2.2'), await says('3.3.3.3')]
    const at = (port: number) => [`127.0.0.1:${port}`]
    const policy = (...entries: [string, number][]) => entries.map(([domain, port]) => ({ domains: [domain], nameservers: at(port) }))
    const ask = (entries: [string, number][]) =>
      resolver(at(main), { ...PATIENT, policy: policy(...entries) })
        .resolve(QUERY)
        .then(first)
    expect(
      await ask([
        ['+.test', other],
        ['real.test', own],
        ['real.test', other],
        ['*.test', other],
      ]),
    ).toBe('2.2.2.2')
    expect(await ask([['other.test', own]])).toBe('1.1.1.1')
    expect(
      first(await resolver(at(main), { policy: [{ domains: ['real.test'], nameservers: ['rcode://name_error'] }] }).resolve(QUERY)),
    ).toBe(undefined)
  })

  test('fallback: taken for a distrusted address, a failure and its own names; else not', async () => {
    const [good, poisoned, fallback] = [await says('203.0.113.5'), await says('240.1.2.3'), await says('198.51.100.7')]
    const ask = async (main: string, fallbackFilter = {}) =>
      first(await resolver([main], { ...PATIENT, fallback: [`127.0.0.1:${fallback}`], fallbackFilter }).resolve(QUERY))
    const ipcidr = ['240.0.0.0/4']
    expect(await ask(`127.0.0.1:${good}`, { ipcidr })).toBe('203.0.113.5')
    expect(await ask(`127.0.0.1:${poisoned}`, { ipcidr })).toBe('198.51.100.7')
    expect(await ask(`127.0.0.1:${poisoned}`)).toBe('240.1.2.3')
    expect(await ask('rcode://server_failure')).toBe('198.51.100.7')
    expect(await ask(`127.0.0.1:${good}`, { domain: ['+.test'] })).toBe('198.51.100.7')
    const dead = resolver([`127.0.0.1:${poisoned}`], { ...PATIENT, fallback: ['255.255.255.255'], fallbackFilter: { ipcidr } })
    await expect(dead.resolve(QUERY)).rejects.toMatchObject({ code: 'ERR_TUN_DNS_TIMEOUT' })
  })

  test('a server given by name is asked for at the bootstrap servers, which must be addresses', async () => {
    const good = await says('203.0.113.5')
    const boot = await udpServer((query, from, socket) => {
      const { name } = readQuery(query)
      const answers = name === 'dns.test' ? [{ name, type: 'A', ttl: 60, data: '127.0.0.1' }] : []
      socket.send(encodeReply(query, { answers }) as Uint8Array, from.port, from.address)
    })
    const made = resolver([`dns.test:${good}`], { ...PATIENT, bootstrap: [`127.0.0.1:${boot}`] })
    expect(first(await made.resolve(QUERY))).toBe('203.0.113.5')
    expect(() => createResolver({ nameservers: ['a.test'], bootstrap: ['b.test'] })).toThrow(/is a name itself/)
  })
})

describe('what is remembered', () => {
  test('is told as it was when it came: every TTL, the client’s letters, OPT for who sent one; wherever the answer has its own OPT', () => {
    const record = (name: string, ttl: number) => ({ type: 'A', name, ttl, data: '203.0.113.5' })
    const opt = { type: 'OPT', name: '.', udpPayloadSize: 1400, extendedRcode: 0 }
    for (const additionals of [[], [opt], [opt, record('more.test', 7)], [record('more.test', 7), opt]]) {
      const answers = [record('real.test', 60), record('real.test', 5)]
      const questions = [{ type: 'A', name: 'real.test' }]
      const answer = encode({ type: 'response', id: 9, flags: 0x180, questions, answers, additionals } as never)
      for (const withOpt of [false, true]) {
        const query = encode({
          type: 'query',
          id: 77,
          flags: 0x100,
          questions: [{ type: 'A', name: 'ReaL.test' }],
          additionals: withOpt ? [opt] : [],
        } as never)
        const asked = readQuery(query)
        const kept = KeptAnswer.of(answer)
        expect(decodeMessage(kept?.tell(query, asked, 0, 0) as Uint8Array)).toEqual(
          decodeMessage(toldTo(answer, query, asked) as Uint8Array),
        )
        const later = decodeMessage(kept?.tell(query, asked, 6, 0) as Uint8Array)
        expect(later?.answers.map(({ ttl }) => ttl)).toEqual([54, 0])
        expect(later?.additionals.filter(({ type }) => type === 'A').map(({ ttl }) => ttl)).toEqual(additionals.length > 1 ? [1] : [])
      }
    }
    expect(KeptAnswer.of(Uint8Array.of(1, 2, 3))).toBe(null)
  })

  const counting = async (reply: (query: Uint8Array) => Uint8Array, options: Partial<ResolverOptions> = {}) => {
    let now = 0
    let asked = 0
    const port = await udpServer((query, from, socket) => {
      asked++
      socket.send(reply(query), from.port, from.address)
    })
    const { cache = {}, ...others } = options
    const made = resolver([`127.0.0.1:${port}`], { ...PATIENT, cache: cache && { now: () => now, ...cache }, ...others })
    return { made, asked: () => asked, pass: (seconds: number) => (now += 1000 * seconds) }
  }

  test('an answer for its TTL, which counts down; then it is asked for again', async () => {
    const { made, asked, pass } = await counting(query => answerTo(query, '203.0.113.5')) // TTL 9
    const ttl = async () => decodeMessage(await made.resolve(QUERY))?.answers[0]?.ttl
    expect([await ttl(), asked()]).toEqual([9, 1])
    pass(4)
    expect([await ttl(), asked()]).toEqual([5, 1])
    pass(5)
    expect([await ttl(), asked()]).toEqual([9, 2])
    made.flush()
    expect([await ttl(), asked()]).toEqual([9, 3])
  })

  test('that a name does not exist, as long as its SOA says (RFC 2308); without one, and SERVFAIL, never', async () => {
    const soa = (minimum: number) => ({ mname: 'a.test', rname: 'b.test', serial: 1, refresh: 1, retry: 1, expire: 1, minimum })
    const nxdomain =
      (authorities: object[], rcode = 3) =>
      (query: Uint8Array) =>
        encode({
          type: 'response',
          id: (query[0] << 8) | query[1],
          flags: 0x180 | rcode,
          questions: [{ type: 'A', name: 'real.test' }],
          authorities,
        } as never)
    const record = { type: 'SOA', name: 'test', ttl: 60, data: soa(30) }
    for (const [reply, after29, after30] of [
      [nxdomain([record]), 1, 2],
      [nxdomain([record], 0), 1, 2],
      [nxdomain([]), 2, 3],
      [nxdomain([record], 2), 2, 3],
    ] as const) {
      const { made, asked, pass } = await counting(reply, { rounds: 1 })
      await made.resolve(QUERY)
      pass(29)
      await made.resolve(QUERY)
      expect(asked()).toBe(after29)
      pass(1)
      await made.resolve(QUERY)
      expect(asked()).toBe(after30)
    }
  })

  test('stale answers only where wanted, when nobody answers, with TTL 30 (RFC 8767)', async () => {
    let up = true
    const reply = (query: Uint8Array) => (up ? answerTo(query, '203.0.113.5') : Buffer.alloc(1))
    const { made, pass } = await counting(reply, { cache: { staleSeconds: 100 }, timeoutMs: 100 })
    const without = await counting(reply, { timeoutMs: 100 })
    for (const one of [made, without.made]) await one.resolve(QUERY)
    up = false
    pass(50)
    without.pass(50)
    expect(decodeMessage(await made.resolve(QUERY))?.answers).toMatchObject([{ ttl: 30, data: '203.0.113.5' }])
    await expect(without.made.resolve(QUERY)).rejects.toMatchObject({ code: 'ERR_TUN_DNS_TIMEOUT' })
    pass(60)
    await expect(made.resolve(QUERY)).rejects.toMatchObject({ code: 'ERR_TUN_DNS_TIMEOUT' })
  })

  test('is bounded', async () => {
    const { made, asked } = await counting(
      query => encodeReply(query, { answers: [{ name: readQuery(query).name, type: 'A', ttl: 60, data: '1.1.1.1' }] }) as Uint8Array,
      {
        cache: { maxEntries: 3 },
      },
    )
    for (const name of ['a', 'b', 'c', 'd', 'd', 'c', 'b']) await made.addresses(name, [4])
    expect(asked()).toBe(4)
    await made.addresses('a', [4])
    expect(asked()).toBe(5)
  })

  test('who asks the same at once asks once; one who goes away takes nobody along, the last one ends it', async () => {
    let release = () => {}
    const gate = new Promise<void>(resolve => (release = resolve))
    let sent = 0
    const port = await udpServer(async (query, from, socket) => {
      sent++
      await gate
      socket.send(answerTo(query, '203.0.113.5'), from.port, from.address)
    })
    const made = resolver([`127.0.0.1:${port}`], PATIENT)
    const controller = new AbortController()
    const left = made.resolve(QUERY, { signal: controller.signal })
    const stays = [1, 2, 3].map(() => made.resolve(QUERY))
    controller.abort(new Error('gone'))
    await expect(left).rejects.toThrow('gone')
    release()
    for (const answer of await Promise.all(stays)) expect(first(answer)).toBe('203.0.113.5')
    expect([sent, made.stats.joined]).toEqual([1, 3])
  })

  test('the client’s EDNS0 is the client’s: asked with ours, told with OPT only to who sent one', async () => {
    const sizes: number[] = []
    const { made } = await counting(query => {
      sizes.push(readQuery(query).udpBytes)
      return encodeReply(query, { answers: [{ name: 'real.test', type: 'A', ttl: 60, data: '203.0.113.5' }] }) as Uint8Array
    })
    const withOpt = encode({
      type: 'query',
      id: 1,
      flags: 0x100,
      questions: [{ type: 'A', name: 'real.test' }],
      additionals: [{ type: 'OPT', name: '.', udpPayloadSize: 4096 } as never],
    })
    for (const [query, count] of [
      [QUERY, 0],
      [withOpt, 1],
      [QUERY, 0],
    ] as const) {
      expect(decodeMessage(await made.resolve(query))).toMatchObject({ answers: [{ data: '203.0.113.5' }], additionals: { length: count } })
    }
    expect(sizes).toEqual([1232])
  })
})

test('a query of ours that comes back is known by its port and id', async () => {
  const seen: [RemoteInfo, number][] = []
  const port = await udpServer((query, from) => seen.push([from, query.readUInt16BE()]))
  const made = resolver([`127.0.0.1:${port}`], { timeoutMs: 200 })
  const asked = made.resolve(QUERY).catch(() => {})
  await vi.waitFor(() => expect(seen).toHaveLength(1))
  const [[from, id]] = seen
  expect([
    made.isOwn('udp', from, id),
    made.isOwn('udp', from, id ^ 1),
    made.isOwn('udp', { ...from, port: from.port ^ 1 }, id),
    made.isOwn('tcp', from, id),
  ]).toEqual([true, false, false, false])
  made.close()
  await asked
  expect(made.isOwn('udp', from, id)).toBe(false)
})

test('a connection of ours is known by its address and port: another behind the TUN may have the same port', async () => {
  const seen: NetSocket[] = []
  const server = createServer(socket => seen.push(socket.on('error', () => {}))).listen(0, '127.0.0.1')
  await once(server, 'listening')
  opened.push(() => server.close())
  const made = resolver([`tcp://127.0.0.1:${(server.address() as AddressInfo).port}`], { timeoutMs: 300 })
  const asked = made.resolve(QUERY).catch(() => {})
  await vi.waitFor(() => expect(seen).toHaveLength(1))
  const port = seen[0].remotePort as number
  await vi.waitFor(() => expect(made.isOwn('tcp', { address: '127.0.0.1', port }, 1)).toBe(true))
  expect(made.isOwn('tcp', { address: '10.0.0.9', port }, 1)).toBe(false)
  made.close()
  await asked
})

describe('behind a nameserver’s #', () => {
  /** A proxy's datagrams: what was sent, and a way to answer. */
  function line() {
    const sent: Uint8Array[] = []
    let receive = (_: Uint8Array) => {}
    let end = (_?: Error) => {}
    const state = { sent, opened: 0, answer: (bytes: Uint8Array) => receive(bytes), end: (error?: Error) => end(error), closed: false }
    const open = (): UpstreamDatagrams => {
      state.opened++
      return {
        send: query => sent.push(query) > 0,
        onMessage: fn => {
          receive = fn
        },
        closed: new Promise(resolve => {
          end = resolve
        }),
        close: () => {
          state.closed = true
          end()
        },
      }
    }
    return { state, open }
  }

  test('a proxy: datagrams of one association, many at once, told apart by id; what is not asked for is passed over', async () => {
    const { state, open } = line()
    const vias: unknown[] = []
    const made = resolver(['192.0.2.53#s5'], {
      connect: {
        datagrams: to => {
          vias.push(to.via, to.address)
          return open()
        },
      },
    })
    const asked = ['a.test', 'b.test', 'c.test'].map(name => made.addresses(name, [4]))
    await vi.waitFor(() => expect(state.sent).toHaveLength(3))
    expect(new Set(state.sent.map(query => readQuery(query).id)).size).toBe(3)
    state.answer(Uint8Array.of(1))
    for (const query of [...state.sent].reverse()) {
      const wrong = new Uint8Array(query)
      wrong[2] |= 0x80
      wrong[13] ^= 1 // another name
      state.answer(wrong)
      state.answer(
        encodeReply(query, { answers: [{ name: readQuery(query).name, type: 'A', data: `203.0.113.${query[13] - 96}` }] }) as Uint8Array,
      )
    }
    expect(await Promise.all(asked)).toEqual([['203.0.113.1'], ['203.0.113.2'], ['203.0.113.3']])
    expect([state.opened, vias, made.stats.mismatched]).toEqual([1, ['s5', '192.0.2.53'], 4])
    made.close()
    await vi.waitFor(() => expect(state.closed).toBe(true))
  })

  test('a proxy: an association that ends is made anew, a cut answer is asked for over the proxy’s TCP', async () => {
    const { state, open } = line()
    const tcp = await tcpServer(0, query => answerTo(query, '203.0.113.9'))
    const made = resolver(['192.0.2.53#s5'], { connect: { datagrams: open, tcp: () => connect(tcp, '127.0.0.1') } })
    const first = made.resolve(QUERY)
    await vi.waitFor(() => expect(state.sent).toHaveLength(1))
    state.end(new Error('the proxy has gone'))
    await vi.waitFor(() => expect(state.sent).toHaveLength(2))
    expect(state.opened).toBe(2)
    const cut = encodeReply(state.sent[1]) as Uint8Array
    cut[2] |= 2
    state.answer(cut)
    expect(decodeMessage(await first)?.answers[0].data).toBe('203.0.113.9')
  })

  test('a proxy: another network, or silence, has the next query ask by a new association', async () => {
    const { state, open } = line()
    const made = resolver(['192.0.2.53#s5'], { attemptMs: 400, connect: { datagrams: open } })
    const answer = async (count: number) => {
      await vi.waitFor(() => expect(state.sent).toHaveLength(count))
      state.answer(answerTo(state.sent[count - 1], '203.0.113.9'))
    }
    const [first] = await Promise.all([made.resolve(QUERY), answer(1)])
    expect(decodeMessage(first)?.answers[0].data).toBe('203.0.113.9')
    made.networkChanged()
    await vi.waitFor(() => expect(state.closed).toBe(true))
    await Promise.all([made.resolve(QUERY), answer(2)])
    expect(state.opened).toBe(2)
    made.flush()
    await Promise.all([made.resolve(QUERY), answer(4)]) // the third has no answer
    expect(state.opened).toBe(3)
    made.close()
  })

  test('nothing but a socket of our own leads there: that is used; a way that is refused fails the query', async () => {
    const port = await udpServer((query, from, socket) => socket.send(answerTo(query, '203.0.113.5'), from.port, from.address))
    const made = resolver([`127.0.0.1:${port}#DIRECT`], { connect: { datagrams: () => undefined, tcp: () => undefined } })
    expect(decodeMessage(await made.resolve(QUERY))?.answers[0].data).toBe('203.0.113.5')
    const refuse = () => Promise.reject(new Error('no'))
    const none = resolver([`127.0.0.1:${port}#REJECT`], { rounds: 1, connect: { datagrams: refuse } })
    await expect(none.resolve(QUERY)).rejects.toMatchObject({ cause: { message: 'no' } })
  })

  test('via is for all but the bootstrap servers and those that have their own', async () => {
    const vias: unknown[] = []
    const port = await udpServer((query, from, socket) => {
      socket.send(
        encodeReply(query, { answers: [{ name: 'dns.test', type: 'A', data: '127.0.0.1' }] }) as Uint8Array,
        from.port,
        from.address,
      )
    })
    const made = resolver([`udp://dns.test:${port}`, `127.0.0.1:${port}#own`], {
      via: 'RULES',
      bootstrap: [`127.0.0.1:${port}`],
      connect: {
        udp: to => {
          vias.push(`${to.host ?? ''} ${to.via}`)
          return undefined
        },
      },
    })
    await made.resolve(QUERY)
    expect(vias.slice(0, 2)).toEqual([' undefined', 'dns.test RULES'])
    expect(made.servers.map(({ via }) => via)).toEqual(['RULES', 'own'])
  })

  test('types that are not asked for are empty, a client subnet goes along (RFC 7871)', async () => {
    const seen: string[] = []
    const port = await udpServer((query, from, socket) => {
      seen.push(query.subarray(readQuery(query).end).toString('hex'))
      socket.send(answerTo(query, '203.0.113.5'), from.port, from.address)
    })
    const made = resolver([`127.0.0.1:${port}#disable-ipv6=true&ecs=192.0.2.255/20`])
    expect(await made.addresses('real.test', [4, 6])).toEqual(['203.0.113.5'])
    expect(seen).toEqual(['0000290' + '4d00000000' + '0000b' + '00080007' + '00011400' + 'c00000'])
  })
})

describe('a connection that falls silent', () => {
  /** Answers `limit` queries of each connection, no more, if several are there before the first answer: then it has stopped reading. */
  async function server(limit: number) {
    const state = { connections: 0, most: 0 }
    const listening = createServer(socket => {
      state.connections++
      opened.push(() => socket.destroy())
      const framer = new TcpFramer()
      let left = limit
      let there = 0
      socket.on('error', () => {})
      socket.on('data', chunk => {
        for (const query of framer.push(chunk)) {
          state.most = Math.max(state.most, ++there)
          if (there > 1 && left-- <= 0) continue
          setTimeout(() => {
            there--
            socket.write(
              frame(encodeReply(query, { answers: [{ name: readQuery(query).name, type: 'A', data: '203.0.113.5' }] }) as Uint8Array),
            )
          }, 5)
        }
      })
    })
    listening.listen(0, '127.0.0.1')
    await once(listening, 'listening')
    opened.push(() => listening.close())
    return { state, at: `tcp://127.0.0.1:${(listening.address() as AddressInfo).port}` }
  }

  test('gets no more queries: the next attempt is on another, one query at a time, and all are answered', async () => {
    const { at, state } = await server(2)
    const made = resolver([at], { attemptMs: 400, rounds: 3 })
    const names = Array.from({ length: 20 }, (_, i) => `n${i}.test`)
    expect((await Promise.all(names.map(name => made.addresses(name, [4])))).flat()).toEqual(names.map(() => '203.0.113.5'))
    expect(state.most).toBeGreaterThan(3) // so it did fall silent
    state.most = 0
    await Promise.all(names.map(name => made.addresses(name, [4])))
    expect(state.most).toBe(1)
    expect(state.connections).toBeLessThanOrEqual(12)
  })

  test('and never answered: the next query does not wait for it', async () => {
    let connections = 0
    const port = await tcpServer(
      0,
      query => (connections > 1 ? answerTo(query, '203.0.113.5') : new Uint8Array(1)),
      () => connections++,
    )
    const made = resolver([`tcp://127.0.0.1:${port}`], { attemptMs: 300 })
    expect(decodeMessage(await made.resolve(QUERY))?.answers[0].data).toBe('203.0.113.5')
    expect(connections).toBe(2)
  })
})
