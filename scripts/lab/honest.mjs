// An application that wants to be served, whatever else goes on: node honest.mjs HOST FROM TCP-PORT UDP-PORT   Until stdin ends it asks two
// echo servers again and again, as programs do: a connection each time, a datagram repeated every 250 ms. One line of JSON tells how it
// went; `during`: what was answered before that end.

import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect } from 'node:net'

const [host, from, tcpPort, udpPort] = process.argv.slice(2)
const PATIENCE = 30_000 // ms, for one of either
const PAUSE = 100

let over = false
process.stdin.on('end', () => (over = true)).resume()

const pause = (/** @type {number} */ ms) => new Promise(resolve => setTimeout(resolve, ms))

/** A connection, a line there and back. */
async function stream() {
  const socket = connect({ host, port: Number(tcpPort), localAddress: from })
  const timer = setTimeout(() => socket.destroy(new Error('too slow')), PATIENCE)
  try {
    socket.end('hello')
    let said = ''
    for await (const data of socket) said += data
    return said === 'hello' ? '' : `'${said}'`
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code ?? String(error)
  } finally {
    clearTimeout(timer)
    socket.destroy()
  }
}

/** A datagram, sent until it is answered. */
async function datagram() {
  const socket = createSocket('udp4')
  socket.bind(0, from)
  await once(socket, 'listening')
  const ask = () => socket.send('hello', Number(udpPort), host)
  const again = setInterval(ask, 250)
  ask()
  const end = await Promise.race([once(socket, 'message').then(() => ''), pause(PATIENCE).then(() => 'too slow')])
  clearInterval(again)
  socket.close()
  return end
}

/** `ask` answers what went wrong, '' if nothing did. */
async function repeat(/** @type {() => Promise<string>} */ ask) {
  const count = { asked: 0, answered: 0, during: 0, slowest: 0, errors: /** @type {string[]} */ ([]) }
  while (!over) {
    const start = performance.now()
    count.asked++
    const error = await ask()
    if (error === '') {
      count.answered++
      if (!over) count.during++
    } else count.errors.push(`${error} after ${Math.round(performance.now() - start)} ms`)
    count.slowest = Math.max(count.slowest, Math.round(performance.now() - start))
    await pause(PAUSE)
  }
  return count
}

const [tcp, udp] = await Promise.all([repeat(stream), repeat(datagram)])
console.log(JSON.stringify({ tcp, udp }))
process.exit()
