import { getEventListeners, once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import type { TunSocket } from '@tun/stack'
import { afterEach, describe, expect, test } from 'vitest'
import { direct } from './direct.js'
import { type RelayOptions, type RelayResult, relay, type Upstream } from './relay.js'
import { APP, bytes, closed, readAll, steadyTime, uncaught, until, type World, world } from './world.test-kit.js'

const opened: { close(): void }[] = []
afterEach(() => {
  for (const one of opened.splice(0)) one.close()
})

/** A real server on loopback. */
async function serve(handle: (socket: Socket) => void): Promise<Server & { port: number }> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, socket => handle(socket.on('error', () => {})))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  opened.push(server)
  return Object.assign(server, { port: (server.address() as AddressInfo).port })
}

const dial = (port: number) => connect({ port, host: '127.0.0.1', allowHalfOpen: true })
const echo = (socket: Socket) => void socket.pipe(socket)

/** Every connection is relayed to `upstream`; the results, in the order of their ends. */
function relaying(w: World, upstream: (socket: TunSocket) => Upstream, options?: RelayOptions): RelayResult[] {
  const results: RelayResult[] = []
  w.inbound.on('connection', socket => relay(socket, upstream(socket), options).then(result => results.push(result)))
  return results
}

async function atRest(w: World): Promise<void> {
  await until(() => w.inbound.stats().connections === 0 && w.inbound.stats().slabs === 1)
  expect(w.inbound.stats().receiveQueued).toBe(0)
}

/** An upstream that is no net.Socket: keeps every buffer it is given, and what they held then. */
class Stranger extends Duplex {
  readonly kept: Buffer[] = []
  readonly copies: Buffer[] = []
  pushed: Buffer[] = []
  failed: Error | null = null
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.kept.push(chunk)
    this.copies.push(Buffer.from(chunk))
    setImmediate(done)
  }
  override _read(): void {}
  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.failed = error
    done(error)
  }
}

describe('bytes', () => {
  test.each([
    ['dialled by direct()', (port: number) => (signal: AbortSignal) => direct().dial({ address: '127.0.0.1', port, family: 4 }, signal)],
    ['any net.Socket, still connecting', (port: number) => dial(port)],
  ])('30 MB up and down at once through an upstream %s, and all slabs come back', async (_what, upstream) => {
    await using w = await world()
    const server = await serve(echo)
    const results = relaying(w, () => upstream(server.port))
    const app = w.connect('192.0.2.1', 80)
    const data = bytes(30e6)
    app.end(data)
    expect((await readAll(app)).equals(data)).toBe(true)
    await until(() => results.length === 1)
    expect(results).toEqual([{ up: data.length, down: data.length, reason: 'end' }])
    await atRest(w)
  })

  test('a slow application and a slow upstream: nothing is lost, no queue grows', async () => {
    await using w = await world({ limits: { rcvBuf: 200_000, sndBuf: 200_000 } })
    const data = bytes(3e6)
    const chunks: Buffer[] = []
    const server = await serve(socket => {
      socket.end(data)
      socket.on('data', chunk => {
        chunks.push(chunk)
        socket.pause()
        setTimeout(() => socket.resume(), 1)
      })
    })
    const results = relaying(w, () => dial(server.port))
    const app = w.connect('192.0.2.1', 80)
    app.end(data)
    let most = 0
    const watch = setInterval(() => {
      most = Math.max(most, w.inbound.stats().receiveQueued)
    }, 1)
    const got: Buffer[] = []
    app.on('data', chunk => {
      got.push(chunk)
      app.pause()
      setTimeout(() => app.resume(), 1)
    })
    await once(app, 'end')
    await until(() => results.length === 1)
    clearInterval(watch)
    expect(Buffer.concat(got).equals(data) && Buffer.concat(chunks).equals(data)).toBe(true)
    expect(most).toBeLessThan(300_000)
    expect(results[0]).toEqual({ up: data.length, down: data.length, reason: 'end' })
  })

  test('a stranger gets copies: what it keeps is never overwritten', async () => {
    await using w = await world()
    const stranger = new Stranger()
    const results = relaying(w, () => stranger)
    const app = w.connect('192.0.2.1', 80)
    const data = bytes(8e6)
    app.end(data)
    app.resume()
    await once(stranger, 'finish')
    expect(Buffer.concat(stranger.copies).equals(data)).toBe(true)
    expect(Buffer.concat(stranger.kept).equals(data)).toBe(true)
    stranger.push(null)
    await until(() => results.length === 1)
    expect(results[0]).toEqual({ up: data.length, down: 0, reason: 'end' })
    await atRest(w)
  })

  test('what a stranger pushes may be overwritten behind its back: the application gets what was pushed', async () => {
    await using w = await world()
    const stranger = new Stranger()
    relaying(w, () => stranger)
    const app = w.connect('192.0.2.1', 80)
    const scratch = Buffer.alloc(50_000)
    stranger.on('data', () => setImmediate(() => scratch.fill(0xff)))
    scratch.fill(1)
    stranger.push(scratch)
    app.end()
    await once(stranger, 'finish')
    stranger.push(null)
    expect((await readAll(app)).every(byte => byte === 1)).toBe(true)
  })

  test('a peeked socket, a socket read before, an upstream with buffered bytes, a paused one: nothing is lost', async () => {
    await using w = await world()
    const server = await serve(socket => {
      socket.write('banner ')
      socket.pipe(socket)
    })
    w.inbound.on('connection', async socket => {
      const upstream = dial(server.port)
      await once(upstream, 'readable')
      upstream.unshift(upstream.read())
      upstream.pause()
      expect(String(await socket.peek(5))).toMatch(/^hello/)
      if (socket.destination.port === 81) {
        socket.pause()
        await once(socket, 'readable')
        socket.unshift(socket.read(2))
      }
      await relay(socket, upstream)
    })
    for (const port of [80, 81]) {
      const app = w.connect('192.0.2.1', port)
      app.write('hello')
      setTimeout(() => app.end(' world'), 20)
      expect(String(await readAll(app))).toBe('banner hello world')
    }
    await atRest(w)
  })

  test.each(['one that was dialled', 'a connection of a TUN'])('whoever listens to an upstream hears all it receives: %s', async kind => {
    await using w = await world()
    await using v = await world()
    const answers = (socket: Duplex) => void socket.once('data', () => socket.end('answer'))
    const server = await serve(answers)
    v.accepting().then(answers)
    const upstream: Duplex =
      kind === 'a connection of a TUN'
        ? v.inbound.connect({ host: APP, port: 22 })
        : await direct().dial({ address: '127.0.0.1', port: server.port, family: 4 })
    let heard = ''
    upstream.on('data', chunk => {
      heard += chunk
    })
    relaying(w, () => upstream)
    const app = w.connect('192.0.2.1', 80)
    app.end('question')
    expect([String(await readAll(app)), heard]).toEqual(['answer', 'answer'])
  })

  test('a socket whose Duplex is half full, and a slower upstream: order is kept, nothing stays behind in the Duplex', async () => {
    await using w = await world()
    const stranger = new Stranger()
    const data = bytes(900_000)
    w.inbound.on('connection', async socket => {
      socket.pause()
      await once(socket, 'readable')
      await until(() => socket.bytesRead >= 128 * 1024) // the window is shut: a buffer that nobody reads does not grow
      expect(socket.readableLength).toBeGreaterThan(0)
      await relay(socket, stranger)
    })
    const app = w.connect('192.0.2.1', 80)
    app.end(data)
    await once(stranger, 'finish')
    expect(Buffer.concat(stranger.copies).equals(data)).toBe(true)
    stranger.push(null)
    await readAll(app)
  })

  test.each<[string, (port: number) => Upstream]>([
    ['dialled by direct()', port => signal => direct().dial({ address: '127.0.0.1', port, family: 4 }, signal)],
    ['a net.Socket', dial],
  ])('what was written to the socket goes down first, whole, and its writer is told: an upstream %s', async (_what, upstream) => {
    await using w = await world()
    const server = await serve(socket => void socket.on('end', () => socket.end('answer')).resume())
    const parts = [bytes(200_000, 1), bytes(200_000, 2), bytes(100, 3)] // more than is taken at once
    const told: number[] = []
    w.inbound.on('connection', socket => {
      for (const [i, part] of parts.entries()) socket.write(part, () => told.push(i))
      relay(socket, upstream(server.port))
    })
    const app = w.connect('192.0.2.1', 80)
    const all = readAll(app)
    await until(() => told.length === 3)
    app.end()
    expect((await all).equals(Buffer.concat([...parts, Buffer.from('answer')]))).toBe(true)
    expect(told).toEqual([0, 1, 2])
    await atRest(w)
  })

  test('what was put back in pieces goes up whole and in order, also where the kernel takes but a part of it', async () => {
    await using w = await world()
    const [first, second] = [bytes(5e6), bytes(4e6)]
    const got: Buffer[] = []
    const server = await serve(socket => {
      socket.pause()
      setTimeout(() => socket.resume(), 50)
      socket.on('data', chunk => got.push(chunk)).on('end', () => socket.end())
    })
    const results: RelayResult[] = []
    w.inbound.on('connection', async socket => {
      const upstream = await direct().dial({ address: '127.0.0.1', port: server.port, family: 4 })
      socket.once('data', () => {
        socket.unshift(second)
        socket.unshift(first)
        relay(socket, upstream).then(result => results.push(result))
      })
    })
    const app = w.connect('192.0.2.1', 80)
    app.end('x')
    await readAll(app)
    await until(() => results.length === 1)
    expect(results[0]).toMatchObject({ up: 9e6, reason: 'end' })
    expect(Buffer.concat(got).equals(Buffer.concat([first, second]))).toBe(true)
  })

  test('an upstream that is reset before the first byte goes up is an upstream error, and no rejection', async () => {
    await using w = await world()
    let peer!: Socket
    const server = await serve(socket => {
      peer = socket
    })
    const results: (RelayResult | Error)[] = []
    w.inbound.on('connection', async socket => {
      const upstream = await direct().dial({ address: '127.0.0.1', port: server.port, family: 4 })
      await until(() => peer !== undefined)
      socket.once('data', chunk => {
        socket.unshift(chunk)
        peer.resetAndDestroy()
        relay(socket, upstream).then(
          result => results.push(result),
          error => results.push(error),
        )
      })
    })
    const app = w.connect('192.0.2.1', 80)
    app.on('error', () => {})
    app.write('x')
    await until(() => results.length === 1)
    expect(results[0]).toMatchObject({ reason: 'upstream-error', error: { code: 'ECONNRESET' } })
    await atRest(w)
  })
})

describe('ends', () => {
  test('an upstream that is destroyed in the very turn in which bytes come for it: the relay ends by its error, and throws nothing', async () => {
    await using w = await world({ nic: { offload: true } })
    const server = await serve(socket => socket.resume())
    const upstream = await direct().dial({ address: '127.0.0.1', port: server.port, family: 4 })
    const reason = new Error('not any more')
    const results = relaying(w, () => upstream)
    const carried = w.connect('192.0.2.1', 80)
    carried.on('error', () => {})
    await once(carried, 'connect')
    w.inbound.removeAllListeners('connection').on('connection', socket => {
      socket.on('data', () => {
        upstream.destroy(reason)
        socket.destroy()
      })
    })
    const other = w.connect('192.0.2.1', 81)
    await once(other, 'connect')
    const thrown: Error[] = []
    uncaught().then(error => thrown.push(error))
    other.write('x')
    carried.write(bytes(8000))
    await until(() => results.length === 1)
    other.destroy()
    await until(() => w.inbound.stats().connections === 0)
    // `up`: one range of what came, and where ranges end is the pool's affair.
    const ended = { up: expect.any(Number), down: 0, reason: 'upstream-error', error: reason }
    expect([results[0], thrown, w.inbound.stats().slabs]).toEqual([ended, [], 1])
  })

  test('half-close goes through, either side first', async () => {
    await using w = await world()
    const upFirst = await serve(async socket => socket.end(`after ${await readAll(socket)}`))
    const downFirst = await serve(async socket => {
      socket.end('first')
      expect(String(await readAll(socket))).toBe('then')
    })
    const results = relaying(w, socket => dial(socket.destination.port === 80 ? upFirst.port : downFirst.port))
    const one = w.connect('192.0.2.1', 80)
    one.end('question')
    expect(String(await readAll(one))).toBe('after question')
    const two = w.connect('192.0.2.1', 81)
    expect(String(await readAll(two))).toBe('first')
    two.end('then')
    await until(() => results.length === 2)
    expect(results.map(r => r.reason)).toEqual(['end', 'end'])
    await atRest(w)
  })

  test('closed in one direction and idle in the other for too long: both are reset', async () => {
    await using w = await world()
    const server = await serve(socket => socket.resume())
    const results = relaying(w, () => dial(server.port), { halfCloseTimeout: 40 })
    const app = w.connect('192.0.2.1', 80)
    app.end('x')
    expect(await closed(app.resume())).toBe('ECONNRESET')
    expect(results).toMatchObject([{ up: 1, down: 0, reason: 'half-close-timeout', error: { code: 'ETIMEDOUT' } }])
    await atRest(w)
  })

  test('half-closed and busy is not idle, also where only queues drain', async () => {
    steadyTime()
    await using w = await world({ kernel: { rcvBuf: 32_768 } })
    const data = bytes(700_000)
    const server = await serve(socket => socket.end(data).resume())
    const results = relaying(w, () => dial(server.port), { halfCloseTimeout: 400 })
    const app = w.connect('192.0.2.1', 80)
    const got: Buffer[] = []
    app.on('data', chunk => {
      got.push(chunk)
      app.pause()
      setTimeout(() => app.resume(), 40)
    })
    await once(app, 'end')
    app.end()
    await until(() => results.length === 1)
    expect([Buffer.concat(got).equals(data), results[0].reason]).toEqual([true, 'end'])
  })

  test.each<[string, (port: number) => Upstream]>([
    ['a net.Socket', dial],
    ['dialled by direct()', port => signal => direct().dial({ address: '127.0.0.1', port, family: 4 }, signal)],
  ])('a reset by the application resets the upstream: %s', async (_what, upstream) => {
    await using w = await world()
    let code = ''
    let received = 0
    const server = await serve(socket => {
      socket.on('data', chunk => {
        received += chunk.length
      })
      socket.on('error', error => {
        code = (error as NodeJS.ErrnoException).code as string
      })
    })
    const results = relaying(w, () => upstream(server.port))
    const app = await w.open('192.0.2.1', 80)
    app.write('x')
    await until(() => received === 1)
    app.resetAndDestroy()
    await until(() => code !== '' && results.length === 1)
    expect(code).toBe('ECONNRESET')
    expect(results).toMatchObject([{ up: 1, down: 0, reason: 'source-error', error: { code: 'ECONNRESET' } }])
    await atRest(w)
  })

  test('a reset by the upstream resets the application, also with bytes under way', async () => {
    await using w = await world()
    const server = await serve(socket => {
      socket.write(bytes(3e6))
      socket.once('data', () => socket.resetAndDestroy())
    })
    const results = relaying(w, () => dial(server.port))
    const app = await w.open('192.0.2.1', 80)
    const over = closed(app)
    app.write(bytes(1e6))
    app.resume()
    expect(await over).toBe('ECONNRESET')
    await until(() => results.length === 1)
    expect(results[0]).toMatchObject({ reason: 'upstream-error', error: { code: 'ECONNRESET' } })
    await atRest(w)
  })

  test('an upstream that fails while the last bytes go up is no clean end', async () => {
    await using w = await world()
    const stranger = new Stranger()
    stranger._write = () => {} // never done
    const results = relaying(w, () => stranger)
    const app = w.connect('192.0.2.1', 80)
    app.end(bytes(1000))
    stranger.push(null)
    await until(() => stranger.writableEnded)
    stranger.destroy(Object.assign(new Error('x'), { code: 'EPIPE' }))
    await until(() => results.length === 1)
    expect(results[0]).toMatchObject({ reason: 'upstream-error', error: { code: 'EPIPE' } })
    await atRest(w)
  })

  test('destroying the socket from outside ends the relay and the upstream', async () => {
    await using w = await world()
    const server = await serve(echo)
    let socket!: TunSocket
    let upstream!: Socket
    const results = relaying(w, it => {
      socket = it
      upstream = dial(server.port)
      return upstream
    })
    const app = await w.open('192.0.2.1', 80)
    const over = closed(app)
    socket.destroy()
    await until(() => results.length === 1)
    expect([results[0].reason, upstream.destroyed]).toEqual(['source-error', true])
    app.resume().end()
    await over
    await atRest(w)
  })
})

describe('the dial', () => {
  test('a rejected dial is the errno of the application’s connect()', async () => {
    await using w = await world()
    const results = relaying(w, () => () => Promise.reject(Object.assign(new Error('x'), { code: 'EHOSTUNREACH' })))
    w.connect('192.0.2.1', 80)
    expect(await w.icmpError()).toEqual({ type: 3, code: 1 })
    await until(() => results.length === 1)
    expect(results).toMatchObject([{ up: 0, down: 0, reason: 'dial-failed', error: { code: 'EHOSTUNREACH' } }])
  })

  test.each<[string, () => Upstream]>([
    ['a closed port', () => dial(1)],
    [
      'a dialler that throws',
      () => () => {
        throw new Error('no')
      },
    ],
    ['a dialler that throws no error', () => () => Promise.reject('no')],
    ['a dialler that brings nothing', () => () => undefined as unknown as Duplex],
    ['an upstream that is destroyed already', () => new Stranger().destroy()],
    ['an upstream that had failed', () => new Stranger().on('error', () => {}).destroy(new Error('x'))],
  ])('%s refuses, and nobody sees a connection', async (_what, upstream) => {
    await using w = await world()
    const results = relaying(w, upstream)
    const app = w.connect('192.0.2.1', 80)
    expect(await closed(app)).toBe('ECONNREFUSED')
    await until(() => results.length === 1)
    expect([results[0].reason, results[0].error instanceof Error, w.inbound.stats().tcpAccepted]).toEqual(['dial-failed', true, 0])
  })

  test('a connection that is gone is not dialled for, and an upstream it had is destroyed', async () => {
    await using w = await world()
    let dials = 0
    const upstream = new Stranger()
    const results: RelayResult[] = []
    w.inbound.on('connection', async socket => {
      socket.reject()
      results.push(await relay(socket, () => new Stranger(void dials++ as undefined)))
      results.push(await relay(socket, upstream))
    })
    w.connect('192.0.2.1', 80)
    await until(() => results.length === 2)
    expect([dials, upstream.destroyed]).toEqual([0, true])
    expect(results).toEqual(Array(2).fill({ up: 0, down: 0, reason: 'aborted' }))
  })

  test('the application gives up while we dial: the signal aborts, the relay is over at once, a late upstream is destroyed', async () => {
    await using w = await world()
    let signal!: AbortSignal
    let bring!: (upstream: Duplex) => void
    const results = relaying(w, () => its => {
      signal = its
      return new Promise<Duplex>(resolve => {
        bring = resolve
      })
    })
    const app = w.connect('192.0.2.1', 80)
    await until(() => signal !== undefined)
    const c = w.engineOf(app)
    c.tcp.replyLone(c, c.sndNxt, 0, 4)
    app.destroy()
    await until(() => results.length === 1)
    expect([signal.aborted, results[0].reason]).toEqual([true, 'aborted'])
    const late = new Stranger()
    bring(late)
    await until(() => late.destroyed)
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })

  test('the application gives up while a socket connects: the socket is destroyed', async () => {
    await using w = await world()
    const hole = Object.assign(new Stranger(), { connecting: true })
    const results = relaying(w, () => hole)
    const app = w.connect('192.0.2.1', 80)
    await until(() => w.inbound.stats().pending === 1)
    const c = w.engineOf(app)
    c.tcp.replyLone(c, c.sndNxt, 0, 4)
    app.destroy()
    await until(() => results.length === 1)
    expect([hole.destroyed, results[0].reason, hole.listenerCount('connect')]).toEqual([true, 'aborted', 0])
  })

  test('a hundred relays leave nothing behind', async () => {
    await using w = await world()
    const server = await serve(echo)
    const upstreams: Socket[] = []
    const results = relaying(w, () => {
      const upstream = dial(server.port)
      upstreams.push(upstream)
      return upstream
    })
    const data = bytes(100_000)
    const done = Array.from({ length: 100 }, async (_, i) => {
      const app = w.connect('192.0.2.1', 80)
      if (i % 4 === 3) {
        app.on('error', () => {}).write(data)
        app.on('connect', () => setTimeout(() => app.resetAndDestroy(), i % 7))
        return
      }
      app.end(data)
      expect((await readAll(app)).equals(data)).toBe(true)
    })
    await Promise.all(done)
    await until(() => results.length === 100)
    await atRest(w)
    await until(() => upstreams.every(upstream => upstream.destroyed))
    expect(results.filter(r => r.reason === 'end').length).toBe(75)
  })
})

describe('an upstream that is not as it should be', () => {
  test.each([
    ['null', null],
    ['no stream', {}],
    ['an outbound whose dial answers nothing', { dial: () => undefined }],
    [
      'an outbound whose dial throws',
      {
        dial: () => {
          throw new Error('a mistake')
        },
      },
    ],
  ])('%s: the application is refused, and relay() does not reject', async (_, upstream) => {
    await using w = await world()
    const results = relaying(w, () => upstream as unknown as Upstream)
    const app = w.connect('192.0.2.7', 80)
    app.on('error', () => {})
    await closed(app)
    await until(() => results.length === 1)
    expect(results[0].reason).toBe('dial-failed')
    await atRest(w)
  })

  test('whoever destroys the connection as its upstream connects has it aborted: nothing is pumped any more', async () => {
    await using w = await world()
    const { port } = await serve(echo)
    let upstream!: Socket
    const results = relaying(w, socket => {
      upstream = dial(port)
      upstream.on('connect', () => socket.destroy())
      return upstream
    })
    const app = w.connect('192.0.2.7', 80)
    app.on('error', () => {})
    await closed(app)
    await until(() => results.length === 1)
    expect(results).toEqual([{ up: 0, down: 0, reason: 'aborted' }])
    expect(upstream.destroyed).toBe(true)
  })
})

test("a header that is written as the upstream connects goes before what the application has sent, also if 'connect' is listened to later", async () => {
  await using w = await world()
  const { port } = await serve(echo)
  w.inbound.on('connection', async socket => {
    await socket.peek(5)
    const upstream = dial(port)
    void relay(socket, upstream)
    upstream.on('connect', () => upstream.write('HEAD '))
  })
  const app = w.connect('192.0.2.7', 80)
  app.end('hello')
  expect(String(await readAll(app))).toBe('HEAD hello')
})
