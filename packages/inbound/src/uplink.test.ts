// The machine's own way out, and what becomes of an inbound when it is another one. What the kernel tells: packages/device/src/network.ts.

import type { Uplink } from '@tun/device'
import { Stack } from '@tun/stack'
import { MemoryDevice } from '@tun/stack/testing'
import { afterEach, expect, test, vi } from 'vitest'
import type { NameService } from './name-service.js'
import { TunInbound, type UplinkWatch } from './tun-inbound.js'

const WIFI: Uplink = { interface: 'wlan0', localAddress4: '192.0.2.7', localAddress6: undefined }

afterEach(() => void vi.restoreAllMocks())

function inboundOn(first: Uplink | undefined) {
  const told: string[] = []
  let changed: (uplink: Uplink | undefined) => void = () => {}
  const watch = { uplink: first, close: () => told.push('closed') } satisfies UplinkWatch
  const names = {
    networkChanged: () => told.push('networkChanged'),
    close() {},
    fakeIp: null,
    server: { stats: {} },
  } as unknown as NameService
  const device = new MemoryDevice()
  const stack = new Stack({ mtu: 1500 }, { random32: () => 1 })
  const watchUplink = (fn: typeof changed): UplinkWatch => {
    changed = fn
    return watch
  }
  const inbound = new TunInbound({ device, stack, names, dnsMatchers: [], routed: false, watchUplink })
  inbound.on('uplink', uplink => told.push(`uplink ${uplink?.interface}`))
  inbound.on('resumed', ms => told.push(`resumed ${Math.round(ms / 1000)}`))
  inbound.on('warning', message => told.push(message))
  const change = (uplink: Uplink | undefined) => {
    watch.uplink = uplink as Uplink
    changed(uplink)
  }
  return { inbound, device, told, change }
}

test('the uplink is what the kernel told last; a change is a changed network, and told of; behind close() nothing is', async () => {
  const { inbound, told, change } = inboundOn(undefined)
  expect(inbound.uplink).toBeUndefined()
  change(WIFI)
  expect(inbound.uplink).toEqual(WIFI)
  expect(told).toEqual(['networkChanged', 'uplink wlan0'])
  await inbound.close()
  change(undefined)
  inbound.networkChanged()
  expect(told.slice(2)).toEqual(['closed'])
})

test('a wall clock 5 s ahead of the monotonic one: the machine slept, which is a changed network', async () => {
  const { inbound, told } = inboundOn(WIFI)
  inbound.networkChanged() // a turn, so that both clocks are known
  await new Promise(resolve => setImmediate(resolve))
  const real = Date.now
  vi.spyOn(Date, 'now').mockImplementation(() => real() + 60_000)
  inbound.networkChanged()
  await new Promise(resolve => setImmediate(resolve))
  expect(told).toEqual(['networkChanged', 'networkChanged', 'the machine slept for 60 s', 'networkChanged', 'resumed 60'])
  await inbound.close()
})
