// What is left behind by starting and stopping, again and again in one process: descriptors, threads, handles, memory, NICs, addresses,
// routes, rules, namespaces. Root; in a network namespace of its own.
//
//   node bench/cycles.mjs [--cycles 1000] [--json]

import { execFileSync, spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { isolate } from '@tun/device'
import { createTunInbound } from '@tun/inbound'
import { table } from './report.mjs'

const { values } = parseArgs({ options: { cycles: { type: 'string', default: '1000' }, json: { type: 'boolean', default: false } } })
const cycles = Number(values.cycles)
const WARM_UP = 10 // cycles: what is made once in a process is made in them
const EXTRA = 10 // of so many cycles one runs a command in namespaces of its own besides
const BYTES = Buffer.alloc(100_000)

const mark = process.env.TUN_CYCLES
if (mark === undefined) {
  const env = { ...process.env, TUN_CYCLES: `${process.pid}` }
  const again = [process.execPath, '--expose-gc', ...process.argv.slice(1)]
  const run = spawnSync('unshare', ['-n', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh', ...again], { env, stdio: 'inherit' })
  if (run.error) process.stderr.write(`cycles: ${run.error.message}; it needs root and unshare (apt-get install util-linux)\n`)
  process.exit(run.status ?? 1)
}

const lines = (/** @type {string[]} */ ...args) => execFileSync('ip', args, { encoding: 'utf8' }).split('\n').filter(Boolean).length

/** An inbound with DNS, a NIC made for it, a connection and a query through it, and the end of all. */
async function cycle() {
  const inbound = await createTunInbound({
    tun: { 'device-url': 'dev://tun0', 'dns-listen': '0.0.0.0:53' },
    dns: { enable: true, 'enhanced-mode': 'fake-ip', 'fake-ip-range': '198.19.0.0/16', 'fake-ip-store': 'memory' },
  })
  inbound.on('connection', socket => void socket.on('error', () => {}).pipe(socket))
  inbound.on('error', error => {
    throw error
  })
  execFileSync('ip', ['address', 'add', '198.18.0.1/30', 'dev', inbound.name])
  const socket = connect({ host: '198.18.0.2', port: 7 })
  let back = 0
  await new Promise((resolve, reject) => {
    socket.on('data', data => (back += data.length))
    socket.on('end', resolve).on('error', reject).end(BYTES)
  })
  if (back !== BYTES.length) throw new Error(`${back} of ${BYTES.length} bytes came back`)
  await inbound.close()
}

/** A command with a network of its own. */
async function isolated() {
  const child = isolate(['true'], { stdio: [-1, -1, -1] })
  const inbound = await createTunInbound({ device: child.device })
  child.start()
  const { code } = await child.exited
  if (code !== 0) throw new Error(`the isolated command ended with ${code}`)
  await inbound.close()
}

/** @returns {Promise<Record<string, number>>} */
async function left() {
  for (let i = 0; i < 3; i++) {
    await sleep(50) // handles that close, finalizers
    globalThis.gc?.()
  }
  const { rss, heapUsed, arrayBuffers } = process.memoryUsage()
  return {
    descriptors: readdirSync('/proc/self/fd').length,
    threads: readdirSync('/proc/self/task').length,
    'handles and timers': process.getActiveResourcesInfo().length,
    'RSS, MiB': rss / 2 ** 20,
    'heap, MiB': heapUsed / 2 ** 20,
    'array buffers, MiB': arrayBuffers / 2 ** 20,
    NICs: lines('-o', 'link'),
    addresses: lines('-o', 'address'),
    routes: lines('route', 'show', 'table', 'all') + lines('-6', 'route', 'show', 'table', 'all'),
    rules: lines('rule') + lines('-6', 'rule'),
    'network namespaces': namespaces(),
    children: readFileSync(`/proc/self/task/${process.pid}/children`, 'latin1').split(' ').filter(Boolean).length,
  }
}

/** Of this process and of all that it or its commands have started, whoever their parent is by now. */
function namespaces() {
  const all = new Set()
  for (const pid of readdirSync('/proc').filter(name => /^\d+$/.test(name))) {
    try {
      if (readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`TUN_CYCLES=${mark}`)) all.add(readlinkSync(`/proc/${pid}/ns/net`))
    } catch {} // it has ended
  }
  return all.size
}

for (let i = 0; i < WARM_UP; i++) await cycle()
await isolated()
const before = await left()
const marks = new Map([[0, before]])
const start = performance.now()
for (let i = 1; i <= cycles; i++) {
  await cycle()
  if (i % EXTRA === 0) await isolated()
  if (i % Math.ceil(cycles / 4) === 0 || i === cycles) marks.set(i, await left())
}
const seconds = (performance.now() - start) / 1000
const after = /** @type {Record<string, number>} */ (marks.get(cycles))

if (values.json) console.log(JSON.stringify({ before, after }))
else {
  console.log(`## ${cycles.toLocaleString('en-US')} starts and stops in one process\n`)
  console.log(`Each makes a NIC, echoes ${BYTES.length.toLocaleString('en-US')} bytes and takes all down again; every tenth runs a command in
namespaces of its own besides. ${Math.round((1000 * seconds) / cycles)} ms each; counted after ${WARM_UP} to warm up.\n`)
  const head = ['what there is', ...[...marks.keys()].map(n => (n === 0 ? 'before' : `after ${n.toLocaleString('en-US')}`))]
  console.log(
    table(
      head,
      Object.keys(before).map(what => [what, ...[...marks.values()].map(mark => Number((mark[what] ?? 0).toFixed(1)))]),
    ),
  )
}
process.exit(0)
