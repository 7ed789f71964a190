// A host whose TCP is ours: a TUN, a stack, every address behind it. node stack-host.mjs '{"device": "dev://tun0", …}'
// As a server it does what behaviours.mjs says, on the ports of ports.mjs, and sends datagrams back as they came. A line of JSON on
// stdin is something to do; the answer is a line `OP {…}`: transfers as of tcp-client.mjs, and `state`, what the engine thinks of its
// connections.

import { randomBytes } from 'node:crypto'
import { createInterface } from 'node:readline'
import { openTun } from '@tun/device'
import { CLOSED, Driver, formatAddress, nodeHost, parseAddress, REQUEST, Stack, TunSocket } from '@tun/stack'
import { behaviours } from './behaviours.mjs'
import { PORTS } from './ports.mjs'
import { download, together, upload } from './transfers.mjs'

/**
 * @typedef {{ device: string, offload?: boolean, cut?: boolean, mtu?: number, stack?: import('@tun/stack').StackOptions }} Setting
 * `cut`: the stack leaves no segmentation to the device, which takes in what it can all the same.
 * @typedef {{ op: string, host: string, from: string, bytes?: number, count?: number }} Request
 */

/** @type {Setting} */
const setting = JSON.parse(process.argv[2])
const offload = setting.offload ?? true
const device = openTun(setting.device, { offload, mtu: setting.mtu ?? 1500 })
const env = { random32: () => randomBytes(4).readUInt32LE() }
const stack = new Stack({ ...setting.stack, mtu: device.mtu, offload: offload && device.offload && !setting.cut }, env)
const driver = new Driver(device, stack, { tcp: happened, datagram: echo, flowEnded() {} }, nodeHost, {
  lost: status => {
    console.log(`lost ${status}`)
    process.exit(1)
  },
  ...{ down() {}, up() {}, resumed() {} },
})
let nextPort = 40_000

function happened(/** @type {import('@tun/stack').TcpConnection} */ c, /** @type {number} */ bits) {
  if (bits & REQUEST) {
    const name = Object.keys(PORTS).find(key => PORTS[key] === c.localPort) ?? ''
    const behave = behaviours[name]
    if (behave === undefined) return c.reject('refused')
    const socket = new TunSocket(c, driver)
    socket.on('error', error => console.log(`${name} of port ${c.remotePort}: ${error.message}`))
    socket.accept()
    behave(socket)
  }
  if (c.user instanceof TunSocket) c.user.happened(bits)
}

function echo(/** @type {import('@tun/stack').Datagram} */ d) {
  if (d.flow && d.slab) stack.udp.sendTo(d.flow, [d.d0, d.d1, d.d2, d.d3, d.dstPort], d.slab.bytes, performance.now(), d.start, d.end)
}

function dial(/** @type {Request} */ request, /** @type {string} */ port) {
  const words = (/** @type {string} */ text) => {
    const address = parseAddress(text)
    if (address === null) throw new Error(`${text} is no address`)
    return address
  }
  const c = stack.connect(words(request.from), nextPort++, words(request.host), PORTS[port])
  if (c === null) throw new Error('the flow is in use')
  const socket = new TunSocket(c, driver)
  driver.wake()
  return socket
}

/** @type {Record<string, (request: Request) => Promise<object>>} */
const operations = {
  upload: request => upload(dial(request, 'upload'), request.bytes ?? 0),
  download: request => download(dial(request, 'download'), request.bytes ?? 0),
  together: request => together(port => dial(request, port), request.count ?? 0, request.bytes ?? 0),
  async state() {
    const connections = [...stack.tcp.flows]
      .filter(c => c.state !== CLOSED)
      .map(c => ({
        remote: `${formatAddress(c.r0, c.r1, c.r2, c.r3)} ${c.remotePort}`,
        state: c.state,
        ...{ cwnd: c.congestion.cwnd, ssthresh: c.congestion.ssthresh, rto: c.rtt.rto, srtt: c.rtt.srtt },
        ...{ flight: (c.sndNxt - c.sndUna) | 0, acked: c.sndQueue.headAt, received: c.bytesReceived },
      }))
    const { accounted, droppedIn } = stack.stats
    return { connections, stats: { ...stack.stats, accounted, droppedIn } }
  },
}

driver.start()
console.log('listening')
createInterface({ input: process.stdin })
  .on('line', async line => {
    /** @type {Request} */
    const request = JSON.parse(line)
    const answer = await operations[request.op](request).catch(error => ({ error: error.code ?? String(error) }))
    console.log(`${request.op} ${JSON.stringify(answer)}`)
  })
  .on('close', () => process.exit(0))
