// Queries over TCP: many on a connection, in any order; connections that end or fall silent. RFC 7766.

import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket as NetSocket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { decodeMessage, encodeReply } from '../codec.js'
import { frame, TcpFramer } from '../frames.js'
import { readQuery } from '../message.js'
import { answerTo, first, opened, PATIENT, QUERY, resolver, steadyTime, tcpServer } from '../resolver.test-kit.js'

test('TCP: framed, cut anywhere; a server that hangs up is passed over', async () => {
  const hangup = await tcpServer(0, () => null)
  const good = await tcpServer(0, query => answerTo(query, '203.0.113.5'))
  expect(first(await resolver([`tcp://127.0.0.1:${hangup}`, `tcp://127.0.0.1:${good}`], PATIENT).resolve(QUERY))).toBe('203.0.113.5')
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
    steadyTime()
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
    steadyTime()
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
