// UDP sockets in batches. Over loopback without root; what needs a NIC of its own is in udp-scenarios.mjs, in a namespace.

import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import { UdpBatchSocket, UdpPeer } from '@tun/device'
import { afterEach, describe, expect, it } from 'vitest'
import native from '../index.cjs'
import { missing } from './namespace.js'
import { BLOCKED, GONE, OK, type Request, Socket, Table } from './udp-table.mjs'

const here = fileURLToPath(new URL('.', import.meta.url))
const index = fileURLToPath(new URL('../index.cjs', import.meta.url))
const scenarios = fileURLToPath(new URL('./udp-scenarios.mjs', import.meta.url))
const opened: { close(): void }[] = []
afterEach(() => {
  for (const socket of opened.splice(0)) socket.close()
})

function open(request: Request = {}) {
  const socket = new Socket({ address: '127.0.0.1', receiveBuffer: 1 << 20, ...request })
  opened.push(socket)
  return socket
}

const numbered = (length: number, seed: number) => Buffer.alloc(length).map((_, i) => (i * 7 + seed) & 255)
const ECONNREFUSED = 111
const EMSGSIZE = 90
const EINVAL = 22
const EBADF = 9
const LOOPBACK = [0, 0, 0xffff, 0x7f000001]

describe.each([
  [4, '127.0.0.1', [0, 0, 0xffff, 0x7f000001]],
  [6, '::1', [0, 0, 0, 1]],
] as const)('a batch over IPv%i', (family, address, words) => {
  const pair = (options = {}) => {
    const [a, b] = [open({ family, address, ...options }), open({ family, address, ...options })]
    rowsOf(2, b, a)
    rowsOf(2, a, b)
    return { a, b, port: b.port, portA: a.port }
  }

  /** Sends so many datagrams at once, and answers how many rows they are received as. */
  function rowsOf(count: number, from: Socket, to: Socket) {
    const tx = new Table()
    for (let i = 0; i < count; i++) tx.add(Buffer.of(i), words, to.port)
    tx.send(from)
    const rx = new Table()
    rx.receive(to)
    expect(rx.datagrams().map(datagram => datagram[0])).toEqual(Array.from({ length: count }, (_, i) => i))
    return rx.count
  }

  it('is received as a train once several datagrams have come at once; without offload never', () => {
    const [from, to, without] = [open({ family, address }), open({ family, address }), open({ family, address, offload: false })]
    expect([1, 3, 3, 2].map(count => rowsOf(count, from, to))).toEqual([1, 3, 1, 1])
    expect([1, 3, 3, 2].map(count => rowsOf(count, from, without))).toEqual([1, 3, 3, 2])
  })

  it('goes as one train, is received as one, and every datagram of it is whole: the last one is shorter', () => {
    const { a, b, port, portA } = pair()
    const payloads = [1000, 1000, 1000, 1000, 333].map(numbered)
    const tx = new Table()
    for (const payload of payloads) tx.add(payload, words, port)
    expect(tx.send(a)).toBe(5)
    const rx = new Table()
    expect(rx.receive(b)).toBe(1)
    expect(rx.row(0)).toMatchObject({ length: 4333, segment: 1000, words: [...words], port: portA, failure: 0 })
    expect(rx.datagrams().map(d => d.equals(payloads.shift()!))).toEqual([true, true, true, true, true])
    expect(rx.receive(b)).toBe(0)
    expect(rx.status).toBe(BLOCKED)
  })

  it('is cut into trains where length or peer changes, a shorter one ends its train, and an empty one stands alone', () => {
    const { a, b, port } = pair()
    const other = open({ family, address })
    const tx = new Table()
    const sizes = [100, 100, 50, 100, 200, 200, 0, 0, 200, 1]
    for (const [i, size] of sizes.entries()) tx.add(numbered(size, i), words, port)
    tx.add(numbered(7, 7), words, other.port).add(numbered(200, 9), words, port)
    expect(tx.send(a)).toBe(12)
    const rx = new Table()
    rx.receive(b)
    const got = rx.datagrams()
    expect(got.map(d => d.length)).toEqual([...sizes, 200])
    for (const [i, size] of sizes.entries()) expect(got[i].equals(numbered(size, i))).toBe(true)
    expect(Array.from({ length: rx.count }, (_, i) => [rx.row(i).length, rx.row(i).segment])).toEqual([
      [250, 100],
      [100, 0],
      [400, 200],
      [0, 0],
      [0, 0],
      [201, 200],
      [200, 0],
    ])
    const there = new Table()
    expect([there.receive(other), there.datagrams()[0].length]).toEqual([1, 7])
  })

  it('of more datagrams than a train or a call can hold arrives whole and in order', () => {
    const { a, b, port } = pair()
    const tx = new Table(300)
    for (let i = 0; i < 300; i++) tx.add(Buffer.from([i >> 8, i]), words, port)
    expect(tx.send(a)).toBe(300)
    const got: number[] = []
    const rx = new Table()
    while (rx.receive(b) > 0) got.push(...rx.datagrams().map(d => d.readUInt16BE()))
    expect(got).toEqual(Array.from({ length: 300 }, (_, i) => i))
  })

  it('without offload is a datagram a row, of any length', () => {
    const { a, b, port } = pair({ offload: false })
    const sizes = [1000, 1000, 0, 65_507, 1]
    const tx = new Table()
    for (const [i, size] of sizes.entries()) tx.add(numbered(size, i), words, port)
    expect(tx.send(a)).toBe(5)
    const rx = new Table()
    expect(rx.receive(b)).toBe(5)
    expect(rx.datagrams().map((d, i) => d.equals(numbered(sizes[i], i)))).toEqual([true, true, true, true, true])
  })

  it('with a hop limit goes alone, and from then on errors have theirs', async () => {
    const { a, b, port } = pair()
    const closed = open({ family, address })
    const closedPort = closed.port
    closed.close()
    const tx = new Table()
    for (const ttl of [0, 0, 3, 0, 0]) tx.add(numbered(100, 1), words, port, ttl)
    expect([tx.send(a), tx.refused]).toEqual([5, 0])
    const rx = new Table()
    rx.receive(b)
    expect(Array.from({ length: rx.count }, (_, i) => rx.row(i).length)).toEqual([200, 100, 200])
    new Table().add(numbered(10, 1), words, closedPort).send(a)
    const reports = new Table()
    while (reports.reports(a) === 0) await sleep(1)
    expect(reports.row(0).segment >> 16).toBe(64)
    expect(reports.row(0).segment & 0xffff).toBe(family === 4 ? 0x0303 : 0x0104)
    // Datagrams bring their hop limits along, too, and trains are still told as such.
    const back = new Table().add(numbered(100, 1), words, a.port).add(numbered(100, 2), words, a.port)
    back.send(b)
    expect([rx.receive(a), rx.row(0).length, rx.row(0).segment]).toEqual([1, 200, 100])
  })

  it('is refused row by row: too long, no port, the other family, outside of the slab; the others go', () => {
    const { a, b, port } = pair()
    const tx = new Table()
    const alien = family === 4 ? [0, 0, 0, 1] : [0, 0, 0xffff, 0x7f000001]
    tx.add(numbered(10, 1), words, port).add(numbered(65_530, 2), words, port).add(numbered(10, 3), words, 0)
    tx.add(numbered(10, 4), alien, port).add(numbered(10, 5), words, port).add(numbered(10, 6), words, port)
    tx.column(0)[4] = 1 << 30
    expect(tx.send(a)).toBe(6)
    expect([tx.status, tx.refused]).toEqual([OK, 4])
    expect(Array.from({ length: 6 }, (_, i) => tx.row(i).failure)).toEqual([0, EMSGSIZE, EINVAL, EINVAL, EINVAL, 0])
    const rx = new Table()
    rx.receive(b)
    expect(rx.datagrams().map(d => d[0])).toEqual([numbered(10, 1)[0], numbered(10, 6)[0]])
  })

  it('to a closed port is told as a report with its destination, and disturbs no later send or receive', async () => {
    const { a, b, port, portA } = pair()
    const closed = open({ family, address })
    const closedPort = closed.port
    closed.close()
    let events = 0
    a.watch(which => {
      events |= which
      rx.reports(a)
    })
    const rx = new Table()
    new Table().add(numbered(44, 1), words, closedPort).send(a)
    const tx = new Table().add(numbered(10, 1), words, port).add(numbered(10, 2), words, port)
    expect([tx.send(a), tx.refused]).toEqual([2, 0])
    while (rx.count === 0) await sleep(5)
    expect(events & 8).toBe(8)
    expect(rx.row(0)).toMatchObject({ failure: ECONNREFUSED, port: closedPort, words: [...words], length: 44, by: [...words], ttl: 0 })
    expect(rx.row(0).segment).toBe(family === 4 ? 0x0303 : 0x0104) // type and code; no hop limit, for none was set
    expect(rx.slab.subarray(0, 44)).toEqual(numbered(44, 1))
    expect(rx.reports(a)).toBe(0)
    new Table().add(numbered(10, 1), words, portA).send(b)
    expect(rx.receive(a)).toBe(1)
  })

  it('of a socket that hears of closed ports again and again, along with datagrams, goes on being told of both', async () => {
    const { a, portA } = pair()
    const closed = open({ family, address })
    const to = closed.port
    closed.close()
    let told = 0
    let heard = 0
    a.watch(() => {
      told += new Table().reports(a)
      heard += new Table().receive(a)
    })
    for (let i = 1; i <= 40; i++) {
      new Table().add(numbered(10, i), words, to).add(numbered(20, i), words, portA).send(a)
      for (let wait = 0; (told < i || heard < i) && wait < 1000; wait++) await sleep(1)
    }
    expect([told, heard]).toEqual([40, 40])
  })

  it('of a connected socket needs no address, and ECONNREFUSED is a report as well', async () => {
    const { b, port } = pair()
    const a = open({ family, address, peerAddress: address, peerPort: port })
    new Table().add(numbered(10, 1)).add(numbered(10, 2)).send(a)
    const rx = new Table()
    rx.receive(b)
    expect(rx.datagrams().length).toBe(2)
    b.close()
    new Table().add(numbered(10, 1)).send(a)
    while (rx.reports(a) === 0) await sleep(1)
    expect(rx.row(0)).toMatchObject({ failure: ECONNREFUSED, port })
  })
})

describe('a UDP socket of the addon', () => {
  it('refuses arrays that are too small, detached or of another type, and never touches memory that is not theirs', () => {
    const { sockets, slot } = open()
    const table = new Int32Array(8 + 14 * 4)
    const slab = new Uint8Array(4096)
    expect(sockets.receive(slot, slab, 1024, table, 4)).toBe(0)
    const wrong = [
      () => sockets.receive(slot, slab, 1024, table, 5),
      () => sockets.receive(slot, slab, 1025, table, 4),
      () => sockets.receive(slot, slab, 0, table, 4),
      () => sockets.receive(slot, new Uint8Array(0), 1024, table, 4),
      () => sockets.receive(slot, slab, 1024, slab as never, 4),
      () => sockets.receive(-1, slab, 1024, table, 4),
      () => sockets.send(slot, slab, table, 5, 0, 1),
      () => sockets.send(slot, slab, table, 4, 3, 2),
      () => sockets.send(slot, slab, table, 4, 0, 5),
      () => sockets.reports(slot, slab, 1024, table, 5),
      () => sockets.reports(slot, slab, 1025, table, 4),
      () => sockets.reports(slot, slab, 0, table, 4),
      () => sockets.wait(new Int32Array(1)),
      () => sockets.watch(4 as never),
      () => sockets.open(5 as never),
      () => sockets.open(4, undefined, 65_536),
      () => sockets.open(4, undefined, undefined, undefined, undefined, 'lo\0x'),
    ]
    for (const call of wrong) expect(call).toThrow(TypeError)
    structuredClone(slab.buffer, { transfer: [slab.buffer] })
    expect(() => sockets.receive(slot, slab, 1024, table, 4)).toThrow(TypeError)
    expect(() => sockets.send(slot, slab, table, 4, 0, 1)).toThrow(TypeError)
  })

  it('marks what does not fit its row, which is not delivered', () => {
    const [a, b] = [open(), open()]
    new Table().add(numbered(100, 1), LOOPBACK, b.port).send(a)
    const table = new Int32Array(8 + 14)
    expect(b.sockets.receive(b.slot, new Uint8Array(50), 50, table, 1)).toBe(1)
    expect([table[8 + 1], table[8 + 8]]).toEqual([50, EMSGSIZE])
  })

  it('says which option or address the kernel would not have', () => {
    const failure = (request: Request) => {
      try {
        open(request)
      } catch (error) {
        const { code, syscall, detail } = error as Record<string, string>
        return [code, syscall, detail]
      }
    }
    expect(failure({ address: '203.0.113.1' })).toEqual(['EADDRNOTAVAIL', 'bind', undefined])
    expect(failure({ address: 'x' })).toEqual(['EINVAL', 'bind', undefined])
    expect(failure({ peerAddress: '255.255.255.255', peerPort: 9 })).toEqual(['EACCES', 'connect', undefined])
    expect(failure({ device: 'nonesuch0' })).toEqual(['ENODEV', 'setsockopt', 'device'])
    expect(failure({ device: 'x'.repeat(40) })).toEqual(['ENODEV', 'setsockopt', 'device'])
    expect(() => new UdpBatchSocket({ family: 4, device: 'nonesuch0' }, { datagram() {}, error() {} })).toThrow(/SO_BINDTODEVICE nonesuch0/)
  })

  it('is of one family: IPv6 leaves the same port of IPv4 alone', () => {
    const six = open({ family: 6, address: '::' })
    const four = open({ address: '0.0.0.0', port: six.port })
    expect(four.port).toBe(six.port)
  })

  it('closed is closed: no descriptor, no call, no address, and closing again is nothing', async () => {
    const count = () => readdirSync('/proc/self/fd').length
    const before = count()
    const udp = open()
    udp.watch(() => {})
    expect(count()).toBe(before + 2) // its own, and the set's
    udp.close()
    udp.close()
    expect(count()).toBe(before)
    const rx = new Table()
    expect([rx.receive(udp), rx.status]).toEqual([0, GONE])
    expect([new Table().add(Buffer.from('x'), LOOPBACK, 9).send(udp), rx.reports(udp), udp.port]).toEqual([0, 0, 0])
    expect([udp.sockets.watchWritable(udp.slot, true), udp.sockets.closeSocket(udp.slot)]).toEqual([-EBADF, -EBADF])
    expect(() => udp.sockets.open(4)).toThrow(expect.objectContaining({ code: 'EBADF' }))
    udp.watch(() => {})
    udp.sockets.ref()
    udp.sockets.unref()
    await sleep(5)
  })

  it('may be closed in its callback while more is waiting, and the process ends without it once unreferenced', async () => {
    const program = `
      const native = require(${JSON.stringify(index)})
      const open = () => {
        const sockets = native.openUdpSockets()
        return { sockets, slot: sockets.open(4, '127.0.0.1') }
      }
      const [a, b] = [open(), open()]
      const port = b.sockets.address(b.slot)[1]
      const table = new Int32Array(8 + 14 * 2)
      const columns = [[0, 0], [1, 1], [0, 0], [0, 0], [0, 0], [65535, 65535], [0x7f000001, 0x7f000001], [port, port]]
      columns.forEach((column, i) => table.set(column, 8 + 2 * i))
      b.sockets.watch(() => { b.sockets.close(); console.log('closed') })
      a.sockets.watch(() => {})
      a.sockets.unref()
      if (a.sockets.send(a.slot, new Uint8Array(1), table, 2, 0, 2) !== 2) throw new Error('not sent')`
    const { stdout } = await promisify(execFile)(process.execPath, ['-e', program], { timeout: 10_000 })
    expect(stdout).toBe('closed\n')
  })

  it('survives workers that end, or are terminated, while they poll', async () => {
    const program = `
      const native = require(${JSON.stringify(index)})
      const { parentPort } = require('node:worker_threads')
      const sockets = native.openUdpSockets()
      const slot = sockets.open(4, '127.0.0.1')
      sockets.watch(() => parentPort.postMessage('called'))
      parentPort.postMessage(sockets.address(slot)[1])`
    for (const end of ['terminate', 'exit']) {
      const worker = new Worker(end === 'exit' ? `${program}; setTimeout(() => process.exit(0), 50)` : program, { eval: true })
      const [port] = await once(worker, 'message')
      const called = once(worker, 'message')
      new Table().add(Buffer.from('x'), LOOPBACK, port).send(open())
      await called
      if (end === 'terminate') await worker.terminate()
      else await once(worker, 'exit')
    }
  })
})

describe('a set of UDP sockets', () => {
  const EVERYBODY = 16

  function openSet(count: number) {
    const sockets = native.openUdpSockets()
    opened.push(sockets)
    const slots = Array.from({ length: count }, () => sockets.open(4, '127.0.0.1'))
    return { sockets, slots, portOf: (slot: number) => sockets.address(slot)![1] }
  }

  /** Answers [slot, events], by slot. */
  function waited(sockets: native.UdpSockets, room = EVERYBODY) {
    const events = new Int32Array(2 * room)
    const count = sockets.wait(events)
    return Array.from({ length: count }, (_, i) => [events[2 * i], events[2 * i + 1]]).sort(([a], [b]) => a - b)
  }

  it('tells in one answer who is ready, again until it has received, and of each no more than there is room for', () => {
    const { sockets, slots, portOf } = openSet(4)
    const [a, b, , d] = slots
    expect(waited(sockets)).toEqual([])
    new Table().add(Buffer.from('x'), LOOPBACK, portOf(b)).add(Buffer.from('y'), LOOPBACK, portOf(d)).send({ sockets, slot: a })
    for (let i = 0; i < 2; i++)
      expect(waited(sockets)).toEqual([
        [b, 1],
        [d, 1],
      ])
    expect(waited(sockets, 1).length).toBe(1)
    new Table().receive({ sockets, slot: b })
    expect(waited(sockets)).toEqual([[d, 1]])
  })

  it('tells of writable only while that is asked for', () => {
    const { sockets, slots } = openSet(1)
    expect(sockets.watchWritable(slots[0], true)).toBe(0)
    expect(waited(sockets)).toEqual([[slots[0], 2]])
    expect(sockets.watchWritable(slots[0], false)).toBe(0)
    new Table().add(Buffer.from('x'), LOOPBACK, 9).send({ sockets, slot: slots[0] })
    expect(waited(sockets).filter(([, events]) => events & 2)).toEqual([])
  })

  it('gives a slot that an answer names to another socket behind the next answer, and any other at once', () => {
    const { sockets, slots, portOf } = openSet(3)
    const [a, b, c] = slots
    new Table().add(Buffer.from('x'), LOOPBACK, portOf(b)).send({ sockets, slot: a })
    expect(waited(sockets)).toEqual([[b, 1]])
    sockets.closeSocket(b)
    expect(slots).not.toContain(sockets.open(4))
    sockets.closeSocket(c)
    expect(sockets.open(4)).toBe(c)
    expect(waited(sockets)).toEqual([])
    expect(sockets.open(4)).toBe(b)
    for (let i = 0; i < 1000; i++) sockets.closeSocket(sockets.open(4)) // with no answer in between
    expect(sockets.open(4)).toBeLessThan(6)
  })

  it('a thousand opened, closed, failed and left to close(): no descriptor remains', () => {
    const count = () => readdirSync('/proc/self/fd').length
    const before = count()
    const { sockets, slots } = openSet(1000)
    expect([new Set(slots).size, count()]).toEqual([1000, before + 1001])
    for (const slot of slots.slice(0, 500)) sockets.closeSocket(slot)
    for (let i = 0; i < 100; i++) {
      expect(() => sockets.open(4, '203.0.113.1')).toThrow('EADDRNOTAVAIL')
      expect(() => sockets.open(4, undefined, undefined, '255.255.255.255', 9)).toThrow('EACCES')
    }
    expect(count()).toBe(before + 501)
    sockets.close()
    expect(count()).toBe(before)
  })
})

describe('many UdpBatchSockets', () => {
  it('2,000 of them each get their answer, and share what they receive into', async () => {
    const echo: UdpBatchSocket = new UdpBatchSocket(
      { family: 4, localAddress: '127.0.0.1', receiveBuffer: 1 << 20 },
      {
        datagram: (bytes, start, end, from) => void echo.send(Buffer.from(bytes.subarray(start, end)), from),
        error() {},
      },
    )
    opened.push(echo)
    const { address, port } = echo.address()!
    const to = UdpPeer.parse(address, port)!
    const answers = new Set<string>()
    const before = process.memoryUsage()
    const sockets = Array.from({ length: 2000 }, (_, i) => {
      const datagram = (bytes: Buffer, start: number, end: number) => {
        if (bytes.toString('latin1', start, end) === `${i}`) answers.add(`${i}`)
      }
      const socket = new UdpBatchSocket({ family: 4 }, { datagram, error() {} })
      opened.push(socket)
      return socket
    })
    for (let from = 0; from < 2000; from += 100) {
      for (let i = from; i < from + 100; i++) sockets[i].send(Buffer.from(`${i}`), to)
      for (let wait = 0; answers.size < from + 100 && wait < 400; wait++) await sleep(5)
    }
    expect(answers.size).toBe(2000)
    const grown = process.memoryUsage().arrayBuffers - before.arrayBuffers
    expect(grown).toBeLessThan(8 << 20) // one slab to receive, one to send; not one a socket
  })

  it('keep the process alive as long as one of them is referenced, however often that is said', async () => {
    const program = `
      import { UdpBatchSocket } from '@tun/device'
      const [a, b, c] = [1, 2, 3].map(() => new UdpBatchSocket({ family: 4 }, { datagram() {}, error() {} }))
      for (const socket of [a, a, a, b]) socket.unref()
      a.ref()
      a.ref()
      c.close()
      c.ref()
      setTimeout(() => { console.log('alive by a'); a.unref() }, 50).unref()
      setTimeout(() => console.log('alive by nobody'), 2000).unref()`
    const run = promisify(execFile)(process.execPath, ['--input-type=module', '-e', program], { cwd: here, timeout: 10_000 })
    expect((await run).stdout).toBe('alive by a\n')
  })
})

describe.skipIf(missing() !== '')(`against a NIC of its own ${missing()}`, () => {
  const inNamespace = async (scenario: string) => {
    const command = `ip link set lo up; exec "${process.execPath}" "${scenarios}" ${scenario}`
    const { stdout } = await promisify(execFile)('unshare', ['-nm', 'sh', '-c', command], { timeout: 40_000 })
    return JSON.parse(stdout)
  }

  it('datagrams over the MTU go one by one, in fragments, although they could not go as a train', async () => {
    expect(await inNamespace('overMtu')).toEqual({ got: [3000, 3000, 3000, 3000, 3000], refused: 0, small: 1 })
  })

  it('waits while the kernel’s queue is full, holds its own bound meanwhile, and sends the rest when there is room', async () => {
    const { blocked, dropped, queuedAtMost, left, outcome } = await inNamespace('fullQueue')
    expect(blocked).toBe(true)
    expect(dropped).toBeGreaterThan(0)
    expect(queuedAtMost).toBeLessThanOrEqual(64 * 1024)
    expect({ left, outcome }).toEqual({ left: 0, outcome: 'sent' })
  })

  it('leaves by the NIC it is bound to, and with its mark', async () => {
    expect(await inNamespace('bound')).toEqual({ byDevice: 'through', byMark: 'through', without: 'ENETUNREACH' })
  })
})
