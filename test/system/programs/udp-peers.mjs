// Many UDP peers: node udp-peers.mjs COUNT NET…   For each NET (e.g. 10.87.1) COUNT of them, NET.1, NET.2, …, each with a port of its own.
// One that is told `you` answers who it is and whom it saw; `all` lets every peer of its net answer, spoken to or not.

import { createSocket } from 'node:dgram'
import { PORTS } from './ports.mjs'

const [count, ...nets] = process.argv.slice(2)
let waiting = Number(count) * nets.length

for (const net of nets) {
  /** @type {((to: import('node:dgram').RemoteInfo) => void)[]} */
  const peers = []
  for (let i = 1; i <= Number(count); i++) {
    const address = `${net}.${i}`
    const port = PORTS.udpPeers + i
    const socket = createSocket('udp4')
    peers.push(to => socket.send(`${address} ${port} saw ${to.address} ${to.port}`, to.port, to.address))
    socket.on('message', (payload, from) => {
      if (String(payload) === 'you') return peers[i - 1](from)
      // A few at a time: this is about where they come from, not about how many a socket holds.
      let spoken = 0
      const timer = setInterval(() => {
        for (const peer of peers.slice(spoken, (spoken += 10))) peer(from)
        if (spoken >= peers.length) clearInterval(timer)
      }, 2)
    })
    socket.bind(port, address, () => {
      if (--waiting === 0) console.log('listening')
    })
  }
}
