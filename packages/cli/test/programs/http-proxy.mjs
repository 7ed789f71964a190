// An HTTP proxy that knows CONNECT and one name: http-proxy.mjs PORT LOCAL4 NAME=ADDRESS
import { createServer } from 'node:http'
import { connect } from 'node:net'

const [port, local4, known] = process.argv.slice(2)
const [name, address] = known.split('=')

const server = createServer((_, response) => response.writeHead(405).end())
server.on('connect', (request, client, head) => {
  console.log(`CONNECT ${request.url}`)
  const at = request.url.lastIndexOf(':')
  const host = request.url.slice(0, at)
  const upstream = connect({ host: host === name ? address : host, port: Number(request.url.slice(at + 1)), localAddress: local4 })
  upstream.on('connect', () => {
    client.write('HTTP/1.1 200 OK\r\n\r\n')
    upstream.write(head)
    client.pipe(upstream).pipe(client)
  })
  upstream.on('error', () => client.end('HTTP/1.1 502 Bad Gateway\r\n\r\n'))
  client.on('error', () => upstream.destroy())
})
server.listen(Number(port), '127.0.0.1', () => console.log('listening'))
