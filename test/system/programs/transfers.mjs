// Bytes to and from a server that does what behaviours.mjs says, over a socket of the kernel's or of ours; hashed, so that each end can
// tell whether it got what the other one sent.

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { pattern, patternHash } from './pattern.mjs'

/** @typedef {import('node:net').Socket | import('@tun/stack').TunSocket} Socket one that is connecting, half open allowed */

/** The server's words on what it got, and how long it took. */
export async function upload(/** @type {Socket} */ socket, /** @type {number} */ bytes) {
  await once(socket, 'connect')
  const start = performance.now()
  let answer = ''
  socket.on('data', data => (answer += data))
  Readable.from(pattern(bytes)).pipe(socket)
  await once(socket, 'end')
  return { .../** @type {{ bytes: number, sha: string }} */ (JSON.parse(answer)), ms: performance.now() - start }
}

/** What came, and how long it took. `name` is what we say behind the server's FIN. */
export async function download(/** @type {Socket} */ socket, /** @type {number} */ total, name = '') {
  await once(socket, 'connect')
  const start = performance.now()
  const hash = createHash('sha256')
  let bytes = 0
  socket.on('data', data => {
    hash.update(data)
    bytes += data.length
  })
  socket.write(`${total}\n`)
  await once(socket, 'end')
  const ms = performance.now() - start
  const closed = once(socket, 'close')
  socket.end(name)
  await closed
  return { bytes, sha: hash.digest('hex'), ms }
}

/** `count` streams at once, every other one up. How many carried exactly their bytes. */
export async function together(/** @type {(port: string) => Socket} */ dial, /** @type {number} */ count, /** @type {number} */ bytes) {
  const sha = patternHash(bytes)
  const start = performance.now()
  const all = Array.from({ length: count }, (_, i) => (i % 2 ? upload(dial('upload'), bytes) : download(dial('download'), bytes)))
  const right = (await Promise.all(all)).filter(one => one.bytes === bytes && one.sha === sha).length
  return { right, ms: performance.now() - start }
}
