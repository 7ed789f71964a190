// An inbound that answers every datagram from where it was sent to and from another address, and prints what the kernel says to that:
// node answer-by-others.mjs OTHER4 OTHER6   A line of JSON for each 'undelivered' and each flow's end.

import { createTunInbound } from '@tun/inbound'

const [, , other4, other6] = process.argv
const inbound = await createTunInbound({ tun: { enable: true, 'device-url': 'dev://tun0' } })
inbound.on('flow', flow => {
  flow.on('message', (payload, to) => {
    flow.send(payload, to)
    flow.send(payload, { address: to.family === 6 ? other6 : other4, port: 7 })
  })
  flow.on('undelivered', (from, why) => console.log(JSON.stringify({ from: `${from.address} ${from.port}`, ...why })))
  flow.on('close', () => console.log(JSON.stringify({ closed: true })))
})
