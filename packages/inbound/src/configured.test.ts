// Keys of a config whose effect nothing else shows: each test breaks when its key is not handed on. docs/config.md names them.

import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { decodeMessage, encodeReply, readQuery, writeQuery } from '@tun/dns'
import { MemoryDevice } from '@tun/stack/testing'
import { afterEach, expect, test, vi } from 'vitest'
import { createTunInbound } from './create-tun-inbound.js'
import { steadyTime, until, type World, world } from './world.test-kit.js'

const opened: unknown[] = []
vi.mock('@tun/device', async original => ({
  ...(await original<object>()),
  NetworkMonitor: { open: () => undefined },
  openTun: (url: string, options: object) => {
    opened.push([url, options])
    return new MemoryDevice()
  },
}))
const sockets: Socket[] = []
afterEach(() => {
  opened.length = 0
  for (const socket of sockets.splice(0)) socket.close()
})

test('enable: false opens nothing', async () => {
  const disabled = createTunInbound({ tun: { enable: false, 'device-url': 'dev://tun0' } })
  await expect(disabled).rejects.toMatchObject({ code: 'ERR_TUN_DISABLED' })
  expect(opened).toEqual([])
})

test('device-url, mtu and gso: the device is opened with them', async () => {
  await using _ = await createTunInbound({ tun: { 'device-url': 'dev://tun7', mtu: 1400, gso: false } })
  expect(opened).toEqual([['dev://tun7', expect.objectContaining({ mtu: 1400, offload: false })]])
})

test('udp-timeout: a flow without traffic ends after so many seconds', async () => {
  await using w = await world({ tun: { 'udp-timeout': 1 } })
  let began = 0
  let ended = 0
  w.inbound.on('flow', flow => {
    began++
    flow.on('message', () => {})
    flow.on('close', () => ended++)
  })
  w.send('x', '192.0.2.1', 9, 1)
  await until(() => ended === 1)
  expect(began).toBe(1)
})

const A = 1
const HTTPS = 65
const tun = { 'dns-listen': '0.0.0.0:53' }

/** The answers to a query at the TUN. */
async function ask(w: World, name: string, type = A) {
  w.send(writeQuery(name, type) as Uint8Array, '192.0.2.53', 53)
  return decodeMessage((await w.answer()).payload)?.answers ?? []
}

/** A nameserver that counts what it is asked for. */
async function nameserver(type: string, data: unknown): Promise<{ at: string; asked: string[] }> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  sockets.push(socket)
  await once(socket, 'listening')
  const asked: string[] = []
  socket.on('message', (query, from) => {
    const { name } = readQuery(query)
    asked.push(name)
    socket.send(encodeReply(query, { answers: [{ name, type, ttl: 300, data }] } as never) as Uint8Array, from.port, from.address)
  })
  return { at: `127.0.0.1:${socket.address().port}`, asked }
}

test('fake-ip-ttl: fake addresses are told with it', async () => {
  await using w = await world({ tun, dns: { 'fake-ip-ttl': 77 } })
  expect(await ask(w, 'a.test')).toEqual([expect.objectContaining({ type: 'A', ttl: 77 })])
})

test('use-hosts: false leaves hosts aside', async () => {
  const hosts = { 'a.test': '192.0.2.7' }
  await using w = await world({ tun, dns: { hosts } })
  expect(await ask(w, 'a.test')).toEqual([expect.objectContaining({ data: '192.0.2.7' })])
  await using without = await world({ tun, dns: { hosts, 'use-hosts': false } })
  expect(await ask(without, 'a.test')).toEqual([expect.objectContaining({ data: expect.stringMatching(/^198\.18\./) })])
})

test('cache-max-size: with 0 every question goes to the nameserver', async () => {
  steadyTime()
  const { at, asked } = await nameserver('A', '192.0.2.9')
  for (const [size, questions] of [
    [4096, 1],
    [0, 3],
  ]) {
    asked.length = 0
    await using w = await world({ tun, dns: { 'enhanced-mode': 'normal', nameserver: [at], 'cache-max-size': size } })
    for (const _ of [1, 2, 3]) expect(await ask(w, 'a.test')).toEqual([expect.objectContaining({ data: '192.0.2.9' })])
    expect(asked).toHaveLength(questions)
  }
})

test('drop-alpn: HTTPS answers are told without these protocols', async () => {
  const rdata = (alpn: string) => Buffer.concat([Buffer.from([0, 1, 0, 0, 1, 0, alpn.length]), Buffer.from(alpn)]) // RFC 9460 §2.2
  const { at } = await nameserver('UNKNOWN_65', rdata('\x02h2\x02h3'))
  await using w = await world({ tun, dns: { nameserver: [at], 'drop-alpn': ['h3'] } })
  expect(await ask(w, 'a.test', HTTPS)).toEqual([expect.objectContaining({ data: rdata('\x02h2') })])
})

test('proxy-server-nameserver-policy: names of proxy servers have their own nameservers', async () => {
  const [all, own] = [await nameserver('A', '192.0.2.1'), await nameserver('A', '192.0.2.2')]
  const dns = { 'proxy-server-nameserver': [all.at], 'proxy-server-nameserver-policy': { '+.own.test': own.at } }
  await using w = await world({ dns })
  const resolve = async (name: string) => (await w.inbound.resolveServer(name)).map(({ address }) => address)
  expect([await resolve('a.test'), await resolve('a.own.test')]).toEqual([['192.0.2.1'], ['192.0.2.2']])
})
