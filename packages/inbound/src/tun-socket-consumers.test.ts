// Node's own servers and clients, ws and undici, unchanged on TunSockets: the inbound's as servers, the applications' as clients.

import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { Duplex, PassThrough } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import tls from 'node:tls'
import { Client } from 'undici'
import { afterEach, describe, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { bytes, closed, connection, established, readAll, until, type World, world } from './world.test-kit.js'

// P-256, self-signed for tun.test, valid to 2055; for tests only.
const CERT = `-----BEGIN CERTIFICATE-----
MIIBkzCCATigAwIBAgIUE1Ko01/YpFGQhjIL/3utDwr4WJ8wCgYIKoZIzj0EAwIw
EzERMA8GA1UEAwwIdHVuLnRlc3QwIBcNMjYxMTIyMTUzOTQzWhgPMjA1NjExMTQx
NTM5NDNaMBMxETAPBgNVBAMMCHR1bi50ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAENl2QxAO92uwFcZeSJLSqcurZKMSNVqGbUBuA2o0uJMPMTQZ1qUViyYfi
7jcT6x23oQMS7QNXarPD3JxF1BdDjqNoMGYwHQYDVR0OBBYEFPueYaJEJZkgBOPY
62ERn60MDvoWMB8GA1UdIwQYMBaAFPueYaJEJZkgBOPY62ERn60MDvoWMA8GA1Ud
EwEB/wQFMAMBAf8wEwYDVR0RBAwwCoIIdHVuLnRlc3QwCgYIKoZIzj0EAwIDSQAw
RgIhAP7ZExjpko3rBAnC6l1JLlB99CfsIGr9xcabmG+41/BxAiEAmf9DenpWFWnV
/okp/WLcClEEczijCeuqbVfkzGT6Sw4=
-----END CERTIFICATE-----
`
const KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgGBHuyQRy85zQKAVb
sLDt8842OtakfWt8ds88ltpqteChRANCAAQ2XZDEA73a7AVxl5IktKpy6tkoxI1W
oZtQG4DajS4kw8xNBnWpRWLJh+LuNxPrHbehAxLtA1dqs8PcnEXUF0OO
-----END PRIVATE KEY-----
`

const opened: { close(): void }[] = []
afterEach(() => {
  for (const one of opened.splice(0)) one.close()
})

async function body(message: http.IncomingMessage): Promise<Buffer> {
  return readAll(message)
}

/** One request of an application; the body of the answer. */
async function fetchOver(w: World, options: http.RequestOptions = {}, upload?: Buffer) {
  const request = http.request({ host: 'tun.test', path: '/', createConnection: () => w.connect('192.0.2.1', 80), ...options })
  request.end(upload)
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  return { response, body: await body(response) }
}

describe('http', () => {
  test('large bodies both ways', async () => {
    await using w = await world()
    const server = http.createServer(async (request, response) => response.end(await body(request)))
    w.inbound.listen({ port: 80 }, server)
    const data = bytes(5e6)
    const { response, body: echoed } = await fetchOver(w, { method: 'POST' }, data)
    expect([response.statusCode, echoed.equals(data)]).toEqual([200, true])
    server.closeAllConnections()
  })

  test('an agent keeps connections alive, and the server closes them when they have been idle', async () => {
    await using w = await world()
    const server = http.createServer({}, (request, response) => response.end(String(request.socket.remotePort)))
    w.inbound.listen({ port: 80 }, server)
    const agent = new http.Agent({ keepAlive: true })
    let made = 0
    agent.createConnection = () => {
      made++
      return w.connect('192.0.2.1', 80) as unknown as Socket
    }
    const ports = new Set<string>()
    for (let i = 0; i < 3; i++) {
      ports.add(String((await fetchOver(w, { agent, createConnection: undefined })).body))
      await new Promise(setImmediate)
    }
    expect([made, ports.size]).toEqual([1, 1])
    server.keepAliveTimeout = 20
    await fetchOver(w, { agent, createConnection: undefined })
    await until(() => w.inbound.stats().connections === 0)
    agent.destroy()
  })

  test('a client that never finishes its request is closed: http.Server’s time-outs run without listening', async () => {
    await using w = await world()
    const server = http.createServer({ requestTimeout: 0, headersTimeout: 0, connectionsCheckingInterval: 20 }, () => {})
    let received = () => 0
    server.on('connection', socket => {
      received = () => socket.bytesRead
    })
    w.inbound.listen({ port: 80 }, server)
    const app = await w.open('192.0.2.1', 80)
    app.write('GET / HTTP/1.1\r\nHost: x\r\n')
    await until(() => received() > 0) // nothing is under way when the server closes: that would be answered by a reset
    Object.assign(server, { requestTimeout: 50, headersTimeout: 50 })
    expect(String(await readAll(app))).toContain('408 Request Timeout')
  })

  test('a client’s request time-out and abort end its connection', async () => {
    await using w = await world()
    w.inbound.listen(
      { port: 80 },
      http.createServer(() => {}),
    )
    const request = http.get({ host: 'x', createConnection: () => w.connect('192.0.2.1', 80) })
    request.setTimeout(30, () => request.destroy(Object.assign(new Error('late'), { code: 'ETIMEDOUT' })))
    expect((await once(request, 'error'))[0]).toMatchObject({ code: 'ETIMEDOUT' })
    await until(() => w.inbound.stats().connections === 0)
  })

  test('“Connection: close” and pipelined requests: all answers arrive, then the end', async () => {
    await using w = await world()
    const big = bytes(2e6)
    const server = http.createServer((request, response) => {
      if (request.url === '/last') response.setHeader('Connection', 'close')
      response.end(big)
    })
    w.inbound.listen({ port: 80 }, server)
    const app = w.connect('192.0.2.1', 80)
    app.write('GET /first HTTP/1.1\r\nHost: x\r\n\r\nGET /last HTTP/1.1\r\nHost: x\r\n\r\n')
    const all = await readAll(app)
    expect(all.length).toBeGreaterThan(2 * big.length)
    expect(all.subarray(-big.length).equals(big)).toBe(true)
  })

  test('an upgrade hands the socket over with its first bytes', async () => {
    await using w = await world()
    const server = http.createServer()
    server.on('upgrade', (_request, socket: Duplex, head: Buffer) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n')
      socket.write(head)
      socket.pipe(socket)
    })
    w.inbound.listen({ port: 80 }, server)
    const app = w.connect('192.0.2.1', 80)
    app.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhead')
    app.end('tail')
    expect(String(await readAll(app))).toMatch(/\r\n\r\nheadtail$/)
  })

  test('undici, custom connect', async () => {
    await using w = await world()
    const server = http.createServer(async (request, response) => response.end(await body(request)))
    w.inbound.listen({ port: 80 }, server)
    const client = new Client('http://tun.test', {
      connect: (_options, done) => {
        const socket = w.connect('192.0.2.1', 80)
        socket.once('connect', () => done(null, socket as unknown as Socket)).once('error', error => done(error, null))
      },
    })
    const data = bytes(3e6)
    for (let i = 0; i < 2; i++) {
      const answer = await client.request({ path: '/', method: 'POST', body: data })
      expect(Buffer.from(await answer.body.arrayBuffer()).equals(data)).toBe(true)
    }
    await client.close()
  })
})

describe('tls', () => {
  test('TLSSocket on both sides, large data and a clean end', async () => {
    await using w = await world()
    const app = w.connect('192.0.2.1', 443)
    const socket = await connection(w.inbound)
    const server = new tls.TLSSocket(socket, { isServer: true, cert: CERT, key: KEY })
    const client = tls.connect({ socket: app, servername: 'tun.test', ca: CERT })
    await once(client, 'secureConnect')
    expect(client.authorized).toBe(true)
    const data = bytes(4e6)
    client.end(data)
    expect((await readAll(server)).equals(data)).toBe(true)
    server.end(data)
    expect((await readAll(client)).equals(data)).toBe(true)
    await until(() => w.inbound.stats().connections === 0)
  })

  test('a reset under TLS is no end', async () => {
    await using w = await world()
    const app = w.connect('192.0.2.1', 443)
    const socket = await connection(w.inbound)
    const server = new tls.TLSSocket(socket, { isServer: true, cert: CERT, key: KEY })
    const client = tls.connect({ socket: app, servername: 'tun.test', ca: CERT })
    client.on('error', () => {})
    await once(client, 'secureConnect')
    let ended = false
    server.resume().on('end', () => {
      ended = true
    })
    const over = closed(server)
    app.resetAndDestroy()
    await over // Node's TLSSocket tells the error of a stream that is no net.Socket only by closing
    expect([ended, socket.errored]).toEqual([false, expect.objectContaining({ code: 'ECONNRESET' })])
  })

  test('https server and client', async () => {
    await using w = await world()
    w.inbound.listen(
      { port: 443 },
      https.createServer({ cert: CERT, key: KEY }, (_q, a) => void a.end('secret')),
    )
    const request = https.get({
      host: 'tun.test',
      createConnection: () => tls.connect({ socket: w.connect('192.0.2.1', 443), servername: 'tun.test', ca: CERT }),
    })
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    expect(String(await body(response))).toBe('secret')
  })
})

describe('http2 and ws', () => {
  test('http2, many streams at once', async () => {
    await using w = await world()
    const server = http2.createServer((request, response) => void request.pipe(response))
    w.inbound.listen({ port: 80 }, server)
    const session = http2.connect('http://tun.test', { createConnection: () => w.connect('192.0.2.1', 80) })
    const data = bytes(300_000)
    const echoes = Array.from({ length: 20 }, async () => {
      const stream = session.request({ ':method': 'POST', ':path': '/' })
      stream.end(data)
      return readAll(stream)
    })
    for (const echo of await Promise.all(echoes)) expect(echo.equals(data)).toBe(true)
    session.close()
    await once(session, 'close')
    await until(() => w.inbound.stats().connections === 0)
  })

  test('ws server and client: text, a large message, close', async () => {
    await using w = await world()
    const server = http.createServer()
    const sockets = new WebSocketServer({ server })
    sockets.on('connection', socket => socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary })))
    w.inbound.listen({ port: 80 }, server)
    const client = new WebSocket('ws://tun.test/', { createConnection: () => w.connect('192.0.2.1', 80) as unknown as Socket })
    await once(client, 'open')
    client.send('hello')
    expect(String((await once(client, 'message'))[0])).toBe('hello')
    const data = bytes(3e6)
    client.send(data)
    expect(((await once(client, 'message'))[0] as Buffer).equals(data)).toBe(true)
    client.close(1000, 'bye')
    expect((await once(client, 'close'))[0]).toBe(1000)
    sockets.close()
  })
})

describe('streams', () => {
  test('for await reads to the end; what was written in the loop arrives', async () => {
    await using w = await world()
    const { app, socket } = await established(w)
    const data = bytes(2e6)
    app.end(data)
    const echo = (async () => {
      for await (const chunk of socket) if (!socket.write(chunk)) await once(socket, 'drain')
      socket.end() // Node 24 leaves a half-open Duplex to its reader; others have destroyed it
    })()
    expect((await readAll(app)).equals(data)).toBe(true)
    await echo
  })

  test('leaving for await early still delivers what was written', async () => {
    await using w = await world()
    const { app, socket } = await established(w)
    app.write('question\n')
    for await (const chunk of socket) {
      socket.write(`${chunk}answer`)
      break
    }
    expect(String(await readAll(app))).toBe('question\nanswer')
  })

  test('an abort signal resets: what was cut off must not look complete', async () => {
    await using w = await world()
    const { app, socket } = await established(w)
    const over = closed(app)
    const controller = new AbortController()
    const piped = pipeline(socket, new PassThrough(), { signal: controller.signal }).catch(error => error.name)
    app.write('x')
    await until(() => socket.bytesRead === 1)
    const { addAbortSignal } = await import('node:stream')
    const { app: app2, socket: socket2 } = await established(w)
    const over2 = closed(app2)
    addAbortSignal(controller.signal, socket2).on('error', () => {})
    controller.abort()
    expect(await piped).toBe('AbortError')
    app.resume().end()
    app2.resume().end()
    expect(await over2).toBe('ECONNRESET')
    await over
  })

  test('Duplex.toWeb', async () => {
    await using w = await world()
    const { app, socket } = await established(w)
    const { readable, writable } = Duplex.toWeb(socket)
    const data = bytes(1e6)
    app.end(data)
    // Node 20 closes the readable half only when the writable one has ended as well, also over a net.Socket.
    const reader = readable.getReader()
    const got: Uint8Array[] = []
    for (let n = 0; n < data.length; n += got.at(-1)!.length) got.push((await reader.read()).value!)
    expect(Buffer.concat(got).equals(data)).toBe(true)
    const writer = writable.getWriter()
    const back = readAll(app) // it resolves when the data is queued, which is more than a buffer holds
    await writer.write(data)
    await writer.close()
    expect((await back).equals(data)).toBe(true)
    expect((await reader.read()).done).toBe(true)
  })

  test('an echo by pipeline(socket, socket)', async () => {
    await using w = await world()
    w.inbound.on('connection', socket => pipeline(socket, socket))
    const app = w.connect('192.0.2.1', 7)
    const data = bytes(2e6)
    app.end(data)
    expect((await readAll(app)).equals(data)).toBe(true)
  })
})

describe('pipeline(socket, net.connect(…), socket)', () => {
  async function upstream(serve: (socket: Socket) => void): Promise<Server & { port: number }> {
    const server = createServer({ allowHalfOpen: true }, serve).listen(0, '127.0.0.1')
    await once(server, 'listening')
    opened.push(server)
    return Object.assign(server, { port: (server.address() as AddressInfo).port })
  }
  const proxy = (w: World, dial: () => Duplex) => {
    const result: { error?: NodeJS.ErrnoException; done: boolean } = { done: false }
    w.inbound.on('connection', socket => {
      pipeline(socket, dial(), socket).then(
        () => Object.assign(result, { done: true }),
        error => Object.assign(result, { error, done: true }),
      )
    })
    return result
  }

  test('open: bytes both ways', async () => {
    await using w = await world()
    const { port } = await upstream(socket => void socket.pipe(socket))
    const result = proxy(w, () => connect({ port, host: '127.0.0.1', allowHalfOpen: true }))
    const app = w.connect('192.0.2.1', 80)
    const data = bytes(5e6)
    app.end(data)
    expect((await readAll(app)).equals(data)).toBe(true)
    await until(() => result.done)
    expect(result.error).toBeUndefined()
  })

  test('closed: the application is refused, it never sees a connection', async () => {
    await using w = await world()
    const server = await upstream(() => {})
    const { port } = server
    await new Promise(resolve => server.close(resolve))
    const result = proxy(w, () => connect({ port, host: '127.0.0.1' }))
    const app = w.connect('192.0.2.1', 80)
    let connected = false
    app.on('connect', () => {
      connected = true
    })
    expect(await closed(app)).toBe('ECONNREFUSED')
    expect([connected, result.error?.code]).toEqual([false, 'ECONNREFUSED'])
  })

  test('black-holed: the application waits in connect; when it gives up, the dial ends', async () => {
    await using w = await world()
    const hole = new BlackHole()
    const result = proxy(w, () => hole)
    const app = w.connect('192.0.2.1', 80)
    await until(() => w.inbound.stats().pending === 1)
    await new Promise(resolve => setTimeout(resolve, 20))
    expect([app.connecting, hole.destroyed, w.inbound.stats().tcpAccepted]).toEqual([true, false, 0])
    const c = w.engineOf(app)
    c.tcp.replyLone(c, c.sndNxt, 0, 4)
    app.destroy()
    await until(() => hole.destroyed && result.done)
  })

  test('black-holed, then given up by the dialler: the application sees why', async () => {
    await using w = await world()
    const hole = new BlackHole()
    proxy(w, () => hole)
    const app = w.connect('192.0.2.1', 80)
    await until(() => w.inbound.stats().pending === 1)
    hole.destroy(Object.assign(new Error('no route'), { code: 'EHOSTUNREACH' }))
    expect(await w.icmpError()).toEqual({ type: 3, code: 1 })
    app.destroy()
  })

  test('plain pipe into a dialler that fails without anybody telling us: refused by its error', async () => {
    await using w = await world()
    const hole = new BlackHole()
    w.inbound.on('connection', socket => socket.pipe(hole))
    w.connect('192.0.2.1', 80)
    await until(() => w.inbound.stats().pending === 1)
    hole.on('error', () => {}).destroy(Object.assign(new Error('no route'), { code: 'EHOSTUNREACH' }))
    expect(await w.icmpError()).toEqual({ type: 3, code: 1 })
  })

  test('slow: accepted when the upstream is there, TLS when its handshake is done', async () => {
    await using w = await world()
    const hole = new BlackHole()
    proxy(w, () => hole)
    const app = w.connect('192.0.2.1', 80)
    await until(() => w.inbound.stats().pending === 1)
    hole.open()
    await once(app, 'connect')
    app.end('x')
    expect(String(await readAll(app))).toBe('x')

    const server = tls
      .createServer({ cert: CERT, key: KEY, allowHalfOpen: true }, socket => void socket.pipe(socket))
      .listen(0, '127.0.0.1')
    await once(server, 'listening')
    opened.push(server)
    const { port } = server.address() as AddressInfo
    w.inbound.removeAllListeners('connection')
    let secured = false
    proxy(w, () => {
      const far = tls.connect({ port, host: '127.0.0.1', servername: 'tun.test', ca: CERT, allowHalfOpen: true } as tls.ConnectionOptions)
      return far.on('secureConnect', () => {
        secured = true
      })
    })
    const second = w.connect('192.0.2.1', 443)
    await once(second, 'connect')
    expect(secured).toBe(true)
    second.end('over tls')
    expect(String(await readAll(second))).toBe('over tls')
  })
})

/** A dialler that nobody answers, until `open`: then it echoes. */
class BlackHole extends Duplex {
  connecting = true
  private waiting: (() => void)[] = []

  open(): void {
    this.connecting = false
    this.emit('connect')
    for (const write of this.waiting.splice(0)) write()
  }
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    const write = () => {
      this.push(chunk)
      done()
    }
    if (this.connecting) this.waiting.push(write)
    else write()
  }
  override _final(done: () => void): void {
    this.push(null)
    done()
  }
  override _read(): void {}
}
