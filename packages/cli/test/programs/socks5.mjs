// A SOCKS5 server for tests: node socks5.mjs PORT FROM4 FROM6 [USER:PASSWORD]   Says what is asked for. RFC 1928.

import { createSocket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { connect, createServer, isIPv6 } from 'node:net'

const [port, from4, from6, account] = process.argv.slice(2)
const bound = (/** @type {string} */ address) => (isIPv6(address) ? from6 : from4)

createServer(socket => {
  socket.on('error', () => {})
  serve(socket).catch(() => socket.destroy())
}).listen(Number(port), '127.0.0.1', () => console.log(`listening on ${port}`))

async function serve(/** @type {import('node:net').Socket} */ socket) {
  const take = reader(socket)
  const [, methods] = await take(2)
  await take(methods)
  socket.write(Buffer.from([5, account ? 2 : 0]))
  if (account) {
    const user = (await take((await take(2))[1])).toString()
    const right = `${user}:${await take((await take(1))[0])}` === account
    socket.write(Buffer.from([1, right ? 0 : 1]))
    if (!right) return socket.end()
  }
  const [, command, , type] = await take(4)
  const name = await address(type, take)
  const to = (await take(2)).readUInt16BE()
  console.log(`${command === 1 ? 'CONNECT' : 'ASSOCIATE'} ${name}:${to}`)
  return command === 1 ? relay(socket, name, to) : associate(socket)
}

async function relay(/** @type {import('node:net').Socket} */ socket, /** @type {string} */ name, /** @type {number} */ to) {
  const found = await lookup(name)
  const upstream = connect({ host: found.address, port: to, localAddress: bound(found.address) })
  upstream.on('error', () => socket.end(Buffer.from([5, 5, 0, 1, 0, 0, 0, 0, 0, 0])))
  upstream.on('connect', () => {
    socket.write(Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]))
    socket.pipe(upstream).pipe(socket)
    socket.resume()
  })
}

function associate(/** @type {import('node:net').Socket} */ socket) {
  const client = createSocket('udp4')
  const out = { 4: createSocket('udp4'), 6: createSocket('udp6') }
  let peer = 0
  out[4].bind(0, from4)
  out[6].bind(0, from6)
  for (const one of Object.values(out)) {
    one.on('message', (data, from) => {
      const bytes = isIPv6(from.address) ? bytes6(from.address) : Buffer.from(from.address.split('.').map(Number))
      const head = Buffer.from([0, 0, 0, bytes.length === 4 ? 1 : 4, ...bytes, from.port >> 8, from.port & 255])
      client.send(Buffer.concat([head, data]), peer, '127.0.0.1')
    })
  }
  client.on('message', async (data, from) => {
    peer = from.port
    let at = 3
    const take = async (/** @type {number} */ n) => data.subarray(at, (at += n))
    const [type] = await take(1)
    const name = await address(type, take)
    const to = (await take(2)).readUInt16BE()
    console.log(`UDP ${name}:${to}`)
    const found = await lookup(name)
    out[found.family === 6 ? 6 : 4].send(data.subarray(at), to, found.address)
  })
  client.bind(0, '127.0.0.1', () => {
    const { port } = client.address()
    socket.write(Buffer.from([5, 0, 0, 1, 127, 0, 0, 1, port >> 8, port & 255]))
  })
  socket.resume()
  socket.on('close', () => {
    for (const one of [client, ...Object.values(out)]) one.close()
  })
}

/** @returns {Promise<string>} */
async function address(/** @type {number} */ type, /** @type {(n: number) => Promise<Buffer>} */ take) {
  if (type === 1) return (await take(4)).join('.')
  if (type === 3) return (await take((await take(1))[0])).toString()
  return (await take(16)).toString('hex').replace(/(.{4})(?!$)/g, '$1:')
}

function bytes6(/** @type {string} */ text) {
  const [head, tail] = text.split('::').map(part => (part ? part.split(':') : []))
  const words = tail ? [...head, ...new Array(8 - head.length - tail.length).fill('0'), ...tail] : head
  return Buffer.from(words.map(word => word.padStart(4, '0')).join(''), 'hex')
}

/** Reads exactly n bytes of a stream. */
function reader(/** @type {import('node:net').Socket} */ socket) {
  return async (/** @type {number} */ n) => {
    while (true) {
      const piece = n === 0 ? Buffer.alloc(0) : socket.read(n)
      if (piece?.length === n) return /** @type {Buffer} */ (piece)
      if (socket.readableEnded || socket.destroyed) throw new Error('it ended')
      await new Promise(resolve => socket.once('readable', resolve).once('close', resolve))
    }
  }
}
