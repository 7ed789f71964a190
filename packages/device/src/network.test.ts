// What the kernel tells is built here byte by byte, as <linux/rtnetlink.h> has it. Against a kernel: test/system/nic.test.ts.

import { endianness } from 'node:os'
import { expect, test } from 'vitest'
import { type Network, uplinkOf } from './network.js'
import { messages, RTM } from './rtnetlink.js'

const LITTLE = endianness() === 'LE'
const word = (value: number) => {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value, LITTLE)
  return [...bytes]
}
const half = (value: number) => {
  const bytes = new Uint8Array(2)
  new DataView(bytes.buffer).setUint16(0, value, LITTLE)
  return [...bytes]
}
const padded = (bytes: number[]) => [...bytes, ...new Array((4 - (bytes.length % 4)) % 4).fill(0)]
const attribute = (type: number, value: number[]) => padded([...half(value.length + 4), ...half(type), ...value])
const message = (type: number, body: number[]) =>
  padded([...word(body.length + 16), ...half(type), ...half(0), ...word(0), ...word(0), ...body])
const text = (value: string) => [...Buffer.from(`${value}\0`)]

const linkBody = (index: number, name: string, { up = true, arphrd = 1, kind = '' } = {}) => [
  ...[0, 0, ...half(arphrd), ...word(index), ...word(up ? 1 : 0), ...word(0)],
  ...attribute(3, text(name)),
  ...attribute(4, word(1500)),
  ...(kind ? attribute(18, attribute(1, text(kind))) : []),
]
const read = (...all: number[][]) => [...messages(Uint8Array.from(all.flat()))]

test('links: a TUN is told from a TAP, which is of the same kind, and from everything else', () => {
  const found = read(
    message(RTM.newLink, linkBody(2, 'eth0')),
    message(RTM.newLink, linkBody(3, 'tun0', { arphrd: 0xfffe, kind: 'tun' })),
    message(RTM.newLink, linkBody(4, 'tap0', { kind: 'tun' })),
    message(RTM.delLink, linkBody(5, 'wg0', { arphrd: 0xfffe, kind: 'wireguard', up: false })),
  )
  expect(found).toEqual([
    { type: 'link', gone: false, link: { index: 2, name: 'eth0', mtu: 1500, up: true, tun: false } },
    { type: 'link', gone: false, link: { index: 3, name: 'tun0', mtu: 1500, up: true, tun: true } },
    { type: 'link', gone: false, link: { index: 4, name: 'tap0', mtu: 1500, up: true, tun: false } },
    { type: 'link', gone: true, link: { index: 5, name: 'wg0', mtu: 1500, up: false, tun: false } },
  ])
})

test('addresses: of a point-to-point link our own end; what cannot be a source is not usable', () => {
  const address = (family: number, flags: number, scope: number, ...attributes: number[][]) =>
    message(RTM.newAddr, [family, 32, flags, scope, ...word(2), ...attributes.flat()])
  const v6 = [0x20, 1, 0xd, 0xb8, ...new Array(11).fill(0), 7]
  const found = read(
    address(2, 0, 0, attribute(1, [10, 0, 0, 2]), attribute(2, [10, 0, 0, 1])),
    address(2, 0, 253, attribute(1, [169, 254, 0, 1])),
    address(10, 0x40, 0, attribute(1, v6)), // tentative
    address(10, 0, 0, attribute(1, v6), attribute(8, word(0x101))), // temporary, and flags that need more than a byte
  )
  expect(found.map(m => m.type === 'address' && m.address)).toEqual([
    { index: 2, family: 4, address: '10.0.0.1', usable: true, temporary: false },
    { index: 2, family: 4, address: '169.254.0.1', usable: false, temporary: false },
    { index: 2, family: 6, address: '2001:db8::7', usable: false, temporary: false },
    { index: 2, family: 6, address: '2001:db8::7', usable: true, temporary: true },
  ])
})

test('routes: default ones of the main table that lead somewhere, and no others', () => {
  const route = (fields: { family?: number; bits?: number; table?: number; type?: number; flags?: number }, ...attributes: number[][]) => {
    const { family = 2, bits = 0, table = 254, type = 1, flags = 0 } = fields
    return message(RTM.newRoute, [family, bits, 0, 0, table, 4, 0, type, ...word(flags), ...attributes.flat()])
  }
  const out = attribute(4, word(2))
  const found = read(
    route({}, out, attribute(6, word(100)), attribute(7, [10, 0, 0, 9])),
    route({ family: 10, table: 252 }, attribute(15, word(254)), attribute(9, [...half(8), 0, 0, ...word(3)])),
    route({ bits: 24 }, out),
    route({ table: 100 }, out),
    route({}, out, attribute(15, word(2022))),
    route({ type: 7 }), // unreachable
    route({ flags: 1 }, out), // dead
  )
  expect(found.map(m => m.type === 'route' && m.route)).toEqual([
    { family: 4, index: 2, metric: 100, source: '10.0.0.9' },
    { family: 6, index: 3, metric: 0, source: undefined },
  ])
})

test('what is cut off, at whatever byte, is not read beyond its end', () => {
  const whole = Uint8Array.from(message(RTM.newLink, linkBody(3, 'tun0', { arphrd: 0xfffe, kind: 'tun' })))
  for (let length = 0; length < whole.length; length++) expect([...messages(whole.slice(0, length))]).toEqual([])
  for (let at = 0; at < whole.length; at++) {
    for (const value of [0, 1, 3, 0x7f, 0xff]) expect([...messages(Uint8Array.from(whole.with(at, value)))].length).toBeLessThan(2)
  }
})

const network: Network = {
  links: [
    { index: 2, name: 'eth0', mtu: 1500, up: true, tun: false },
    { index: 3, name: 'tun0', mtu: 1500, up: true, tun: true },
    { index: 4, name: 'wlan0', mtu: 1500, up: true, tun: false },
  ],
  addresses: [
    { index: 2, family: 4, address: '192.0.2.7', usable: true, temporary: false },
    { index: 4, family: 4, address: '198.51.100.7', usable: true, temporary: false },
    { index: 4, family: 6, address: 'fe80::1', usable: false, temporary: false },
    { index: 4, family: 6, address: '2001:db8::7', usable: true, temporary: false },
    { index: 4, family: 6, address: '2001:db8::77', usable: true, temporary: true },
  ],
  routes: [
    { family: 4, index: 3, metric: 0, source: undefined },
    { family: 4, index: 4, metric: 600, source: undefined },
    { family: 4, index: 2, metric: 100, source: undefined },
    { family: 6, index: 4, metric: 1024, source: undefined },
  ],
}

test('the uplink: the best default route that is not by a TUN; each family has its own address', () => {
  expect(uplinkOf(network)).toEqual({ interface: 'eth0', localAddress4: '192.0.2.7', localAddress6: '2001:db8::77' })
  const unplugged = { ...network, links: network.links.map(link => (link.index === 2 ? { ...link, up: false } : link)) }
  expect(uplinkOf(unplugged)).toEqual({ interface: 'wlan0', localAddress4: '198.51.100.7', localAddress6: '2001:db8::77' })
})

test('the uplink: the address that the route names; none of a family without a route; none at all', () => {
  const routes = [{ family: 6, index: 4, metric: 0, source: '2001:db8::5' }] as const
  expect(uplinkOf({ ...network, routes })).toEqual({ interface: 'wlan0', localAddress4: undefined, localAddress6: '2001:db8::5' })
  expect(uplinkOf({ ...network, routes: network.routes.slice(0, 1) })).toBeUndefined()
})
