// An application over the kernel's TCP: node tcp-client.mjs '{"op": …, "host": …, "from": …}'   One line of JSON is the answer.

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { Readable } from 'node:stream'
import { pattern } from './pattern.mjs'
import { PORTS } from './ports.mjs'
import { download, together, upload } from './transfers.mjs'

/** @typedef {{ op: string, host: string, from: string, bytes?: number, name?: string, count?: number, port?: string }} Request */

/** @type {Request} */
const request = JSON.parse(process.argv[2])

/** @param {string} port */
function dial(port) {
  return connect({ host: request.host, port: PORTS[port], localAddress: request.from, allowHalfOpen: true, noDelay: true })
}

/** @param {import('node:net').Socket} socket @returns {Promise<string>} the errno it ended with */
function errnoOf(socket) {
  return new Promise(resolve => {
    socket.on('error', error => resolve(/** @type {NodeJS.ErrnoException} */ (error).code ?? String(error)))
    socket.on('close', () => resolve('closed without an error'))
    socket.resume()
  })
}

/** @type {Record<string, () => Promise<object>>} */
const operations = {
  upload: () => upload(dial('upload'), request.bytes ?? 0),

  download: () => download(dial('download'), request.bytes ?? 0, request.name),

  /** `count` streams at the same time, every other one up, each of `bytes`. */
  together: () => together(dial, request.count ?? 0, request.bytes ?? 0),

  async refused() {
    const start = performance.now()
    const code = await errnoOf(dial(request.port ?? 'closed'))
    return { code, ms: performance.now() - start }
  },

  async reset() {
    const socket = dial('reset')
    await once(socket, 'connect')
    socket.write('please')
    return { code: await errnoOf(socket) }
  },

  /** Resets a connection that the server has answered. */
  async abort() {
    const socket = dial('fate')
    socket.write(request.name ?? '')
    await once(socket, 'data')
    socket.resetAndDestroy()
    await once(socket, 'close')
    return {}
  },

  /** A connection that is up (`up` on stdout) and goes on when a line comes on stdin: with `bye`, to its end, or `wait` for what comes. */
  async linger() {
    const socket = dial('echo')
    socket.write('hello')
    await once(socket, 'data')
    console.log('up')
    const [line] = await once(process.stdin, 'data')
    process.stdin.destroy()
    if (String(line).trim() === 'wait') return { code: await errnoOf(socket) }
    let echoed = ''
    socket.on('data', data => (echoed += data))
    socket.end('bye')
    const refused = await errnoOf(dial('echo'))
    await once(socket, 'close')
    return { echoed, refused }
  },

  /** `bytes` there and back again on one connection that neither side ends before. */
  async echo() {
    const bytes = request.bytes ?? 0
    const socket = dial('echo')
    await once(socket, 'connect')
    const hash = createHash('sha256')
    let back = 0
    const whole = new Promise(resolve => {
      socket.on('data', data => {
        hash.update(data)
        back += data.length
        if (back >= bytes) resolve(undefined)
      })
      socket.on('close', resolve)
    })
    Readable.from(pattern(bytes)).pipe(socket, { end: false })
    await whole
    socket.destroy()
    return { bytes: back, sha: hash.digest('hex') }
  },

  /** All open at the same time before any speaks; each must get its own bytes back. */
  async many() {
    const sockets = Array.from({ length: request.count ?? 0 }, () => dial('echo'))
    await Promise.all(sockets.map(socket => once(socket, 'connect')))
    const right = await Promise.all(
      sockets.map(async (socket, index) => {
        const text = `connection ${index} `.repeat(50)
        let echoed = ''
        socket.on('data', data => (echoed += data))
        socket.end(text)
        await once(socket, 'end')
        return echoed === text
      }),
    )
    return { right: right.filter(Boolean).length }
  },
}

console.log(JSON.stringify(await operations[request.op]()))
