// Applications that do not read hold what their upstreams sent: how much of it, and what is left for the others.

import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import type { TcpConnection } from '@tun/stack'
import { expect, test } from 'vitest'
import { direct } from './direct.js'
import { type RelayResult, relay } from './relay.js'
import { bytes, freeBlocks, readAll, until, type World, world } from './world.test-kit.js'

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
