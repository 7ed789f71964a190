import { getEventListeners, once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import type { DialedSocket } from '@tun/device'
import type { TunSocket } from '@tun/stack'
import { afterEach, describe, expect, test } from 'vitest'
import { promising, type Start, startOf } from './attempt.js'
import { direct } from './direct.js'
import type { Destination, Outbound } from './outbound.js'
import { type RelayOptions, type RelayResult, relay, type Upstream } from './relay.js'
import { socks5 } from './socks5.js'
import { bytes, closed, readAll, until, type World, world } from './world.test-kit.js'

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.close()
})

async function serve(handle: (socket: Socket) => void): Promise<Destination> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, socket => handle(socket.on('error', () => {})))
  servers.push(server.listen(0, '127.0.0.1'))
  await once(server, 'listening')
  return { address: '127.0.0.1', port: (server.address() as AddressInfo).port, family: 4 }
}

const echo = (socket: Socket) => void socket.pipe(socket)

/** A proxy that says yes to everything and is itself the far end, an echo. */
const proxy = () =>
  serve(socket => {
    let asked = false
    socket.on('data', chunk => {
      if (chunk.length === 3 && !asked) return void socket.write(Buffer.from([5, 0]))
      if (asked) return void socket.write(chunk)
      asked = true
      socket.write(Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]))
    })
    socket.on('end', () => socket.end())
  })

/** Every connection is relayed; also which sockets had made an AbortSignal by the end. */
function relaying(w: World, upstream: (socket: TunSocket) => Upstream, options?: RelayOptions) {
  const results: RelayResult[] = []
  const withSignal: boolean[] = []
  w.inbound.on('connection', async socket => {
    results.push(await relay(socket, upstream(socket), options))
    withSignal.push((socket as unknown as { controller: unknown }).controller !== null)
  })
  return { results, withSignal }
}

describe('an outbound of this package, given to relay() as it is', () => {
  test.each([
    ['direct()', async (): Promise<[Outbound, Destination]> => [direct(), await serve(echo)]],
    ['direct() by name', async (): Promise<[Outbound, Destination]> => [direct(), { ...(await serve(echo)), host: 'localhost' }]],
    [
      'socks5()',
      async (): Promise<[Outbound, Destination]> => [
        socks5(`socks5://127.0.0.1:${(await proxy()).port}`),
        { address: '192.0.2.7', port: 80, family: 4 },
      ],
    ],
  ])('%s: bytes go both ways whole, ends are told, and no signal was made', async (_, open) => {
    const [outbound, destination] = await open()
    await using w = await world()
    const { results, withSignal } = relaying(w, () => outbound, { destination })
    const data = bytes(1_000_000)
    const app = w.connect('192.0.2.7', 80)
    app.end(data)
    expect((await readAll(app)).equals(data)).toBe(true)
    await until(() => withSignal.length === 1)
    expect(results).toEqual([{ up: data.length, down: data.length, reason: 'end' }])
    expect(withSignal).toEqual([false])
  })

  test('what cannot be dialled is the errno of the application, also where that is known at once', async () => {
    await using w = await world()
    const gone = await serve(() => {})
    await new Promise(resolve => servers.pop()?.close(resolve))
    const ways: [Outbound, Destination][] = [
      [direct(), gone],
      [direct({ localAddress: '192.0.2.99' }), gone], // EADDRNOTAVAIL in the very call
      [socks5(`socks5://127.0.0.1:${gone.port}`), gone],
      [socks5('socks5://127.0.0.1:1'), { ...gone, host: 'x'.repeat(300) }], // no request can hold it: no connection is begun
    ]
    const results: RelayResult[] = []
    w.inbound.on('connection', async socket => {
      const [outbound, destination] = ways[socket.destination.port - 1]
      results.push(await relay(socket, outbound, { destination }))
    })
    for (let port = 1; port <= ways.length; port++) {
      const app = w.connect('192.0.2.7', port)
      app.on('error', () => {})
      await closed(app)
      await until(() => results.length === port)
    }
    expect(results.map(({ reason, error }) => [reason, (error as NodeJS.ErrnoException).code])).toEqual([
      ['dial-failed', 'ECONNREFUSED'],
      ['dial-failed', 'EADDRNOTAVAIL'],
      ['dial-failed', 'ECONNREFUSED'],
      ['dial-failed', 'EINVAL'],
    ])
  })

  test('an application that goes cancels the dial while it shakes hands: the proxy sees the end', async () => {
    await using w = await world()
    let greeted = 0
    let ended = 0
    const silent = await serve(socket => void socket.on('data', () => greeted++).on('end', () => ended++))
    const { results } = relaying(w, () => socks5(`socks5://127.0.0.1:${silent.port}`))
    const app = w.connect('192.0.2.7', 80)
    await until(() => greeted === 1)
    app.on('error', () => {}).destroy(new Error('enough'))
    await until(() => results.length === 1 && ended === 1)
    expect(results).toEqual([{ up: 0, down: 0, reason: 'aborted' }])
  })

  test('a lookup that throws, and one that answers nothing, are a failed dial, and no more than that', async () => {
    await using w = await world()
    const lookups = [
      () => {
        throw new Error('no resolver')
      },
      async () => undefined as never,
    ]
    const results: RelayResult[] = []
    w.inbound.on('connection', async socket => {
      const destination: Destination = { address: '192.0.2.7', host: 'name.test', port: 80, family: 4 }
      const lookup = lookups[socket.destination.port - 1]
      results.push(await relay(socket, direct({ lookup }), { destination }))
    })
    for (let port = 1; port <= lookups.length; port++) {
      const app = w.connect('192.0.2.7', port)
      app.on('error', () => {})
      await until(() => results.length === port)
      app.destroy()
      expect(results[port - 1]).toMatchObject({ reason: 'dial-failed', error: { code: 'EHOSTUNREACH' } })
    }
  })

  test('one that wraps its dial is called as it is', async () => {
    await using w = await world()
    const to = await serve(echo)
    const plain = direct()
    const asked: Destination[] = []
    const { results, withSignal } = relaying(w, () => ({
      ...plain,
      dial: (destination, signal) => {
        asked.push(destination)
        return plain.dial(to, signal)
      },
    }))
    const app = w.connect('192.0.2.7', 80)
    app.end('hello')
    expect(String(await readAll(app))).toBe('hello')
    await until(() => withSignal.length === 1)
    expect([asked.map(({ port }) => port), results[0].reason, withSignal]).toEqual([[80], 'end', [true]])
  })
})

describe('promising()', () => {
  const after =
    (ms: number, cancelled: () => void): Start<string, string> =>
    (caller, subject) => {
      const timer = setTimeout(() => caller.succeeded(subject), ms)
      return {
        cancel: () => {
          clearTimeout(timer)
          cancelled()
        },
      }
    }

  test('the promise resolves with what the start brings; its own function is the key to the start', async () => {
    const start = after(1, () => {})
    const given: string[] = []
    const dial = promising(start, result => void given.push(result))
    expect(await dial('x')).toBe('x')
    expect(given).toEqual(['x'])
    expect(startOf(dial)).toBe(start)
    expect(startOf((subject: string, signal?: AbortSignal) => dial(subject, signal))).toBeUndefined()
  })

  test('a start that tells at once leaves no listener on the signal', async () => {
    const { signal } = new AbortController()
    const yes = promising<string, string>((caller, subject) => {
      caller.succeeded(subject)
      return { cancel: () => {} }
    })
    const no = promising<string, string>(caller => {
      caller.failed(new Error('no'))
      return { cancel: () => {} }
    })
    expect(await yes('x', signal)).toBe('x')
    await expect(no('x', signal)).rejects.toThrow('no')
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
  })

  test('an abort cancels and rejects with its reason; one that has come already begins nothing', async () => {
    let cancels = 0
    let starts = 0
    const start: Start<string, string> = (caller, subject) => {
      starts++
      return after(10_000, () => cancels++)(caller, subject)
    }
    const controller = new AbortController()
    const reason = new Error('enough')
    const dial = promising(start)
    const dialling = dial('x', controller.signal)
    controller.abort(reason)
    await expect(dialling).rejects.toBe(reason)
    await expect(dial('x', controller.signal)).rejects.toBe(reason)
    expect([starts, cancels]).toEqual([1, 1])
  })
})

test('a stream that direct().dial() has given tells of a reset, also to one who does not read', async () => {
  let peer: Socket | undefined
  const to = await serve(socket => {
    peer = socket
  })
  const socket = (await direct().dial(to)) as DialedSocket
  const failed = once(socket, 'error')
  await until(() => peer !== undefined)
  peer?.resetAndDestroy()
  const [error] = (await failed) as [NodeJS.ErrnoException]
  expect(error.code).toBe('ECONNRESET')
})
