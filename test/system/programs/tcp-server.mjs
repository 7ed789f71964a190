// The kernel's side of the interop tests: node tcp-server.mjs ADDRESS…   One port for each behaviour; ports.mjs lists them.

import { createServer } from 'node:net'
import { behaviours } from './behaviours.mjs'
import { PORTS } from './ports.mjs'

let waiting = 0
for (const address of process.argv.slice(2)) {
  for (const [name, behave] of Object.entries(behaviours)) {
    const server = createServer({ allowHalfOpen: true }, socket => {
      socket.on('error', () => {})
      behave(socket)
    })
    waiting++
    server.listen({ port: PORTS[name], host: address, backlog: 4096 }, () => {
      if (--waiting === 0) console.log('listening')
    })
  }
}
