// A UDP server for tests: node udp-echo.mjs PORT ADDRESS…   Answers "who you are: what you said".

import { createSocket } from 'node:dgram'
import { isIPv6 } from 'node:net'

const [port, ...addresses] = process.argv.slice(2)
for (const address of addresses) {
  const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4')
  socket.on('message', (data, from) => socket.send(`${from.address}: ${data}`, from.port, from.address))
  socket.bind(Number(port), address, () => console.log(`listening on ${address}`))
}
