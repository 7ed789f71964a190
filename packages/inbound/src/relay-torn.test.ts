// relay() torn apart while both directions are full: who is told what, and that everything lent comes back, whatever the upstream is.

import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { GONE, type TunSocket } from '@tun/stack'
import { freeBlocks } from '@tun/stack/testing'
import { beforeAll, describe, expect, test } from 'vitest'
import { direct } from './direct.js'
import { type RelayResult, relay, type Upstream } from './relay.js'
import { APP, bytes, closed, until, type World, world } from './world.test-kit.js'

const descriptors = () => (process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0)

/** An upstream, and the far end of it. */
interface Far extends AsyncDisposable {
  /** Another TUN, if it is one's. */
  world: World | null
  upstream(): Upstream
  /** Whoever is connected to. */
  server: Promise<Socket | TunSocket>
}

async function anotherTun(): Promise<Far> {
  const v = await world()
  return {
    world: v,
    upstream: () => v.inbound.connect({ host: APP, port: 22 }),
    server: v.accepting(),
    [Symbol.asyncDispose]: () => v[Symbol.asyncDispose](),
  }
}

async function listening(upstream: (port: number) => Upstream): Promise<Far> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    world: null,
    upstream: () => upstream((server.address() as AddressInfo).port),
    server: once(server, 'connection').then(([socket]) => socket as Socket),
    [Symbol.asyncDispose]: async () => void server.close(),
  }
}

const dialled = () => listening(port => signal => direct().dial({ address: '127.0.0.1', port, family: 4 }, signal))
const nodes = () => listening(port => connect({ port, host: '127.0.0.1', allowHalfOpen: true }))

/** The descriptors that the addon has once for all. */
beforeAll(async () => {
  await using far = await dialled()
  const dialler = far.upstream() as (signal: AbortSignal) => Promise<Socket>
  const one = await dialler(new AbortController().signal)
  one.destroy()
  ;(await far.server).destroy()
})

/** Writes as long as it is taken, and for ever. */
function flood(stream: Socket | TunSocket): void {
  const chunk = bytes(150_000)
  const more = () => {
    while (!stream.destroyed && stream.write(chunk));
  }
  stream.on('drain', more)
  more()
}

/** The code that one who has nothing but his connection gets; undefined: nobody can tell him. */
type Told = string | undefined

interface Ends {
  w: World
  v: World | null
  app: TunSocket
  server: Socket | TunSocket
}

type End = [what: string, happens: (ends: Ends) => unknown, app: Told, server: Told, reason: RelayResult['reason'], code: string]

const ENDS: End[] = [
  ['the inbound is closed', ({ w }) => w.inbound.close(), 'ECONNRESET', 'ECONNRESET', 'source-error', 'ECONNABORTED'],
  ['the NIC is deleted', ({ w }) => w.nic.setState(GONE), undefined, 'ECONNRESET', 'source-error', 'ENETDOWN'],
  ['the application resets', ({ app }) => app.resetAndDestroy(), '', 'ECONNRESET', 'source-error', 'ECONNRESET'],
  ['the far end resets', ({ server }) => server.resetAndDestroy(), 'ECONNRESET', '', 'upstream-error', 'ECONNRESET'],
]
const FAR_ENDS: End[] = [
  ['the other inbound is closed', ({ v }) => v?.inbound.close(), 'ECONNRESET', 'ECONNRESET', 'upstream-error', 'ECONNABORTED'],
  ['the other NIC is deleted', ({ v }) => v?.nic.setState(GONE), 'ECONNRESET', undefined, 'upstream-error', 'ENETDOWN'],
]

describe.each<[string, () => Promise<Far>, End[]]>([
  ['a connection of another TUN', anotherTun, [...ENDS, ...FAR_ENDS]],
  ['a socket of direct()', dialled, ENDS],
  ['a net.Socket', nodes, ENDS],
])('the upstream is %s', (_upstream, open, ends) => {
  const cases = ends.flatMap(end =>
    [true, false].map((reads): [string, boolean, End] => [`${end[0]}, ${reads ? 'all read' : 'nobody reads'}`, reads, end]),
  )

  test.each(cases)('%s', async (_, reads, [, happens, appTold, serverTold, reason, code]) => {
    const wereOpen = descriptors()
    const free = [freeBlocks(), freeBlocks(1)]
    {
      await using w = await world()
      await using far = await open()
      const worlds = far.world === null ? [w] : [w, far.world]
      const troubles: unknown[] = []
      for (const { inbound } of worlds) inbound.on('error', error => troubles.push((error as NodeJS.ErrnoException).code))
      const results: RelayResult[] = []
      w.inbound.on('connection', socket => relay(socket, far.upstream()).then(result => results.push(result)))
      const app = w.connect('192.0.2.1', 80)
      const server = await far.server
      await once(app, 'connect')
      const told: Told[] = [undefined, undefined]
      const both = [app, server]
      for (const [i, end] of both.entries()) {
        closed(end).then(its => {
          told[i] = its
        })
        flood(end)
        if (reads) end.resume()
      }
      if (reads) await until(() => both.every(end => end.bytesRead > 5e6))
      else await until(() => worlds.every(({ inbound }) => inbound.stats().receiveQueued > 0) && w.engineOf(app).rcvQueue.length > 100_000)

      await happens({ w, v: far.world, app, server })

      await until(() => results.length === 1)
      expect(results[0]).toMatchObject({ reason, error: { code } })
      if (!reads) for (const end of both) end.resume() // a reset is found behind what was there to read
      await until(() => told[0] === appTold && told[1] === serverTold)
      for (const end of both) end.resetAndDestroy() // whoever could not be told
      expect(troubles).toEqual(code === 'ENETDOWN' ? ['ERR_TUN_GONE'] : [])

      const atRest = ({ inbound, slabs }: World) => {
        const { connections, receiveQueued, slabs: lent } = inbound.stats()
        const { over } = inbound as unknown as { over: boolean }
        return connections === 0 && receiveQueued === 0 && lent === (over ? 0 : 1) && slabs.inUse === 1
      }
      await until(() => worlds.every(atRest))
      await until(() => freeBlocks() === free[0] && freeBlocks(1) === free[1])
    }
    await until(() => descriptors() <= wereOpen)
  })
})
