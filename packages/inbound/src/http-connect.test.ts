import { once } from 'node:events'
import { createServer, type Server, Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { type HttpProxy, httpConnect } from './http-connect.js'
import type { Destination } from './outbound.js'

const V6: Destination = { address: '2001:db8::7', port: 443, family: 6 }
const NAMED: Destination = { address: '198.18.0.9', port: 443, family: 4, host: 'example.org' }

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.close()
})

/** A proxy that says `answer` once it has a whole request; `request` is what it was asked. */
async function proxy(answer: (socket: Socket, request: string) => unknown): Promise<HttpProxy> {
  const server = createServer({ allowHalfOpen: true }, socket => {
    let head = ''
    let asked = false
    socket.on('error', () => {})
    socket.on('data', chunk => {
      head += chunk
      if (asked || !head.includes('\r\n\r\n')) return
      asked = true
      answer(socket, head)
    })
  }).listen(0, '127.0.0.1')
  servers.push(server)
  await once(server, 'listening')
  return { host: '127.0.0.1', port: (server.address() as { port: number }).port }
}

const OK = 'HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n'

describe('httpConnect', () => {
  test('asks for the name behind a fake IP, and hands over exactly a net.Socket with what came behind the answer', async () => {
    let asked = ''
    const server = await proxy((socket, request) => {
      asked = request
      socket.write(`${OK}early`)
    })
    const socket = (await httpConnect(server).dial(NAMED)) as Socket
    expect(asked).toBe('CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n')
    expect(Object.getPrototypeOf(socket)).toBe(Socket.prototype)
    const [data] = await once(socket, 'data')
    expect(String(data)).toBe('early')
    expect(socket.listenerCount('end')).toBe(new Socket().listenerCount('end'))
    socket.destroy()
  })
  test('an IPv6 address goes in brackets; credentials as Basic', async () => {
    let asked = ''
    const { host, port } = await proxy((socket, request) => {
      asked = request
      socket.write(OK)
    })
    const socket = await httpConnect(`http://al:p%40ss@${host}:${port}`).dial(V6)
    expect(asked).toContain('CONNECT [2001:db8::7]:443 HTTP/1.1\r\n')
    expect(asked).toContain(`Proxy-Authorization: Basic ${Buffer.from('al:p@ss').toString('base64')}\r\n`)
    socket.destroy()
  })
  test.each([['in one piece'], ['in single bytes']])('interim answers before the yes are read over, %s (RFC 9110 §15.2)', async how => {
    const server = await proxy(async socket => {
      const answer = `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103\r\nLink: x\r\n\r\n${OK}tail`
      for (const piece of how === 'in one piece' ? [answer] : answer) {
        socket.write(piece)
        await sleep(0)
      }
      socket.end()
    })
    let got = ''
    for await (const chunk of await httpConnect(server).dial(NAMED)) got += chunk
    expect(got).toBe('tail')
  })
  test('interim answers without end are EPROTO, and 101 is a refusal', async () => {
    const endless = await proxy(socket => void socket.write('HTTP/1.1 100 Continue\r\n\r\n'.repeat(1000)))
    await expect(httpConnect(endless).dial(NAMED)).rejects.toMatchObject({ code: 'EPROTO' })
    const upgrade = await proxy(socket => void socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n'))
    await expect(httpConnect(upgrade).dial(NAMED)).rejects.toMatchObject({ code: 'ECONNRESET' })
  })
  test('an answer in single bytes is read, and nothing behind it is lost', async () => {
    const server = await proxy(async socket => {
      for (const byte of `${OK}tail`) {
        socket.write(byte)
        await sleep(0)
      }
      socket.end()
    })
    const socket = await httpConnect(server).dial(NAMED)
    let got = ''
    for await (const chunk of socket) got += chunk
    expect(got).toBe('tail')
  })
  test.each([
    [403, 'EACCES'],
    [407, 'EACCES'],
    [404, 'EHOSTUNREACH'],
    [502, 'ECONNREFUSED'],
    [503, 'EHOSTUNREACH'],
    [504, 'ETIMEDOUT'],
    [500, 'ECONNRESET'],
    [301, 'ECONNRESET'],
  ])('%i is %s for the application', async (status, code) => {
    const server = await proxy(socket => socket.end(`HTTP/1.0 ${status} because\r\n\r\n`))
    await expect(httpConnect(server).dial(NAMED)).rejects.toMatchObject({ code, message: expect.stringContaining(`${status} because`) })
  })
  test.each([
    ['garbage', '\x05\x00whatever\r\n\r\n', 'EPROTO'],
    ['a head without end', `HTTP/1.1 200 OK\r\nX: ${'y'.repeat(20_000)}`, 'EPROTO'],
    ['silence and the end', '', 'ECONNRESET'],
  ])('%s: %s', async (_, answer, code) => {
    const server = await proxy(socket => socket.end(answer, 'latin1'))
    await expect(httpConnect(server).dial(NAMED)).rejects.toMatchObject({ code })
  })
  test('a silent proxy is ETIMEDOUT, an absent one ECONNREFUSED', async () => {
    const silent = await proxy(() => {})
    await expect(httpConnect(silent, { dialTimeoutMs: 50 }).dial(NAMED)).rejects.toMatchObject({ code: 'ETIMEDOUT' })
    const absent = await proxy(() => {})
    servers.pop()?.close()
    await expect(httpConnect(absent).dial(NAMED)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })
  test('an abort closes the attempt and rejects with its reason', async () => {
    const closed = deferred()
    const controller = new AbortController()
    const server = await proxy(socket => {
      socket.on('close', () => closed.resolve())
      socket.on('end', () => socket.end())
      controller.abort(new Error('enough'))
    })
    await expect(httpConnect(server).dial(NAMED, controller.signal)).rejects.toThrow('enough')
    await closed.promise
  })
  test('a name that would break out of the request line is refused here', async () => {
    const outbound = httpConnect({ host: '127.0.0.1', port: 1 })
    await expect(outbound.dial({ ...NAMED, host: 'a\r\nX: y' })).rejects.toMatchObject({ code: 'EINVAL' })
  })
  test('a % that begins no escape stands for itself', async () => {
    let asked = ''
    const { host, port } = await proxy((socket, request) => {
      asked = request
      socket.write(OK)
    })
    const socket = await httpConnect(`http://al:100%@${host}:${port}`).dial(V6)
    expect(asked).toContain(Buffer.from('al:100%').toString('base64'))
    socket.destroy()
  })

  test('what is no proxy address is told without its password', () => {
    expect(() => httpConnect('socks5://u:secret@h:1')).toThrow(/^(?!.*secret).*socks5:\/\/h:1 is no proxy address/)
    expect(() => httpConnect({ host: 'h', port: 1, username: 'a:b' })).toThrow('colon')
  })
})

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {}
  const promise = new Promise<void>(done => {
    resolve = done
  })
  return { promise, resolve }
}
