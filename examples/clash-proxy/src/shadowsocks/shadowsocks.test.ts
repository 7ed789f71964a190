import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type Destination, direct } from '@tun/inbound'
import { afterEach, describe, expect, test } from 'vitest'
import { EXAMPLE_ORG_443, NaivePeer, PASSWORD } from './peer.test-kit.js'
import { shadowsocks } from './shadowsocks.js'

const CIPHER = 'aes-256-gcm'
const NAMED: Destination = { address: '198.18.0.9', port: 443, family: 4, host: 'example.org' }
const peer = new NaivePeer(CIPHER)

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.close()
})

/** A server that does what the test says with one connection; `said` is all that the client has said so far. */
async function serve(behave: (socket: Socket, said: () => Buffer) => void = () => {}) {
  const connected = new Promise<Socket>(resolve => {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, socket => {
      const chunks: Buffer[] = []
      socket.on('error', () => {}).on('data', chunk => chunks.push(chunk))
      behave(socket, () => Buffer.concat(chunks))
      resolve(socket)
    })
    servers.push(server.listen(0, '127.0.0.1'))
  })
  await once(servers.at(-1)!, 'listening')
  const { port } = servers.at(-1)!.address() as { port: number }
  return { outbound: shadowsocks({ host: '127.0.0.1', port, cipher: CIPHER, password: PASSWORD }), connected }
}

async function readAll(stream: Duplex): Promise<string> {
  let text = ''
  for await (const chunk of stream) text += chunk
  return text
}

const failure = (stream: Duplex): Promise<unknown> =>
  readAll(stream).then(
    text => `ended after '${text}'`,
    error => error,
  )

/** How the server's side of a connection ends. What was not read before a RST makes libuv call it a FIN. */
const endOf = (socket: Socket): Promise<string | undefined> =>
  new Promise(resolve => {
    const tell = () => resolve((socket.errored as NodeJS.ErrnoException | null)?.code)
    if (socket.closed) tell()
    else socket.on('end', () => resolve('a FIN')).on('close', tell)
  })

describe('a connection', () => {
  test('says at once where to, by name, before anything is written', async () => {
    const { outbound, connected } = await serve()
    const stream = await outbound.dial(NAMED)
    const socket = await connected
    const [said] = (await once(socket, 'data')) as [Buffer]
    expect(peer.payloads(said)).toEqual([EXAMPLE_ORG_443])
    stream.destroy()
  })

  test('carries both ways, and a half-close either way', async () => {
    const { outbound } = await serve((socket, said) => {
      socket.write(peer.stream([Buffer.from('hello, ')], undefined, Buffer.alloc(32, 7)))
      socket.on('end', () => {
        const text = Buffer.concat(peer.payloads(said()).slice(1))
        const nonce = 2 // one chunk was sent
        const salt = Buffer.alloc(32, 7)
        socket.end(Buffer.concat([peer.seal(salt, nonce, Buffer.from([0, text.length])), peer.seal(salt, nonce + 1, text)]))
      })
    })
    const stream = await outbound.dial(NAMED)
    stream.write('wor')
    stream.end('ld')
    expect(await readAll(stream)).toBe('hello, world')
    expect(stream.destroyed).toBe(true)
  })

  test('goes on writing when the other side has ended', async () => {
    const { outbound, connected } = await serve(socket => socket.end(peer.stream([Buffer.from('bye')])))
    const stream = await outbound.dial(NAMED)
    stream.resume()
    await once(stream, 'end')
    const heard = once(await connected, 'end')
    stream.end('still here')
    await heard
  })

  test('an end without a byte is an end: the server may have refused, or had nothing to say', async () => {
    const { outbound } = await serve(socket => socket.end())
    const stream = await outbound.dial(NAMED)
    stream.end()
    expect(await readAll(stream)).toBe('')
  })

  test('what nobody reads is not read from the server: back-pressure', async () => {
    const total = 32_000_000
    const all = peer.stream(Array.from({ length: total / 16_000 }, () => Buffer.alloc(16_000)))
    const { outbound, connected } = await serve(socket => {
      for (let at = 0; at < all.length; at += 65_536) socket.write(all.subarray(at, at + 65_536))
    })
    const stream = await outbound.dial(NAMED)
    stream.read(0)
    const socket = await connected
    for (let still = 0, last = 0; still < 5; last = stream.readableLength) {
      await new Promise(resolve => setTimeout(resolve, 20))
      still = stream.readableLength > 0 && stream.readableLength === last ? still + 1 : 0
    }
    expect(stream.readableLength).toBeLessThan(300_000)
    expect(socket.writableLength).toBeGreaterThan(1_000_000)
    let bytes = 0
    for await (const chunk of stream) {
      bytes += chunk.length
      if (bytes === total) break
    }
    expect(bytes).toBe(total)
  })

  test('nothing is read before somebody reads: an error waits for its listener', async () => {
    const { outbound, connected } = await serve(socket => socket.write('no Shadowsocks at all, and long enough for a salt and a length'))
    const stream = await outbound.dial(NAMED)
    await connected
    await new Promise(resolve => setTimeout(resolve, 50))
    expect([stream.destroyed, stream.readableLength]).toEqual([false, 0])
    expect(await failure(stream)).toMatchObject({ code: 'EPROTO' })
  })

  test('what the server does not take is not taken from us', async () => {
    const { outbound, connected } = await serve(socket => void socket.pause())
    const stream = await outbound.dial(NAMED)
    await connected
    let taken = 0
    while (stream.write(Buffer.alloc(65_536)) || (await Promise.race([once(stream, 'drain'), new Promise(r => setTimeout(r, 300))]))) {
      taken += 65_536
      if (taken > 1 << 30) break
    }
    expect(taken).toBeLessThan(1 << 28)
    stream.destroy()
  })
})

describe('a connection that fails', () => {
  test('a server that is not there: the errno of connect(2), and who it was', async () => {
    const { outbound } = await serve()
    servers.pop()!.close()
    await expect(outbound.dial(NAMED)).rejects.toMatchObject({
      code: 'ECONNREFUSED',
      message: expect.stringMatching(/^Shadowsocks server 127\.0\.0\.1:\d+ cannot be reached: /),
    })
  })

  test('an abort: its reason', async () => {
    const reason = new Error('the application has gone')
    const { outbound } = await serve()
    await expect(outbound.dial(NAMED, AbortSignal.abort(reason))).rejects.toBe(reason)
  })

  test('a name that no address can hold: EINVAL, and nobody is dialled', async () => {
    const outbound = shadowsocks({ host: '127.0.0.1', port: 1, cipher: CIPHER, password: PASSWORD })
    await expect(outbound.dial({ ...NAMED, host: 'a'.repeat(256) })).rejects.toMatchObject({ code: 'EINVAL' })
  })

  test.each([
    ['another password', new NaivePeer(CIPHER, 'guess').stream([Buffer.from('hi')])],
    ['another protocol', Buffer.from('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n'.repeat(2))],
    ['a chunk of 0x4000 bytes', peer.stream([Buffer.alloc(0x4000)])],
  ])('%s: EPROTO, and the server is reset', async (_, bytes) => {
    const { outbound, connected } = await serve(socket => socket.once('data', () => socket.write(bytes)))
    const stream = await outbound.dial(NAMED)
    expect(await failure(stream)).toMatchObject({ code: 'EPROTO', message: expect.stringContaining('Shadowsocks server 127.0.0.1') })
    expect(await endOf(await connected)).toBe('ECONNRESET')
  })

  test('an end within a chunk is none: ECONNRESET', async () => {
    const { outbound } = await serve(socket => socket.end(peer.stream([Buffer.from('whole'), Buffer.from('half')]).subarray(0, -3)))
    expect(await failure(await outbound.dial(NAMED))).toMatchObject({ code: 'ECONNRESET' })
  })

  test('a reset of the server is a reset', async () => {
    const { outbound, connected } = await serve()
    const stream = await outbound.dial(NAMED)
    const failed = failure(stream)
    ;(await connected).resetAndDestroy()
    expect(await failed).toMatchObject({ code: 'ECONNRESET' })
  })

  test('ours is one at the server', async () => {
    const { outbound, connected } = await serve()
    const stream = await outbound.dial(NAMED)
    const socket = await connected
    await once(socket, 'data')
    ;(stream as Socket).resetAndDestroy()
    expect(await endOf(socket)).toBe('ECONNRESET')
  })

  test('a stream that was recorded and is sent again by another server', async () => {
    const recorded = peer.stream([Buffer.from('yes')])
    const { outbound } = await serve(socket => socket.end(recorded))
    expect(await readAll(await outbound.dial(NAMED))).toBe('yes')
    expect(await failure(await outbound.dial(NAMED))).toMatchObject({ code: 'EPROTO', message: expect.stringContaining('repetition') })
  })
})

test('a cipher that is none of ours is the caller’s error', () => {
  const server = { host: 'h', port: 1, cipher: 'rc4-md5', password: PASSWORD }
  expect(() => shadowsocks(server)).toThrow(TypeError)
})

test('`udp: false`, and a way without UDP, leave associate out', () => {
  const server = { host: 'h', port: 1, cipher: CIPHER, password: PASSWORD }
  expect(shadowsocks({ ...server, udp: false }).associate).toBeUndefined()
  expect(shadowsocks(server, { dial: direct().dial }).associate).toBeUndefined()
  expect(shadowsocks(server).associate).toBeDefined()
})
