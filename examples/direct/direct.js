// TCP, UDP, pings and names, all carried on by this machine's own sockets: the smallest complete use of a Tun inbound.
//
//   sudo node examples/direct/direct.js 9.9.9.9 &           # after `npm ci && npm run build`; root, or a tun0 which belongs to you
//   sudo ip route add 198.18.0.0/16 dev tun0                # the fake addresses, which names get; what they lead to is dialled outside
//   curl --resolve example.org:80:$(dig +short @198.18.0.53 example.org) http://example.org/
//
// The argument is a name server. Replace `direct()` by your own `dial` and `associate`, and you have a proxy.
import { createTunInbound, direct, relay, relayDatagrams } from '@tun/inbound'

const tun = { enable: true, 'device-url': 'dev://tun0', 'dns-listen': '0.0.0.0:53' }
const inbound = await createTunInbound({ tun, dns: { enable: true, nameserver: process.argv.slice(2) } })
const outbound = direct({ lookup: (host, signal) => inbound.resolve(host, signal) })
inbound.on('connection', socket => relay(socket, outbound))
inbound.on('flow', flow => relayDatagrams(flow, outbound))
inbound.on('icmp', echo => echo.forward(outbound.ping))
inbound.on('error', error => console.error(error.message))
process.once('SIGINT', () => inbound.close())
console.log(`${inbound.name} leads to this machine's own sockets`)
