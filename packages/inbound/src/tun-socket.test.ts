// TunSocket by itself: the decision, net.Socket's surface, ends and resets. What runs on top of it: tun-socket-consumers.test.ts.

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { Duplex } from 'node:stream'
import type { TcpConnection, TunSocket } from '@tun/stack'
import { describe, expect, test } from 'vitest'
import { bytes, closed, connection, established, readAll, steadyTime, uncaught, until, type World, world } from './world.test-kit.js'

/** What an application's connect() to port 80 comes to when the inbound's listener does `decide`. */
async function outcome(w: World, decide: (socket: TunSocket) => unknown, address = '192.0.2.1'): Promise<string> {
  w.inbound.on('connection', decide)
  const app = w.connect(address, 80)
  return Promise.race([closed(app), once(app, 'connect').then(() => 'connected')])
}

const coded = (code: string) => Object.assign(new Error(code), { code })

describe('pending', () => {
  test('a connection is pending until somebody decides, and connects when accepted', async () => {
    await using w = await world()
    const app = w.connect('192.0.2.1', 443)
    const socket = await connection(w.inbound)
    expect(socket).toMatchObject({ connecting: true, pending: true, readyState: 'opening', undecided: true })
    expect(socket.destination).toEqual({ address: '192.0.2.1', port: 443, family: 4 })
    expect(socket.source).toMatchObject({ address: '10.0.0.1', family: 4 })
    expect(app.connecting).toBe(true)
    const ready = once(socket, 'ready')
    socket.accept().accept()
    await Promise.all([once(socket, 'connect'), ready, once(app, 'connect')])
    expect(socket).toMatchObject({ connecting: false, pending: false, readyState: 'open', undecided: false })
  })

  test.each<[string, (socket: TunSocket) => unknown]>([
    ['write', s => s.write('x')],
    ['end', s => s.end()],
    ['reading', s => s.resume()],
    ['peek', s => s.peek(1)],
    ['pipe into a stream that is no socket', s => s.pipe(new Duplex({ write: (_c, _e, done) => done(), read() {} }))],
  ])('%s accepts', async (_what, act) => {
    await using w = await world()
    expect(await outcome(w, act)).toBe('connected')
  })

  test('listeners, setTimeout and asking for its properties do not accept', async () => {
    await using w = await world()
    const app = w.connect('192.0.2.1', 80)
    const socket = await connection(w.inbound)
    socket.on('connect', () => {}).setTimeout(5)
    socket.setNoDelay().setKeepAlive().ref().unref().address()
    await new Promise(resolve => setTimeout(resolve, 20))
    expect([socket.undecided, app.connecting]).toEqual([true, true])
  })

  test.each<[string, (socket: TunSocket) => unknown]>([
    ['reject()', s => s.reject()],
    ['destroy()', s => s.destroy()],
    ['destroy(ECONNREFUSED)', s => s.destroy(coded('ECONNREFUSED'))],
    ['destroy(an error without code)', s => s.on('error', () => {}).destroy(new Error('x'))],
    ['resetAndDestroy()', s => s.resetAndDestroy()],
    ['destroySoon()', s => s.destroySoon()],
  ])('%s refuses: the application gets ECONNREFUSED', async (_what, act) => {
    await using w = await world()
    expect(await outcome(w, act)).toBe('ECONNREFUSED')
    expect(w.inbound.stats()).toMatchObject({ connections: 0, pending: 0, tcpRejected: 1, tcpAccepted: 0 })
  })

  test.each<[string, (socket: TunSocket) => unknown, number, number]>([
    ["reject('host-unreachable')", s => s.reject('host-unreachable'), 1, 3],
    ['destroy(EHOSTUNREACH)', s => s.destroy(coded('EHOSTUNREACH')), 1, 3],
    ['destroy(ENOTFOUND)', s => s.destroy(coded('ENOTFOUND')), 1, 3],
    ['destroy(ENETUNREACH)', s => s.destroy(coded('ENETUNREACH')), 0, 0],
    ['destroy(EACCES)', s => s.destroy(coded('EACCES')), 13, 1],
  ])('%s is an ICMP error', async (_what, act, code4, code6) => {
    await using w = await world()
    w.inbound.on('connection', act)
    w.connect('192.0.2.1', 80)
    expect(await w.icmpError()).toEqual({ type: 3, code: code4 })
    w.connect('2001:db8::1', 80)
    expect(await w.icmpError()).toEqual({ type: 1, code: code6 })
    expect(w.resets).toBe(0)
  })

  test("destroy(ETIMEDOUT) and reject('drop') are silence", async () => {
    await using w = await world()
    const acts = [(s: TunSocket) => s.destroy(coded('ETIMEDOUT')), (s: TunSocket) => s.reject('drop')]
    w.inbound.on('connection', socket => acts[socket.destination.port - 80](socket))
    for (const i of acts.keys()) {
      const sent = w.nic.counters.rowsWritten
      const app = w.connect('192.0.2.1', 80 + i)
      await until(() => w.inbound.stats().tcpRejected > i && w.inbound.stats().pending === 0)
      await new Promise(resolve => setTimeout(resolve, 10))
      expect([w.nic.counters.rowsWritten, app.connecting]).toEqual([sent, true])
    }
  })

  test('without a listener the connection is refused', async () => {
    await using w = await world()
    expect(await closed(w.connect('192.0.2.1', 80))).toBe('ECONNREFUSED')
  })

  test('the signal aborts and the socket closes when the application gives up', async () => {
    await using w = await world()
    const app = w.connect('192.0.2.1', 80)
    const socket = await connection(w.inbound)
    const { signal } = socket
    const over = closed(socket)
    // A user-space connect() that is given up says so only by what a later segment is answered with; a RST it is here.
    const c = w.engineOf(app)
    c.tcp.replyLone(c, c.sndNxt, 0, 4)
    app.destroy()
    expect(await over).toBe('')
    expect([signal.aborted, socket.destroyed, socket.errored]).toEqual([true, true, null])
  })

  test('a new SYN on the same ports is a new connection: the old one’s signal aborts', async () => {
    await using w = await world()
    const app = w.connect('192.0.2.1', 80)
    const first = await connection(w.inbound)
    const { signal } = first
    const next = connection(w.inbound)
    const c = w.engineOf(app)
    c.iss = (c.iss + 1_000_000) | 0
    c.sndUna = c.iss
    c.sndNxt = c.iss
    c.synDue = true
    c.tcp.output(c)
    app.wake()
    const second = await next
    expect([signal.aborted, first.destroyed, second.source]).toEqual([true, true, first.source])
    second.accept()
    await once(app, 'connect')
  })

  test('nobody decides: after pendingTimeout it is given up, silently', async () => {
    await using w = await world({ limits: { pendingTimeout: 30 } })
    w.connect('192.0.2.1', 80)
    const socket = await connection(w.inbound)
    const { signal } = socket
    expect(await closed(socket)).toBe('')
    expect([signal.aborted, w.resets, w.icmp.length]).toEqual([true, 0, 0])
  })

  test('a signal asked for too late has aborted already', async () => {
    await using w = await world()
    const { socket } = await established(w)
    socket.destroy()
    expect(socket.signal.aborted).toBe(true)
  })
})

describe("handshake: 'cookie'", () => {
  /** The one place is taken: the next connection is made by a cookie. */
  async function crowded(): Promise<World> {
    const w = await world({ limits: { maxPending: 1, synCookies: true } })
    w.connect('192.0.2.1', 80)
    const occupant = await connection(w.inbound)
    expect([occupant.handshake, occupant.connecting]).toEqual(['pending', true])
    return w
  }

  test('it is connected when you get it; connect is emitted all the same, and all it does works', async () => {
    await using w = await crowded()
    let connects = 0
    w.inbound.once('connection', s => s.once('connect', () => connects++))
    const app = w.connect('192.0.2.1', 81)
    app.write('early')
    const socket = await connection(w.inbound)
    expect([socket.handshake, socket.connecting, socket.readyState, socket.undecided]).toEqual(['cookie', false, 'open', true])
    expect(connects).toBe(1)
    expect(w.inbound.stats()).toMatchObject({ tcpCookiesSent: 1, tcpCookiesAccepted: 1, undecided: 1 })
    expect(String((await once(socket, 'data'))[0])).toBe('early')
    expect(w.inbound.stats().undecided).toBe(0)
    socket.end('late')
    expect(String(await readAll(app))).toBe('late')
  })

  test('reject and destroy(error) reset it', async () => {
    await using w = await crowded()
    for (const act of [(s: TunSocket) => s.reject('host-unreachable'), (s: TunSocket) => s.destroy(coded('ETIMEDOUT'))]) {
      w.inbound.once('connection', act)
      const app = w.connect('192.0.2.1', 81)
      expect(await closed(app)).toBe('ECONNRESET')
    }
    expect([w.icmp.length, w.inbound.stats().undecided]).toEqual([0, 0])
  })

  test('piped into what is still connecting it stays undecided, with what has come, and is reset if that fails', async () => {
    await using w = await crowded()
    for (const fails of [true, false]) {
      const app = w.connect('192.0.2.1', 81)
      app.write('early')
      const socket = await connection(w.inbound)
      const got: Buffer[] = []
      const far = new Duplex({ read() {}, write: (chunk, _, callback) => callback(void got.push(chunk)) })
      const upstream = Object.assign(far, { connecting: true })
      socket.pipe(upstream)
      await until(() => socket.bytesRead === 5)
      await new Promise(resolve => setImmediate(resolve))
      expect([socket.undecided, got.length]).toEqual([true, 0])
      upstream.connecting = false
      if (fails) {
        upstream.on('error', () => {}).destroy(coded('ECONNREFUSED'))
        expect(await closed(app)).toBe('ECONNRESET')
      } else {
        upstream.emit('connect')
        await until(() => got.length === 1)
        expect([String(got[0]), socket.undecided]).toEqual(['early', false])
      }
    }
  })

  test('accepted while the pipe waits, it reads at once', async () => {
    await using w = await crowded()
    const app = w.connect('192.0.2.1', 81)
    app.write('early')
    const socket = await connection(w.inbound)
    const got: Buffer[] = []
    const far = new Duplex({ read() {}, write: (chunk, _, callback) => callback(void got.push(chunk)) })
    socket.pipe(Object.assign(far, { connecting: true }))
    await until(() => socket.bytesRead === 5)
    socket.accept()
    await until(() => got.length === 1)
  })
})

describe('ends and resets', () => {
  test('half-close, either side first, loses nothing', async () => {
    await using w = await world()
    for (const appFirst of [true, false]) {
      const { app, socket } = await established(w)
      const [first, second] = appFirst ? [app, socket] : [socket, app]
      first.end('question')
      expect(String(await readAll(second))).toBe('question')
      expect([second.readyState, first.readyState]).toEqual(['writeOnly', 'readOnly'])
      second.end('answer')
      expect(String(await readAll(first))).toBe('answer')
      await until(() => first.destroyed && second.destroyed)
      expect(first.signal.aborted && second.signal.aborted).toBe(true)
    }
    await until(() => w.inbound.stats().connections === 0)
  })

  test('a socket that only writes is closed too when both sides have ended', async () => {
    await using w = await world()
    const { app, socket } = await established(w)
    const over = closed(socket)
    socket.end('hello') // nobody ever reads from it
    expect(String(await readAll(app))).toBe('hello')
    app.end()
    expect(await over).toBe('')
  })

  test('bytes that nobody reads keep it open, as with net.Socket, and can be read after the connection is gone', async () => {
    await using w = await world()
    const { app, socket } = await established(w)
    socket.end()
    app.resume()
    app.end('late reader')
    await until(() => w.inbound.stats().connections === 0)
    expect(socket.destroyed).toBe(false)
    expect(String(await readAll(socket))).toBe('late reader')
    await until(() => socket.destroyed)
  })

  test.each<[string, (s: TunSocket) => unknown]>([
    ['resetAndDestroy()', s => s.resetAndDestroy()],
    ['destroy(error)', s => s.on('error', () => {}).destroy(new Error('broken'))],
    ['reject() after accept', s => s.reject()],
  ])('%s resets the application’s connection', async (_what, act) => {
    await using w = await world()
    const { app, socket } = await established(w)
    const over = closed(app)
    act(socket)
    expect(await over).toBe('ECONNRESET')
  })

  test('destroy() with nothing unread sends what was written and a FIN; with unread bytes it resets', async () => {
    await using w = await world()
    const one = await established(w)
    const data = bytes(3e6)
    const written = new Promise(resolve => one.socket.write(data, resolve))
    one.socket.destroy()
    expect((await readAll(one.app)).equals(data)).toBe(true)
    expect(await written).toBeFalsy()
    expect(one.socket.errored).toBe(null)

    const two = await established(w)
    const over = closed(two.app)
    two.app.write('unread')
    await until(() => two.socket.bytesRead === 6)
    two.socket.destroy()
    expect(await over).toBe('ECONNRESET')
  })

  test('a reset reaches error listeners with code, errno and syscall; the write under way fails with it', async () => {
    await using w = await world()
    const { app, socket } = await established(w)
    const failed = new Promise<Error | null | undefined>(resolve => socket.write(bytes(4e6), resolve))
    const error = once(socket, 'error')
    await until(() => app.bytesRead > 0)
    app.resetAndDestroy()
    expect((await error)[0]).toMatchObject({ code: 'ECONNRESET', syscall: 'read', errno: -104 })
    expect(await failed).toMatchObject({ code: 'ECONNRESET' })
    await until(() => socket.closed)
  })

  test('a write after a reset that was not told yet fails with the reset, not with EPIPE', async () => {
    await using w = await world()
    const { app, socket } = await established(w)
    let code = ''
    socket.on('error', (error: NodeJS.ErrnoException) => {
      code = error.code as string
    })
    const other = await established(w)
    // Told in the same drain before `socket` is: its engine knows of the reset already.
    other.socket.on('data', () => socket.write('x'))
    other.app.write('now')
    app.resetAndDestroy()
    await until(() => socket.closed)
    expect(code).toBe('ECONNRESET')
  })

  test('a reset without an error listener closes the socket and does not end the process', async () => {
    await using w = await world()
    const { app, socket } = await established(w)
    const close = new Promise(resolve => socket.on('close', resolve))
    app.resetAndDestroy()
    await close
    expect(socket.errored).toMatchObject({ code: 'ECONNRESET' })
  })

  test('a user’s own error without a listener is not swallowed', async () => {
    await using w = await world()
    const { socket } = await established(w)
    const seen = uncaught()
    socket.destroy(new Error('my mistake'))
    expect(await seen).toMatchObject({ message: 'my mistake' })
  })

  test('nothing is emitted on a socket that a listener destroyed in the same turn', async () => {
    await using w = await world()
    const app = w.connect('192.0.2.1', 80)
    const socket = await connection(w.inbound)
    const told: string[] = []
    for (const event of ['connect', 'ready', 'data', 'end', 'timeout']) socket.on(event, () => told.push(event))
    socket.prependListener('connect', () => socket.destroy())
    await until(() => socket.destroyed)
    app.resume().end('x')
    await until(() => app.destroyed)
    expect(told).toEqual(['connect'])
  })

  test('a listener that throws is an uncaught exception, and its connection and the others go on', async () => {
    await using w = await world()
    const one = await established(w)
    const two = await established(w)
    const got: string[] = []
    one.socket.on('data', chunk => {
      got.push(String(chunk))
      if (got.length === 1) throw new Error('in a data listener')
    })
    two.socket.on('data', chunk => got.push(String(chunk)))
    const seen = uncaught()
    one.app.write('a')
    expect(await seen).toMatchObject({ message: 'in a data listener' })
    one.app.write('b')
    await until(() => got.length === 2)
    two.app.write('c')
    await until(() => got.length === 3)
    expect(got).toEqual(['a', 'b', 'c'])
  })
})

describe('flow control', () => {
  test('write answers false and memory stays bounded while the application does not read; then everything arrives', async () => {
    await using w = await world()
    const { app, socket } = await established(w)
    const total = 50e6
    const piece = bytes(256 * 1024)
    const sentHash = createHash('sha256')
    let left = total
    let blocked = 0
    const pump = () => {
      while (left > 0) {
        const part = piece.subarray(0, Math.min(left, piece.length))
        left -= part.length
        sentHash.update(part)
        if (left === 0) socket.end(part)
        else if (!socket.write(part)) {
          blocked++
          return
        }
      }
    }
    socket.on('drain', pump)
    pump()
    await new Promise(resolve => setTimeout(resolve, 100))
    expect(total - left).toBeLessThan(4e6)
    expect(socket.bufferSize).toBeLessThan(3e6)
    expect(w.kernel.tcp.receiveQueued).toBeLessThanOrEqual(1 << 20)
    const gotHash = createHash('sha256')
    let got = 0
    for await (const chunk of app) {
      gotHash.update(chunk)
      got += chunk.length
    }
    expect(got).toBe(total)
    expect(gotHash.digest('hex')).toBe(sentHash.digest('hex'))
    expect(blocked).toBeGreaterThan(10)
    expect(socket.bytesWritten).toBe(total)
  })

  test('more than 2 GiB that are not acknowledged are refused with ENOBUFS, and reset the connection: it would stand still for ever', async () => {
    await using w = await world()
    const { app, socket } = await established(w)
    const ends = [closed(app), closed(socket)]
    app.resume()
    const owner = { retain: () => {}, release: () => {} }
    const [chunk, queue] = [new Uint8Array(1 << 20), (socket as unknown as { tcp: TcpConnection }).tcp]
    for (let i = 0; i < 2047; i++) queue.send(chunk, 0, chunk.length, owner) // by reference: they take no memory
    const told = new Promise(resolve => socket.write(chunk, resolve))
    expect(await Promise.all(ends)).toEqual(['ECONNRESET', 'ENOBUFS'])
    expect(await told).toMatchObject({ code: 'ENOBUFS', syscall: 'write' })
  })

  test('reading slowly closes the window and loses nothing', async () => {
    await using w = await world({ limits: { rcvBuf: 65_536 } })
    const { app, socket } = await established(w)
    const data = bytes(2e6)
    app.end(data)
    const chunks: Buffer[] = []
    let stops = 0
    socket.on('data', chunk => {
      chunks.push(chunk)
      if (chunks.length % 8 === 0) {
        stops++
        socket.pause()
        setTimeout(() => socket.resume(), 2)
      }
    })
    await once(socket, 'end')
    expect(Buffer.concat(chunks).equals(data)).toBe(true)
    expect(stops).toBeGreaterThan(3)
    expect(socket.bytesRead).toBe(data.length)
    expect(w.inbound.stats()).toMatchObject({ slabs: 1, receiveQueued: 0 })
  })

  test('a paused socket does not take more than its buffers', async () => {
    await using w = await world({ limits: { rcvBuf: 100_000 } })
    const { app, socket } = await established(w)
    app.on('error', () => {}).write(bytes(2e6))
    socket.once('readable', () => {})
    await new Promise(resolve => setTimeout(resolve, 50))
    expect(w.inbound.stats().receiveQueued + socket.readableLength).toBeLessThan(400_000)
    socket.destroy()
  })
})

describe('peek', () => {
  test('shows what came and takes nothing, however often it is asked', async () => {
    await using w = await world()
    const { app, socket } = await established(w)
    app.write('GET ')
    expect(String(await socket.peek(1))).toBe('GET ')
    const more = socket.peek(8)
    app.end('/ HTTP/1.1')
    expect(String(await more)).toBe('GET / HTTP/1.1')
    expect(String(await socket.peek(0))).toBe('GET / HTTP/1.1')
    expect(String(await readAll(socket))).toBe('GET / HTTP/1.1')
  })

  test('too few bytes: what there is, at the timeout, at the end, or when the connection is reset', async () => {
    await using w = await world()
    const slow = await established(w)
    slow.app.write('abc')
    expect(String(await slow.socket.peek(1))).toBe('abc') // it has come
    expect(String(await slow.socket.peek(10, { timeout: 30 }))).toBe('abc')
    const ended = await established(w)
    ended.app.end('abc')
    expect(String(await ended.socket.peek(10))).toBe('abc')
    expect(String(await readAll(ended.socket))).toBe('abc')
    const reset = await established(w)
    const peeked = reset.socket.peek(10)
    reset.app.resetAndDestroy()
    expect((await peeked).length).toBe(0)
    expect(reset.socket.destroyed).toBe(true)
  })

  test('a peek over 64 KiB, or after reading has begun, is refused with ERR_TUN_PEEK', async () => {
    await using w = await world()
    const { app, socket } = await established(w)
    await expect(socket.peek(65_537)).rejects.toMatchObject({ code: 'ERR_TUN_PEEK', name: 'RangeError' })
    socket.resume()
    app.write('x')
    await once(socket, 'data')
    await expect(socket.peek(1)).rejects.toMatchObject({ code: 'ERR_TUN_PEEK' })
  })

  test('peek of a full 64 KiB that came in many pieces', async () => {
    await using w = await world({ nic: { offload: false } })
    const { app, socket } = await established(w)
    const data = bytes(200_000)
    app.end(data)
    expect((await socket.peek(65_536)).equals(data.subarray(0, 65_536))).toBe(true)
    expect((await readAll(socket)).equals(data)).toBe(true)
  })
})

describe('net.Socket’s surface', () => {
  test('addresses, counters, and what an address() says', async () => {
    await using w = await world()
    const app = w.connect('2001:db8::2', 8443)
    const socket = await connection(w.inbound)
    socket.accept()
    await once(app, 'connect')
    expect(socket.address()).toEqual({ address: '2001:db8::2', port: 8443, family: 'IPv6' })
    expect(socket).toMatchObject({ remoteAddress: 'fd00::1', remoteFamily: 'IPv6', localAddress: '2001:db8::2', localPort: 8443 })
    expect(socket.remotePort).toBe(app.localPort)
    app.write('12345')
    socket.write('1234567')
    await until(() => socket.bytesRead === 5 && app.bytesRead === 7)
    expect([socket.bytesWritten, app.bytesWritten]).toEqual([7, 5])
    app.resetAndDestroy()
    await until(() => socket.destroyed)
    expect([socket.bytesRead, socket.bytesWritten, socket.readyState, socket.pending]).toEqual([5, 7, 'closed', true])
  })

  test('timeout: after so long without traffic, again only after more traffic, never after destroy', async () => {
    steadyTime()
    await using w = await world()
    const { app, socket } = await established(w)
    let timeouts = 0
    socket.resume().setTimeout(250, () => timeouts++)
    socket.on('timeout', () => timeouts++)
    const ping = setInterval(() => app.write('.'), 10)
    await new Promise(resolve => setTimeout(resolve, 600))
    clearInterval(ping)
    expect(timeouts).toBe(0)
    await until(() => timeouts === 2)
    await new Promise(resolve => setTimeout(resolve, 300))
    expect(timeouts).toBe(2)
    expect(socket.timeout).toBe(250)
    socket.destroy()
    socket.setTimeout(1)
    await new Promise(resolve => setTimeout(resolve, 20))
    expect(timeouts).toBe(2)
    expect(() => socket.setTimeout(-1)).toThrow(RangeError)
    expect(() => socket.setTimeout(Number.NaN)).toThrow(RangeError)
  })

  test('a reader that is slow, but reads, does not time out', async () => {
    steadyTime()
    await using w = await world({ nic: { offload: false }, kernel: { rcvBuf: 32_768 } })
    const { app, socket } = await established(w)
    let timeouts = 0
    socket.setTimeout(250, () => timeouts++)
    socket.write(bytes(1_000_000)) // more than half the send buffer, but not all: nothing tells of progress
    const reading = setInterval(() => app.read(8192), 10)
    app.on('readable', () => {})
    await new Promise(resolve => setTimeout(resolve, 700))
    clearInterval(reading)
    expect(timeouts).toBe(0)
    socket.destroy()
  })

  test('destroySoon sends everything first', async () => {
    await using w = await world()
    const { app, socket } = await established(w)
    const data = bytes(3e6)
    socket.write(data)
    socket.destroySoon()
    expect((await readAll(app)).equals(data)).toBe(true)
    await until(() => socket.destroyed)
  })
})
