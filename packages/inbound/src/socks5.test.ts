import { EventEmitter, once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { DialedSocket } from '@tun/device'
import { afterEach, describe, expect, test } from 'vitest'
import type { Destination } from './outbound.js'
import { Socks5ReplyError, type Socks5Server, socks5 } from './socks5.js'

const V4: Destination = { address: '192.0.2.7', port: 443, family: 4 }
const V6: Destination = { address: '2001:db8::7', port: 443, family: 6 }
const NAMED: Destination = { address: '198.18.0.9', port: 443, family: 4, host: 'example.org' }

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')
const METHOD = hex('05 00')
const OK = hex('05 00 00 01 7f 00 00 01 10 00')
const REQUEST = hex('05 01 00 01 c0 00 02 07 01 bb')

/** What the proxy of a test does: `got(n)` waits for n more bytes, `say` sends. */
interface Peer {
  socket: Socket
  got(bytes: number): Promise<Buffer>
  say(...pieces: Buffer[]): Promise<void>
}

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.close()
})

async function proxy(script: (peer: Peer) => Promise<void>): Promise<Socks5Server & { closed: Promise<void> }> {
  let over = () => {}
  const closed = new Promise<void>(resolve => {
    over = resolve
  })
  const server = createServer({ allowHalfOpen: true, noDelay: true }, socket => {
    const chunks: Buffer[] = []
    socket.on('error', () => {}).on('close', over)
    socket.on('end', () => socket.end())
    socket.on('data', chunk => chunks.push(chunk))
    const peer: Peer = {
      socket,
      async got(bytes) {
        while (Buffer.concat(chunks).length < bytes) await once(socket, 'data')
        const all = Buffer.concat(chunks)
        chunks.splice(0, chunks.length, all.subarray(bytes))
        return all.subarray(0, bytes)
      },
      async say(...pieces) {
        for (const piece of pieces) {
          socket.write(piece)
          if (pieces.length > 1) await sleep(2)
        }
      },
    }
    script(peer).catch(() => socket.destroy())
  }).listen(0, '127.0.0.1')
  servers.push(server)
  await once(server, 'listening')
  return { host: '127.0.0.1', port: (server.address() as { port: number }).port, closed }
}

/** Greets without a password, takes a request of `length` bytes, then goes on with `next`. */
const greeted = (length: number, next: (peer: Peer, request: Buffer) => Promise<void>) =>
  proxy(async peer => {
    await peer.got(3)
    await peer.say(METHOD)
    await next(peer, await peer.got(length))
  })

async function dial(server: Socks5Server, destination = V4, signal?: AbortSignal): Promise<Socket> {
  return (await socks5(server).dial(destination, signal)) as Socket
}

const failure = (server: Socks5Server, destination = V4, signal?: AbortSignal) =>
  dial(server, destination, signal).then(
    () => expect.fail('it connected'),
    (error: NodeJS.ErrnoException) => error,
  )

async function readAll(socket: Socket): Promise<string> {
  let text = ''
  for await (const chunk of socket) text += chunk
  return text
}

describe('the request', () => {
  test.each([
    ['an IPv4 address', V4, '05 01 00 01 c000 0207 01bb'],
    ['an IPv6 address', V6, '05 01 00 04 2001 0db8 0000 0000 0000 0000 0000 0007 01bb'],
    ['a mapped IPv6 address', { ...V6, address: '::ffff:192.0.2.7' }, '05 01 00 04 0000 0000 0000 0000 0000 ffff c000 0207 01bb'],
    ['the unspecified address', { ...V6, address: '::' }, '05 01 00 04 0000 0000 0000 0000 0000 0000 0000 0000 01bb'],
    ['the name behind a fake IP', NAMED, `05 01 00 03 0b ${Buffer.from('example.org').toString('hex')} 01bb`],
  ])('carries %s', async (_, destination, expected) => {
    let seen = ''
    const server = await greeted(hex(expected).length, async (peer, request) => {
      seen = request.toString('hex')
      await peer.say(OK)
    })
    ;(await dial(server, destination)).destroy()
    expect(seen).toBe(hex(expected).toString('hex'))
  })

  test.each([
    ['a name of 256 bytes', { ...NAMED, host: 'a'.repeat(256) }],
    ['an empty name', { ...NAMED, host: '' }],
    ['no address', { ...V4, address: '1.2.3' }],
    ['a number over 255', { ...V4, address: '1.2.3.256' }],
    ['nine groups', { ...V6, address: '1:2:3:4:5:6:7:8:9' }],
    ['two gaps', { ...V6, address: '1::2::3' }],
    ['a group of five digits', { ...V6, address: '::12345' }],
  ])('is EINVAL for %s, without a connection', async (_, destination) => {
    await expect(dial({ host: '127.0.0.1', port: 1 }, destination)).rejects.toMatchObject({ code: 'EINVAL' })
  })

  test('waits for the chosen method: nothing is sent ahead', async () => {
    let early = -1
    const server = await proxy(async peer => {
      await peer.got(3)
      await sleep(20)
      early = (await peer.got(0)).length + peer.socket.bytesRead - 3
      await peer.say(METHOD)
      await peer.got(10)
      await peer.say(OK)
    })
    ;(await dial(server)).destroy()
    expect(early).toBe(0)
  })
})

describe('authentication', () => {
  const withPassword = (server: Socks5Server) => ({ ...server, username: 'us', password: 'pw' })

  test('offers both methods, sends name and password, then the request', async () => {
    const seen: string[] = []
    const server = await proxy(async peer => {
      seen.push((await peer.got(4)).toString('hex'))
      await peer.say(hex('05 02'))
      seen.push((await peer.got(7)).toString('hex'))
      await peer.say(hex('01 00'))
      seen.push((await peer.got(10)).toString('hex'))
      await peer.say(OK)
    })
    ;(await dial(withPassword(server))).destroy()
    expect(seen).toEqual(['05020002', '01027573027077', REQUEST.toString('hex')])
  })

  test('a wrong password is EACCES', async () => {
    const server = await proxy(async peer => {
      await peer.got(4)
      await peer.say(hex('05 02'))
      await peer.got(7)
      await peer.say(hex('01 01'))
    })
    expect(await failure(withPassword(server))).toMatchObject({ code: 'EACCES', message: expect.stringContaining('password') })
  })

  test.each([
    ['a password that we have not', '05 02', 'EACCES', 'wants a user name'],
    ['none of ours', '05 ff', 'EACCES', 'wants a user name'],
    ['one that was not offered', '05 01', 'EPROTO', 'method 1'],
  ])('a proxy that chooses %s', async (_, answer, code, words) => {
    const server = await proxy(async peer => {
      await peer.got(3)
      await peer.say(hex(answer))
    })
    expect(await failure(server)).toMatchObject({ code, message: expect.stringContaining(words) })
  })

  test('credentials that do not fit RFC 1929 are the caller’s error', () => {
    expect(() => socks5({ host: 'h', port: 1, username: 'x'.repeat(256) })).toThrow(
      expect.objectContaining({ code: 'ERR_TUN_PROXY_CREDENTIALS' }),
    )
    expect(() => socks5({ host: 'h', port: 1, username: '', password: 'x' })).toThrow(RangeError)
  })
})

describe('the reply', () => {
  test.each([
    ['IPv4', '05 00 00 01 7f00 0001 1000'],
    ['IPv6', `05 00 00 04 ${'00'.repeat(16)} 1000`],
    ['a name', `05 00 00 03 04 ${'61'.repeat(4)} 1000`],
    ['an empty name', '05 00 00 03 00 1000'],
    ['the longest name', `05 00 00 03 ff ${'61'.repeat(255)} 1000`],
  ])('with %s is read byte by byte as well as with data behind it', async (_, text) => {
    const reply = hex(text)
    const split = await greeted(10, async peer => {
      const bytes = [...reply].map(byte => Buffer.from([byte]))
      for (const byte of bytes) {
        peer.socket.write(byte)
        if (bytes.length < 30) await sleep(1)
      }
      peer.socket.end('late')
    })
    expect(await readAll(await dial(split))).toBe('late')
    const merged = await greeted(10, async peer => void peer.socket.end(Buffer.concat([reply, Buffer.from('early')])))
    expect(await readAll(await dial(merged))).toBe('early')
  })

  test.each([
    [1, 'ECONNRESET'],
    [2, 'EACCES'],
    [3, 'ENETUNREACH'],
    [4, 'EHOSTUNREACH'],
    [5, 'ECONNREFUSED'],
    [6, 'ETIMEDOUT'],
    [7, 'EOPNOTSUPP'],
    [8, 'EAFNOSUPPORT'],
    [9, 'ECONNRESET'],
    [255, 'ECONNRESET'],
  ])('%i is %s, and the message names proxy, reply and destination', async (reply, code) => {
    const server = await greeted(18, async peer => peer.say(Buffer.from([5, reply, 0, 1, 0, 0, 0, 0, 0, 0])))
    const error = await failure(server, NAMED)
    expect(error).toBeInstanceOf(Socks5ReplyError)
    expect(error).toMatchObject({ code, reply, errno: expect.any(Number), syscall: 'connect' })
    expect(error.message).toMatch(new RegExp(`127\\.0\\.0\\.1:${server.port} answered ${reply} .*example\\.org:443`))
    await server.closed
  })

  test('a refusal without an address is understood', async () => {
    const server = await greeted(10, async peer => peer.say(hex('05 05')))
    expect(await failure(server)).toMatchObject({ code: 'ECONNREFUSED' })
  })

  test.each([
    ['an address type that is none', '05 00 00 02 00', 'address type 2'],
    ['another version', '04 5a 00 00 00', '0x045a'],
  ])('with %s is EPROTO', async (_, text, words) => {
    const server = await greeted(10, async peer => peer.say(hex(text)))
    expect(await failure(server)).toMatchObject({ code: 'EPROTO', message: expect.stringContaining(words) })
    await server.closed
  })

  test('a web server is recognised', async () => {
    const server = await proxy(async peer => peer.say(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')))
    expect(await failure(server)).toMatchObject({ code: 'EPROTO', message: expect.stringContaining('HTTP') })
  })

  test('a proxy that hangs up at any byte is ECONNRESET', async () => {
    for (let cut = 0; cut < OK.length; cut++) {
      const server = await greeted(10, async peer => void peer.socket.end(OK.subarray(0, cut)))
      expect(await failure(server), `cut at ${cut}`).toMatchObject({ code: 'ECONNRESET' })
      await server.closed
    }
    const reset = await greeted(10, async peer => void peer.socket.resetAndDestroy())
    expect(await failure(reset)).toMatchObject({ code: 'ECONNRESET' })
  })

  test('a closed port is ECONNREFUSED and names the proxy', async () => {
    const server = await proxy(async () => {})
    servers.pop()?.close()
    expect(await failure(server)).toMatchObject({
      code: 'ECONNREFUSED',
      message: expect.stringContaining(`proxy 127.0.0.1:${server.port}`),
    })
  })

  test('a proxy that stays silent is ETIMEDOUT after dialTimeoutMs', async () => {
    const server = await greeted(10, async () => {})
    const outbound = socks5(server, { dialTimeoutMs: 40 })
    await expect(outbound.dial(V4)).rejects.toMatchObject({ code: 'ETIMEDOUT' })
    await server.closed
  })
})

describe('the handover', () => {
  test('is a DialedSocket, half-open, not flowing, without a listener of ours', async () => {
    const server = await greeted(10, async peer => peer.say(OK))
    const bare = new EventEmitter()
    const socket = await dial(server)
    await sleep(1)
    expect(Object.getPrototypeOf(socket)).toBe(DialedSocket.prototype)
    expect([socket.allowHalfOpen, socket.readableFlowing, socket.destroyed, socket.timeout]).toEqual([true, null, false, 0])
    for (const event of ['data', 'readable', 'end', 'error', 'close', 'connect', 'timeout']) {
      expect(socket.listenerCount(event), event).toBe(bare.listenerCount(event))
    }
    socket.destroy()
  })

  test('an end in the same segment as the reply reaches who attaches in this turn', async () => {
    const server = await greeted(10, async peer => void peer.socket.end(OK))
    const socket = await dial(server)
    expect(socket.readableEnded).toBe(false)
    expect(await readAll(socket)).toBe('')
  })

  test('a pause right at the handover holds', async () => {
    const server = await greeted(10, async peer => peer.say(Buffer.concat([OK, Buffer.from('early')])))
    const socket = await dial(server)
    let seen = ''
    socket.on('data', chunk => {
      seen += chunk
    })
    socket.pause()
    await sleep(20)
    expect(seen).toBe('')
    socket.resume()
    await once(socket, 'data')
    expect(seen).toBe('early')
    socket.destroy()
  })

  test('an error at the handover ends no process', async () => {
    const server = await greeted(10, async peer => peer.say(OK))
    const socket = await dial(server)
    expect(socket.listenerCount('error')).toBe(1)
    const closed = new Promise(resolve => socket.once('close', resolve))
    socket.destroy(new Error('nobody listens yet'))
    await closed
  })
})

describe('an abort', () => {
  const stages: [string, (reached: () => void) => Promise<Socks5Server & { closed: Promise<void> }>][] = [
    ['in the greeting', reached => proxy(async peer => peer.got(3).then(reached))],
    [
      'in the password',
      reached =>
        proxy(async peer => {
          await peer.got(4)
          await peer.say(hex('05 02'))
          await peer.got(7)
          reached()
        }),
    ],
    ['in the request', reached => greeted(10, async () => reached())],
    [
      'in the reply',
      reached =>
        greeted(10, async peer => {
          await peer.say(OK.subarray(0, 6))
          reached()
        }),
    ],
  ]
  test.each(stages)('%s closes the connection and rejects with its reason', async (stage, script) => {
    const controller = new AbortController()
    const reason = new Error('gone')
    const server = await script(() => controller.abort(reason))
    if (stage === 'in the password') Object.assign(server, { username: 'us', password: 'pw' })
    await expect(dial(server, V4, controller.signal)).rejects.toBe(reason)
    await server.closed
  })

  test('before the dial opens nothing', async () => {
    await expect(dial({ host: '127.0.0.1', port: 1 }, V4, AbortSignal.abort())).rejects.toMatchObject({ name: 'AbortError' })
  })

  test('after the handover is not ours any more', async () => {
    const controller = new AbortController()
    const server = await greeted(10, async peer => peer.say(OK))
    const socket = await dial(server, V4, controller.signal)
    controller.abort()
    await sleep(5)
    expect(socket.destroyed).toBe(false)
    socket.destroy()
  })
})

describe('the address of the proxy', () => {
  test('is read from a URL, with its escapes', async () => {
    let seen = ''
    const server = await proxy(async peer => {
      await peer.got(4)
      await peer.say(hex('05 02'))
      seen = (await peer.got(11)).toString('latin1')
      peer.socket.end(hex('01 01'))
    })
    const outbound = socks5(`socks5://a%40b:c:%zz@127.0.0.1:${server.port}`)
    await expect(outbound.dial(V4)).rejects.toMatchObject({ code: 'EACCES' })
    expect(seen).toBe('\x01\x03a@b\x05c:%zz')
  })

  test.each(['http://h:1', 'socks5://h', 'socks5://:1080', '127.0.0.1:1080', ''])('%j is an error that says how to write it', text => {
    expect(() => socks5(text)).toThrow(
      expect.objectContaining({ code: 'ERR_TUN_PROXY_URL', message: expect.stringContaining('socks5://[user') }),
    )
  })

  test('never shows a password in an error', () => {
    expect(() => socks5('http://user:secret@host:1')).toThrow(expect.not.objectContaining({ message: expect.stringContaining('secret') }))
  })
})
