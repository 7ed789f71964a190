// An application over the kernel's UDP: node udp-client.mjs '{"op": …, "host": …, "from": …}'   One line of JSON is the answer.

import { createHash } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { isIPv6 } from 'node:net'
import { pattern } from './pattern.mjs'
import { PORTS } from './ports.mjs'

/** @typedef {{ op: string, host: string, from?: string, bytes?: number, sizes?: number[], count?: number, hosts?: string[] }} Request */

/** @type {Request} */
const request = JSON.parse(process.argv[2])
const PATIENCE = 5000 // ms

const socket = createSocket({ type: isIPv6(request.host) ? 'udp6' : 'udp4', recvBufferSize: 4 << 20, sendBufferSize: 4 << 20 })
socket.bind(0, request.from)
await once(socket, 'listening')

/** The next datagram, or what happened instead. */
async function next() {
  const timer = setTimeout(() => socket.emit('error', Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })), PATIENCE)
  try {
    const [payload, from] = await once(socket, 'message')
    return { payload, from: `${from.address} ${from.port}` }
  } finally {
    clearTimeout(timer)
  }
}

/** @typedef {{ payload: string, from: string }} Datagram */

/** The next `count` datagrams, or those that came before there was silence. @returns {Promise<Datagram[]>} */
async function collect(/** @type {number} */ count) {
  /** @type {Datagram[]} */
  const seen = []
  while (seen.length < count) {
    const datagram = await next().catch(() => undefined)
    if (datagram === undefined) break
    seen.push({ payload: String(datagram.payload), from: datagram.from })
  }
  return seen
}

/** @param {Buffer} bytes */
const hash = bytes => createHash('sha256').update(bytes).digest('hex')

/** @type {Record<string, () => Promise<object>>} */
const operations = {
  /** One datagram of `bytes` comes back as it went. */
  async echo() {
    const payload = Buffer.concat([...pattern(request.bytes ?? 4)])
    socket.send(payload, PORTS.udpEcho, request.host)
    const answer = await next()
    return { same: hash(answer.payload) === hash(payload), bytes: answer.payload.length, from: answer.from }
  },

  /** One datagram of each of `sizes` comes back as it went; those that did not. */
  async sizes() {
    /** @type {number[]} */
    const lost = []
    for (const size of request.sizes ?? []) {
      const payload = Buffer.concat([...pattern(size)])
      socket.send(payload, PORTS.udpEcho, request.host)
      const answer = await next().catch(() => undefined)
      if (answer === undefined || hash(answer.payload) !== hash(payload)) lost.push(size)
    }
    return { lost }
  },

  /** The answer comes from a port that was not written to. */
  async elsewhere() {
    socket.send('hello', PORTS.udpElsewhere, request.host)
    return { from: (await next()).from }
  },

  /** Nobody is there: a connected socket is told by ICMP. */
  async refused() {
    await new Promise(resolve => socket.connect(PORTS.udpClosed, request.host, () => resolve(undefined)))
    const start = performance.now()
    socket.send('hello')
    /** @type {string | undefined} */
    const code = await next().then(
      () => 'answered',
      error => error.code,
    )
    return { code, ms: performance.now() - start }
  },

  /** One socket, several hosts in turn: rounds of ten datagrams, answered out of order. How many answers came from where theirs went. */
  async reversed() {
    const hosts = request.hosts ?? []
    /** @type {Datagram[]} */
    const seen = []
    for (let round = 0; round < (request.count ?? 0); round++) {
      for (let i = 0; i < 10; i++) {
        const host = hosts[i % hosts.length]
        socket.send(`${host} ${round} ${i}`, PORTS.udpReversed, host)
      }
      seen.push(...(await collect(10)))
    }
    const right = seen.filter(({ payload, from }) => from === `${payload.split(' ')[0]} ${PORTS.udpReversed}`)
    return { answers: new Set(seen.map(({ payload }) => payload)).size, right: right.length }
  },

  /** `count` sockets, each with a datagram that comes back; the sources stay until the end. How many were answered, the second time too. */
  async sources() {
    const { host, from, count = 0 } = request
    const sockets = await Promise.all(
      Array.from({ length: count }, async () => {
        const each = createSocket(isIPv6(host) ? 'udp6' : 'udp4')
        each.bind(0, from)
        await once(each, 'listening')
        return each
      }),
    )
    const round = async () => {
      let answered = 0
      for (const each of sockets) {
        each.send('x', PORTS.udpEcho, host)
        const answer = await Promise.race([once(each, 'message'), new Promise(resolve => setTimeout(resolve, PATIENCE, null))])
        if (answer !== null) answered++
      }
      return answered
    }
    const answers = [await round(), await round()]
    for (const each of sockets) each.close()
    return { answers }
  },

  /** udp-peers.mjs: one of its peers is asked to let all speak, then each is spoken to. */
  async peers() {
    const count = request.count ?? 0
    const say = (/** @type {string} */ text, /** @type {number} */ i) => socket.send(text, PORTS.udpPeers + i, `${request.host}.${i}`)
    /** @param {Datagram[]} seen */
    const judge = seen => ({
      sources: new Set(seen.map(({ from }) => from)).size,
      true: seen.filter(({ payload, from }) => payload.startsWith(`${from} saw `)).length,
      mappings: new Set(seen.map(({ payload }) => payload.split(' saw ')[1])).size,
    })
    say('all', 1)
    const strangers = judge(await collect(count))
    for (let i = 1; i <= count; i++) say('you', i)
    return { strangers, spokenTo: judge(await collect(count)) }
  },

  /** `count` numbered datagrams, with `window` on the way; how many came back, each once. */
  async many() {
    const count = request.count ?? 0
    const seen = new Set()
    let sent = 0
    const step = () => sent < count && socket.send(String(sent++), PORTS.udpEcho, request.host)
    const done = new Promise(resolve => {
      let idle = setTimeout(() => resolve(undefined), PATIENCE)
      socket.on('message', payload => {
        seen.add(String(payload))
        clearTimeout(idle)
        if (seen.size === count) return resolve(undefined)
        idle = setTimeout(() => resolve(undefined), 1000)
        step()
      })
    })
    for (let i = 0; i < 20; i++) step() // at once: the association is not there yet
    await done
    return { sent, back: seen.size }
  },
}

const answer = await operations[request.op]().catch(error => ({ code: error.code ?? String(error) }))
console.log(JSON.stringify(answer))
socket.close()
