import type { FakeIps } from '@tun/dns'
import { expect, test } from 'vitest'
import { FakePins, type Pinning } from './fake-pins.js'

test('each address is pinned once for its owner, be it one or several, and let go once', () => {
  const held = new Map<string, number>()
  const change = (address: string, by: number) => void held.set(address, (held.get(address) ?? 0) + by)
  const pool = {
    pin(address: string) {
      if (address === 'unknown') return false
      change(address, 1)
      return true
    },
    unpin: (address: string) => change(address, -1),
  }
  const pins = new FakePins(pool as unknown as FakeIps)
  const [connection, flow]: Pinning[] = [{ pinned: null }, { pinned: null }]
  for (const address of ['a', 'a']) pins.pin(connection, address)
  for (const address of ['unknown', 'a', 'b', 'a', 'c', 'b', 'c']) pins.pin(flow, address)
  expect([...held]).toEqual([
    ['a', 2],
    ['b', 1],
    ['c', 1],
  ])
  for (const owner of [connection, flow, connection, flow]) pins.unpin(owner)
  expect([...held.values()]).toEqual([0, 0, 0])
  expect([connection.pinned, flow.pinned]).toEqual([null, null])
})
