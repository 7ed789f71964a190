// A web server on an address and port that no machine has: 198.18.0.2:80 exists in this process only.
//
//   sudo node examples/http-anywhere/http-anywhere.js &     # after `npm ci && npm run build`; root, or a tun0 which belongs to you
//   sudo ip route add 198.18.0.0/15 dev tun0
//   curl http://198.18.0.2/
//
// Any server that takes sockets will do (http, https, http2, ws); `{ address: '198.18.0.0/16' }` or `{ port: 80 }` would serve them all.
import { createServer } from 'node:http'
import { createTunInbound } from '@tun/inbound'

const server = createServer(({ socket }, response) => response.end(`${socket.localAddress} greets ${socket.remoteAddress}\n`))
const inbound = await createTunInbound({ tun: { enable: true, 'device-url': 'dev://tun0' } })
inbound.listen({ address: '198.18.0.2', port: 80 }, server)
inbound.on('error', error => console.error(error.message))
process.once('SIGINT', () => inbound.close())
console.log(`http://198.18.0.2/ is behind ${inbound.name}`)
