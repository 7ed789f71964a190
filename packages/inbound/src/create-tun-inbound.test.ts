import { networkInterfaces } from 'node:os'
import { MemoryDevice } from '@tun/stack/testing'
import { afterEach, expect, test, vi } from 'vitest'
import { createTunInbound } from './create-tun-inbound.js'
import type { TunInboundOptions } from './options.js'
import { world } from './world.test-kit.js'

const nics: MemoryDevice[] = []
let broken = false
vi.mock('@tun/device', () => ({
  NetworkMonitor: { open: () => undefined },
  openTun: () => {
    const nic = new MemoryDevice()
    if (broken) nic.onReadable = () => bad('the descriptor cannot be polled')
    nics.push(nic)
    return nic
  },
}))

afterEach(() => {
  broken = false
  nics.length = 0
})

function bad(message: string): never {
  throw new Error(message)
}

const tun = { 'device-url': 'dev://tun0' }

test('a device that was opened is closed again if the rest fails', async () => {
  broken = true
  await expect(createTunInbound({ tun })).rejects.toThrow('polled')
  expect(nics.map(nic => nic.closed)).toEqual([true])
})

test('nothing is opened for options that are wrong', async () => {
  const own = Object.values(networkInterfaces())
    .flat()
    .find(address => address?.family === 'IPv4')?.address
  await expect(createTunInbound({ tun: { ...tun, 'dns-listen': `${own}:53` } })).rejects.toMatchObject({ code: 'ERR_TUN_LOCAL_ADDRESS' })
  await expect(createTunInbound({ tun: { ...tun, mtu: 5 } })).rejects.toMatchObject({ code: 'ERR_TUN_CONFIG' })
  await expect(createTunInbound({ tun, limits: { rcvBuf: 0 } })).rejects.toMatchObject({ code: 'ERR_TUN_LIMIT' })
  await expect(createTunInbound({ tun, signal: AbortSignal.abort(new Error('late')) })).rejects.toThrow('late')
  expect(nics).toEqual([])
})

test('what is not acted on is told to listeners of the same tick', async () => {
  const options = { tun: { ...tun, 'auto-route': true, devcie: 1 }, dns: { nameserver: ['quic://1.1.1.1'], handler: () => null } }
  await using inbound = await createTunInbound(options as TunInboundOptions)
  const warnings: string[] = []
  inbound.on('warning', warning => warnings.push(warning))
  await new Promise(resolve => setTimeout(resolve))
  await new Promise(setImmediate)
  expect(warnings).toEqual([
    "tun.devcie: unknown key: did you mean 'device'?",
    'tun.auto-route: routes and rules are not set by this program: route the fake addresses into the TUN: ' +
      'ip route add 198.18.0.0/16 dev tun0',
    "dns.nameserver[0]: 'quic://' is known to Clash/mihomo, not acted on yet",
    "dns.handler: is never asked: add 'dns-listen' to 'tun', e.g. 0.0.0.0:53",
  ])
})

test('the address of the DNS server is nobody’s fake IP', async () => {
  await using w = await world({ tun: { 'dns-listen': '198.18.0.2:53' } })
  await using other = await world({ tun: { 'dns-listen': '0.0.0.0:53' } })
  const firstFake = (of: typeof w) =>
    (of.inbound as unknown as { names: { fakeIp: { lookup(name: string, family: 4): string } } }).names.fakeIp
  expect(firstFake(other).lookup('a.test', 4)).toBe('198.18.0.2')
  expect(firstFake(w).lookup('a.test', 4)).toBe('198.18.0.3')
})
