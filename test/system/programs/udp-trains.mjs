// An application that sends and receives trains (UDP_SEGMENT, UDP_GRO): node udp-trains.mjs '{"host": …, "from": …, "offload": …}'
// Bursts of datagrams of one length and another; each must come back as it went. One line of JSON is the answer: `behind` came after one
// that was sent later, which the kernel does where the proxy moves to another processor between two writes (netif_rx).

import { UdpBatchSocket, UdpPeer } from '@tun/device'
import { PORTS } from './ports.mjs'

/** @typedef {{ host: string, from: string, offload: boolean, bursts: number }} Request */

/** @type {Request} */
const { host, from, offload, bursts } = JSON.parse(process.argv[2])
const LENGTHS = [1200, 1200, 64, 1400, 4, 1200, 1472, 500]
const BURST = 30
const PATIENCE = 3000 // ms

let serial = 0
/** @type {Buffer[]} */
let expected = []
const result = { sent: 0, back: 0, behind: 0 }
let last = 0
let wake = () => {}

const socket = new UdpBatchSocket(
  { family: host.includes(':') ? 6 : 4, localAddress: from, receiveBuffer: 4 << 20, offload },
  {
    datagram(bytes, start, end) {
      const got = bytes.subarray(start, end)
      const at = expected.findIndex(payload => payload.equals(got))
      if (at < 0) return
      result.back++
      const number = got.readUInt32BE()
      if (number < last) result.behind++
      last = Math.max(last, number)
      expected.splice(at, 1)
      if (expected.length === 0) wake()
    },
    error: error => {
      throw error
    },
  },
)
const peer = /** @type {UdpPeer} */ (UdpPeer.parse(host, PORTS.udpEcho))

for (let burst = 0; burst < bursts; burst++) {
  const length = LENGTHS[burst % LENGTHS.length]
  expected = Array.from({ length: burst === 0 ? 1 : BURST }, (_, i) => {
    const payload = Buffer.alloc(i === BURST - 1 ? Math.max(4, length >> 1) : length, ++serial & 255)
    payload.writeUInt32BE(serial)
    return payload
  })
  result.sent += expected.length
  for (const payload of expected) socket.send(payload, peer)
  await new Promise(resolve => {
    const timer = setTimeout(resolve, PATIENCE)
    wake = () => {
      clearTimeout(timer)
      resolve(undefined)
    }
  })
}
socket.close()
console.log(JSON.stringify(result))
