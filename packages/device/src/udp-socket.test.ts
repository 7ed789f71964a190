// What holds for both implementations of a UdpSocket, over loopback; no root needed. The batch socket's own: native/test/udp.test.ts.

import { setTimeout as sleep } from 'node:timers/promises'
import { hasUdpSockets } from '@tun/native'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { UdpBatchSocket } from './udp-batch-socket.js'
import { UdpDgramSocket } from './udp-dgram-socket.js'
import { UdpPeer } from './udp-peer.js'
import type { UdpHandlers, UdpSocket, UdpSocketOptions } from './udp-socket.js'
import { until } from './until.test-kit.js'

const LOOPBACK = { 4: '127.0.0.1', 6: '::1' } as const
const opened: UdpSocket[] = []
afterEach(() => {
  for (const socket of opened.splice(0)) socket.close()
})

const implementations = [
  ['UdpDgramSocket', UdpDgramSocket],
  ...(hasUdpSockets() ? [['UdpBatchSocket', UdpBatchSocket] as const] : []),
] as const

describe.each(implementations)('%s', (_, Implementation) => {
  function open(options: UdpSocketOptions, handlers: Partial<UdpHandlers> = {}) {
    const got: { payload: Buffer; from: UdpPeer }[] = []
    let wake = () => {}
    const socket = new Implementation(options, {
      datagram: (bytes, start, end, from) => {
        got.push({ payload: Buffer.from(bytes.subarray(start, end)), from })
        wake()
      },
      error: error => {
        throw error
      },
      ...handlers,
    })
    opened.push(socket)
    const next = async () => {
      while (got.length === 0) await new Promise<void>(resolve => (wake = resolve))
      return got.shift()!
    }
    return { socket, next, got }
  }

  const peerOf = (socket: UdpSocket) => {
    const { address, port } = socket.address()!
    return UdpPeer.parse(address, port)!
  }

  test.each([4, 6] as const)('IPv%i: from nothing to the largest datagram, both ways, with its source', async family => {
    const a = open({ family, localAddress: LOOPBACK[family], receiveBuffer: 1 << 20 })
    const b = open({ family, localAddress: LOOPBACK[family], receiveBuffer: 1 << 20 })
    for (const size of [0, 1, 1472, 9000, 65_507]) {
      const payload = Buffer.alloc(size, size)
      expect(a.socket.send(payload, peerOf(b.socket))).toBe(true)
      const there = await b.next()
      expect(there.payload.equals(payload)).toBe(true)
      expect(there.from).toMatchObject({ address: LOOPBACK[family], port: a.socket.address()!.port, family })
      b.socket.send(there.payload, there.from)
      expect((await a.next()).payload.equals(payload)).toBe(true)
    }
    expect(a.socket.send(Buffer.alloc(70_000), peerOf(b.socket))).toBe(false)
  })

  test('header and payload are one datagram; datagrams of a turn keep their order', async () => {
    const a = open({ family: 4 })
    const b = open({ family: 4, localAddress: '127.0.0.1', receiveBuffer: 1 << 20 })
    const to = peerOf(b.socket)
    for (let i = 0; i < 40; i++) a.socket.send(Buffer.from(`${i}`), to, Buffer.from('h'))
    const all: string[] = []
    while (all.length < 40) all.push((await b.next()).payload.toString())
    expect(all).toEqual(Array.from({ length: 40 }, (_, i) => `h${i}`))
  })

  test('a connected one sends there and hears nobody else', async () => {
    const [b, stranger] = [open({ family: 4, localAddress: '127.0.0.1' }), open({ family: 4, localAddress: '127.0.0.1' })]
    const a = open({ family: 4, peer: b.socket.address()! })
    a.socket.send(Buffer.from('to b'), null)
    const { from } = await b.next()
    const evil = UdpPeer.parse('127.0.0.1', from.port)!
    stranger.socket.send(Buffer.from('evil'), evil)
    await sleep(20)
    b.socket.send(Buffer.from('good'), evil)
    expect((await a.next()).payload.toString()).toBe('good')
  })

  test('what the kernel refuses is told with its errno and peer, and disturbs no other datagram', async () => {
    const refused: unknown[] = []
    const a = open({ family: 4 }, { refused: (code, payload, peer) => void refused.push([code, payload.toString(), peer?.address]) })
    const b = open({ family: 4, localAddress: '127.0.0.1' })
    a.socket.send(Buffer.from('lost'), UdpPeer.parse('255.255.255.255', 9)) // a broadcast: EACCES, like a way that is none
    a.socket.send(Buffer.from('fine'), peerOf(b.socket))
    expect((await b.next()).payload.toString()).toBe('fine')
    expect(refused).toEqual([['EACCES', 'lost', '255.255.255.255']])
    expect(a.socket.queued).toBe(0)
  })

  if (Implementation === UdpBatchSocket)
    test('what is sent by a handler that then throws leaves all the same', async () => {
      const b = open({ family: 4, localAddress: '127.0.0.1' })
      const a = open(
        { family: 4 },
        {
          refused: () => {
            a.socket.send(Buffer.from('later'), peerOf(b.socket))
            throw new Error('of the handler')
          },
        },
      )
      const { nextTick } = process
      const thrown: unknown[] = []
      const caught = vi.spyOn(process, 'nextTick').mockImplementation((fn, ...args) =>
        nextTick(() => {
          try {
            fn(...args)
          } catch (error) {
            thrown.push(error)
          }
        }),
      )
      a.socket.send(Buffer.from('lost'), UdpPeer.parse('255.255.255.255', 9))
      caught.mockRestore()
      expect((await b.next()).payload.toString()).toBe('later')
      expect([a.socket.queued, String(thrown)]).toEqual([0, 'Error: of the handler'])
    })

  test('its queue is bounded in bytes, and small datagrams are charged for what they cost', () => {
    const { socket } = open({ family: 4, maxQueued: 1000 })
    const to = UdpPeer.parse('127.0.0.1', 9)
    expect(socket.send(Buffer.alloc(1001), to)).toBe(false)
    if (Implementation === UdpDgramSocket) return // whose queue libuv has emptied already
    expect([1, 2, 3, 4].map(n => socket.send(Buffer.alloc(n), to))).toEqual([true, true, true, false])
    expect(socket.queued).toBe(768)
  })

  test('what is lent may be a train: each datagram gets the header, and the owner gets its bytes back, once', async () => {
    const a = open({ family: 4 })
    const b = open({ family: 4, localAddress: '127.0.0.1', receiveBuffer: 1 << 20 })
    let held = 0
    const owner = { retain: () => void held++, release: () => void held-- }
    const bytes = Buffer.from('-aaabbbcc-dddddd')
    const header = Buffer.from('h')
    const to = peerOf(b.socket)
    expect(a.socket.sendLent(owner, bytes, 1, 9, 3, to, header)).toBe(true)
    expect(a.socket.sendLent(owner, bytes, 10, 16, 0, to)).toBe(true)
    expect(a.socket.sendLent(owner, bytes, 1, 4, 3, to, header)).toBe(true)
    expect(a.socket.sendLent(owner, bytes, 2, 2, 0, to)).toBe(true)
    const all: string[] = []
    while (all.length < 6) all.push((await b.next()).payload.toString())
    expect(all).toEqual(['haaa', 'hbbb', 'hcc', 'dddddd', 'haaa', ''])
    expect(held).toBe(0)
    expect(a.socket.queued).toBe(0)
    expect(a.socket.sendLent(owner, bytes, 0, 16, 0, to)).toBe(true)
    a.socket.close()
    expect([held, a.socket.sendLent(owner, bytes, 0, 16, 0, to)]).toEqual([0, false])
  })

  test('a train too long for the queue: the beginning is taken; one with a datagram that is refused: the others go', async () => {
    const refused: unknown[] = []
    const a = open({ family: 4, maxQueued: 1000 }, { refused: (code, payload) => void refused.push([code, payload.toString()]) })
    const b = open({ family: 4, localAddress: '127.0.0.1' })
    const bytes = Buffer.from('123456')
    if (Implementation !== UdpDgramSocket) {
      expect(a.socket.sendLent(null, bytes, 0, 6, 1, peerOf(b.socket))).toBe(false)
      expect(a.socket.queued).toBe(768)
      for (const text of ['1', '2', '3']) expect((await b.next()).payload.toString()).toBe(text)
    }
    a.socket.sendLent(null, bytes, 0, 4, 2, UdpPeer.parse('255.255.255.255', 9))
    a.socket.send(Buffer.from('fine'), peerOf(b.socket))
    expect((await b.next()).payload.toString()).toBe('fine')
    expect(refused).toEqual([
      ['EACCES', '12'],
      ['EACCES', '34'],
    ])
  })

  test('closing is idempotent, also in its own handler, and afterwards nothing is sent or heard', async () => {
    const b = open({ family: 4, localAddress: '127.0.0.1' })
    let heard = 0
    const datagram = () => {
      heard++
      closing.socket.close()
    }
    const closing = open({ family: 4, localAddress: '127.0.0.1' }, { datagram })
    const to = peerOf(closing.socket)
    for (let i = 0; i < 20; i++) b.socket.send(Buffer.from('x'), to)
    await until(() => heard > 0)
    await sleep(50)
    closing.socket.close()
    expect(heard).toBe(1)
    expect(closing.socket.address()).toBeUndefined()
    expect(closing.socket.send(Buffer.from('x'), to)).toBe(false)
  })

  test('an address which is not ours is the kernel’s error, thrown', () => {
    expect(() => open({ family: 4, localAddress: '203.0.113.1' })).toThrow(
      expect.objectContaining({ code: 'EADDRNOTAVAIL', syscall: 'bind' }),
    )
  })
})

test('a peer is words and text; a zone is cut off', () => {
  expect(UdpPeer.parse('10.1.2.3', 53)).toMatchObject({ w2: 0xffff, w3: 0x0a010203, address: '10.1.2.3', family: 4 })
  expect(UdpPeer.parse('fe80::1%eth0', 53)).toMatchObject({ address: 'fe80::1', family: 6 })
  expect(UdpPeer.parse('nowhere', 53)).toBeNull()
})
