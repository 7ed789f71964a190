// Swallows what it is sent, TCP slowly, and says how it ended: sink.mjs PORT ADDRESS

import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'

const SLOW = 500 // ms before the first read: more than the sender's life

const [port, address] = process.argv.slice(2)
const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, socket => {
  let bytes = 0
  socket.on('data', data => (bytes += data.length))
  socket.on('end', () => {
    console.log(`end after ${bytes}`)
    socket.end()
  })
  socket.on('error', error => console.log(`${error.code} after ${bytes}`))
  setTimeout(() => socket.resume(), SLOW)
})
server.listen(Number(port), address, () => {
  const datagrams = createSocket('udp4').on('message', text => console.log(`datagram ${text}`.trim()))
  datagrams.bind(Number(port), address, () => console.log('listening'))
})
