// Datagrams answered by the kernel's side: node udp-server.mjs ADDRESS…   One port for each behaviour; ports.mjs lists them.

import { createSocket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { PORTS } from './ports.mjs'

/** @typedef {import('node:dgram').Socket} Socket */

const addresses = process.argv.slice(2)
let waiting = addresses.length * 4

/** @param {string} address @param {number} port @param {(socket: Socket, payload: Buffer, from: import('node:dgram').RemoteInfo) => void} behave */
function serve(address, port, behave) {
  const socket = createSocket({ type: isIPv6(address) ? 'udp6' : 'udp4', recvBufferSize: 4 << 20, sendBufferSize: 4 << 20 })
  socket.on('message', (payload, from) => behave(socket, payload, from))
  socket.bind(port, address, () => {
    if (--waiting === 0) console.log('listening')
  })
  return socket
}

for (const address of addresses) {
  serve(address, PORTS.udpEcho, (socket, payload, from) => socket.send(payload, from.port, from.address))
  // What it gets is answered from another port, which nobody has written to.
  const other = serve(address, PORTS.udpOther, () => {})
  // Ten at a time, the last one first.
  /** @type {(() => void)[]} */
  const held = []
  serve(address, PORTS.udpReversed, (socket, payload, from) => {
    held.push(() => socket.send(payload, from.port, from.address))
    if (held.length === 10) for (const answer of held.splice(0).reverse()) answer()
  })
  serve(address, PORTS.udpElsewhere, (_, payload, from) => other.send(payload, from.port, from.address))
}
