// How a connection's bytes go up: what lies there at once in one system call, and what the kernel does not take stays where it counts.

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { TcpHandle } from '@tun/device'
import type { ByteRanges, TunSocket } from '@tun/stack'
import { freeBlocks, Prng } from '@tun/stack/testing'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { direct } from './direct.js'
import { type RelayOptions, type RelayResult, relay } from './relay.js'
import { bytes, frozenTime, readAll, until, type World, world } from './world.test-kit.js'

afterEach(() => vi.restoreAllMocks())

type Dial = (port: number) => Promise<Socket>

const dialled: Dial = port => direct().dial({ address: '127.0.0.1', port, family: 4 }) as Promise<Socket>
const nodes: Dial = async port => {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  await once(socket, 'connect')
  return socket
}

interface Relayed {
  app: TunSocket
  socket: TunSocket
  upstream: Socket
  server: Socket
  results: RelayResult[]
}

/** A connection that is relayed to a server, which reads nothing yet. */
async function relayed(w: World, dial: Dial, options: RelayOptions = {}): Promise<Relayed> {
  const listener = createServer({ allowHalfOpen: true, pauseOnConnect: true })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const accepted = once(listener, 'connection')
  const upstream = await dial((listener.address() as AddressInfo).port)
  const [server] = (await accepted) as [Socket]
  listener.close()
  const results: RelayResult[] = []
  const came = new Promise<TunSocket>(resolve => {
    w.inbound.once('connection', socket => {
      relay(socket, upstream, options).then(result => results.push(result))
      resolve(socket)
    })
  })
  const app = w.connect('192.0.2.1', 80)
  await once(app, 'connect')
  return { app, socket: await came, upstream, server: server.on('error', () => {}), results }
}

/** What the upstream's kernel was given, one element a system call, by kernels that take all. */
const GIVEN: [string, Dial, (given: (length: number) => void) => void][] = [
  [
    'a socket of direct()',
    dialled,
    given => {
      vi.spyOn(TcpHandle.prototype, 'sendRanges').mockImplementation(({ length }) => {
        given(length)
        return length
      })
    },
  ],
  [
    'a net.Socket',
    nodes,
    given => {
      const writes = Socket.prototype as unknown as Required<Pick<Duplex, '_write' | '_writev'>>
      vi.spyOn(writes, '_write').mockImplementation((chunk: Buffer, _, done) => {
        given(chunk.length)
        done()
      })
      vi.spyOn(writes, '_writev').mockImplementation((chunks, done) => {
        given(chunks.reduce((n, { chunk }) => n + (chunk as Buffer).length, 0))
        done()
      })
    },
  ],
]

test.each(GIVEN)('what a batch of plain packets has brought a connection goes up in one system call: %s', async (_, dial, fake) => {
  await using w = await world({ nic: { offload: false } })
  const { app } = await relayed(w, dial)
  let [all, batch, last, again] = [0, 0, -1, 0]
  const read = w.nic.read.bind(w.nic)
  vi.spyOn(w.nic, 'read').mockImplementation(rx => {
    const rows = read(rx)
    if (rows > 0) batch++
    return rows
  })
  fake(length => {
    all += length
    if (batch === last) again++ // nothing new has come
    last = batch
  })
  const engine = w.engineOf(app)
  const inFlight = () => (engine.sndNxt - engine.sndUna) | 0
  app.write(bytes(2e6)) // until the windows are open
  await until(() => all === 2e6)
  for (let [written, most] = [2e6, 0]; most <= 100_000; ) {
    written += 400_000
    w.nic.pause()
    app.write(bytes(400_000))
    await until(() => inFlight() > 100_000 || all === written) // a deadline reads, too
    most = inFlight()
    w.nic.resume()
    await until(() => all === written)
  }
  expect(again).toBe(0)
})

test('a stranger is given it by one _writev', async () => {
  await using w = await world({ nic: { offload: false } })
  const given: number[] = []
  const stranger = new Duplex({
    read() {},
    write: (chunk: Buffer, _, done) => done(void given.push(chunk.length)),
    writev: (chunks, done) => done(void given.push(chunks.reduce((n, { chunk }) => n + chunk.length, 0))),
  })
  w.inbound.on('connection', socket => relay(socket, stranger))
  const app = w.connect('192.0.2.1', 80)
  await once(app, 'connect')
  w.nic.pause()
  app.write(bytes(12_000))
  await until(() => w.nic.waiting >= 9)
  w.nic.resume()
  await until(() => given.length > 0)
  expect(given).toEqual([12_000])
})

describe.each<[string, Dial]>([
  ['a socket of direct()', dialled],
  ['a net.Socket', nodes],
])('the upstream is %s', (_, dial) => {
  const RCV_BUF = 150_000

  test.each([false, true])(
    'what its kernel does not take stays in the queue, and the window counts it; the FIN goes behind it (offload: %s)',
    async offload => {
      const free = [freeBlocks(), freeBlocks(1)]
      await using w = await world({ nic: { offload }, limits: { rcvBuf: RCV_BUF } })
      const { app, socket, upstream, server, results } = await relayed(w, dial)
      const data = bytes(20e6)
      app.end(data)
      const held = () => socket.bytesRead - (upstream.bytesWritten - upstream.writableLength)
      let last = -1
      await until(() => upstream.writableLength > 0 && held() > RCV_BUF / 2 && last === (last = socket.bytesRead))
      expect(held()).toBe(w.inbound.stats().receiveQueued)
      expect(held()).toBeLessThanOrEqual(RCV_BUF)
      const got = readAll(server)
      expect((await got).equals(data)).toBe(true)
      server.end()
      await until(() => results.length === 1)
      expect(results[0]).toEqual({ up: data.length, down: 0, reason: 'end' })
      app.resume()
      await until(() => w.inbound.stats().connections === 0 && freeBlocks() === free[0] && freeBlocks(1) === free[1])
      expect([w.inbound.stats().receiveQueued, w.inbound.stats().slabs]).toEqual([0, 1])
    },
  )
})

test('whatever part of it the kernel takes, nothing is lost or goes twice, and the FIN is last', async () => {
  for (let seed = 1; seed <= 6; seed++) {
    await using w = await world({ nic: { offload: seed % 2 === 0 } })
    const { app } = await relayed(w, dialled)
    const prng = new Prng(seed)
    const got: Uint8Array[] = []
    let [total, ended] = [0, 0]
    vi.spyOn(TcpHandle.prototype, 'sendRanges').mockImplementation(function (this: TcpHandle, ranges: ByteRanges) {
      const { bytes, bounds, length } = ranges
      const most = prng.below(3) === 0 ? prng.below(3) : length
      const taken = Math.min(length, prng.below(2) === 0 ? prng.below(most + 1) : most)
      for (let [i, left] = [0, taken]; left > 0; i++) {
        const part = bytes[i].slice(bounds[2 * i], Math.min(bounds[2 * i + 1], bounds[2 * i] + left))
        got.push(part)
        left -= part.length
      }
      total += taken
      if (taken < length) {
        this.isBlocked = true
        setImmediate(() => this.happened(2)) // writable
      }
      return taken
    })
    vi.spyOn(TcpHandle.prototype, 'shutdown').mockImplementation(() => {
      ended = total
    })
    const data = bytes(1_500_000, seed)
    app.end(data)
    await until(() => ended > 0)
    expect([ended, total]).toEqual([data.length, data.length])
    expect(Buffer.concat(got).equals(data)).toBe(true)
    vi.restoreAllMocks()
  }
})

test('half-closed and busy is not idle, also while the kernel takes one long write bit by bit', async () => {
  const pass = frozenTime()
  await using w = await world()
  const { app, upstream, server, results } = await relayed(w, nodes, { halfCloseTimeout: 400 })
  const writes = Socket.prototype as unknown as Required<Pick<Duplex, '_write' | '_writev'>>
  let queued = 0
  vi.spyOn(writes, '_write').mockImplementation(chunk => {
    queued = (chunk as Buffer).length
  })
  vi.spyOn(writes, '_writev').mockImplementation(chunks => {
    queued = chunks.reduce((n, { chunk }) => n + (chunk as Buffer).length, 0)
  })
  const { _handle } = upstream as unknown as { _handle: object }
  Object.defineProperty(_handle, 'writeQueueSize', { configurable: true, get: () => queued })
  server.end()
  await once(upstream, 'end')
  app.write(bytes(12_000))
  await until(() => queued > 0)
  for (let i = 0; i < 10; i++) {
    await pass(300)
    queued -= 1000
  }
  expect(results).toEqual([])
  await pass(800) // nothing goes any more
  await until(() => results.length === 1)
  expect(results[0]).toMatchObject({ up: 0, reason: 'half-close-timeout' })
})
