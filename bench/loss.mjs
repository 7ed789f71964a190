// How fast one stream is on a way that loses packets: loss × round-trip time × congestion control, ours and the kernel's as senders over
// the same middlebox (scripts/lab/middlebox.mjs), a kernel as receiver. A table for docs/tcp.md, on stdout.
//
//   sudo node bench/loss.mjs [--loss 0,0.1,1,3,10] [--rtt 1,20,100] [--senders ours:cubic,kernel:reno] [--seconds 3] [--repeat 1]
//                            [--rate 100m] [--stack '{"sack": false}']      needs npm run build, iproute2
//
//   ours:NAME passes `congestion: NAME` to the stack, and what --stack says besides; kernel:NAME is any that the kernel has.

import { connect, createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { openTun } from '@tun/device'
import { CONNECTED, Driver, GONE_EVENT, nodeHost, parseAddress, Stack, WRITABLE } from '@tun/stack'
import { Prng } from '@tun/stack/testing'
import { Lab, labObstacle } from '../scripts/lab/lab.mjs'
import { slowWire } from '../scripts/lab/slow-wire.mjs'
import { median, setting, table } from './report.mjs'

const { values: args } = parseArgs({
  options: {
    loss: { type: 'string', default: '0,0.1,1,3,10' },
    rtt: { type: 'string', default: '1,20,100' },
    senders: { type: 'string', default: 'ours:cubic,ours:newreno,kernel:cubic,kernel:reno' },
    seconds: { type: 'string', default: '3' },
    repeat: { type: 'string', default: '1' },
    rate: { type: 'string', default: '100m' },
    stack: { type: 'string', default: '{}' },
    role: { type: 'string' },
  },
})

const SINK = '10.86.0.1'
const ROUTER = '10.86.0.2'
const OURS = '198.51.100.1'
const PORT = 5001
const MSS = 1448 // MTU 1500, timestamps
/** Both ends could keep the fastest of these ways full. */
const BUFFER = 16 << 20
const CHUNK = Buffer.alloc(64 * 1024)
const KEPT = { retain() {}, release() {} } // CHUNK never changes

/** @typedef {{ rtt: number, loss: number, sender: string }} Cell ms, per cent */

async function main() {
  const obstacle = labObstacle()
  if (obstacle) return void process.stderr.write(`bench/loss: skipped, ${obstacle}\n`)
  const numbers = (/** @type {string} */ list) => list.split(',').map(Number)
  const senders = args.senders.split(',')
  const ways = numbers(args.rtt).flatMap(rtt => numbers(args.loss).map(loss => ({ rtt, loss })))
  const bench = await Bench.open()
  /** @type {Map<string, number[]>} */
  const results = new Map()
  const key = (/** @type {Cell} */ { rtt, loss, sender }) => `${rtt} ${loss} ${sender}`
  try {
    for (let run = 0; run < Number(args.repeat); run++) {
      for (const way of ways) {
        for (const sender of senders) {
          const cell = { ...way, sender }
          const { mbits, late } = await bench.run(cell)
          results.set(key(cell), [...(results.get(key(cell)) ?? []), mbits])
          const remark = late > way.rtt / 4 + 2 ? `, a packet was ${late.toFixed(0)} ms late` : ''
          process.stderr.write(`RTT ${way.rtt} ms, loss ${way.loss} %, ${sender}: ${mbits.toFixed(2)} Mbit/s${remark}\n`)
        }
      }
    }
  } finally {
    bench.close()
  }
  const rows = ways.map(way => [
    `${way.rtt} ms`,
    `${way.loss} %`,
    ...senders.map(sender => median(results.get(key({ ...way, sender })) ?? [])),
    bounded(mathis(way)),
    bounded(Math.max(mathis(way), cubic(way))),
  ])
  const more = args.stack === '{}' ? '' : ` Stack options: \`${args.stack}\`.`
  console.log(`## One stream over a lossy way\n\n${setting()}.\n`)
  console.log(
    `Mbit/s at the receiver, ${args.seconds} s each after the start${Number(args.repeat) > 1 ? `, medians of ${args.repeat} runs` : ''};`,
  )
  console.log(
    `bottleneck ${rateBits() / 1e6} Mbit/s with a queue of one bandwidth-delay product, random loss of data segments only.${more}\n`,
  )
  console.log(table(['RTT', 'loss', ...senders.map(name => name.replace(':', ', ')), 'Mathis', 'RFC 9438'], rows))
}

function rateBits() {
  const [, digits, suffix] = /^([\d.]+)([kmg]?)$/.exec(args.rate) ?? []
  return Number(digits) * /** @type {Record<string, number>} */ ({ '': 1, k: 1e3, m: 1e6, g: 1e9 })[suffix]
}

/** Mbit/s of Reno under random loss: Mathis et al., "The macroscopic behavior of the TCP congestion avoidance algorithm", 1997. */
function mathis(/** @type {{ rtt: number, loss: number }} */ { rtt, loss }) {
  return (Math.sqrt(1.5 / (loss / 100)) * MSS * 8) / rtt / 1e3
}

/** Mbit/s of CUBIC beyond the Reno-friendly region: RFC 9438 §5.2, with C = 0.4 and β = 0.7. */
function cubic(/** @type {{ rtt: number, loss: number }} */ { rtt, loss }) {
  return ((1.054 * (rtt / 1000) ** 0.75 * (loss / 100) ** -0.75 * MSS * 8) / rtt) * 1e-3
}

function bounded(/** @type {number} */ mbits) {
  const most = (rateBits() / 1e6) * (MSS / 1500)
  return mbits > most ? 'the rate' : mbits
}

/** kernel with the sink ─ wire ═ middlebox ═ wire ─ router, whose kernel sends, or forwards what our stack behind tun0 sends */
class Bench {
  lab = new Lab()

  static async open() {
    const bench = new Bench()
    try {
      await bench.start()
      return bench
    } catch (error) {
      bench.close()
      throw error
    }
  }

  async start() {
    const receiver = this.lab.namespace('receiver')
    this.router = this.lab.namespace('router')
    for (const namespace of [receiver, this.router]) {
      namespace.sysctl('net.ipv4.tcp_no_metrics_save', 1)
      namespace.sysctl('net.ipv4.tcp_rmem', `'4096 131072 ${BUFFER}'`)
      namespace.sysctl('net.ipv4.tcp_wmem', `'4096 16384 ${BUFFER}'`)
    }
    this.router.sysctl('net.ipv4.ip_forward', 1)
    this.wire = await slowWire(this.lab, this.router, [`${ROUTER}/24`], receiver, [`${SINK}/24`])
    receiver.ip('route', 'add', 'default', 'via', ROUTER)
    this.sink = receiver.start(process.execPath, argv('sink'))
    await this.sink.waitFor(/^listening/)
  }

  async run(/** @type {Cell} */ { rtt, loss, sender }) {
    const { router, wire, sink } = this
    if (!router || !wire || !sink) throw new Error('not started')
    const [whose, congestion] = sender.split(':')
    const rate = rateBits()
    const queue = Math.max(64 * 1024, (rate / 8) * (rtt / 1000))
    await wire.set({ delay: rtt / 2, rate, queue, ab: { loss: loss / 100 } })
    await wire.counters({ reset: true })
    sink.lines.length = 0
    sink.child.stdin?.write(`${Math.max(1, (20 * rtt) / 1000)}\n`) // s before it counts
    const options = JSON.stringify({ sndBuf: BUFFER, ...(whose === 'ours' ? { congestion } : {}), ...JSON.parse(args.stack) })
    if (whose === 'kernel') router.ip('route', 'replace', '10.86.0.0/24', 'dev', 'wire', 'congctl', congestion)
    const program = router.start(process.execPath, argv(whose, '--stack', options))
    if (whose === 'ours') {
      await program.waitFor(/^open/)
      router.ip('route', 'replace', '198.51.100.0/24', 'dev', 'tun0')
      program.child.stdin?.write('go\n')
    }
    const said = await sink.waitFor(/^\{/, 60_000)
    await program.stop()
    const { ab, ba } = await wire.counters()
    return { .../** @type {{ mbits: number }} */ (JSON.parse(said)), late: Math.max(ab.late, ba.late) }
  }

  close() {
    this.lab.close()
  }
}

function argv(/** @type {string} */ role, /** @type {string[]} */ ...more) {
  return [fileURLToPath(import.meta.url), '--role', role, '--seconds', args.seconds, ...more]
}

/** Takes one connection after the other, and says how fast each was. A line on stdin: seconds before the next one counts. */
function sink() {
  let warmUp = 1
  process.stdin.on('data', line => (warmUp = Number(line)))
  createServer(socket => {
    let bytes = 0
    socket.on('data', data => (bytes += data.length)).on('error', () => {})
    setTimeout(() => {
      const from = { bytes, at: performance.now() }
      setTimeout(() => {
        const mbits = ((bytes - from.bytes) * 8) / (performance.now() - from.at) / 1e3
        console.log(JSON.stringify({ mbits }))
        socket.resetAndDestroy()
      }, Number(args.seconds) * 1000)
    }, warmUp * 1000)
  }).listen(PORT, SINK, () => console.log('listening'))
}

function kernel() {
  const socket = connect(PORT, SINK)
  const fill = () => {
    let room = true
    while (room) room = socket.write(CHUNK)
  }
  socket
    .on('connect', fill)
    .on('drain', fill)
    .on('error', () => {})
}

/** One segment a packet, as it comes to the wire: what is lost is lost by itself. */
function ours() {
  const device = openTun('dev://tun0', { offload: false, mtu: 1500 })
  const stack = new Stack({ mtu: 1500, offload: false, ...JSON.parse(args.stack) }, new Prng(1))
  const tcp = (/** @type {import('@tun/stack').TcpConnection} */ c, /** @type {number} */ bits) => {
    if (bits & GONE_EVENT) process.exit(0)
    if (bits & (CONNECTED | WRITABLE)) while (c.sendRoom > 0) c.send(CHUNK, 0, CHUNK.length, KEPT)
  }
  const driver = new Driver(device, stack, { tcp, datagram() {}, flowEnded() {} }, nodeHost, {
    lost() {},
    down() {},
    up() {},
    resumed() {},
  })
  driver.start()
  console.log('open')
  process.stdin.once('data', () => {
    stack.connect(address(OURS), 40_000 + (process.pid % 10_000), address(SINK), PORT)
    driver.wake()
  })
}

function address(/** @type {string} */ text) {
  return /** @type {import('@tun/stack').AddressWords} */ (parseAddress(text))
}

/** @type {Record<string, () => void>} */
const ROLES = { sink, ours, kernel }
if (args.role === undefined) await main()
else ROLES[args.role]()
