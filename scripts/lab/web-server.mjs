// The web server of a lab where nginx is not installed: node web-server.mjs DIRECTORY ADDRESS…   `/` says who asked, the rest are files.

import { createReadStream } from 'node:fs'
import { createServer } from 'node:http'
import { basename, join } from 'node:path'

const [directory, ...addresses] = process.argv.slice(2)
for (const address of addresses) {
  createServer((request, response) => {
    if (request.url === '/') return void response.end(`Hello from Node's http server. You come from ${request.socket.remoteAddress}.\n`)
    const file = createReadStream(join(directory, basename(request.url ?? '')))
    file.on('error', () => response.writeHead(404).end())
    file.on('open', () => file.pipe(response))
  }).listen(80, address, () => console.log(`listening on ${address}`))
}
