// One wake-up of the poller, over an addon that has always more to tell; and what it is not asked.

import { expect, test, vi } from 'vitest'
import { TcpHandle } from './tcp-handle.js'

const native = vi.hoisted(() => ({
  waits: 0,
  asked: 0,
  /** What the next wait() answers, of slot 0; 0: it is always readable. */
  events: 0,
  ready: () => {},
  open: () => 0,
  wait(events: Int32Array) {
    if (native.events !== 0) {
      events.set([0, native.events])
      return 1
    }
    if (++native.waits > 1000) return 0
    for (let i = 0; i < events.length; i += 2) events.set([0, 1], i)
    return events.length / 2
  },
  watch(callback: () => void) {
    native.ready = callback
  },
  connected() {
    native.asked++
    return native.events & 4 ? -111 : 0
  },
  closeSocket: () => 0,
  ref() {},
  unref() {},
}))
vi.mock('@tun/native', () => ({ hasTcpSockets: () => true, openTcpSockets: () => native }))

test('connections that are always ready do not keep the thread: the device and the timers get their turn', () => {
  let told = 0
  const sink = { connected() {}, readable: () => void told++, writable() {}, failed() {} }
  const handle = new TcpHandle({ address: '192.0.2.1', port: 9, family: 4 }, sink)
  native.ready()
  expect([native.waits, told]).toEqual([4, 4 * 256])
  handle.close()
})

test.each([
  ['writable: connected, and the socket is not asked for its error', 2, 0, 'connected'],
  ['writable with a FIN behind it: asked', 2 | 1 | 8, 1, 'connected'],
  ['failed: asked', 1 | 2 | 4 | 8, 1, 'failed 111'],
  ['anything else: asked', 1, 1, 'connected'],
])('a connection that begins: %s', (_, events, asked, told) => {
  const log: string[] = []
  const sink = {
    connected: () => void log.push('connected'),
    readable() {},
    writable() {},
    failed: (errno: number) => void log.push(`failed ${errno}`),
  }
  native.asked = 0
  native.events = events
  const handle = new TcpHandle({ address: '192.0.2.1', port: 9, family: 4 }, sink)
  native.ready()
  expect([native.asked, log]).toEqual([asked, [told]])
  handle.close()
})
