// A SOCKS5 server, CONNECT only: node socks5-server.mjs ADDRESS PORT [USER:PASSWORD]. RFC 1928, 1929. Its own code, so that our client is
// not tested against itself.

import { connect, createServer } from 'node:net'

const [address, port, credentials] = process.argv.slice(2)
/** RFC 1928 §6. @type {Record<string, number>} */
const REPLIES = { ENETUNREACH: 3, EHOSTUNREACH: 4, ECONNREFUSED: 5, ETIMEDOUT: 6 }

createServer({ allowHalfOpen: true }, client => {
  client.on('error', () => {})
  /** @type {Buffer} */
  let said = Buffer.alloc(0)
  let greeted = false
  let known = false
  const hear = (/** @type {Buffer} */ data) => {
    said = Buffer.concat([said, data])
    if (!greeted) {
      if (said.length < 2 || said.length < 2 + said[1]) return
      if (said[0] !== 5) return client.destroy()
      const offered = said.subarray(2, 2 + said[1])
      said = said.subarray(2 + said[1])
      greeted = true
      const method = credentials === undefined ? 0 : 2
      client.write(Buffer.of(5, offered.includes(method) ? method : 255))
    }
    if (credentials !== undefined && !known) {
      if (said.length < 2 || said.length < 3 + said[1] || said.length < 3 + said[1] + said[2 + said[1]]) return
      const password = 3 + said[1]
      const end = password + said[password - 1]
      known = `${said.toString('utf8', 2, password - 1)}:${said.toString('utf8', password, end)}` === credentials
      said = said.subarray(end)
      client.write(Buffer.of(1, known ? 0 : 1))
      if (!known) return client.end()
    }
    if (said.length < 5) return
    const length = said[3] === 1 ? 4 : said[3] === 4 ? 16 : 1 + said[4]
    if (said.length < 6 + length) return
    client.removeListener('data', hear)
    client.pause()
    open(client, said[3], said.subarray(4, 4 + length), said.readUInt16BE(4 + length), said.subarray(6 + length))
  }
  client.on('data', hear)
}).listen({ port: Number(port), host: address, backlog: 4096 }, () => console.log(`listening on ${address}:${port}`))

/** @param {import('node:net').Socket} client @param {number} type @param {Buffer} raw @param {number} port @param {Buffer} rest */
function open(client, type, raw, port, rest) {
  const host = type === 1 ? raw.join('.') : type === 3 ? raw.toString('latin1', 1) : raw.toString('hex').replace(/(.{4})(?!$)/g, '$1:')
  const upstream = connect({ host, port, allowHalfOpen: true })
  const reply = (/** @type {number} */ code) => client.write(Buffer.of(5, code, 0, 1, 0, 0, 0, 0, 0, 0))
  let open = false
  upstream.on('connect', () => {
    open = true
    reply(0)
    if (rest.length > 0) upstream.write(rest)
    client.pipe(upstream)
    upstream.pipe(client)
  })
  upstream.on('error', error => {
    if (open) return client.resetAndDestroy()
    reply(REPLIES[/** @type {NodeJS.ErrnoException} */ (error).code ?? ''] ?? 1)
    client.end()
  })
  client.on('error', () => upstream.resetAndDestroy())
}
