// What a server does with a connection, by the name of its port in ports.mjs: over the kernel's TCP (tcp-server.mjs) and over ours
// (stack-host.mjs). What it sees goes to stdout, a line each.

import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { pattern } from './pattern.mjs'

/** @typedef {import('node:net').Socket | import('@tun/stack').TunSocket} Socket */

/** @type {Record<string, (socket: Socket) => void>} */
export const behaviours = {
  /** Reads to the end, then answers with what came: the answer travels after the client's FIN. */
  upload(socket) {
    const hash = createHash('sha256')
    let bytes = 0
    socket.on('data', data => {
      hash.update(data)
      bytes += data.length
    })
    socket.on('end', () => socket.end(JSON.stringify({ bytes, sha: hash.digest('hex') })))
  },

  /** `N\n` asks for N bytes; they end with a FIN, and what the client says after that is told. */
  download(socket) {
    let said = ''
    let started = false
    socket.on('data', data => {
      said += data
      if (started || !said.includes('\n')) return
      started = true
      const total = Number(said.slice(0, said.indexOf('\n')))
      said = ''
      Readable.from(pattern(total)).pipe(socket) // ends the socket's writing side
    })
    socket.on('end', () => console.log(`after our FIN: ${said}`))
  },

  /** Resets as soon as anything comes. */
  reset(socket) {
    socket.once('data', () => socket.resetAndDestroy())
  },

  /** Says hello and tells how the connection with this name ended. */
  fate(socket) {
    let name = ''
    socket.once('data', data => {
      name = String(data)
      socket.write('hello')
      socket.on('data', () => {})
    })
    socket.on('end', () => {
      console.log(`fate of ${name}: end`)
      socket.end()
    })
    socket.on('error', error => console.log(`fate of ${name}: ${/** @type {NodeJS.ErrnoException} */ (error).code}`))
  },

  echo(socket) {
    socket.pipe(socket)
  },
}
