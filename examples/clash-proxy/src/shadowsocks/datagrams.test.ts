import { createSocket, type RemoteInfo } from 'node:dgram'
import { once } from 'node:events'
import type { DatagramOutbound, Destination, Endpoint, Outbound } from '@tun/inbound'
import { afterEach, describe, expect, test } from 'vitest'
import { EXAMPLE_ORG_443, NaivePeer, PASSWORD, V4_3478 } from './peer.test-kit.js'
import { shadowsocks } from './shadowsocks.js'

const CIPHER = 'aes-128-gcm'
const V4: Destination = { address: '192.0.2.7', port: 3478, family: 4 }
const NAMED: Destination = { address: '198.18.0.9', port: 443, family: 4, host: 'example.org' }
const FLOW = { source: { address: '198.18.0.1', port: 5000, family: 4 } } as const
const peer = new NaivePeer(CIPHER)
const hex = (text: string) => Buffer.from(text, 'hex')

const opened: { close(): unknown }[] = []
afterEach(() => {
  for (const one of opened.splice(0)) one.close()
})

/** A server by hand: `next` is what it got, opened; `say` answers with a datagram as it stands. */
async function serve() {
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  opened.push(socket)
  await once(socket, 'listening')
  let client: RemoteInfo
  const next = async () => {
    const [message, from] = (await once(socket, 'message')) as [Buffer, RemoteInfo]
    client = from
    return { plain: peer.plain(message), message, from }
  }
  const say = (datagram: Buffer) => socket.send(datagram, client.port, client.address)
  const server = { host: '127.0.0.1', port: socket.address().port, cipher: CIPHER, password: PASSWORD }
  return { outbound: shadowsocks(server), next, say }
}

/** An association that has sent one datagram, and what it has received. */
async function associated() {
  const server = await serve()
  const client = await server.outbound.associate!(FLOW)
  opened.push(client)
  const received: [text: string, from: Endpoint][] = []
  let wake = () => {}
  client.onMessage((payload, from) => {
    received.push([String(payload), from])
    wake()
  })
  const first = server.next()
  client.send(Buffer.from('ping'), V4)
  await first
  /** Everything up to an answer that says `last`. */
  const until = async (last: string) => {
    while (received.at(-1)?.[0] !== last) await new Promise<void>(resolve => (wake = resolve))
    return received.map(([text]) => text)
  }
  return { ...server, client, received, until }
}

describe('a datagram', () => {
  test.each([
    ['an IPv4 address', V4, V4_3478],
    ['an IPv6 address', { address: '2001:db8::7', port: 443, family: 6 }, hex(`0420010db8${'00'.repeat(11)}0701bb`)],
    ['the name behind a fake address', NAMED, EXAMPLE_ORG_443],
  ] as const)('to %s', async (_, to, address) => {
    const { client, next } = await associated()
    const got = next()
    expect(client.send(Buffer.from('hello'), to)).toBe(true)
    expect((await got).plain).toEqual(Buffer.concat([address, Buffer.from('hello')]))
  })

  test('to many leaves by one socket, each with a salt of its own', async () => {
    const { client, next } = await associated()
    const seen = []
    for (const port of [1, 2, 3]) {
      const got = next()
      client.send(Buffer.of(), { ...V4, port })
      seen.push(await got)
    }
    expect(seen.map(({ plain }) => plain.readUInt16BE(5))).toEqual([1, 2, 3])
    expect(new Set(seen.map(({ from }) => from.port)).size).toBe(1)
    expect(new Set(seen.map(({ message }) => message.toString('hex', 0, 16))).size).toBe(3)
  })

  test('from anybody bears its true source', async () => {
    const { say, received, until } = await associated()
    say(peer.datagram(Buffer.concat([V4_3478, Buffer.from('four')])))
    await until('four')
    say(peer.datagram(Buffer.concat([hex(`0420010db8${'00'.repeat(11)}0901bb`), Buffer.from('six')])))
    await until('six')
    expect(received).toEqual([
      ['four', { address: '192.0.2.7', port: 3478, family: 4 }],
      ['six', { address: '2001:db8::9', port: 443, family: 6 }],
    ])
  })

  test('an empty one is one', async () => {
    const { say, received, until } = await associated()
    say(peer.datagram(V4_3478))
    await until('')
    expect(received).toHaveLength(1)
  })

  test('that is turned, cut, repeated, ours, from a name or from nowhere, is dropped; the next one is not', async () => {
    const { client, next, say, until } = await associated()
    const good = peer.datagram(Buffer.concat([V4_3478, Buffer.from('once')]))
    say(good)
    await until('once')
    say(good)
    for (let at = 0; at < good.length; at++) {
      const turned = peer.datagram(Buffer.concat([V4_3478, Buffer.from('turned')]))
      turned[at] ^= 1
      say(turned)
      say(peer.datagram(Buffer.concat([V4_3478, Buffer.from('cut.')])).subarray(0, at))
    }
    const ours = next()
    client.send(Buffer.from('ours'), V4)
    say((await ours).message)
    for (const plain of ['', '01', '03', '01c000020d', '05c00002070d96ff', '0300', '03ff61', '0401']) say(peer.datagram(hex(plain)))
    say(peer.datagram(Buffer.concat([EXAMPLE_ORG_443, Buffer.from('named')])))
    say(new NaivePeer(CIPHER, 'guess').datagram(Buffer.concat([V4_3478, Buffer.from('guess')])))
    say(peer.datagram(Buffer.concat([V4_3478, Buffer.from('last')])))
    expect(await until('last')).toEqual(['once', 'last'])
  })

  test('is as long as fits into one with all that is ours; one byte more is refused', async () => {
    const { client, next } = await associated()
    const room = 65_507 - 16 - V4_3478.length - 16
    expect(client.send(Buffer.alloc(room + 1), V4)).toBe(false)
    const got = next()
    expect(client.send(Buffer.alloc(room), V4)).toBe(true)
    expect((await got).message.length).toBe(65_507)
  })

  test('to a name no address can hold is refused', async () => {
    const { client } = await associated()
    expect(client.send(Buffer.from('x'), { ...NAMED, host: 'a'.repeat(256) })).toBe(false)
  })
})

describe('the end', () => {
  const below = (): DatagramOutbound & { end(error?: Error): void } => {
    let end: (error?: Error) => void = () => {}
    const closed = new Promise<Error | undefined>(resolve => (end = resolve))
    return { send: () => true, onMessage: () => {}, closed, close: () => end(undefined), end: error => end(error) }
  }
  const over = (associate: NonNullable<Outbound['associate']>) =>
    shadowsocks(
      { host: 'h', port: 1, cipher: CIPHER, password: PASSWORD },
      { dial: () => Promise.reject(new Error('not here')), associate },
    )

  test('is that of the way below, with its error', async () => {
    const way = below()
    const client = await over(async () => way).associate!(FLOW)
    way.end(new Error('gone'))
    expect(await client.closed).toMatchObject({ message: 'gone' })
  })

  test('ours closes what is below', async () => {
    const way = below()
    const client = await over(async () => way).associate!(FLOW)
    client.close()
    expect(await way.closed).toBeUndefined()
    expect(await client.closed).toBeUndefined()
  })

  test('a server that cannot be reached ends it: the application is told by whoever relays', async () => {
    const way = below()
    const flow = { ...FLOW, reject: () => expect.fail('the server is not the application’s destination') }
    let reject: ((to: Destination, length: number) => void) | undefined
    const client = await over(async ({ reject: given }) => {
      reject = given
      return way
    }).associate!(flow)
    reject?.(V4, 4)
    expect(await client.closed).toMatchObject({ code: 'EHOSTUNREACH', message: 'Shadowsocks server h:1 cannot be reached' })
    expect(await way.closed).toBeUndefined()
  })

  test('an abort goes down', async () => {
    const controller = new AbortController()
    let given: AbortSignal | undefined
    await over(async (_flow, signal) => {
      given = signal
      return below()
    }).associate!(FLOW, controller.signal)
    expect(given).toBe(controller.signal)
  })
})
