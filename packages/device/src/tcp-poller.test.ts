// One wake-up of the poller, over an addon that has always more to tell.

import { expect, test, vi } from 'vitest'
import { TcpHandle } from './tcp-handle.js'

const native = vi.hoisted(() => ({
  waits: 0,
  ready: () => {},
  open: () => 0,
  wait(events: Int32Array) {
    if (++native.waits > 1000) return 0
    for (let i = 0; i < events.length; i += 2) events.set([0, 1], i)
    return events.length / 2
  },
  watch(callback: () => void) {
    native.ready = callback
  },
  connected: () => 0,
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
