// One process ends TCP that comes out of a real TUN: the client is the kernel's TCP in a network namespace of its own, the inbound
// takes the bytes and drops them (up), or sends static ones (down). What a relay pays besides, its other socket, is not in here.
//
//   sudo node bench/discard.mjs [--seconds 3] [--repeat 3] [--only "plain"]      needs npm run build, python3, iproute2

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { createTunInbound } from '@tun/inbound'
import { ByteRange } from '@tun/stack'
import { cpuSeconds, median, table } from './report.mjs'

/**
 * @typedef {{ name: string, direction: 'up' | 'down', streams: number, duplex?: boolean, gso?: boolean, v6?: boolean }} Row
 * @typedef {{ gbits: number, cpu: number, core: number, retransmits: number }} Result
 */

/** @type {Row[]} */
const ROWS = [
  { name: 'discard, by reference', direction: 'up', streams: 1 },
  { name: 'discard, by reference', direction: 'up', streams: 8 },
  { name: 'discard, by reference, IPv6', direction: 'up', streams: 1, v6: true },
  { name: "discard, `socket.on('data')`", direction: 'up', streams: 1, duplex: true },
  { name: "discard, `socket.on('data')`", direction: 'up', streams: 8, duplex: true },
  { name: 'source, by reference', direction: 'down', streams: 1 },
  { name: 'source, by reference', direction: 'down', streams: 8 },
  { name: 'source, `socket.write`', direction: 'down', streams: 1, duplex: true },
  { name: 'discard, plain TUN (gso: false)', direction: 'up', streams: 1, gso: false },
  { name: 'source, plain TUN (gso: false)', direction: 'down', streams: 1, gso: false },
]

const NIC = 'tunbench0'
const ADDRESS = '198.18.0.2'
const ADDRESS6 = 'fd00:198:18::2'
const WARM_UP = 0.7 // s: until windows have grown and code is compiled
const CHUNK = Buffer.alloc(64 * 1024)
const KEPT = { retain() {}, release() {} } // CHUNK never changes: nobody has to give it back

const { values: args } = parseArgs({
  options: {
    seconds: { type: 'string', default: '3' },
    repeat: { type: 'string', default: '3' },
    only: { type: 'string', default: '' },
    row: { type: 'string' },
  },
})
const seconds = Number(args.seconds)

if (args.row === undefined) main()
else process.stdout.write(JSON.stringify(await measure(JSON.parse(args.row))))

function main() {
  const missing = process.getuid?.() === 0 ? missingProgram() : 'root is needed for a network namespace: sudo npm run bench'
  if (missing) {
    process.stderr.write(`bench/discard: skipped, ${missing}\n`)
    return
  }
  const rows = ROWS.filter(row => row.name.includes(args.only))
  /** @type {Result[][]} */
  const results = rows.map(() => [])
  for (let i = 0; i < Number(args.repeat); i++) {
    for (const [at, row] of rows.entries()) results[at].push(inNamespace(row))
  }
  const lines = rows.map(({ name, streams }, at) => {
    const of = (/** @type {keyof Result} */ key) => median(results[at].map(result => result[key]))
    const each = results[at].map(result => result.gbits).sort((a, b) => a - b)
    const runs = each.map(gbits => gbits.toFixed(1)).join(' ')
    return [name, streams, of('gbits'), runs, of('cpu'), of('core'), of('retransmits')]
  })
  console.log(`## TUN → stack → this process\n\nMTU 1500. Medians of ${args.repeat} runs of ${seconds} s each, runs interleaved.\n`)
  console.log(table(['what', 'streams', 'Gbit/s', 'each run', 'CPU s/GB', 'cores used', 'retransmitted'], lines))
}

function missingProgram() {
  for (const [program, bundle] of [
    ['ip', 'iproute2'],
    ['python3', 'python3'],
    ['unshare', 'util-linux'],
  ]) {
    if (spawnSync(program, ['--version']).error) return `${program} is missing: apt-get install ${bundle}`
  }
}

/** A process and a network namespace for each run: nothing is left behind, whatever happens. */
function inNamespace(/** @type {Row} */ row) {
  const argv = ['--net', process.execPath, fileURLToPath(import.meta.url), '--seconds', args.seconds, '--row', JSON.stringify(row)]
  const run = spawnSync('unshare', argv, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], timeout: 60_000 })
  if (run.status !== 0) throw new Error(`'${row.name}' ended with ${run.status ?? run.signal}`)
  return /** @type {Result} */ (JSON.parse(run.stdout))
}

/** @returns {Promise<Result>} */
async function measure(/** @type {Row} */ row) {
  const inbound = await createTunInbound({ tun: { enable: true, 'device-url': `dev://${NIC}`, gso: row.gso ?? true } })
  ip('address', 'add', '198.18.0.1/15', 'dev', NIC)
  ip('address', 'add', 'fd00:198:18::1/64', 'dev', NIC, 'nodad')

  const flow = { bytes: 0 }
  /** @type {(() => void)[]} */
  const ends = []
  const take = row.direction === 'up' ? discard : source
  inbound.on('connection', socket => ends.push(take(socket, flow, row.duplex ?? false)))

  const clientSeconds = WARM_UP + seconds + 0.3
  const script = fileURLToPath(new URL('client.py', import.meta.url))
  const argv = [script, row.direction, row.v6 ? ADDRESS6 : ADDRESS, '5001', String(row.streams), String(clientSeconds)]
  const client = spawn('python3', argv, { stdio: ['ignore', 'pipe', 'inherit'] })
  let said = ''
  client.stdout.on('data', data => (said += data))

  await sleep(WARM_UP)
  const from = { at: performance.now(), cpu: cpuSeconds(), bytes: flow.bytes }
  await sleep(seconds)
  const elapsed = (performance.now() - from.at) / 1000
  const cpu = cpuSeconds() - from.cpu
  const bytes = flow.bytes - from.bytes

  for (const end of ends) end()
  const [code] = await once(client, 'close')
  if (code !== 0 || Number(said) !== flow.bytes) throw new Error(`the client carried ${said.trim()} bytes, this end ${flow.bytes}`)
  const { tcpRetransmits } = inbound.stats()
  await inbound.close()
  return { gbits: (bytes * 8) / elapsed / 1e9, cpu: cpu / (bytes / 1e9), core: cpu / elapsed, retransmits: tcpRetransmits }
}

/** Takes what comes and drops it; answers what ends it (nothing: the client does). */
function discard(
  /** @type {import('@tun/inbound').TunSocket} */ socket,
  /** @type {{ bytes: number }} */ flow,
  /** @type {boolean} */ duplex,
) {
  if (duplex) {
    socket.on('data', chunk => (flow.bytes += chunk.length)).on('end', () => socket.end())
    return () => {}
  }
  const range = new ByteRange()
  const readable = () => {
    while (tcp.read(range)) {
      flow.bytes += range.end - range.start
      range.owner?.release()
    }
    socket.wake()
  }
  const ended = () => {
    tcp.end()
    socket.wake()
  }
  const tcp = socket.detach({ connected() {}, readable, writable() {}, ended, gone() {} })
  socket.accept()
  return () => {}
}

/** Sends static bytes as fast as they are taken: they count when they are queued. */
function source(
  /** @type {import('@tun/inbound').TunSocket} */ socket,
  /** @type {{ bytes: number }} */ flow,
  /** @type {boolean} */ duplex,
) {
  let ending = false
  if (duplex) {
    const fill = () => {
      let room = !ending
      while (room) {
        flow.bytes += CHUNK.length
        room = socket.write(CHUNK)
      }
    }
    socket.on('drain', fill)
    setImmediate(fill)
    return () => {
      ending = true
      socket.end()
    }
  }
  const writable = () => {
    while (!ending && tcp.sendRoom > 0) {
      tcp.send(CHUNK, 0, CHUNK.length, KEPT)
      flow.bytes += CHUNK.length
    }
    socket.wake()
  }
  const tcp = socket.detach({ connected: writable, readable() {}, writable, ended() {}, gone() {} })
  socket.accept()
  return () => {
    ending = true
    tcp.end()
    socket.wake()
  }
}

function ip(/** @type {string[]} */ ...argv) {
  const done = spawnSync('ip', argv, { encoding: 'utf8' })
  if (done.status !== 0) throw new Error(`ip ${argv.join(' ')}: ${done.stderr.trim()}`)
}

/** @returns {Promise<void>} */
function sleep(/** @type {number} */ s) {
  return new Promise(resolve => setTimeout(resolve, s * 1000))
}
