// A socket's own price: datagrams echoed over loopback by a process that is not counted, node:dgram against UdpBatchSocket. What is
// reported is CPU of the process that sends and receives, all threads, per round trip.
//
//   node bench/udp.mjs [--seconds 2] [--repeat 3] [--bytes 1200] [--outstanding 128]      needs npm run build

import { fork } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { openUdp, UdpBatchSocket, UdpDgramSocket, UdpPeer } from '@tun/device'
import { cpuSeconds, median, table } from './report.mjs'

const { values: args } = parseArgs({
  options: {
    seconds: { type: 'string', default: '2' },
    repeat: { type: 'string', default: '3' },
    bytes: { type: 'string', default: '1200' },
    outstanding: { type: 'string', default: '128' },
    far: { type: 'boolean', default: false },
  },
})
const ms = Number(args.seconds) * 1000
const outstanding = Number(args.outstanding)
const payload = Buffer.alloc(Number(args.bytes), 7)

if (args.far) await beFar()
else await run()

/** The far end: answers each datagram from a batch socket. */
async function beFar() {
  /** @type {import('@tun/device').UdpSocket} */
  const socket = openUdp(
    { family: 4, localAddress: '127.0.0.1', receiveBuffer: 1 << 20 },
    {
      datagram: (bytes, start, end, from) => void socket.send(Uint8Array.prototype.slice.call(bytes, start, end), from),
      error: error => {
        throw error
      },
    },
  )
  process.send?.(socket.address()?.port)
  process.on('disconnect', () => process.exit())
}

/** @typedef {{ send(): void, close(): void }} Way */
/** @typedef {(port: number, back: () => void) => Way} Opener */

/** @type {Record<string, Opener>} */
function ways() {
  /** @type {(make: (handlers: import('@tun/device').UdpHandlers) => import('@tun/device').UdpSocket) => Opener} */
  const ours = make => (port, back) => {
    const peer = /** @type {UdpPeer} */ (UdpPeer.parse('127.0.0.1', port))
    const socket = make({
      datagram: back,
      error: error => {
        throw error
      },
    })
    return { send: () => void socket.send(payload, peer), close: () => socket.close() }
  }
  return {
    'node:dgram': (port, back) => {
      const socket = createSocket({ type: 'udp4', lookup: (address, _, done) => done(null, address, 4) })
      socket.on('message', back)
      socket.bind(0, '127.0.0.1')
      return { send: () => socket.send(payload, port, '127.0.0.1'), close: () => socket.close() }
    },
    UdpDgramSocket: ours(handlers => new UdpDgramSocket({ family: 4 }, handlers)),
    'UdpBatchSocket, no GSO/GRO': ours(handlers => new UdpBatchSocket({ family: 4, offload: false }, handlers)),
    UdpBatchSocket: ours(handlers => new UdpBatchSocket({ family: 4 }, handlers)),
  }
}

/** Keeps `outstanding` datagrams under way for a while; lost ones are replaced. */
async function measure(/** @type {Opener} */ open, /** @type {number} */ port) {
  let trips = 0
  let before = 0
  const way = open(port, () => {
    trips++
    way.send()
  })
  for (let i = 0; i < outstanding; i++) way.send()
  const heal = setInterval(() => {
    if (trips === before) for (let i = 0; i < outstanding; i++) way.send()
    before = trips
  }, 50)
  await new Promise(resolve => setTimeout(resolve, 300)) // warm
  const from = { trips, cpu: cpuSeconds(), at: performance.now() }
  await new Promise(resolve => setTimeout(resolve, ms))
  const done = { trips: trips - from.trips, cpu: cpuSeconds() - from.cpu, ms: performance.now() - from.at }
  clearInterval(heal)
  way.close()
  return { rate: (done.trips / done.ms) * 1000, cost: (done.cpu * 1e6) / done.trips }
}

async function run() {
  const far = fork(fileURLToPath(import.meta.url), ['--far'])
  const [port] = /** @type {[number]} */ (await once(far, 'message'))
  /** @type {Record<string, { rate: number[], cost: number[] }>} */
  const results = {}
  const all = Object.entries(ways())
  for (let i = 0; i < Number(args.repeat); i++) {
    for (const [name, open] of all) {
      const { rate, cost } = await measure(open, port)
      results[name] ??= { rate: [], cost: [] }
      results[name].rate.push(rate)
      results[name].cost.push(cost)
    }
  }
  far.disconnect()
  console.log(
    `## UDP sockets\n\nDatagrams of ${payload.length} bytes over loopback, ${outstanding} under way; medians of ${args.repeat} runs.\n`,
  )
  const rows = Object.entries(results).map(([name, { rate, cost }]) => [name, median(rate), median(cost), Math.min(...cost)])
  console.log(table(['socket', 'round trips/s', 'CPU µs a round trip', 'least'], rows))
}
