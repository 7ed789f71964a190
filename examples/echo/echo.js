// Every TCP connection that enters tun0, to whatever address and port, is answered with its own bytes.
//
//   sudo node examples/echo/echo.js &                    # after `npm ci && npm run build`; root, or a tun0 which belongs to you
//   sudo ip link set tun0 up && sudo ip route add 198.18.0.0/15 dev tun0
//   nc 198.18.0.2 7                                      # what you type comes back
//
// A socket is pending when it arrives: the application's connect() succeeds when something reads it or writes to it, here the pipe.
import { createTunInbound } from '@tun/inbound'

const inbound = await createTunInbound({ tun: { enable: true, 'device-url': 'dev://tun0' } })
inbound.on('connection', socket => socket.on('error', console.error).pipe(socket))
inbound.on('error', error => console.error(error.message))
process.once('SIGINT', () => inbound.close())
console.log(`echoing on ${inbound.name}, mtu ${inbound.mtu}`)
