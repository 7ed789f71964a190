// Two gateways that share their fake addresses in Redis: a name is resolved at one, the connection arrives at the other.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { decodeMessage, writeQuery } from '../../packages/dns/src/index.js'
import { connection, until as settled, type World, world } from '../../packages/inbound/src/world.test-kit.js'
import { until } from '../../scripts/lab/lab.mjs'
import { findBinary } from '../../scripts/peers.mjs'
import { describeSystem } from './requirements.js'

describeSystem('two gateways and Redis', { peers: ['redis-server'] }, () => {
  let redis: ChildProcess
  let url = ''

  beforeAll(async () => {
    const probe = createServer().listen(0, '127.0.0.1')
    await once(probe, 'listening')
    const { port } = probe.address() as AddressInfo
    probe.close()
    redis = spawn(findBinary('redis-server') as string, ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'], {
      stdio: 'ignore',
    })
    await until('redis-server', 15_000, () => {
      return new Promise<boolean>(resolve => {
        const socket = connect({ port, host: '127.0.0.1' }, () => resolve(true)).on('error', () => resolve(false))
        socket.on('connect', () => socket.destroy())
      })
    })
    url = `redis://127.0.0.1:${port}`
  })
  afterAll(async () => {
    redis?.kill('SIGKILL')
    if (redis) await once(redis, 'close')
  })

  const gateway = (options: object = {}) => world({ tun: { 'dns-listen': '0.0.0.0:53' }, dns: { 'fake-ip-store': url }, ...options })

  async function ask(w: World, host: string): Promise<string> {
    w.send(writeQuery(host, 1) as Uint8Array, '192.0.2.53', 53)
    return String(decodeMessage((await w.answer()).payload)?.answers[0]?.data)
  }

  it('a name resolved at A leads a connection and datagrams at B to that name', async () => {
    await using a = await gateway()
    await using b = await gateway()
    const fake = await ask(a, 'example.org')
    expect(fake).toMatch(/^198\.18\./)
    const app = b.connect(fake, 443)
    const socket = await connection(b.inbound)
    expect([socket.destination.host, socket.hostSource]).toEqual(['example.org', 'fake-ip'])
    socket.on('error', () => {})
    app.destroy()
    const other = await ask(a, 'other.test')
    const seen: string[] = []
    b.inbound.on('flow', flow => {
      flow.on('message', (payload, to) => void seen.push(`${payload} ${to.host}`))
    })
    for (const text of ['1', '2', '3']) b.send(text, other, 443)
    await settled(() => seen.length === 3)
    expect(seen).toEqual(['1 other.test', '2 other.test', '3 other.test'])
    expect(await ask(b, 'example.org')).toBe(fake)
  })

  it('an address that no gateway has given is unreachable at each', async () => {
    await using b = await gateway()
    b.connect('198.18.77.77', 80)
    expect(await b.icmpError()).toEqual({ type: 3, code: 1 })
  })

  it('an application that gives up while Redis is asked is no connection', async () => {
    await using b = await gateway()
    const seen: unknown[] = []
    b.inbound.on('connection', socket => seen.push(socket))
    b.connect('198.18.66.66', 80).destroy()
    await ask(b, 'later.test')
    expect(seen).toEqual([])
  })
})
