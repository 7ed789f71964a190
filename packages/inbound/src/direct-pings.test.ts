import { setMaxListeners } from 'node:events'
import type { PingHandlers, PingSocketOptions } from '@tun/device'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { type DirectOptions, direct } from './direct.js'
import type { EchoAnswer, PathReport, Ping } from './outbound.js'

/** A ping socket as the tests see it: what was sent, and what they let come back. */
class FakeSocket {
  readonly sent: [address: string, sequence: number, ttl: number, payload: string][] = []
  failure: string | undefined
  isClosed = false
  isReferenced = true

  constructor(
    readonly options: PingSocketOptions,
    readonly handlers: PingHandlers,
  ) {}

  send(address: string, sequence: number, ttl: number, payload: Uint8Array): string | undefined {
    this.sent.push([address, sequence, ttl, String(payload)])
    return this.failure
  }
  unref(): void {
    this.isReferenced = false
  }
  close(): void {
    this.isClosed = true
  }
  answers(sequence: number, from: string, payload = 'answer', ttl = 60): void {
    this.handlers.reply(sequence, from, Buffer.from(payload), ttl)
  }
}

const sockets: FakeSocket[] = []
let forbidden: Error | undefined

vi.mock('@tun/device', async original => ({
  ...(await original<typeof import('@tun/device')>()),
  openPing: (options: PingSocketOptions, handlers: PingHandlers) => {
    if (forbidden !== undefined) throw forbidden
    const socket = new FakeSocket(options, handlers)
    sockets.push(socket)
    return socket
  },
}))

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
})
afterEach(() => {
  vi.useRealTimers()
  sockets.length = 0
  forbidden = undefined
})

const inbound = new AbortController()
setMaxListeners(0, inbound.signal)

function echo(address: string, more: Partial<Ping> & { host?: string; real?: true; from?: string } = {}): Ping {
  const { host, real, from = '10.0.0.1', ...rest } = more
  const destination = { address, family: address.includes(':') ? (6 as const) : (4 as const), host, real }
  return { source: { address: from }, destination, payload: Buffer.from('ping'), ttl: 64, signal: inbound.signal, ...rest }
}

/** What becomes of each ping, in order. */
function asking(options: DirectOptions = {}) {
  const { ping } = direct(options)
  const outcomes: unknown[] = []
  const ask = (request: Ping) => {
    const at = outcomes.push('waits') - 1
    ping(request).then(
      (answer: EchoAnswer) => (outcomes[at] = typeof answer === 'object' && 'ttl' in answer ? `${answer.payload} ${answer.ttl}` : answer),
      error => (outcomes[at] = error.report ?? error.code),
    )
  }
  return { ask, outcomes }
}

const settled = () => new Promise<void>(resolve => setImmediate(resolve))

test('goes on with one hop less, from one socket a family, and gets its own answer, whatever the order', async () => {
  const { ask, outcomes } = asking({ localAddress: '192.0.2.1', localAddress6: '2001:db8::1', interface: 'eth0', mark: 7 })
  ask(echo('203.0.113.1'))
  ask(echo('203.0.113.2', { ttl: 2 }))
  ask(echo('2001:DB8::2'))
  await settled()
  expect(sockets.map(({ options }) => options)).toEqual([
    { family: 4, localAddress: '192.0.2.1', device: 'eth0', mark: 7 },
    { family: 6, localAddress: '2001:db8::1', device: 'eth0', mark: 7 },
  ])
  const [four, six] = sockets
  expect([four.sent, six.sent, four.isReferenced]).toEqual([
    [
      ['203.0.113.1', 1, 63, 'ping'],
      ['203.0.113.2', 2, 1, 'ping'],
    ],
    [['2001:db8::2', 1, 63, 'ping']],
    false,
  ])
  four.answers(2, '203.0.113.2', 'two')
  six.answers(1, '2001:db8::2', 'six', 1)
  four.answers(1, '203.0.113.2', 'from somebody else')
  four.answers(3, '203.0.113.1', 'nobody asked')
  await settled()
  expect(outcomes).toEqual(['waits', 'two 59', 'six 1'])
  four.answers(1, '203.0.113.1', 'one')
  four.answers(1, '203.0.113.1', 'again')
  ask(echo('203.0.113.3'))
  four.answers(3, '203.0.113.3', 'from how far is not known', 0)
  await settled()
  expect([outcomes[0], String(outcomes[3])]).toEqual(['one 59', 'from how far is not known'])
})

test('what the path reports is what it rejects with, if it is about the host that was asked', async () => {
  const { ask, outcomes } = asking({ lookup: async () => [{ address: '203.0.113.9', family: 4 }] })
  ask(echo('203.0.113.1'))
  ask(echo('198.18.0.5', { host: 'a.test' }))
  await settled()
  const { handlers } = sockets[0]
  const report: PathReport = { type: 11, code: 0, from: '192.0.2.7', mtu: 0, ttl: 60 }
  handlers.report(1, '203.0.113.2', report)
  await settled()
  expect(outcomes[0]).toBe('waits')
  handlers.report(1, '203.0.113.1', report)
  handlers.report(2, '203.0.113.9', { ...report, type: 3, code: 13, from: '203.0.113.9' })
  await settled()
  expect(outcomes).toEqual([report, { ...report, type: 3, code: 13, from: '198.18.0.5' }])
})

test('a name is asked at an address of the family that was pinged, if it has one; none at all is a host out of reach', async () => {
  const names: Record<string, string[]> = { 'both.test': ['2001:db8::2', '203.0.113.2'], 'six.test': ['2001:db8::3'], 'none.test': [] }
  const lookup = async (host: string) => {
    if (names[host] === undefined) throw new Error('SERVFAIL')
    return names[host].map(address => ({ address, family: address.includes(':') ? 6 : 4 }))
  }
  const { ask, outcomes } = asking({ lookup })
  for (const host of ['both.test', 'six.test', 'none.test', 'bad.test']) ask(echo('198.18.0.5', { host }))
  ask(echo('203.0.113.7', { host: 'both.test', real: true }))
  await settled()
  expect(sockets.flatMap(({ sent }) => sent.map(([address]) => address)).sort()).toEqual(['2001:db8::3', '203.0.113.2', '203.0.113.7'])
  sockets.find(({ options }) => options.family === 6)!.answers(1, '2001:db8::3')
  await settled()
  expect(outcomes).toEqual(['waits', 'answer 59', 'EHOSTUNREACH', 'EHOSTUNREACH', 'waits'])
})

test('lookups have a bound: what is beyond it is lost', async () => {
  const { ask, outcomes } = asking({ lookup: () => new Promise(() => {}) })
  for (let i = 0; i < 260; i++) ask(echo('198.18.0.5', { host: `${i}.test` }))
  await settled()
  expect(outcomes.filter(outcome => outcome === false).length).toBe(4)
})

test('after a minute nobody answers any more; a minute later the socket is closed, and the next ping opens another', async () => {
  const { ask, outcomes } = asking()
  ask(echo('203.0.113.1'))
  await vi.advanceTimersByTimeAsync(30_000)
  ask(echo('203.0.113.2'))
  await vi.advanceTimersByTimeAsync(30_001)
  expect(outcomes).toEqual([false, 'waits'])
  await vi.advanceTimersByTimeAsync(30_001)
  expect([outcomes[1], sockets[0].isClosed]).toEqual([false, true])
  expect(vi.getTimerCount()).toBe(0)
  ask(echo('203.0.113.3'))
  await settled()
  expect([sockets.length, sockets[1].sent.length]).toEqual([2, 1])
})

const payload = Buffer.alloc(65_280) // 64 KiB with what it costs besides

test('4,096 wait, and 4 MiB of them: the oldest is given up', async () => {
  const { ask, outcomes } = asking()
  for (let i = 0; i < 4100; i++) ask(echo('203.0.113.1', { from: `10.0.0.${i % 8}` }))
  await settled()
  expect([outcomes.indexOf('waits'), outcomes.filter(outcome => outcome === false).length]).toEqual([4, 4])
  const heavy = asking()
  for (let i = 0; i < 70; i++) heavy.ask(echo('203.0.113.1', { payload, from: `10.0.0.${i % 8}` }))
  await settled()
  expect(heavy.outcomes.indexOf('waits')).toBe(6)
})

test('a source has a quarter: what it asks beyond that costs its own oldest, and nobody else’s', async () => {
  const { ask, outcomes } = asking()
  ask(echo('203.0.113.1', { from: '10.0.0.2' }))
  for (let i = 0; i < 5000; i++) ask(echo('203.0.113.1'))
  await settled()
  expect([outcomes[0], outcomes.indexOf('waits', 1), outcomes.length - outcomes.indexOf('waits', 1)]).toEqual(['waits', 3977, 1024])
  const heavy = asking()
  heavy.ask(echo('203.0.113.1', { from: '10.0.0.2' }))
  for (let i = 0; i < 100; i++) heavy.ask(echo('203.0.113.1', { payload }))
  await settled()
  expect([heavy.outcomes[0], heavy.outcomes.filter(outcome => outcome === 'waits').length]).toEqual(['waits', 17])
})

test('what is answered, given up or over leaves nothing behind', async () => {
  const { ask, outcomes } = asking()
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 16; i++) ask(echo('203.0.113.1', { payload }))
    await settled()
    for (const [, sequence] of sockets[0].sent.splice(0)) sockets[0].answers(sequence, '203.0.113.1')
    await settled()
  }
  expect(outcomes.includes(false)).toBe(false)
})

test('sequence numbers come again only when they are free', async () => {
  const { ask, outcomes } = asking()
  ask(echo('203.0.113.1'))
  await settled()
  for (let i = 0; i < 65_540; i++) {
    ask(echo('203.0.113.2'))
    sockets[0].answers(sockets[0].sent.at(-1)![1], '203.0.113.2')
  }
  await settled()
  expect(new Set(sockets[0].sent.slice(1).map(([, sequence]) => sequence)).has(1)).toBe(false)
  sockets[0].answers(1, '203.0.113.1')
  await settled()
  expect([outcomes[0], outcomes.at(-1)]).toEqual(['answer 59', 'answer 59'])
})

test('is over with the inbound that it was for; the socket, with the last of them', async () => {
  const { ask, outcomes } = asking()
  const [one, two] = [new AbortController(), new AbortController()]
  ask(echo('203.0.113.1', { signal: one.signal }))
  ask(echo('203.0.113.2', { signal: two.signal }))
  await settled()
  one.abort()
  await settled()
  expect([outcomes, sockets[0].isClosed]).toEqual([[false, 'waits'], false])
  two.abort()
  await settled()
  expect([outcomes, sockets[0].isClosed, vi.getTimerCount()]).toEqual([[false, false], true, 0])
  ask(echo('203.0.113.3', { signal: one.signal }))
  await settled()
  expect([outcomes[2], sockets.length]).toEqual([false, 1])
})

test('what the kernel will not send is its errno; a full queue is a loss; a socket that may not be opened is said as it is', async () => {
  const { ask, outcomes } = asking()
  ask(echo('203.0.113.1'))
  await settled()
  for (const failure of ['ENETUNREACH', 'EAGAIN', 'ENOBUFS']) {
    sockets[0].failure = failure
    ask(echo('203.0.113.1'))
  }
  await settled()
  expect(outcomes).toEqual(['waits', 'ENETUNREACH', false, false])
  forbidden = Object.assign(new Error('no'), { code: 'ERR_TUN_PERMISSION' })
  const none = asking()
  none.ask(echo('203.0.113.1'))
  await settled()
  expect([none.outcomes, vi.getTimerCount()]).toEqual([['ERR_TUN_PERMISSION'], 1])
})
