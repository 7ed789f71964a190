// UdpBatchSocket over an addon of the test's own: a kernel that has no room, and one that has always more.

import { BLOCKED, OK } from '@tun/stack'
import { beforeEach, expect, test, vi } from 'vitest'
import { DatagramBatch } from './datagram-batch.js'
import { UdpBatchSocket } from './udp-batch-socket.js'
import { UdpPeer } from './udp-peer.js'

const HEADER = new DatagramBatch(0, 0).table.length

const native = vi.hoisted(() => ({
  /** Datagrams that the kernel takes before it has no room. */
  room: 0,
  sent: [] as string[],
  wantsWritable: false,
  /** What wait() says of the socket: readable 1, writable 2. */
  events: 2,
  receives: 0,
  ready: () => {},
  send: (_slot: number, _bytes: Uint8Array, _table: Int32Array, _capacity: number, _first: number, _rows: number): number => 0,
  open: () => 0,
  wait(events: Int32Array) {
    events.set([0, native.events])
    return 1
  },
  watch(callback: () => void) {
    native.ready = callback
  },
  watchWritable(_slot: number, on: boolean) {
    native.wantsWritable = on
  },
  receive(_slot: number, _bytes: Uint8Array, _stride: number, table: Int32Array, capacity: number) {
    table.fill(0) // empty datagrams
    return ++native.receives > 1000 ? 0 : capacity
  },
  closeSocket: () => 0,
  ref() {},
  unref() {},
}))
vi.mock('@tun/native', () => ({ hasUdpSockets: () => true, openUdpSockets: () => native }))

beforeEach(() => {
  native.sent.length = 0
  native.events = 2
  native.receives = 0
  native.send = (_slot, bytes, table, capacity, first, rows) => {
    const done = Math.min(rows - first, native.room)
    for (let row = first; row < first + done; row++) {
      const [start, length] = [table[HEADER + row], table[HEADER + capacity + row]]
      native.sent.push(Buffer.from(bytes.subarray(start, start + length)).toString())
    }
    native.room -= done
    table.set([done < rows - first ? BLOCKED : OK, 0, 0])
    return done
  }
})

test('what waits for the kernel is copied: whoever lent it has it back, and may fill it anew', () => {
  const socket = new UdpBatchSocket({ family: 4 }, { datagram: () => {}, error: () => {} })
  const peer = UdpPeer.parse('192.0.2.1', 53)
  let held = 0
  const owner = { retain: () => void held++, release: () => void held-- }
  const slab = Buffer.from('aabbccdd')
  native.room = 1
  socket.sendLent(owner, slab, 0, 6, 2, peer, Buffer.from('-'))
  socket.sendLent(owner, slab, 6, 8, 0, peer)
  expect(held).toBe(2)
  socket.flush()
  expect([native.sent, held, native.wantsWritable]).toEqual([['-aa'], 0, true])
  slab.fill('eeff')
  socket.sendLent(owner, slab, 0, 2, 0, peer)
  expect(held).toBe(0)
  slab.fill('x')
  native.room = 2
  native.ready()
  expect([native.sent, native.wantsWritable]).toEqual([['-aa', '-bb', '-cc'], true])
  native.room = Infinity
  native.ready()
  expect([native.sent, native.wantsWritable, socket.queued]).toEqual([['-aa', '-bb', '-cc', 'dd', 'ee'], false, 0])
  socket.close()
  expect(held).toBe(0)
})

test('what is closed while it waits is given back, and not sent', () => {
  const socket = new UdpBatchSocket({ family: 4 }, { datagram: () => {}, error: () => {} })
  let held = 0
  const owner = { retain: () => void held++, release: () => void held-- }
  native.room = 0
  socket.sendLent(owner, Buffer.from('aa'), 0, 2, 0, UdpPeer.parse('192.0.2.1', 53))
  socket.flush()
  socket.sendLent(owner, Buffer.from('bb'), 0, 2, 0, null)
  socket.close()
  expect([held, socket.queued]).toEqual([0, 0])
  native.room = Infinity
  socket.flush()
  native.ready()
  expect(native.sent).toEqual([])
})

test('datagrams without end: 256 of one wake-up, then the others have their turn', () => {
  let got = 0
  const socket = new UdpBatchSocket({ family: 4 }, { datagram: () => void got++, error: () => {} })
  native.events = 1
  native.ready()
  expect([native.receives, got]).toEqual([8, 256])
  socket.close()
})

test('a handler that throws keeps no other socket from sending', async () => {
  await new Promise(setImmediate) // what the tests before this have left to do
  const ticks: (() => void)[] = []
  const nextTick = vi.spyOn(process, 'nextTick').mockImplementation(fn => void ticks.push(fn as () => void))
  const refused = () => {
    throw new Error('a mistake')
  }
  const [one, other] = [{ refused }, {}].map(also => new UdpBatchSocket({ family: 4 }, { datagram: () => {}, error: () => {}, ...also }))
  const { send } = native
  native.send = (_slot, _bytes, table, capacity) => {
    native.send = send
    table.set([OK, 0, 1])
    table[HEADER + 8 * capacity] = 13 // EACCES
    return 1
  }
  native.room = Infinity
  one.send(Buffer.from('refused'), null)
  other.send(Buffer.from('taken'), null)
  expect(ticks.shift()).toThrow('a mistake')
  for (let tick = ticks.shift(); tick !== undefined; tick = ticks.shift()) tick()
  nextTick.mockRestore()
  expect(native.sent).toEqual(['taken'])
  for (const socket of [one, other]) socket.close()
})
