// Inbounds in more than one thread: node worker-inbound.mjs   One here on tun0, and one after the other in workers, on tun1, where each
// ends in another way while a connection is open. A line of JSON says what was found.

import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { connect } from 'node:net'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { createTunInbound } from '@tun/inbound'

async function serve(/** @type {string} */ name) {
  const inbound = await createTunInbound({ tun: { 'device-url': `dev://${name}` } })
  inbound.on('connection', socket => void socket.on('error', () => {}).pipe(socket))
  return inbound
}

const ip = (/** @type {string[]} */ ...args) => execFileSync('ip', args, { encoding: 'utf8' })
const nics = () =>
  ip('-o', 'link')
    .split('\n')
    .filter(line => / tun\d/.test(line)).length
const descriptors = () => readdirSync('/proc/self/fd').length

/** The echo of `text` by whoever serves this NIC; the connection stays open. */
async function echo(/** @type {string} */ host, /** @type {string} */ text) {
  const socket = connect({ host, port: 7 })
  socket.on('error', () => {})
  socket.write(text)
  const [data] = await once(socket, 'data')
  return { echoed: String(data), socket }
}

if (!isMainThread) {
  const inbound = await serve('tun1')
  parentPort?.postMessage('serving')
  parentPort?.once('message', async () => {
    if (workerData === 'close') await inbound.close()
    if (workerData === 'throw') throw new Error('on purpose')
    if (workerData !== 'terminate') process.exit(0)
  })
} else {
  const own = await serve('tun0')
  ip('address', 'add', '198.18.0.1/30', 'dev', 'tun0')
  const found = []
  let before = 0
  for (const end of ['close', 'terminate', 'exit', 'throw', 'close', 'terminate']) {
    const worker = new Worker(new URL(import.meta.url), { workerData: end })
    worker.on('error', () => {})
    await once(worker, 'message')
    ip('address', 'add', '192.0.2.1/30', 'dev', 'tun1')
    const there = await echo('192.0.2.2', 'there')
    const gone = new Promise(resolve => worker.once('exit', resolve))
    if (end === 'terminate') await worker.terminate()
    else worker.postMessage('end')
    await gone
    const here = await echo('198.18.0.2', 'here')
    for (const { socket } of [here, there]) socket.destroy()
    if (before === 0) {
      await new Promise(resolve => setTimeout(resolve, 500))
      before = descriptors() // with what is made once in a process
      continue
    }
    found.push({ end, there: there.echoed, here: here.echoed, nics: nics() })
  }
  await new Promise(resolve => setTimeout(resolve, 500))
  const left = descriptors() - before
  await own.close()
  console.log(JSON.stringify({ found, left, nics: nics() }))
  process.exit(0)
}
