import { once } from 'node:events'
import { expect, test } from 'vitest'
import { type RelayResult, relay } from './relay.js'
import { APP, bytes, closed, connection, readAll, until, type World, world } from './world.test-kit.js'

/** Two inbounds; what reaches the first is carried to an application behind the second. */
async function two(first: Parameters<typeof world>[0] = {}, second: Parameters<typeof world>[0] = {}) {
  const [w, v] = [await world(first), await world(second)]
  const results: RelayResult[] = []
  const upstream = () => v.inbound.connect({ host: APP, port: 22 })
  w.inbound.on('connection', socket => relay(socket, upstream()).then(result => results.push(result)))
  return { w, v, results }
}

async function atRest(...worlds: World[]): Promise<void> {
  for (const { inbound } of worlds) await until(() => inbound.stats().connections === 0 && inbound.stats().slabs === 1)
}

test('30 MB up and down at once through another TUN: no stream is read in between, and all slabs of both come back', async () => {
  const { w, v, results } = await two()
  await using _w = w
  await using _v = v
  const far: { readableDidRead: boolean }[] = []
  const { connect } = v.inbound
  v.inbound.connect = options => {
    const socket = connect.call(v.inbound, options)
    far.push(socket)
    return socket
  }
  const accepted = v.accepting()
  const app = w.connect('192.0.2.1', 80)
  const data = bytes(30e6)
  app.end(data)
  const server = await accepted
  server.pipe(server)
  expect((await readAll(app)).equals(data)).toBe(true)
  await until(() => results.length === 1)
  expect(results).toEqual([{ up: data.length, down: data.length, reason: 'end' }])
  expect(far.map(socket => socket.readableDidRead)).toEqual([false])
  await atRest(w, v)
})

test('a slow reader at either end: nothing is lost, and each stack queues no more than its bounds', async () => {
  const limits = { limits: { rcvBuf: 200_000, sndBuf: 200_000 } }
  const { w, v, results } = await two(limits, limits)
  await using _w = w
  await using _v = v
  const accepted = v.accepting()
  const app = w.connect('192.0.2.1', 80)
  const data = bytes(3e6)
  app.end(data)
  const server = await accepted
  server.end(data)
  let most = 0
  const slowly = async (stream: typeof app) => {
    const chunks: Buffer[] = []
    for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
      chunks.push(chunk)
      most = Math.max(most, w.inbound.stats().receiveQueued, v.inbound.stats().receiveQueued)
      await new Promise(setImmediate)
    }
    return Buffer.concat(chunks)
  }
  const [down, up] = await Promise.all([slowly(app), slowly(server)])
  expect(down.equals(data) && up.equals(data)).toBe(true)
  expect(most).toBeLessThan(300_000)
  await until(() => results.length === 1)
  expect(results[0]).toEqual({ up: data.length, down: data.length, reason: 'end' })
})

test('half-close goes through; what was read or written before the relay goes first', async () => {
  await using w = await world()
  await using v = await world()
  const accepted = v.accepting()
  const upstream = v.inbound.connect({ host: APP, port: 22 })
  const server = await accepted
  server.write('greeting ')
  await once(upstream, 'readable')
  upstream.unshift(upstream.read() as Buffer)
  const app = w.connect('192.0.2.1', 80)
  const done = relay(await connection(w.inbound), upstream)
  app.end('asked')
  expect(String(await readAll(server))).toBe('asked')
  server.end('answered')
  expect(String(await readAll(app))).toBe('greeting answered')
  expect(await done).toEqual({ up: 5, down: 17, reason: 'end' })
  await atRest(w, v)
})

test('a reset at either end is a reset at the other; a refusal is the errno of the application’s connect()', async () => {
  const { w, v, results } = await two()
  await using _w = w
  await using _v = v
  for (const end of ['app', 'server'] as const) {
    const accepted = v.accepting()
    const app = w.connect('192.0.2.1', 80)
    const server = await accepted
    await once(app, 'connect')
    app.resume()
    server.resume()
    const other = closed(end === 'app' ? server : app)
    ;(end === 'app' ? app : server).resetAndDestroy()
    expect(await other).toBe('ECONNRESET')
  }
  v.refusing()
  expect(await closed(w.connect('192.0.2.1', 80))).toBe('ECONNREFUSED')
  await until(() => results.length === 3)
  expect(results.map(({ reason }) => reason)).toEqual(['source-error', 'upstream-error', 'dial-failed'])
  await atRest(w, v)
})

test('two connections that came in are joined: both are accepted', async () => {
  await using w = await world()
  await using v = await world()
  const [one, other] = [w.connect('192.0.2.1', 80), v.connect('192.0.2.2', 80)]
  const done = relay(await connection(w.inbound), await connection(v.inbound))
  one.end('to the other')
  other.end('to the one')
  expect([String(await readAll(one)), String(await readAll(other))]).toEqual(['to the one', 'to the other'])
  expect((await done).reason).toBe('end')
})

test('a stream that somebody wraps, or has written to, is a stream like any other', async () => {
  await using w = await world()
  await using v = await world()
  const accepted = v.accepting()
  const upstream = v.inbound.connect({ host: APP, port: 22 })
  const server = await accepted
  await once(upstream, 'connect')
  let seen = 0
  const write = upstream.write.bind(upstream)
  upstream.write = ((chunk: Buffer, ...rest: []) => {
    seen += chunk.length
    return write(chunk, ...rest)
  }) as typeof upstream.write
  const app = w.connect('192.0.2.1', 80)
  const done = relay(await connection(w.inbound), upstream)
  app.end('counted')
  expect(String(await readAll(server))).toBe('counted')
  server.end()
  expect([seen, (await done).reason]).toEqual([7, 'end'])
})
