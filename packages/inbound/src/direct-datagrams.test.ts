import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { UdpBatchSocket } from '@tun/device'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { type DirectOptions, direct } from './direct.js'
import type { DatagramOutbound, Destination, Endpoint } from './outbound.js'

const opened: { close(): void }[] = []
afterEach(() => {
  for (const one of opened.splice(0)) one.close()
})

/** Answers every datagram with itself. */
async function echo(address: string): Promise<Destination & { socket: Socket }> {
  const family = address.includes(':') ? 6 : 4
  const socket = createSocket(family === 6 ? 'udp6' : 'udp4').bind(0, address)
  await once(socket, 'listening')
  socket.on('message', (payload, from) => socket.send(payload, from.port, from.address))
  opened.push(socket)
  return { address, port: socket.address().port, family, socket }
}

/** node:dgram does not say which destination of an unconnected socket ICMP was about. */
const batches = process.platform === 'linux'

type Flow = DatagramOutbound & { next(): Promise<[string, Endpoint]>; rejected: [address: string, length: number][] }

async function associate(options: DirectOptions = {}): Promise<Flow> {
  const rejected: Flow['rejected'] = []
  const reject = (to: Destination, length: number) => void rejected.push([to.address, length])
  const outbound = await direct(options).associate!({ source: { address: '10.0.0.2', port: 5000, family: 4 }, reject })
  const got: [string, Endpoint][] = []
  let wake = () => {}
  outbound.onMessage((payload, from) => {
    got.push([payload.toString(), from])
    wake()
  })
  opened.push(outbound)
  const next = async () => {
    if (got.length === 0) await new Promise<void>(resolve => (wake = resolve))
    return got.shift()!
  }
  return Object.assign(outbound, { next, rejected })
}

test('one socket a family talks to everybody, and answers carry their true source', async () => {
  const [a, b, c] = [await echo('127.0.0.1'), await echo('127.0.0.2'), await echo('::1')]
  const flow = await associate()
  for (const to of [a, b, c]) {
    expect(flow.send(Buffer.from(to.address), to)).toBe(true)
    expect(await flow.next()).toEqual([to.address, { address: to.address, port: to.port, family: to.family }])
  }
})

test('anybody who knows the mapping may answer (endpoint-independent filtering)', async () => {
  const [a, b] = [await echo('127.0.0.1'), await echo('127.0.0.2')]
  a.socket.removeAllListeners('message').on('message', (payload, from) => b.socket.send(payload, from.port, from.address))
  const flow = await associate()
  flow.send(Buffer.from('x'), a)
  expect(await flow.next()).toEqual(['x', { address: b.address, port: b.port, family: 4 }])
})

test('a name is looked up once, and what waits for it keeps its order', async () => {
  const to = { ...(await echo('127.0.0.1')), address: '198.18.0.1', host: 'example.org' }
  let asked = 0
  const lookup = async () => {
    asked++
    return [{ address: '127.0.0.1', family: 4 }]
  }
  const flow = await associate({ lookup })
  for (const text of ['1', '2']) flow.send(Buffer.from(text), to)
  expect([(await flow.next())[0], (await flow.next())[0]]).toEqual(['1', '2'])
  flow.send(Buffer.from('3'), to)
  expect((await flow.next())[0]).toBe('3')
  expect(asked).toBe(1)
})

test('only so many datagrams wait for a name; a failed lookup is asked again', async () => {
  let fail = (_: Error) => {}
  let asked = 0
  const lookup = () => {
    asked++
    return new Promise<never>((_, reject) => (fail = reject))
  }
  const flow = await associate({ lookup })
  const to: Destination = { address: '198.18.0.1', port: 9, family: 4, host: 'example.org' }
  const sent = Array.from({ length: 40 }, () => flow.send(Buffer.from('x'), to))
  expect(sent.filter(Boolean).length).toBe(16)
  fail(new Error('no'))
  await new Promise(setImmediate)
  flow.send(Buffer.from('x'), to)
  expect(asked).toBe(2)
})

test('what waits for names is a megabyte at most, however many names; a failed lookup gives its part back', async () => {
  const failing: ((_: Error) => void)[] = []
  const flow = await associate({ lookup: () => new Promise<never>((_, reject) => failing.push(reject)) })
  const big = Buffer.alloc(65_000)
  const to = (i: number): Destination => ({ address: '198.18.0.1', port: 9, family: 4, host: `h${i}.example.org` })
  const sent = Array.from({ length: 40 }, (_, i) => flow.send(big, to(i)))
  expect(sent.filter(Boolean).length).toBe(16)
  failing[0](new Error('no'))
  await new Promise(setImmediate)
  expect([flow.send(big, to(100)), flow.send(big, to(101))]).toEqual([true, false])
})

test('a closed one sends nothing, says so, and tells that it ended', async () => {
  const flow = await associate()
  flow.close()
  flow.close()
  expect(flow.send(Buffer.from('x'), { address: '127.0.0.1', port: 9, family: 4 })).toBe(false)
  expect(await flow.closed).toBeUndefined()
})

test('a local address which is not ours ends it with the kernel’s error', async () => {
  const flow = await associate({ localAddress: '203.0.113.1' })
  flow.send(Buffer.from('x'), { address: '127.0.0.1', port: 9, family: 4 })
  expect(await flow.closed).toMatchObject({ code: 'EADDRNOTAVAIL' })
})

test('a NIC that is not there, or no name of one, or no mark: told, not passed over', async () => {
  const flow = await associate({ interface: 'nope0' })
  flow.send(Buffer.from('x'), { address: '127.0.0.1', port: 9, family: 4 })
  expect(await flow.closed).toMatchObject({ code: batches ? 'ENODEV' : 'ERR_TUN_UNSUPPORTED_PLATFORM' })
  const code = 'ERR_TUN_DIRECT_OPTION'
  for (const name of ['', 'a name', 'longer-than-ifnamsiz', 5 as unknown as string])
    expect(() => direct({ interface: name })).toThrow(expect.objectContaining({ code }))
  for (const mark of [-1, 1.5, 2 ** 32, Number.NaN]) expect(() => direct({ mark })).toThrow(expect.objectContaining({ code }))
  direct({ interface: 'eth0', mark: 0xffff_ffff })
})

test.skipIf(!batches)('a hop limit below 48 was asked for and goes on with one less; all others are the kernel’s', async () => {
  const to = await echo('127.0.0.1')
  const sent = vi.spyOn(UdpBatchSocket.prototype, 'send')
  const flow = await associate()
  const ttls = [2, 47, 48, 64, 255, 1, 0, undefined]
  for (const ttl of ttls) flow.send(Buffer.from('x'), to, ttl)
  flow.send(Buffer.from('x'), { ...to, address: '198.18.0.1', host: 'a.test' }, 9) // waits for its name: ENOTFOUND
  expect(sent.mock.calls.map(([, , , ttl]) => ttl)).toEqual([1, 46, 0, 0, 0, 0, 0, 0])
  sent.mockRestore()
  for (const _ of ttls) expect((await flow.next())[0]).toBe('x')
})

// The kernel's EACCES for a broadcast stands for all it says at once, like ENETUNREACH where there is no IPv6.
const NO_WAY = '255.255.255.255'

test('a destination that there is no way to: the application is told, and the other destinations are not disturbed', async () => {
  const to = await echo('127.0.0.1')
  const flow = await associate()
  flow.send(Buffer.from('lost'), { address: NO_WAY, port: 9, family: 4 })
  flow.send(Buffer.from('fine'), to)
  expect((await flow.next())[0]).toBe('fine')
  expect(flow.rejected).toEqual([[NO_WAY, 4]])
})

test('a name’s next address is taken where there is no way to the first; without a next one the name is asked again', async () => {
  const { port } = await echo('127.0.0.1')
  const answers = [[NO_WAY], [NO_WAY, NO_WAY, '127.0.0.1']]
  const lookup = async () => (answers.shift() ?? []).map(address => ({ address, family: 4 }))
  const flow = await associate({ lookup })
  const to: Destination = { address: '198.18.0.1', port, family: 4, host: 'example.org' }
  flow.send(Buffer.from('a'), to)
  while (flow.rejected.length === 0) await new Promise(setImmediate)
  expect(flow.rejected).toEqual([['198.18.0.1', 1]])
  for (const text of ['b', 'c']) flow.send(Buffer.from(text), to)
  expect([(await flow.next())[0], (await flow.next())[0]]).toEqual(['b', 'c'])
  flow.send(Buffer.from('d'), to)
  expect((await flow.next())[0]).toBe('d')
  expect(flow.rejected).toHaveLength(1)
})

test.skipIf(!batches)('a datagram that goes to a name’s next address keeps the hop limit that was asked for', async () => {
  const { port } = await echo('127.0.0.1')
  const lookup = async () => [NO_WAY, '127.0.0.1'].map(address => ({ address, family: 4 }))
  const flow = await associate({ lookup })
  const sent = vi.spyOn(UdpBatchSocket.prototype, 'send')
  flow.send(Buffer.from('near'), { address: '198.18.0.1', port, family: 4, host: 'example.org' }, 5)
  expect((await flow.next())[0]).toBe('near')
  expect(sent.mock.calls.map(([, peer, , ttl]) => [peer?.address, ttl])).toEqual([
    [NO_WAY, 4],
    ['127.0.0.1', 4],
  ])
  sent.mockRestore()
})

test('port 0 and a datagram over 64 KiB are refused or lost, never thrown', async () => {
  const to = await echo('127.0.0.1')
  const flow = await associate()
  expect(flow.send(Buffer.from('x'), { ...to, port: 0 })).toBe(false)
  flow.send(Buffer.alloc(70_000), to)
  flow.send(Buffer.from('after'), to)
  expect((await flow.next())[0]).toBe('after')
})

describe.skipIf(!batches)('a closed port', () => {
  const closed = async (address: string) => {
    const to = await echo(address)
    to.socket.close()
    opened.splice(opened.indexOf(to.socket), 1)
    return to
  }

  test.each(['127.0.0.1', '::1'])('of %s is told the application, and the other destinations are not disturbed', async address => {
    const [gone, to] = [await closed(address), await echo(address)]
    const flow = await associate()
    flow.send(Buffer.from('lost'), gone)
    while (flow.rejected.length === 0) await new Promise(setImmediate)
    expect(flow.rejected).toEqual([[address, 4]])
    flow.send(Buffer.from('fine'), to)
    expect((await flow.next())[0]).toBe('fine')
  })

  test('behind a name is one of the address that the application knows', async () => {
    const { port } = await closed('127.0.0.1')
    const flow = await associate({ lookup: async () => [{ address: '127.0.0.1', family: 4 }] })
    flow.send(Buffer.from('lost'), { address: '198.18.0.1', port, family: 4, host: 'example.org' })
    while (flow.rejected.length === 0) await new Promise(setImmediate)
    expect(flow.rejected).toEqual([['198.18.0.1', 4]])
  })

  test('is told with all that ICMP said, to a flow that passes it on', async () => {
    const { port } = await closed('127.0.0.1')
    const told: unknown[] = []
    const outbound = await direct({ lookup: async () => [{ address: '127.0.0.1', family: 4 }] }).associate({
      source: { address: '10.0.0.2', port: 5000, family: 4 },
      report: (to, report, payload) => told.push(to.address, to.port, report, String(payload)),
    })
    opened.push(outbound)
    outbound.send(Buffer.from('lost'), { address: '198.18.0.1', port, family: 4, host: 'example.org' })
    while (told.length === 0) await new Promise(setImmediate)
    expect(told).toEqual(['198.18.0.1', port, { type: 3, code: 3, from: '198.18.0.1', mtu: 0, ttl: 0 }, 'lost'])
  })
})

test('a family that this machine has not leaves the other: its datagrams are rejected, a name goes by its other address', async () => {
  const to = await echo('127.0.0.1')
  const lookup = async () => [
    { address: '::1', family: 6 },
    { address: '127.0.0.1', family: 4 },
  ]
  const flow = await associate({ localAddress6: '2001:db8::77', lookup }) // no address of this machine: EADDRNOTAVAIL
  let ended = false
  void flow.closed.then(() => (ended = true))
  expect(flow.send(Buffer.from('lost'), { address: '::1', port: to.port, family: 6 })).toBe(false)
  expect(flow.rejected).toEqual([['::1', 4]])
  flow.send(Buffer.from('v4'), to)
  expect((await flow.next())[0]).toBe('v4')
  flow.send(Buffer.from('named'), { address: 'fc00::5', port: to.port, family: 6, host: 'both.test' })
  expect((await flow.next())[0]).toBe('named')
  expect([flow.rejected.length, ended]).toEqual([1, false])
})

test('what else keeps a socket from opening ends the association, with the reason', async () => {
  const flow = await associate({ interface: 'no-such-nic' })
  flow.send(Buffer.from('x'), await echo('127.0.0.1'))
  expect(await flow.closed).toMatchObject({ code: 'ENODEV' })
})
