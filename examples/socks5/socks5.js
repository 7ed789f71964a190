// TCP, UDP and names, all through a SOCKS5 proxy. Names get fake addresses, and the proxy is asked for the name.
//
//   sudo node examples/socks5/socks5.js socks5://127.0.0.1:1080 &     # after `npm ci && npm run build`; root, or a tun0 of your own
//   sudo ip route add 198.18.0.0/16 dev tun0
//   curl --resolve example.org:80:$(dig +short @198.18.0.53 example.org) http://example.org/
//
// UDP needs a proxy with UDP ASSOCIATE. Route more than the fake range into tun0 only if the proxy itself stays reachable without it.
import { createTunInbound, relay, relayDatagrams, socks5 } from '@tun/inbound'

const outbound = socks5(process.argv[2] ?? 'socks5://127.0.0.1:1080')
const tun = { enable: true, 'device-url': 'dev://tun0', 'dns-listen': '0.0.0.0:53' }
const inbound = await createTunInbound({ tun, dns: { enable: true, 'enhanced-mode': 'fake-ip' } })
inbound.on('connection', socket => relay(socket, outbound))
inbound.on('flow', flow => relayDatagrams(flow, outbound, { failed: error => console.error(error.message) }))
inbound.on('error', error => console.error(error.message))
process.once('SIGINT', () => inbound.close())
console.log(`${inbound.name} leads to the proxy`)
