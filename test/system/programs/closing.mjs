// close() in the middle of many transfers, and two inbounds in one process: node closing.mjs COUNT   Applications are the kernel's sockets,
// half of them download without an end and half upload. A line of JSON says how their connections ended. In downloads Node may say 'end'
// for a reset: libuv takes POLLHUP behind a short read for it (uv__stream_io).

import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { connect } from 'node:net'
import { createTunInbound } from '@tun/inbound'

const count = Number(process.argv[2])
const CHUNK = Buffer.alloc(64 * 1024, 'x')
const descriptors = () => readdirSync('/proc/self/fd').length

/** Port 1 gives without an end, any other takes. */
async function serve(/** @type {string} */ name, /** @type {string} */ address) {
  const inbound = await createTunInbound({ tun: { 'device-url': `dev://${name}` } })
  inbound.on('connection', socket => {
    socket.on('error', () => {})
    if (socket.localPort !== 1) return void socket.resume()
    const give = () => {
      while (!socket.destroyed && socket.write(CHUNK));
    }
    socket.on('drain', give)
    give()
  })
  execFileSync('ip', ['address', 'add', address, 'dev', name])
  return inbound
}

/** Transfers that are under way. First all connect: a SYN would wait in the NIC's queue behind the others' data, or be lost there. */
async function transfers(/** @type {string} */ host, /** @type {boolean[]} */ ...downs) {
  const sockets = downs.map(down => connect({ host, port: down ? 1 : 2 }))
  await Promise.all(sockets.map(socket => once(socket, 'connect')))
  return sockets.map((socket, i) => transfer(socket, downs[i]))
}

/** An application's transfer; `end` is how it ended. */
function transfer(/** @type {import('node:net').Socket} */ socket, /** @type {boolean} */ down) {
  let bytes = 0
  const end = new Promise(resolve => {
    socket.on('error', error => resolve(/** @type {NodeJS.ErrnoException} */ (error).code))
    socket.on('end', () => resolve('end'))
    socket.on('close', () => resolve('close'))
  })
  if (down) socket.on('data', data => (bytes += data.length))
  else {
    const take = () => {
      while (!socket.destroyed && socket.write(CHUNK)) bytes += CHUNK.length
    }
    socket.on('drain', take)
    take()
  }
  // A reset may be lost like any packet, and then nobody repeats it: not to wait for ever.
  return { end: () => Promise.race([end, new Promise(resolve => setTimeout(resolve, 20_000, 'nothing'))]), moved: () => bytes }
}

/** Until it is so; the test says what is wrong if it never is. */
async function until(/** @type {() => boolean} */ done) {
  for (let i = 0; i < 3000 && !done(); i++) await new Promise(resolve => setTimeout(resolve, 10))
}

// What is made once in a process.
const warm = await serve('tun0', '198.18.0.1/30')
const [warmUp] = await transfers('198.18.0.2', true)
await warm.close()
await warmUp.end()
await new Promise(resolve => setTimeout(resolve, 300))
const before = descriptors()
const first = await serve('tun0', '198.18.0.1/30')
const second = await serve('tun1', '198.18.4.1/30')
const many = await transfers('198.18.0.2', ...Array.from({ length: count }, (_, i) => i % 2 === 0))
const [other] = await transfers('198.18.4.2', true)
await until(() => many.every(({ moved }) => moved() > 0))

await first.close()
const ends = await Promise.all(many.map(({ end }) => end()))
const movedThen = other.moved()
await until(() => other.moved() > movedThen)
const goesOn = other.moved() > movedThen
await second.close()
const last = await other.end()
await until(() => descriptors() <= before)
const kindsOf = (/** @type {unknown[]} */ list) => [...new Set(list)].sort()
const up = kindsOf(ends.filter((_, i) => i % 2 === 1))
const down = kindsOf([...ends.filter((_, i) => i % 2 === 0), last]).filter(kind => kind !== 'end')
const unmoved = many.filter(({ moved }) => moved() === 0).length
console.log(
  JSON.stringify({ ended: ends.length, up, down, unmoved, goesOn, flows: first.flows().length, left: Math.max(0, descriptors() - before) }),
)
process.exit(0)
