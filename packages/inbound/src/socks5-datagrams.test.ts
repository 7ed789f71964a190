import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import type { DatagramOutbound, Destination, Endpoint } from './outbound.js'
import { Socks5ReplyError, type Socks5Server, socks5 } from './socks5.js'

const V4: Destination = { address: '192.0.2.7', port: 53, family: 4 }
const V6: Destination = { address: '2001:db8::7', port: 53, family: 6 }
const NAMED: Destination = { address: '198.18.0.9', port: 53, family: 4, host: 'Example.org' }
const FLOW = { source: { address: '10.0.0.2', port: 5000, family: 4 } } as const

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')
const FROM_V4 = hex('0000 00 01 c0000207 0035')
const port16 = (port: number) => Buffer.from([port >> 8, port & 255])

const opened: { close(): void }[] = []
afterEach(() => {
  for (const one of opened.splice(0)) one.close()
})

interface Relay extends Socks5Server {
  relayed: UdpSocket
  /** The TCP connection of the association. */
  control: Promise<Socket>
  /** What reached the relay, in order. */
  next(): Promise<{ message: Buffer; from: { address: string; port: number } }>
  /** Requests as they came. */
  requests: string[]
}

interface RelayOptions {
  /** Where the proxy listens, TCP and UDP. */
  address?: string
  /** The answer to the request, given the port of the relay; default: granted, at 0.0.0.0. */
  reply?: (port: number) => Buffer
  method?: Buffer
}

/** A SOCKS5 proxy that grants an association. Its own code: greeting of 3 (or 4 and 7) bytes, request of 10. */
async function relay({ address = '127.0.0.1', reply, method = hex('05 00') }: RelayOptions = {}): Promise<Relay> {
  const udp = createSocket(address.includes(':') ? 'udp6' : 'udp4').bind(0, address)
  await once(udp, 'listening')
  const { port } = udp.address()
  const requests: string[] = []
  let connected!: (socket: Socket) => void
  const control = new Promise<Socket>(resolve => {
    connected = resolve
  })
  const tcp = createServer(socket => {
    connected(socket)
    socket.on('error', () => {})
    let step = 0
    socket.on('data', data => {
      if (step === 0) socket.write(method)
      else if (step === 1 && method[1] === 2) socket.write(hex('01 00'))
      else {
        requests.push(data.toString('hex'))
        socket.write(reply ? reply(port) : Buffer.concat([hex('05 00 00 01 00000000'), port16(port)]))
      }
      step++
    })
  }).listen(0, address)
  await once(tcp, 'listening')
  opened.push(udp, tcp)
  const got: { message: Buffer; from: { address: string; port: number } }[] = []
  let wake = () => {}
  udp.on('message', (message, from) => {
    got.push({ message, from })
    wake()
  })
  const next = async () => {
    while (got.length === 0) await new Promise<void>(resolve => (wake = resolve))
    return got.shift()!
  }
  return { host: address, port: (tcp.address() as { port: number }).port, relayed: udp, control, next, requests }
}

type Client = DatagramOutbound & { next(): Promise<[string, Endpoint]> }

async function associate(server: Socks5Server, signal?: AbortSignal): Promise<Client> {
  const outbound = await socks5(server).associate!(FLOW, signal)
  opened.push(outbound)
  const got: [string, Endpoint][] = []
  let wake = () => {}
  outbound.onMessage((payload, from) => {
    got.push([payload.toString(), from])
    wake()
  })
  const next = async () => {
    while (got.length === 0) await new Promise<void>(resolve => (wake = resolve))
    return got.shift()!
  }
  return Object.assign(outbound, { next })
}

/** An association of which the relay knows the address. */
async function talking(server: Relay, to: Destination = V4) {
  const client = await associate(server)
  client.send(Buffer.from('x'), to)
  const { message, from } = await server.next()
  const say = (bytes: Buffer) => server.relayed.send(bytes, from.port, from.address)
  return { client, message, say }
}

describe('where the datagrams go', () => {
  test('BND 0.0.0.0 means the proxy’s own address, and the request is for anywhere', async () => {
    const server = await relay()
    const { message } = await talking(server)
    expect(message.toString('hex')).toBe(Buffer.concat([FROM_V4, Buffer.from('x')]).toString('hex'))
    expect(server.requests).toEqual(['05030001000000000000'])
  })

  test.each<[string, string, (port: number) => Buffer]>([
    ['an address', '127.0.0.1', port => Buffer.concat([hex('05 00 00 01 7f000001'), port16(port)])],
    ['a name', '127.0.0.1', port => Buffer.concat([hex('05 00 00 03 05'), Buffer.from('proxy'), port16(port)])],
    ['[::] of an IPv6 proxy', '::1', port => Buffer.concat([hex(`05 00 00 04 ${'00'.repeat(16)}`), port16(port)])],
    ['0.0.0.0 of an IPv6 proxy', '::1', port => Buffer.concat([hex('05 00 00 01 00000000'), port16(port)])],
    ['an IPv6 address', '::1', port => Buffer.concat([hex(`05 00 00 04 ${'00'.repeat(15)}01`), port16(port)])],
  ])('BND as %s is understood', async (_, address, reply) => {
    const { client, message, say } = await talking(await relay({ address, reply }))
    expect(message.subarray(10).toString()).toBe('x')
    say(Buffer.concat([FROM_V4, Buffer.from('y')]))
    expect((await client.next())[0]).toBe('y')
  })

  test('BND.PORT 0 is EPROTO, not a crash', async () => {
    const server = await relay({ reply: () => hex('05 00 00 01 00000000 0000') })
    await expect(associate(server)).rejects.toMatchObject({ code: 'EPROTO' })
  })

  test('after name and password', async () => {
    const server = await relay({ method: hex('05 02') })
    const client = await associate({ ...server, username: 'us', password: 'pw' })
    client.send(Buffer.from('x'), V4)
    expect((await server.next()).message.subarray(10).toString()).toBe('x')
  })
})

describe('a datagram', () => {
  test.each([
    ['IPv4', V4, '000000 01 c0000207 0035'],
    ['IPv6', V6, '000000 04 20010db8000000000000000000000007 0035'],
    ['a name', NAMED, `000000 03 0b ${Buffer.from('Example.org').toString('hex')} 0035`],
  ])('to %s has its header', async (_, to, header) => {
    const { message } = await talking(await relay(), to)
    expect(message.toString('hex')).toBe(`${hex(header).toString('hex')}78`)
  })

  test('destinations may alternate', async () => {
    const server = await relay()
    const client = await associate(server)
    for (const to of [V4, V6, V4, { ...V4, port: 54 }]) client.send(Buffer.from('x'), to)
    const types = []
    for (let i = 0; i < 4; i++) types.push((await server.next()).message.toString('hex', 3, 4))
    expect(types).toEqual(['01', '04', '01', '01'])
  })

  test('brings its true source, of any family', async () => {
    const { client, say } = await talking(await relay())
    say(Buffer.concat([hex('000000 01 cb007105 1388'), Buffer.from('four')]))
    say(Buffer.concat([hex('000000 04 20010db8000000000000000000000099 0009'), Buffer.from('six')]))
    say(Buffer.concat([hex('000000 04 00000000000000000000ffff cb007106 0009'), Buffer.from('mapped')]))
    say(hex('000000 01 cb007107 0001'))
    expect(await client.next()).toEqual(['four', { address: '203.0.113.5', port: 5000, family: 4 }])
    expect(await client.next()).toEqual(['six', { address: '2001:db8::99', port: 9, family: 6 }])
    expect(await client.next()).toEqual(['mapped', { address: '203.0.113.6', port: 9, family: 4 }])
    expect(await client.next()).toEqual(['', { address: '203.0.113.7', port: 1, family: 4 }])
  })

  test('that names its source by the name we sent to comes from where we sent; any other name is dropped', async () => {
    const { client, say } = await talking(await relay(), NAMED)
    const named = (name: string, text: string) =>
      say(Buffer.concat([hex('000000 03'), Buffer.from([name.length]), Buffer.from(name), port16(99), Buffer.from(text)]))
    named('other.org', 'no')
    named('example.ORG', 'yes')
    expect(await client.next()).toEqual(['yes', { address: '198.18.0.9', port: 99, family: 4 }])
  })

  test.each([
    ['a fragment (FRAG 1)', '000001 01 c0000207 0035 6e6f'],
    ['the last fragment (FRAG 0x81)', '000081 01 c0000207 0035 6e6f'],
    ['an address type that is none', '000000 02 c0000207 0035 6e6f'],
    ['a header cut short', '000000 01 c00002'],
    ['an IPv6 header cut short', '000000 04 20010db8 0035'],
    ['a name longer than the datagram', '000000 03 ff 6162 0035 6e6f'],
    ['nothing', ''],
  ])('with %s is dropped, and the association lives', async (_, bytes) => {
    const { client, say } = await talking(await relay(), NAMED)
    say(hex(bytes))
    say(Buffer.concat([FROM_V4, Buffer.from('after')]))
    expect((await client.next())[0]).toBe('after')
  })

  test('from anybody but the relay is dropped', async () => {
    const server = await relay()
    const client = await associate(server)
    client.send(Buffer.from('x'), V4)
    const { from } = await server.next()
    const stranger = createSocket('udp4').bind(0, '127.0.0.1')
    opened.push(stranger)
    await new Promise(resolve => stranger.send(Buffer.concat([FROM_V4, Buffer.from('evil')]), from.port, from.address, resolve))
    server.relayed.send(Buffer.concat([FROM_V4, Buffer.from('good')]), from.port, from.address)
    expect((await client.next())[0]).toBe('good')
  })

  test('of 65,497 bytes fits with its header; one byte more is refused', async () => {
    const server = await relay()
    const client = await associate(server)
    expect(client.send(Buffer.alloc(65_498), V4)).toBe(false)
    expect(client.send(Buffer.alloc(65_497), V4)).toBe(true)
    expect((await server.next()).message.length).toBe(65_507)
  })

  test('to a name no header can hold is refused', async () => {
    const client = await associate(await relay())
    expect(client.send(Buffer.from('x'), { ...NAMED, host: 'a'.repeat(256) })).toBe(false)
  })
})

describe('the end', () => {
  test.each<[string, (control: Socket) => void, unknown]>([
    ['closes', control => control.end(), undefined],
    ['says a lot that nobody asked for on, and then closes,', control => control.end(Buffer.alloc(1 << 20)), undefined],
    ['resets', control => control.resetAndDestroy(), { code: 'ECONNRESET' }],
  ])('a proxy that %s the stream ends the association', async (_, act, error) => {
    const server = await relay()
    const client = await associate(server)
    act(await server.control)
    expect(await client.closed).toEqual(error === undefined ? undefined : expect.objectContaining(error))
    expect(client.send(Buffer.from('x'), V4)).toBe(false)
  })

  test.each([undefined, new Error('enough')])(
    'whoever has the stream from tun.dial and destroys it (%s) ends the association',
    async error => {
      let control!: Socket
      const keep = (message: unknown) => {
        control = (message as { socket: Socket }).socket
      }
      subscribe('tun.dial', keep)
      const client = await associate(await relay())
      unsubscribe('tun.dial', keep)
      control.destroy(error)
      expect(await client.closed).toBe(error)
    },
  )

  test('ours closes the stream, which ends the association at the proxy', async () => {
    const server = await relay()
    const client = await associate(server)
    const ended = once(await server.control, 'close')
    client.close()
    client.close()
    expect(await client.closed).toBeUndefined()
    await ended
  })

  test('a relay whose port is closed ends it with the kernel’s error', async () => {
    const server = await relay()
    const client = await associate(server)
    const ended = once(await server.control, 'close')
    server.relayed.close()
    opened.splice(opened.indexOf(server.relayed), 1)
    client.send(Buffer.from('x'), V4)
    expect(await client.closed).toMatchObject({ code: 'ECONNREFUSED' })
    await ended
  })

  test('a proxy that resets right behind its answer is a failure or a closed association, never an uncaught error', async () => {
    const server = await relay()
    void server.control.then(control => {
      const { write } = control
      control.write = ((bytes: Buffer) => {
        const done = write.call(control, bytes)
        if (bytes.length === 10) setImmediate(() => control.resetAndDestroy())
        return done
      }) as typeof write
    })
    await socks5(server).associate!(FLOW).then(
      client => client.closed,
      error => expect(error).toMatchObject({ code: 'ECONNRESET' }),
    )
  })

  test('an address of ours that is none is the kernel’s error, and the stream is closed', async () => {
    const server = await relay({ reply: port => Buffer.concat([hex(`05 00 00 04 ${'00'.repeat(15)}01`), port16(port)]) })
    const outbound = socks5(server, { localAddress6: '2001:db8::1' })
    const ended = server.control.then(control => once(control, 'close'))
    await expect(outbound.associate!(FLOW)).rejects.toMatchObject({ code: 'EADDRNOTAVAIL' })
    await ended
  })
})

describe('the handshake', () => {
  test('a proxy without UDP says 7: EOPNOTSUPP', async () => {
    const server = await relay({ reply: () => hex('05 07 00 01 00000000 0000') })
    const error = await associate(server).catch(error => error)
    expect(error).toBeInstanceOf(Socks5ReplyError)
    expect(error).toMatchObject({ code: 'EOPNOTSUPP', reply: 7 })
  })

  test('an abort closes the stream and rejects with its reason', async () => {
    const server = await relay({ method: Buffer.alloc(0) })
    const controller = new AbortController()
    const reason = new Error('the flow is over')
    const failed = expect(associate(server, controller.signal)).rejects.toBe(reason)
    const closed = once(await server.control, 'close')
    controller.abort(reason)
    await failed
    await closed
  })

  test('`udp: false` leaves associate out', () => {
    expect(socks5({ host: 'h', port: 1, udp: false }).associate).toBeUndefined()
  })
})
