// The server behind real sockets on loopback, asked by c-ares (node's resolver), and through our own resolver by itself.

import { createSocket } from 'node:dgram'
import { Resolver as CaresResolver } from 'node:dns/promises'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { encodeReply } from './codec.js'
import { DomainSet } from './domain-set.js'
import { FakeIpPool } from './fake-ip.js'
import { frame, TcpFramer } from './frames.js'
import { createResolver } from './resolver.js'
import { PATIENT } from './resolver.test-kit.js'
import { DnsServer } from './server.js'

const close: (() => void)[] = []
const cares = new CaresResolver({ timeout: 20_000, tries: 1 })

/** Serves UDP and TCP on one free port of loopback. */
async function serve(server: DnsServer): Promise<number> {
  const tcp = createServer(socket => {
    const framer = new TcpFramer()
    socket.on('error', () => {})
    socket.on('data', async chunk => {
      for (const query of framer.push(chunk)) {
        const answer = await server.answer(query, { transport: 'tcp' })
        if (answer) socket.write(frame(answer))
      }
    })
  }).listen(0, '127.0.0.1')
  await once(tcp, 'listening')
  const { port } = tcp.address() as { port: number }
  const udp = createSocket('udp4')
  const isFree = await new Promise<boolean>(resolve => {
    udp.once('error', () => resolve(false)).bind(port, '127.0.0.1', () => resolve(true))
  })
  if (!isFree) {
    for (const one of [udp, tcp]) one.close()
    return serve(server)
  }
  udp.on('message', async (query, from) => {
    const answer = await server.answer(query, { transport: 'udp' })
    if (answer) udp.send(answer, from.port, from.address)
  })
  close.push(
    () => tcp.close(),
    () => udp.close(),
    () => server.close(),
  )
  return port
}

beforeAll(async () => {
  const text = 'x'.repeat(200)
  const real = new DnsServer({
    handler: query =>
      encodeReply(query, {
        answers: [
          { name: 'real.test', type: 'A', ttl: 60, data: '203.0.113.5' },
          ...Array.from({ length: 15 }, (_, i) => ({ name: 'real.test', type: 'TXT', ttl: 60, data: `${i}${text}` })),
        ],
      }),
  })
  const upstream = createResolver({ ...PATIENT, nameservers: [`127.0.0.1:${await serve(real)}`] })
  const fakeIp = new FakeIpPool({ range6: 'fc00::/18' })
  const server = new DnsServer({ fakeIp, filter: new DomainSet(['+.real.test']), resolve: upstream.resolve })
  cares.setServers([`127.0.0.1:${await serve(server)}`])
})
afterAll(() => {
  for (const end of close) end()
})

test('fake addresses with TTL 1, and back to the name', async () => {
  expect(await cares.resolve4('Www.Example', { ttl: true })).toEqual([{ address: '198.18.0.2', ttl: 1 }])
  expect(await cares.resolve6('www.example')).toEqual(['fc00::2'])
  expect(await cares.reverse('198.18.0.2')).toEqual(['www.example'])
  await expect(cares.reverse('198.18.7.7')).rejects.toMatchObject({ code: 'ENOTFOUND' })
})

test('3 KB through both servers: cut over UDP, whole over TCP, twice', async () => {
  const texts = await cares.resolveTxt('real.test')
  expect(texts).toHaveLength(15)
  expect(await cares.resolve4('real.test')).toEqual(['203.0.113.5'])
})
