import { spawn } from 'node:child_process'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { createServer, type Server, Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { DialedSocket } from '@tun/device'
import { afterEach, describe, expect, test } from 'vitest'
import { connectTcp, type DirectOptions, direct } from './direct.js'
import type { Destination } from './outbound.js'
import { frozenTime } from './world.test-kit.js'

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.close()
})

async function listen(host: string, port = 0): Promise<Destination> {
  const server = createServer(socket => socket.on('error', () => {}).end(`from ${socket.remoteAddress}`)).listen({
    host,
    port,
    ipv6Only: true,
  })
  servers.push(server)
  await once(server, 'listening')
  return { address: host, port: (server.address() as { port: number }).port, family: host.includes(':') ? 6 : 4 }
}

async function closedPort(): Promise<Destination> {
  const destination = await listen('127.0.0.1')
  await new Promise(resolve => servers.pop()!.close(resolve))
  return destination
}

async function readAll(socket: AsyncIterable<Buffer>): Promise<string> {
  let text = ''
  for await (const chunk of socket) text += chunk
  return text
}

const dial = async (destination: Destination, options: DirectOptions = {}, signal?: AbortSignal) =>
  (await direct(options).dial(destination, signal)) as Socket

describe('by address', () => {
  test.each([
    ['direct(): a DialedSocket', dial as (to: Destination) => Promise<Socket>, DialedSocket.prototype, []],
    ['connectTcp(): a plain net.Socket', (to: Destination) => connectTcp(to, {}), Socket.prototype, new Socket().eventNames()],
  ])('%s, connected, half-open, and without listeners', async (_, open, prototype, names) => {
    const socket = await open(await listen('127.0.0.1'))
    await new Promise(setImmediate)
    expect(Object.getPrototypeOf(socket)).toBe(prototype)
    expect([socket.readyState, socket.allowHalfOpen, socket.readableFlowing]).toEqual(['open', true, null])
    expect(socket.eventNames()).toEqual(names)
    socket.destroy()
  })

  test('IPv6 is dialled from localAddress6, IPv4 from localAddress', async () => {
    const options = { localAddress: '127.0.0.9', localAddress6: '::1' }
    expect(await readAll(await dial(await listen('127.0.0.1'), options))).toBe('from 127.0.0.9')
    expect(await readAll(await dial(await listen('::1'), options))).toBe('from ::1')
  })

  test('a closed port is the kernel’s own ECONNREFUSED', async () => {
    await expect(dial(await closedPort())).rejects.toMatchObject({ code: 'ECONNREFUSED', syscall: 'connect', errno: -111 })
  })

  test.each([
    ['a port that is none', { address: '127.0.0.1', port: 70_000, family: 4 as const }, {}],
    ['a local address that is none', { address: '127.0.0.1', port: 1, family: 4 as const }, { localAddress: 'here' }],
  ])('%s rejects, it does not throw', async (_, destination, options) => {
    await expect(dial(destination, options)).rejects.toMatchObject({ code: expect.stringMatching(/^ERR_/) })
  })
})

describe('by name', () => {
  const named = (destination: Destination): Destination => ({ ...destination, address: '198.18.0.1', host: 'example.org' })
  const answer =
    (...addresses: [string, number][]) =>
    async () =>
      addresses.map(([address, family]) => ({ address, family }))

  test('the lookup’s address is dialled, never the fake one', async () => {
    const asked: string[] = []
    const destination = named(await listen('127.0.0.1'))
    const lookup = async (host: string) => {
      asked.push(host)
      return [{ address: '127.0.0.1', family: 4 }]
    }
    expect(await readAll(await dial(destination, { lookup }))).toBe('from 127.0.0.1')
    expect(asked).toEqual(['example.org'])
  })

  test('an address that refuses is followed by the next', async () => {
    const destination = named(await listen('127.0.0.3'))
    const lookup = answer(['127.0.0.1', 4], ['127.0.0.2', 4], ['127.0.0.3', 4])
    const socket = await dial(destination, { lookup })
    expect(socket.remoteAddress).toBe('127.0.0.3')
    socket.destroy()
  })

  test('if all refuse, the first error is reported', async () => {
    const destination = named(await closedPort())
    const error = dial(destination, { lookup: answer(['127.0.0.1', 4], ['127.0.0.2', 4]) })
    await expect(error).rejects.toMatchObject({ code: 'ECONNREFUSED', address: '127.0.0.1' })
  })

  test('families take turns and a hostile answer is cut', async () => {
    const opened: string[] = []
    const destination = named(await closedPort())
    const many = Array.from({ length: 50 }, (_, i): [string, number] => [`127.0.1.${i}`, 4])
    const record = (event: unknown) =>
      void (event as { socket: Socket }).socket.on('error', e => opened.push((e as { address?: string }).address!))
    subscribe('tun.dial', record)
    await dial(destination, { lookup: answer(...many, ['::1', 6]) }).catch(() => {})
    unsubscribe('tun.dial', record)
    expect(opened).toEqual(['127.0.1.0', '::1', ...[1, 2, 3, 4, 5, 6].map(i => `127.0.1.${i}`)])
  })

  test('a name without address, and one that cannot be resolved, are EHOSTUNREACH and say so', async () => {
    const destination = named(await closedPort())
    await expect(dial(destination, { lookup: answer() })).rejects.toMatchObject({
      code: 'EHOSTUNREACH',
      message: 'example.org has no address',
    })
    const failing = () => Promise.reject(Object.assign(new Error('no'), { code: 'ENOTFOUND' }))
    await expect(dial(destination, { lookup: failing })).rejects.toMatchObject({
      code: 'EHOSTUNREACH',
      message: expect.stringContaining('ENOTFOUND'),
    })
  })
})

test('a subscriber of tun.dial that destroys the socket ends the dial at once', async () => {
  const destroy = (event: unknown) => void (event as { socket: Socket }).socket.destroy()
  subscribe('tun.dial', destroy)
  const dialled = dial(await listen('127.0.0.1'), { connectTimeoutMs: 0 })
  unsubscribe('tun.dial', destroy)
  await expect(dialled).rejects.toMatchObject({ code: 'ECONNABORTED' })
})

describe('time', () => {
  // A listener whose backlog is full answers no SYN: a black hole without a network.
  async function blackHole(): Promise<Destination> {
    const code = `require('net').createServer().listen({ host: '127.0.0.5', port: 0, backlog: 1 }, function () {
      require('fs').writeSync(1, String(this.address().port))
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0) // never accepts
    })`
    const child = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'inherit'] })
    const [port] = (await once(child.stdout, 'data')) as [Buffer]
    const destination: Destination = { address: '127.0.0.5', port: Number(port), family: 4 }
    const fill = [new Socket(), new Socket(), new Socket()]
    for (const socket of fill) socket.on('error', () => {}).connect(destination.port, destination.address)
    await sleep(20)
    holes.push(() => {
      for (const socket of fill) socket.destroy()
      child.kill('SIGKILL')
    })
    return destination
  }
  const holes: (() => void)[] = []
  afterEach(() => {
    for (const close of holes.splice(0)) close()
  })

  test('a connect that hears nothing is ETIMEDOUT after connectTimeoutMs', async () => {
    const hole = await blackHole()
    await expect(dial(hole, { connectTimeoutMs: 60 })).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      message: expect.stringContaining('127.0.0.5'),
    })
  })

  test('an abort closes a connect that hears nothing, at once, with its reason', async () => {
    const hole = await blackHole()
    const controller = new AbortController()
    const reason = new Error('gone')
    setTimeout(() => controller.abort(reason), 30)
    let socket: Socket | undefined
    const record = (event: unknown) => {
      socket = (event as { socket: Socket }).socket
    }
    subscribe('tun.dial', record)
    await expect(dial(hole, {}, controller.signal)).rejects.toBe(reason)
    unsubscribe('tun.dial', record)
    expect(socket!.destroyed).toBe(true)
  })

  test('the next address starts 250 ms after one that hears nothing, and wins', async () => {
    const hole = await blackHole()
    await listen('127.0.0.6', hole.port)
    const lookup = async () => ['127.0.0.5', '127.0.0.6'].map(address => ({ address, family: 4 }))
    const pass = frozenTime()
    const dialled: string[] = []
    const record = (event: unknown) => void dialled.push((event as { socket: Socket }).socket.remoteAddress ?? '')
    subscribe('tun.dial', record)
    const winner = dial({ ...hole, host: 'example.org' }, { lookup })
    await pass(249)
    expect(dialled).toEqual(['127.0.0.5'])
    await pass(1)
    expect(dialled).toEqual(['127.0.0.5', '127.0.0.6'])
    unsubscribe('tun.dial', record)
    const socket = await winner
    expect(socket.remoteAddress).toBe('127.0.0.6')
    socket.destroy()
  })

  test('an abort or the deadline ends a lookup that never answers', async () => {
    const lookup = () => new Promise<never>(() => {})
    const destination: Destination = { address: '198.18.0.1', port: 1, family: 4, host: 'example.org' }
    await expect(dial(destination, { lookup, connectTimeoutMs: 20 })).rejects.toMatchObject({ code: 'ETIMEDOUT' })
    await expect(dial(destination, { lookup }, AbortSignal.timeout(20))).rejects.toMatchObject({ name: 'TimeoutError' })
  })
})
