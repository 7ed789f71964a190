// Owns: what UDP sockets do with a NIC of their own, one function each, run by udp.test.ts in a network namespace.
// Each answers facts as JSON.

import { execFileSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { UdpBatchSocket, UdpPeer } from '@tun/device'

const ip = (/** @type {string[]} */ ...args) => execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'pipe'] }).toString()
const peer = (/** @type {string} */ address, /** @type {number} */ port) => /** @type {UdpPeer} */ (UdpPeer.parse(address, port))
const noHandlers = { datagram() {}, error() {} }

export async function overMtu() {
  ip('link', 'set', 'lo', 'mtu', '1500')
  /** @type {number[]} */
  const sizes = []
  const there = new UdpBatchSocket(
    { family: 4, localAddress: '127.0.0.1', receiveBuffer: 1 << 20 },
    { ...noHandlers, datagram: (_, start, end) => void sizes.push(end - start) },
  )
  const to = peer('127.0.0.1', there.address()?.port ?? 0)
  let refused = 0
  const here = new UdpBatchSocket({ family: 4 }, { ...noHandlers, refused: () => void refused++ })
  for (let i = 0; i < 5; i++) here.send(Buffer.alloc(3000), to)
  await sleep(100)
  const got = sizes.splice(0)
  here.send(Buffer.alloc(1), to)
  await sleep(50)
  return { got, refused, small: sizes.length }
}

/** Nobody answers ARP: what is sent lies in the neighbour's queue, which is charged to the socket, until the kernel gives up. */
export async function fullQueue() {
  ip('link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'v1')
  ip('link', 'set', 'v1', 'up')
  ip('link', 'set', 'v0', 'up')
  ip('addr', 'add', '10.9.0.1/24', 'dev', 'v0')
  const socket = new UdpBatchSocket({ family: 4, sendBuffer: 4096, maxQueued: 64 * 1024, offload: false }, noHandlers)
  const nobody = peer('10.9.0.2', 9)
  let dropped = 0
  for (let i = 0; i < 200; i++) {
    if (!socket.send(Buffer.alloc(1000), nobody)) dropped++
  }
  await sleep(20)
  const queued = socket.queued
  const blocked = queued > 0
  for (let i = 0; i < 200; i++) {
    if (!socket.send(Buffer.alloc(1000), nobody)) dropped++
  }
  const queuedAtMost = socket.queued
  // Now somebody is there.
  const mac = /link\/ether (\S+)/.exec(ip('link', 'show', 'v1'))?.[1] ?? ''
  ip('neigh', 'replace', '10.9.0.2', 'lladdr', mac, 'dev', 'v0')
  for (let i = 0; i < 400 && socket.queued > 0; i++) await sleep(10)
  const left = socket.queued
  socket.close()
  return { blocked, dropped, queuedAtMost, left, outcome: left === 0 ? 'sent' : 'stuck' }
}

/** No route but for a NIC and for a mark. */
export async function bound() {
  ip('link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'v1')
  ip('addr', 'add', '10.9.0.1/24', 'dev', 'v0')
  ip('link', 'set', 'v0', 'up')
  ip('link', 'set', 'v1', 'up')
  ip('route', 'add', 'default', 'dev', 'v0', 'table', '77')
  ip('rule', 'add', 'fwmark', '9', 'lookup', '77')
  const attempt = async (/** @type {object} */ options) => {
    let outcome = 'through'
    const socket = new UdpBatchSocket({ family: 4, ...options }, { ...noHandlers, refused: code => (outcome = code) })
    socket.send(Buffer.from('x'), peer('192.0.2.1', 9))
    await sleep(20)
    socket.close()
    return outcome
  }
  return { byDevice: await attempt({ device: 'v0' }), byMark: await attempt({ mark: 9 }), without: await attempt({}) }
}

const [, , scenario] = process.argv
if (scenario) {
  const table = /** @type {Record<string, () => Promise<object>>} */ ({ overMtu, fullQueue, bound })
  process.stdout.write(JSON.stringify(await table[scenario]()), () => process.exit())
}
