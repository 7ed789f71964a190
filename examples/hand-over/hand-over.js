// A small privileged process opens tun0, gives it to a process of another user, and is out of the way: what parses packets has no rights.
//
//   sudo node examples/hand-over/hand-over.js 65534      # after `npm ci && npm run build`; the argument is the other user's number
//   sudo ip link set tun0 up && sudo ip route add 198.18.0.0/15 dev tun0
//   nc 198.18.0.2 7                                      # what you type comes back
//
// The NIC goes over a socket (SCM_RIGHTS), so the two need not be parent and child: any AF_UNIX socket will do.
import { spawn } from 'node:child_process'
import { openTun, receiveTun, sendTun } from '@tun/device'
import { createTunInbound } from '@tun/inbound'

const [, file, user] = process.argv
if (user !== undefined) {
  const [uid, gid] = [Number(user), Number(user)]
  const server = spawn(process.execPath, [file], { uid, gid, stdio: ['ignore', 'inherit', 'inherit', 'pipe'] })
  const device = openTun('dev://tun0')
  sendTun(server.stdio[3], device)
  device.close() // the NIC stays, it is the other's now
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => server.kill(signal))
  server.on('exit', code => process.exit(code ?? 1))
} else {
  const inbound = await createTunInbound({ device: receiveTun(3) })
  inbound.on('connection', socket => socket.on('error', console.error).pipe(socket))
  inbound.on('error', error => console.error(error.message))
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => inbound.close())
  console.log(`echoing on ${inbound.name}, user ${process.getuid()}`)
}
