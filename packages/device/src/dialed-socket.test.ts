// DialedSocket beside net.Socket: the same scenario over both, and the same trace of events. What is allowed to differ is named.

import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer as createHttp, request } from 'node:http'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { type DialedSocket, dial } from './dialed-socket.js'
import { hasTcpHandles } from './tcp-handle.js'
import { until } from './until.test-kit.js'

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.close()
})

async function serve(handle: (socket: Socket) => void): Promise<number> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, socket => {
    socket.on('error', () => {})
    handle(socket)
  })
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

type Any = DialedSocket | Socket
const kinds: [string, (port: number) => Any][] = [
  ['net.Socket', port => connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true })],
  ['DialedSocket', port => dial({ address: '127.0.0.1', port, family: 4 })],
]

const EVENTS = ['connect', 'ready', 'end', 'finish', 'close', 'timeout'] as const

/** Runs the scenario over either kind and answers what was told, in order. */
async function trace(
  open: (port: number) => Any,
  server: (socket: Socket) => void,
  client: (socket: Any, log: string[]) => void,
): Promise<string[]> {
  const log: string[] = []
  const socket = open(await serve(server))
  for (const event of EVENTS) socket.on(event, () => log.push(event))
  socket.on('error', (error: NodeJS.ErrnoException) => log.push(`error ${error.code} ${error.syscall}`))
  const closed = new Promise(resolve => socket.on('close', resolve))
  client(socket, log)
  await closed
  log.push(`${socket.readyState} read ${socket.bytesRead}`)
  return log
}

const echo = (socket: Socket) => void socket.pipe(socket)
const scenarios: [name: string, server: (socket: Socket) => void, client: (socket: Any, log: string[]) => void][] = [
  [
    'writes before it is connected are sent, and echoed',
    echo,
    (socket, log) => {
      socket.write('one ')
      socket.write('two ')
      socket.end('three')
      let text = ''
      socket.on('data', (chunk: Buffer) => {
        text += chunk
        if (text.length === 13) log.push(text)
      })
    },
  ],
  [
    'the peer ends at once; the other direction stays open until we end',
    s => s.resume().end('bye'),
    (s, log) => {
      s.on('data', (chunk: Buffer) => log.push(String(chunk)))
      s.on('end', () => setTimeout(() => s.end('late'), 20))
    },
  ],
  ['a reset by the peer is ECONNRESET of read', s => void setTimeout(() => s.resetAndDestroy(), 20), s => void s.resume()],
  ['destroy while it connects tells nothing but close', echo, s => void s.destroy()],
  [
    'destroy with an error tells it',
    echo,
    s => void s.once('connect', () => s.destroy(Object.assign(new Error('mine'), { code: 'EMINE' }))),
  ],
  [
    'destroySoon sends what is written first',
    s => s.resume().on('end', () => s.end()),
    s => {
      s.resume()
      s.write('all of it')
      s.destroySoon()
    },
  ],
  [
    'a timeout is told once without traffic',
    s => void s.resume(),
    s => {
      s.once('connect', () => s.setTimeout(30, () => s.destroy()))
      s.resume()
    },
  ],
  [
    'bytes nobody wants stay unread, and destroy is no error',
    s => void s.write('unwanted'),
    s => {
      void until(() => s.bytesRead > 0).then(() => s.destroy())
    },
  ],
]

describe.skipIf(!hasTcpHandles())('beside net.Socket', () => {
  test.each(scenarios)('%s', async (_, server, client) => {
    const [theirs, ours] = [await trace(kinds[0][1], server, client), await trace(kinds[1][1], server, client)]
    expect(ours).toEqual(theirs)
    expect(ours.length).toBeGreaterThan(1)
  })

  test.each([
    ['a closed port', { address: '127.0.0.1', port: 1, family: 4 as const }, 'ECONNREFUSED'],
    ['a network out of reach', { address: '255.255.255.255', port: 1, family: 4 as const }, 'E[A-Z]+'],
    [
      'an address that is not ours to dial from',
      { address: '127.0.0.1', port: 1, family: 4 as const, localAddress: '192.0.2.1' },
      'EADDRNOTAVAIL',
    ],
  ])('%s: the errno of the system call, told later, never thrown', async (_, target, code) => {
    const socket = dial(target)
    const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException & { address?: string; port?: number }]
    expect(error.code).toMatch(new RegExp(`^${code}$`))
    expect(error.errno).toBeLessThan(0)
    expect(error.message).toContain(`${error.syscall} ${error.code}`)
    expect(socket.destroyed).toBe(true)
  })

  test.each([
    [{ address: 'localhost', port: 1, family: 4 as const }],
    [{ address: '::1', port: 1, family: 4 as const }],
    [{ address: '127.0.0.1', port: 0, family: 4 as const }],
    [{ address: '127.0.0.1', port: 1, family: 4 as const, localAddress: '::1' }],
  ])('what is no address or port is the caller’s mistake: %j', target => {
    expect(() => dial(target)).toThrow(expect.objectContaining({ name: 'TypeError', code: 'ERR_TUN_ADDRESS' }))
  })
})

describe.skipIf(!hasTcpHandles())('bytes', () => {
  const data = randomBytes(6 << 20)
  const sum = createHash('sha256').update(data).digest('hex')

  test('megabytes both ways, whole and in order, with a reader that stops and a peer that is slow', async () => {
    const port = await serve(socket => {
      socket.pause()
      setTimeout(() => socket.pipe(socket), 50) // our sends have blocked by then
    })
    const socket = dial({ address: '127.0.0.1', port, family: 4 })
    for (let at = 0; at < data.length; ) {
      const end = Math.min(data.length, at + 1 + (at % 100_003))
      socket.write(data.subarray(at, end))
      at = end
    }
    socket.end()
    const hash = createHash('sha256')
    let pauses = 0
    socket.on('data', chunk => {
      hash.update(chunk)
      if (++pauses % 20 !== 0) return
      socket.pause()
      setTimeout(() => socket.resume(), 1)
    })
    await once(socket, 'end')
    expect(hash.digest('hex')).toBe(sum)
    expect([socket.bytesRead, socket.bytesWritten]).toEqual([data.length, data.length])
  })

  test('write answers false and drain follows; a write callback is told when the kernel has the bytes', async () => {
    const port = await serve(socket => void setTimeout(() => socket.resume(), 30))
    const socket = dial({ address: '127.0.0.1', port, family: 4 })
    let told = false
    const more = socket.write(data, () => {
      told = true
    })
    const drained = once(socket, 'drain')
    expect([more, told]).toEqual([false, false])
    await once(socket, 'connect')
    await sleep(5)
    expect(socket.bytesWritten).toBe(data.length) // also while the kernel has a part of them
    await drained
    expect([told, socket.bytesWritten]).toEqual([true, data.length])
    socket.destroy()
  })

  test('many at once, one after the other on the same descriptors, each with its own bytes', async () => {
    const port = await serve(echo)
    const one = async (i: number) => {
      const socket = dial({ address: '127.0.0.1', port, family: 4 })
      socket.end(`number ${i}`)
      let text = ''
      for await (const chunk of socket) text += chunk
      return text === `number ${i}`
    }
    for (let round = 0; round < 5; round++) {
      expect((await Promise.all(Array.from({ length: 60 }, (_, i) => one(round * 100 + i)))).every(Boolean)).toBe(true)
    }
  })

  test('http.request over it, as a client of Node’s takes a socket', async () => {
    const http = createHttp((_, response) => response.end('hello'))
    servers.push(http)
    http.listen(0, '127.0.0.1')
    await once(http, 'listening')
    const { port } = http.address() as AddressInfo
    const asked = request({ path: '/', host: 'x', createConnection: () => dial({ address: '127.0.0.1', port, family: 4 }) as never })
    asked.end()
    const [response] = await once(asked, 'response')
    let text = ''
    for await (const chunk of response) text += chunk
    expect(text).toBe('hello')
  })
})

describe.skipIf(!hasTcpHandles())('the thread’s sockets', () => {
  test('a listener that throws is the process’s business, and not the other sockets’', async () => {
    const port = await serve(echo)
    const thrown: unknown[] = []
    const caught = vi.spyOn(globalThis, 'queueMicrotask').mockImplementation(fn => {
      try {
        fn()
      } catch (error) {
        thrown.push(error)
      }
    })
    const bad = dial({ address: '127.0.0.1', port, family: 4 })
    bad.once('connect', () => {
      throw new Error('a mistake')
    })
    const good = dial({ address: '127.0.0.1', port, family: 4 })
    good.write('still here')
    const [chunk] = await once(good, 'data')
    caught.mockRestore()
    expect(String(chunk)).toBe('still here')
    expect(String(thrown[0])).toContain('a mistake')
    for (const socket of [bad, good]) socket.destroy()
  })

  test('an event of a socket that was closed in the same turn does not reach the one that has its number now', async () => {
    const port = await serve(socket => void socket.write('x'))
    const first = dial({ address: '127.0.0.1', port, family: 4 })
    const second = dial({ address: '127.0.0.1', port, family: 4 })
    await Promise.all([once(first, 'connect'), once(second, 'connect')])
    await sleep(20) // both have something to tell, in one answer of epoll
    const closed = await serve(() => {})
    for (const server of servers.splice(servers.length - 1)) server.close()
    let error: NodeJS.ErrnoException | undefined
    first.once('data', () => {
      second.destroy()
      const third = dial({ address: '127.0.0.1', port: closed, family: 4 })
      third.on('connect', () => {
        error = new Error('connected')
      })
      third.on('error', e => {
        error ??= e
      })
    })
    first.resume()
    await until(() => error !== undefined)
    expect(error?.code).toBe('ECONNREFUSED')
    first.destroy()
  })
})
