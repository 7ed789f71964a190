// What a relay holds for one connection, and takes of a turn for it: what is left for the others.

import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { TcpHandle } from '@tun/device'
import type { TcpConnection, TunSocket } from '@tun/stack'
import { freeBlocks } from '@tun/stack/testing'
import { afterEach, expect, test, vi } from 'vitest'
import { direct } from './direct.js'
import { type RelayResult, relay } from './relay.js'
import { bytes, readAll, until, type World, world } from './world.test-kit.js'

afterEach(() => vi.restoreAllMocks())

const STALLED = 120
/** More than any send queue takes. */
const SENT = 400_000

/** What waits for applications, in all send queues of the inbound. */
function sendQueued(w: World): number {
  const { flows } = (w.inbound as unknown as { stack: { tcp: { flows: Iterable<TcpConnection> } } }).stack.tcp
  let all = 0
  for (const { sndQueue } of flows) all += sndQueue.length
  return all
}

test('stalled applications take all blocks, and no more than their queues: others go on meanwhile, and they too when they read', async () => {
  await using w = await world({ kernel: { rcvBuf: 16_384 } })
  const free = freeBlocks()
  const data = bytes(SENT)
  const server = createServer(
    { allowHalfOpen: true },
    (socket: Socket) =>
      void socket
        .on('error', () => {})
        .end(data)
        .resume(),
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  try {
    const results: RelayResult[] = []
    const upstream = (signal: AbortSignal) => direct().dial({ address: '127.0.0.1', port, family: 4 }, signal)
    w.inbound.on('connection', socket => relay(socket, upstream).then(result => results.push(result)))
    const stalled = Array.from({ length: STALLED }, () => w.connect('192.0.2.1', 80).end())
    await until(() => freeBlocks() === 0)
    let queued = -1
    await until(() => queued === (queued = sendQueued(w))) // as long as it grows
    expect(queued).toBeLessThan(STALLED * (128 * 1024 + 65_536)) // each its first limit, and one chunk

    // Others: as fast as ever, and what they took of memory is theirs no longer.
    for (let i = 0; i < 3; i++) expect((await readAll(w.connect('192.0.2.1', 80).end())).equals(data)).toBe(true)
    expect([freeBlocks(), results.length]).toEqual([0, 3])
    expect(sendQueued(w)).toBeLessThan(STALLED * (128 * 1024 + 65_536))

    const got = await Promise.all(stalled.map(app => readAll(app)))
    expect(got.every(one => one.equals(data))).toBe(true)
    await until(() => results.length === STALLED + 3)
    expect(results.every(({ reason, down }) => reason === 'end' && down === SENT)).toBe(true)
    await until(() => freeBlocks() === free && w.inbound.stats().slabs === 1)
  } finally {
    server.close()
  }
})

/** A server for one connection, which it answers; relayed by a socket of direct(). */
async function one(w: World): Promise<Socket> {
  const server = createServer({ allowHalfOpen: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const upstream = (signal: AbortSignal) => direct().dial({ address: '127.0.0.1', port, family: 4 }, signal)
  w.inbound.on('connection', socket => relay(socket, upstream))
  const connected = once(server, 'connection')
  w.connect('192.0.2.1', 80).on('error', () => {})
  const [socket] = (await connected) as [Socket]
  server.close()
  return socket.on('error', () => {})
}

test('a few bytes hold no block, however often they come: blocks are for what is fast', async () => {
  await using w = await world()
  const free = freeBlocks()
  const server = await one(w)
  for (let i = 1; i <= 3; i++) {
    w.nic.pause() // no ACK comes: what was read from the upstream stays in the send queue
    server.write(bytes(300))
    await until(() => sendQueued(w) === 300)
    expect(freeBlocks()).toBe(free)
    w.nic.resume()
    await until(() => sendQueued(w) === 0)
  }
  server.destroy()
})

test('an upstream that is always ahead is read four times, into blocks; then the others, and the NIC, have their turn', async () => {
  await using w = await world()
  let [inRow, most, reads] = [0, 0, 0]
  const into = new Set<Uint8Array>()
  const { receive, happened, again } = TcpHandle.prototype
  vi.spyOn(TcpHandle.prototype, 'receive').mockImplementation(function (this: TcpHandle, ...range) {
    reads++
    into.add(range[0])
    most = Math.max(most, ++inRow)
    return receive.apply(this, range)
  })
  for (const [name, told] of [
    ['happened', happened],
    ['again', again],
  ] as const) {
    vi.spyOn(TcpHandle.prototype, name).mockImplementation(function (this: TcpHandle, events: number) {
      inRow = 0
      told.call(this, events)
    })
  }
  const server = await one(w)
  for (const app of w.kernel.tcp.flows) (app.user as TunSocket).resume()
  server.write(bytes(20e6))
  await until(() => w.inbound.stats().bytesOut > 20e6)
  expect([reads > 300, most]).toEqual([true, 4])
  expect(into.size).toBeGreaterThan(3) // blocks, which go on as they are
  server.destroy()
})
