import { once } from 'node:events'
import http from 'node:http'
import { networkInterfaces } from 'node:os'
import { DOWN, EOF, FAILED, GONE, OK, type TunDatagram, type TunFlow, type TunSocket } from '@tun/stack'
import { MemoryDevice } from '@tun/stack/testing'
import { describe, expect, test } from 'vitest'
import { createTunInbound } from './create-tun-inbound.js'
import { TunInbound } from './tun-inbound.js'
import { bytes, closed, established, frozenTime, readAll, uncaught, until, type World, world } from './world.test-kit.js'

/** What the application is told on this port: the first bytes of whoever serves it. */
async function whoServes(w: World, address: string, port: number): Promise<string> {
  const app = w.connect(address, port)
  const refused = closed(app)
  const text = await Promise.race([readAll(app).then(String, () => ''), refused])
  return text
}

const says = (text: string) => (socket: TunSocket) => void socket.end(text)

describe('listen', () => {
  test('the longest prefix wins, then a port before all ports, then the event; closing a listener gives it up', async () => {
    await using w = await world()
    const { inbound } = w
    inbound.on('connection', says('event'))
    const all = inbound.listen({ port: 80 }, says('port 80'))
    inbound.listen({ address: '192.0.2.0/24' }, says('/24'))
    inbound.listen({ address: '192.0.2.0/24', port: 443 }, says('/24:443'))
    inbound.listen({ address: '192.0.2.7' }, says('host'))
    inbound.listen({ address: '2001:db8::/32' }, says('v6'))
    expect(await whoServes(w, '192.0.2.1', 80)).toBe('/24')
    expect(await whoServes(w, '192.0.2.1', 443)).toBe('/24:443')
    expect(await whoServes(w, '192.0.2.7', 443)).toBe('host')
    expect(await whoServes(w, '198.51.100.1', 80)).toBe('port 80')
    expect(await whoServes(w, '198.51.100.1', 81)).toBe('event')
    expect(await whoServes(w, '2001:db8::5', 80)).toBe('v6')
    expect(await whoServes(w, '2001:dead::5', 80)).toBe('port 80')
    all.close()
    all.close()
    expect(await whoServes(w, '198.51.100.1', 80)).toBe('event')
  })

  test('0.0.0.0 and :: are everything; 0.0.0.0/0 and ::/0 are their family', async () => {
    await using w = await world()
    w.inbound.listen({ address: '0.0.0.0', port: 1 }, says('any'))
    w.inbound.listen({ address: '::', port: 2 }, says('any'))
    w.inbound.listen({ address: '0.0.0.0/0', port: 3 }, says('4'))
    w.inbound.listen({ address: '::/0', port: 3 }, says('6'))
    w.inbound.listen({ address: '::/0', port: 4 }, says('6'))
    expect(await whoServes(w, '192.0.2.1', 4)).toBe('ECONNREFUSED')
    for (const address of ['192.0.2.1', '2001:db8::1']) {
      expect(await whoServes(w, address, 1)).toBe('any')
      expect(await whoServes(w, address, 2)).toBe('any')
      expect(await whoServes(w, address, 3)).toBe(address.includes(':') ? '6' : '4')
    }
  })

  test.each([
    ['10.0.0.0/33'],
    ['10.0.0.0/'],
    ['10.0.0.0/8/9'],
    ['10.0.0.0/ 8'],
    ['10.0.0.0/0x8'],
    ['fd00::/129'],
    ['10.0.0.300'],
    ['example.org'],
    [''],
    ['1.2.3.4:80'],
  ])('%j is refused with ERR_TUN_ADDRESS', async address => {
    await using w = await world()
    expect(() => w.inbound.listen({ address }, says(''))).toThrow(expect.objectContaining({ code: 'ERR_TUN_ADDRESS', name: 'TypeError' }))
  })

  test('ports that are none are refused; datagrams need one', async () => {
    await using w = await world()
    const code = expect.objectContaining({ code: 'ERR_TUN_ADDRESS' })
    for (const port of [-1, 65_536, 1.5, Number.NaN]) expect(() => w.inbound.listen({ port }, says(''))).toThrow(code)
    expect(() => w.inbound.listenDatagrams({ port: 0 }, () => {})).toThrow(code)
  })

  test('an address of the host itself is ERR_TUN_LOCAL_ADDRESS: loopback always, its interfaces’ where its routes lead to us', async () => {
    const code = expect.objectContaining({ code: 'ERR_TUN_LOCAL_ADDRESS' })
    await using w = await world()
    for (const address of ['127.0.0.1', '127.0.0.0/8', '::1']) expect(() => w.inbound.listen({ address }, says(''))).toThrow(code)
    const own = Object.values(networkInterfaces())
      .flat()
      .find(it => it && !it.internal)
    if (own === undefined) return
    w.inbound.listen({ address: own.address.replace(/%.*/, '') }, says('')) // somebody else's NIC
    const { stack, names } = w.inbound as unknown as { stack: never; names: never }
    const routed = new TunInbound({ device: new MemoryDevice(), stack, names, dnsMatchers: [], routed: true })
    expect(() => routed.listen({ address: own.address }, says(''))).toThrow(code)
    expect(() => routed.listenDatagrams({ address: own.address, port: 5 }, () => {})).toThrow(code)
  })

  test('a listener that fails refuses its connection and is told as an error with its flow; others go on', async () => {
    await using w = await world()
    const errors: (Error & { flow?: unknown })[] = []
    w.inbound.on('error', error => errors.push(error))
    w.inbound.listen({ port: 1 }, () => {
      throw new Error('thrown')
    })
    w.inbound.listen({ port: 2 }, async () => Promise.reject(new Error('rejected')))
    w.inbound.on('connection', socket => {
      if (socket.destination.port === 3) throw Object.assign(new Error('event'), { code: 'EHOSTUNREACH' })
      socket.end('fine')
    })
    expect(await whoServes(w, '192.0.2.1', 1)).toBe('ECONNREFUSED')
    expect(await whoServes(w, '192.0.2.1', 2)).toBe('ECONNREFUSED')
    w.connect('192.0.2.1', 3)
    expect(await w.icmpError()).toEqual({ type: 3, code: 1 })
    expect(await whoServes(w, '192.0.2.1', 4)).toBe('fine')
    expect(errors.map(e => e.message)).toEqual(['thrown', 'rejected', 'event'])
    expect(errors.map(e => (e.flow as TunSocket).destination.port)).toEqual([1, 2, 3])
  })

  test('an error that nobody listens to is thrown, not swallowed', async () => {
    await using w = await world()
    const seen = uncaught()
    w.inbound.on('connection', () => {
      throw new Error('nobody listens')
    })
    w.connect('192.0.2.1', 80)
    expect(await seen).toMatchObject({ message: 'nobody listens' })
    w.inbound.on('error', () => {
      throw new Error('in the error listener')
    })
    const again = uncaught()
    w.connect('192.0.2.1', 80)
    expect(await again).toMatchObject({ message: 'in the error listener' })
  })

  test('once is once, also from node:events', async () => {
    await using w = await world()
    let told = 0
    w.inbound.once('connection', socket => {
      told++
      socket.accept()
    })
    await w.open('192.0.2.1', 80)
    expect(await closed(w.connect('192.0.2.1', 80))).toBe('ECONNREFUSED')
    expect(told).toBe(1)
    const next = once(w.inbound as never, 'connection') as Promise<[TunSocket]>
    w.connect('192.0.2.1', 80)
    expect((await next)[0].destination.port).toBe(80)
  })
})

describe('datagrams', () => {
  test('a datagram is answered from where it was sent to, or from anywhere', async () => {
    await using w = await world()
    w.inbound.on('datagram', datagram => {
      datagram.reply(datagram.payload)
      const elsewhere = datagram.source.family === 4 ? '203.0.113.9' : '2001:db8::9'
      datagram.reply(Buffer.from('elsewhere'), { address: elsewhere, port: 99 })
    })
    w.send('ping', '192.0.2.1', 53)
    expect(await w.answer()).toEqual({ payload: Buffer.from('ping'), from: { address: '192.0.2.1', port: 53 } })
    expect(await w.answer()).toEqual({ payload: Buffer.from('elsewhere'), from: { address: '203.0.113.9', port: 99 } })
    w.send('ping', '2001:db8::1', 53)
    expect((await w.answer()).from).toEqual({ address: '2001:db8::1', port: 53 })
  })

  test('payloads are copied, both ways', async () => {
    await using w = await world()
    const payloads: Buffer[] = []
    w.inbound.on('datagram', datagram => {
      payloads.push(datagram.payload)
      const answer = Buffer.from('first')
      datagram.reply(answer)
      answer.write('XXXXX')
    })
    w.send(bytes(1000, 1), '192.0.2.1', 9)
    expect(String((await w.answer()).payload)).toBe('first')
    for (let i = 2; i < 50; i++) w.send(bytes(1000, i), '192.0.2.1', 9)
    await until(() => payloads.length === 49)
    expect(payloads.every((payload, i) => payload.equals(bytes(1000, i + 1)))).toBe(true)
  })

  test('an address no host can have, of the other family, or a port that is none, is ERR_TUN_ADDRESS', async () => {
    await using w = await world()
    let datagram!: TunDatagram
    w.inbound.on('datagram', d => {
      datagram = d
    })
    w.send('x', '192.0.2.1', 9)
    await until(() => datagram !== undefined)
    for (const address of ['127.0.0.1', '224.0.0.1', '0.0.0.0', '255.255.255.255', '2001:db8::1', 'nonsense', ''])
      expect(() => datagram.reply(Buffer.of(1), { address, port: 5 })).toThrow(expect.objectContaining({ code: 'ERR_TUN_ADDRESS' }))
    expect(() => datagram.reply(Buffer.of(1), { address: '192.0.2.2', port: 65_536 })).toThrow(RangeError)
    expect(() => datagram.reply(Buffer.alloc(65_508))).toThrow(RangeError)
  })

  test('a queue that is full says so, and says yes again when it has drained', async () => {
    await using w = await world({ limits: { udpSendBudget: 10_000 } })
    let datagram!: TunDatagram
    w.inbound.on('datagram', d => {
      datagram = d
    })
    w.send('x', '192.0.2.1', 9)
    await until(() => datagram !== undefined)
    const sent = Array.from({ length: 20 }, () => datagram.reply(Buffer.alloc(1000)))
    expect([sent[0], sent[19]]).toEqual([true, false])
    await w.answer()
    expect(datagram.reply(Buffer.of(1))).toBe(true)
  })

  test('rejected, or nobody there: port unreachable, in both families', async () => {
    await using w = await world()
    w.send('x', '192.0.2.1', 9)
    expect(await w.icmpError()).toEqual({ type: 3, code: 3 })
    w.inbound.on('datagram', datagram => datagram.reject())
    w.send('x', '2001:db8::1', 9)
    expect(await w.icmpError()).toEqual({ type: 1, code: 4 })
  })

  test('flows: one per source, told once, then its messages; send from anywhere; close makes the next one new', async () => {
    await using w = await world()
    const flows: TunFlow[] = []
    const got: string[] = []
    let ended = 0
    w.inbound.on('datagram', () => got.push('datagram'))
    w.inbound.on('flow', flow => {
      flows.push(flow)
      flow.on('message', (payload, to) => got.push(`${payload} to ${to.address}:${to.port}`))
      flow.on('close', () => ended++)
    })
    w.send('a', '192.0.2.1', 1)
    w.send('b', '192.0.2.2', 2)
    w.send('c', '192.0.2.2', 2, 5001)
    await until(() => got.length === 3)
    expect(got).toEqual(['a to 192.0.2.1:1', 'b to 192.0.2.2:2', 'c to 192.0.2.2:2'])
    expect(flows.map(flow => flow.source)).toEqual([5000, 5001].map(port => ({ address: '10.0.0.1', port, family: 4 })))
    flows[0].send(Buffer.from('hi'), { address: '203.0.113.1', port: 7 })
    expect(await w.answer()).toEqual({ payload: Buffer.from('hi'), from: { address: '203.0.113.1', port: 7 } })
    flows[0].close()
    await until(() => ended === 1)
    expect([flows[0].closed, flows[0].send(Buffer.of(1), { address: '203.0.113.1', port: 7 })]).toEqual([true, false])
    w.send('d', '192.0.2.1', 1)
    await until(() => flows.length === 3)
    expect(w.inbound.flows().length).toBe(2)
  })

  test('beyond limits.maxUdpFlows the flow that was used least recently is closed, and told so', async () => {
    await using w = await world({ limits: { maxUdpFlows: 2 } })
    const closed: number[] = []
    const told: number[] = []
    w.inbound.on('flow', flow => {
      told.push(flow.source.port)
      flow.on('message', () => {})
      flow.on('close', () => closed.push(flow.source.port))
    })
    for (const port of [5000, 5001, 5000, 5002]) {
      w.send('x', '192.0.2.1', 7, port)
      await until(() => told.includes(port))
    }
    await until(() => closed.length === 1)
    expect([closed, w.inbound.stats().udpFlows, w.inbound.stats().udpFlowsEvicted]).toEqual([[5001], 2, 1])
  })

  test('a message listener that throws or rejects ends its flow and is told with it', async () => {
    await using w = await world()
    const errors: (Error & { flow?: unknown })[] = []
    w.inbound.on('error', error => errors.push(error))
    const flows: TunFlow[] = []
    w.inbound.on('flow', flow => {
      flows.push(flow)
      flow.on('message', payload => {
        if (String(payload) === 'throw') throw new Error('thrown')
        return Promise.reject(new Error('rejected')) as unknown as undefined
      })
    })
    w.send('throw', '192.0.2.1', 1, 1)
    w.send('reject', '192.0.2.1', 1, 2)
    await until(() => flows.length === 2 && flows.every(flow => flow.closed))
    expect(errors.map(error => error.message).sort()).toEqual(['rejected', 'thrown'])
    expect(new Set(errors.map(error => error.flow))).toEqual(new Set(flows))
  })

  test('idle flows end, busy ones do not, and the bound closes the least recently used', async () => {
    await using w = await world({ limits: { maxUdpFlows: 3 } })
    const ended: number[] = []
    w.inbound.on('flow', flow => {
      flow.on('message', () => {})
      flow.on('close', () => ended.push(flow.source.port))
      if (flow.source.port === 1) flow.setIdleTimeout(30)
    })
    w.send('x', '192.0.2.1', 9, 1)
    await until(() => ended.length === 1)
    for (const port of [2, 3, 4, 5]) w.send('x', '192.0.2.1', 9, port)
    await until(() => ended.length === 2)
    expect(ended).toEqual([1, 2])
    expect(w.inbound.stats().udpFlows).toBe(3)
  })

  test('listenDatagrams makes no flow and goes before the events', async () => {
    await using w = await world()
    let events = 0
    w.inbound.on('datagram', () => events++)
    const listener = w.inbound.listenDatagrams({ address: '192.0.2.0/24', port: 7 }, d => void d.reply(d.payload))
    w.inbound.listenDatagrams({ address: '192.0.2.9', port: 7 }, d => void d.reply(Buffer.from('nine')))
    w.send('echo', '192.0.2.1', 7)
    expect(String((await w.answer()).payload)).toBe('echo')
    w.send('echo', '192.0.2.9', 7)
    expect(String((await w.answer()).payload)).toBe('nine')
    expect([events, w.inbound.stats().udpFlows]).toEqual([0, 0])
    listener.close()
    w.send('echo', '192.0.2.1', 7)
    await until(() => events === 1)
  })
})

describe('connections()', () => {
  test('leaves SYNs pending while nobody asks; leaving the loop refuses them', async () => {
    await using w = await world()
    const codes: string[] = []
    let served = 0
    let go!: () => void
    const gate = new Promise<void>(resolve => {
      go = resolve
    })
    const loop = (async () => {
      for await (const socket of w.inbound.connections()) {
        served++
        await gate
        socket.accept()
        if (served === 2) break
      }
    })()
    const apps = Array.from({ length: 5 }, () => w.connect('192.0.2.1', 80))
    for (const app of apps) void closed(app).then(code => codes.push(code))
    await until(() => w.inbound.stats().pending === 5)
    go()
    await loop
    await until(() => codes.length === 3)
    expect(codes).toEqual(['ECONNREFUSED', 'ECONNREFUSED', 'ECONNREFUSED'])
    expect(served).toBe(2)
  })

  test('an application that gives up while it waits is not handed out; the loop ends with the inbound', async () => {
    await using w = await world()
    const seen: TunSocket[] = []
    let go!: () => void
    const gate = new Promise<void>(resolve => {
      go = resolve
    })
    const loop = (async () => {
      for await (const socket of w.inbound.connections()) {
        seen.push(socket.accept())
        await gate
      }
    })()
    w.connect('192.0.2.1', 1)
    await until(() => seen.length === 1)
    const app = w.connect('192.0.2.1', 2)
    await until(() => w.inbound.stats().pending === 1)
    const c = w.engineOf(app)
    c.tcp.replyLone(c, c.sndNxt, 0, 4)
    app.destroy()
    await until(() => w.inbound.stats().pending === 0)
    w.connect('192.0.2.1', 3)
    await until(() => w.inbound.stats().pending === 1)
    go()
    await until(() => seen.length === 2)
    expect(seen.map(socket => socket.destination.port)).toEqual([1, 3])
    await w.inbound.close()
    await loop
    for await (const _ of w.inbound.connections()) throw new Error('the inbound is closed')
  })
})

describe('close', () => {
  test('resets what is open, refuses what is pending, once; a cut transfer does not look complete', async () => {
    const w = await world()
    const all: TunSocket[] = []
    w.inbound.on('connection', socket => {
      all.push(socket)
      if (socket.destination.port === 80) socket.accept().resume()
    })
    const open = await w.open('192.0.2.1', 80)
    const codes = [closed(open)]
    codes.push(closed(w.connect('192.0.2.1', 81)))
    await until(() => all.length === 2)
    let ended = false
    all[0].on('end', () => {
      ended = true
    })
    const error = new Promise(resolve => all[0].on('error', resolve))
    let closes = 0
    w.inbound.on('close', () => closes++)
    const closing = w.inbound.close()
    expect(w.inbound.close()).toBe(closing)
    await closing
    expect(await Promise.all(codes)).toEqual(['ECONNRESET', 'ECONNREFUSED'])
    expect(await error).toMatchObject({ code: 'ECONNABORTED' })
    expect([closes, ended, w.nic.closed, all.every(socket => socket.destroyed)]).toEqual([1, false, true, true])
    await w[Symbol.asyncDispose]()
  })

  test('with drain: new connections are refused, those there end in their own time, and then it is over at once', async () => {
    frozenTime() // it hears of the last connection's end, it does not look from time to time
    await using w = await world()
    const { app, socket } = await established(w)
    w.inbound.on('connection', says('too late'))
    const closing = w.inbound.close({ drain: Number.POSITIVE_INFINITY })
    expect(await closed(w.connect('192.0.2.1', 80))).toBe('ECONNREFUSED')
    socket.end('goodbye')
    app.end()
    expect(String(await readAll(app))).toBe('goodbye')
    socket.resume()
    await closing
  })

  test('what a datagram listener does to a connection is told in the same turn', async () => {
    frozenTime() // or a timer of the handshake would bring the next turn
    await using w = await world()
    const { socket } = await established(w)
    w.inbound.on('datagram', () => socket.resetAndDestroy())
    const closing = w.inbound.close({ drain: 60_000 })
    await new Promise(setImmediate)
    w.send('now', '192.0.2.1', 9)
    await closing // it ends when it has heard that the last connection is gone
  })

  test('drain has an end: who does not finish is reset', async () => {
    await using w = await world()
    const { app } = await established(w)
    const over = closed(app)
    await w.inbound.close({ drain: 30 })
    expect(await over).toBe('ECONNRESET')
  })

  test('in the middle of a listener, with a hundred transfers', async () => {
    await using w = await world()
    const data = bytes(200_000)
    let accepted = 0
    let closing: Promise<void> | undefined
    w.inbound.on('connection', socket => {
      socket.on('error', () => {}).write(data)
      socket.on('data', () => {
        if (++accepted === 150) closing = w.inbound.close()
      })
    })
    const codes = Array.from({ length: 100 }, () => {
      const app = w.connect('192.0.2.1', 80)
      app.write(data)
      app.on('data', () => app.write('more'))
      return closed(app)
    })
    await until(() => closing !== undefined)
    await closing
    expect(new Set(await Promise.all(codes))).toEqual(new Set(['ECONNRESET']))
    expect(w.inbound.stats()).toMatchObject({ connections: 0, slabs: 0, receiveQueued: 0 })
  })

  test('by AbortSignal, before and after; by await using; two inbounds in one process', async () => {
    await expect(createTunInbound({ device: new MemoryDevice(), signal: AbortSignal.abort() })).rejects.toThrow('aborted')
    const controller = new AbortController()
    const [one, two] = await Promise.all([world({ signal: controller.signal }), world()])
    const { app, socket } = await established(two)
    controller.abort()
    await until(() => one.nic.closed)
    app.end('still here')
    expect(String(await readAll(socket))).toBe('still here')
    const device = new MemoryDevice()
    {
      await using inbound = await createTunInbound({ device })
      expect(inbound.name).toBe('mem0')
    }
    expect(device.closed).toBe(true)
    await one[Symbol.asyncDispose]()
    await two[Symbol.asyncDispose]()
  })

  test('sockets, flows and datagrams of a closed inbound do nothing, quietly', async () => {
    const w = await world()
    let datagram!: TunDatagram
    w.inbound.on('datagram', d => {
      datagram = d
    })
    w.send('x', '192.0.2.1', 9)
    const { socket } = await established(w)
    await until(() => datagram !== undefined)
    await w.inbound.close()
    socket.on('error', () => {}).write('x')
    socket.end()
    socket.setNoDelay().wake()
    datagram.reply(Buffer.from('x'))
    datagram.reject()
    expect(datagram.flow?.closed).toBe(true)
    datagram.flow?.close()
    await w[Symbol.asyncDispose]()
  })
})

describe('the device', () => {
  test.each([
    ['is deleted', GONE, 'ERR_TUN_GONE'],
    ['is closed by its other end', EOF, 'ERR_TUN_EOF'],
    ['fails', FAILED, 'ERR_TUN_GONE'],
  ])('%s: connections end with ENETDOWN, one error, closed', async (_what, state, code) => {
    const w = await world()
    const { socket } = await established(w)
    const errors: unknown[] = []
    let closes = 0
    w.inbound.on('error', error => errors.push(error)).on('close', () => closes++)
    const over = closed(socket)
    w.nic.setState(state, state === FAILED ? 5 : 0)
    expect(await over).toBe('ENETDOWN')
    expect(errors).toMatchObject([{ code }])
    expect([closes, w.nic.closed, w.inbound.stats().connections]).toEqual([1, true, 0])
    await w[Symbol.asyncDispose]()
  })

  test('is lost while the inbound drains: over at once, without an error', async () => {
    const w = await world()
    await established(w)
    w.inbound.on('error', error => {
      throw error
    })
    const closing = w.inbound.close({ drain: 60_000 })
    await new Promise(setImmediate)
    w.nic.setState(GONE)
    await closing
    await w[Symbol.asyncDispose]()
  })

  test('down is a warning, up another, and connections survive', async () => {
    await using w = await world()
    const { app, socket } = await established(w)
    const warnings: string[] = []
    w.inbound.on('warning', message => warnings.push(message))
    w.nic.setState(DOWN)
    await until(() => warnings.length === 1)
    w.nic.setState(OK)
    app.write('after')
    expect(String((await once(socket, 'data'))[0])).toBe('after')
    socket.write('x')
    await until(() => warnings.length === 2)
    expect(warnings[0]).toContain('ip link set mem0 up')
  })

  test('bounds that make no sense are named', async () => {
    const device = new MemoryDevice()
    const code = { code: 'ERR_TUN_LIMIT', name: 'RangeError' }
    const wrong = [{ rcvBuf: -1 }, { sndBuf: Number.NaN }, { maxPending: 1.5 }, { rcvBuf: '1' }, { rcvBuf: 127 }, { timeWait: 5 }]
    for (const limits of [...wrong, { maxPendingPerSource: 0 }, { synCookies: 'always' }, { synCookies: 1 }])
      await expect(createTunInbound({ device, limits: limits as never })).rejects.toMatchObject(code)
    await using inbound = await createTunInbound({ device, limits: { rcvBuf: undefined, synCookies: false, maxPendingPerSource: 100 } })
    expect(inbound.stats().connections).toBe(0)
  })
})

test('after a mixed run the counters add up and nothing is held', async () => {
  await using w = await world()
  w.inbound.on('connection', socket => {
    const { port } = socket.destination
    if (port === 1) socket.reject()
    else if (port === 2) socket.pipe(socket)
    else if (port === 3) socket.accept().once('data', () => socket.resetAndDestroy())
    else socket.end('bye').resume()
  })
  w.inbound.on('datagram', d => void d.reply(d.payload))
  const done = Array.from({ length: 80 }, async (_, i) => {
    const app = w.connect(i % 3 === 0 ? '2001:db8::1' : '192.0.2.1', 1 + (i % 4))
    app.on('error', () => {}).end(bytes(i * 500))
    app.resume()
    await new Promise(resolve => app.on('close', resolve))
    w.send('x', '192.0.2.1', 9, 6000 + i)
  })
  await Promise.all(done)
  await until(() => w.inbound.stats().connections === 0 && w.answers.length === 80)
  const { rowsIn, tcp, udp, drops, tcpAccepted, tcpRejected, receiveQueued, slabs, pending } = w.inbound.stats()
  expect(Object.values(drops).reduce((a, b) => a + b)).toBe(0)
  expect(tcp + udp).toBe(rowsIn)
  expect({ tcpAccepted, tcpRejected, receiveQueued, slabs, pending }).toEqual({
    tcpAccepted: 60,
    tcpRejected: 20,
    receiveQueued: 0,
    slabs: 1,
    pending: 0,
  })
  await until(() => w.kernel.tcp.flows.size === 0)
  expect(w.slabs.inUse).toBe(1)
})

test('a handler that is an http.Server listens', async () => {
  await using w = await world()
  const server = http.createServer((_request, response) => void response.end('hi'))
  const listening = once(server, 'listening')
  w.inbound.listen({ port: 80 }, server)
  await listening
  const app = w.connect('192.0.2.1', 80)
  app.end('GET / HTTP/1.0\r\n\r\n')
  expect(String(await readAll(app))).toContain('\r\n\r\nhi')
})
