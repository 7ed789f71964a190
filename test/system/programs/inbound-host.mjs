// An inbound that echoes TCP and says what it is told: node inbound-host.mjs '{"tun": {…}}'   A line of JSON on stdin is something to do.
// Lines on stdout: `listening NAME`, `warning TEXT`, `uplink JSON`, `error TEXT`, `close`, and `state {…}` as the answer to `"state"`.

import { createInterface } from 'node:readline'
import { createTunInbound } from '@tun/inbound'

const inbound = await createTunInbound(JSON.parse(process.argv[2]))
inbound.on('connection', socket => void socket.on('error', () => {}).pipe(socket))
inbound.on('warning', message => console.log(`warning ${message}`))
inbound.on('uplink', uplink => console.log(`uplink ${JSON.stringify(uplink ?? null)}`))
inbound.on('error', error => console.log(`error ${error.message}`))
inbound.on('close', () => console.log('close'))
console.log(`listening ${inbound.name}`)
createInterface({ input: process.stdin }).on('line', line => {
  if (JSON.parse(line) === 'state') {
    const { cpuUsage, resourceUsage } = process
    const cpu = cpuUsage().user + cpuUsage().system
    console.log(
      `state ${JSON.stringify({ mtu: inbound.mtu, uplink: inbound.uplink ?? null, cpu, switches: resourceUsage().voluntaryContextSwitches })}`,
    )
  }
})
