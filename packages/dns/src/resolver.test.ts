// The resolver over datagrams, whom of several servers it asks, when it gives up, and what it knows as its own.

import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket as NetSocket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { decodeMessage, encodeReply } from './codec.js'
import { readQuery } from './message.js'
import { createResolver } from './resolver.js'
import { answerTo, first, opened, PATIENT, QUERY, resolver, steadyTime, tcpServer, udpServer, until } from './resolver.test-kit.js'

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
    steadyTime()
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
    steadyTime()
    let count = 0
    const port = await udpServer((query, from, socket) => {
      if (++count === 2) socket.send(answerTo(query, '203.0.113.5'), from.port, from.address)
    })
    expect(first(await resolver([`127.0.0.1:${port}`]).resolve(QUERY))).toBe('203.0.113.5')
  })

  test('TC asks the same server again over TCP; without one the cut answer is passed on', async () => {
    const cut = (query: Buffer, from: RemoteInfo, socket: Socket) => socket.send(answerTo(query, '6.6.6.6', 0x380), from.port, from.address)
    const alone = await udpServer(cut)
    expect((await resolver([`127.0.0.1:${alone}`], PATIENT).resolve(QUERY))[2] & 2).toBe(2)
    // TCP first: the ports of its connections stay taken for a minute after their end.
    const both = async (): Promise<number> => {
      const port = await tcpServer(0, query => answerTo(query, '203.0.113.5'))
      return udpServer(cut, port).catch(both)
    }
    const port = await both()
    expect(first(await resolver([`127.0.0.1:${port}`], PATIENT).resolve(QUERY))).toBe('203.0.113.5')
  })
})

test('another network: answers are forgotten, who was silent is asked first again, no connection of the old one is used', async () => {
  steadyTime()
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
    steadyTime()
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

describe('several servers', () => {
  const says = (data: string) => udpServer((query, from, socket) => socket.send(answerTo(query, data), from.port, from.address))

  test('the next is asked when the first is late, and the first good answer wins', async () => {
    const silent = await udpServer(() => {})
    const good = await says('203.0.113.5')
    const made = resolver([`127.0.0.1:${silent}`, `127.0.0.1:${good}`], { ...PATIENT, raceMs: 20 })
    expect(first(await made.resolve(QUERY))).toBe('203.0.113.5')
  })

  test('one that gave no answer is asked last for a while', async () => {
    steadyTime()
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

test('a query of ours that comes back is known by its port and id', async () => {
  const seen: [RemoteInfo, number][] = []
  const port = await udpServer((query, from) => seen.push([from, query.readUInt16BE()]))
  const made = resolver([`127.0.0.1:${port}`], PATIENT)
  const asked = made.resolve(QUERY).catch(() => {})
  await until(() => seen.length === 1)
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
  const made = resolver([`tcp://127.0.0.1:${(server.address() as AddressInfo).port}`], PATIENT)
  const asked = made.resolve(QUERY).catch(() => {})
  await until(() => seen.length === 1)
  const port = seen[0].remotePort as number
  await until(() => made.isOwn('tcp', { address: '127.0.0.1', port }, 1))
  expect(made.isOwn('tcp', { address: '10.0.0.9', port }, 1)).toBe(false)
  made.close()
  await asked
})
