// `npm run bench`: all of them, one after the other, as one markdown page on stdout.
//
//   npm run --silent bench > bench/RESULTS.md         sudo for the whole ones; else they are left out
//   npm run bench -- wire engine                      only these; cycles, dns, flood, loss and tun run only when they are named

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { loadavg } from 'node:os'
import { fileURLToPath } from 'node:url'
import { setting } from './report.mjs'

const ALL = ['discard', 'engine', 'udp', 'wire']
/** Minutes, or beside somebody else's program. */
const ON_REQUEST = ['cycles', 'dns', 'flood', 'loss', 'tun']
const wanted = process.argv.slice(2)
const known = [...ALL, ...ON_REQUEST]
const unknown = wanted.find(name => !known.includes(name))
const path = (/** @type {string} */ name) => fileURLToPath(new URL(name, import.meta.url))

if (unknown !== undefined) stop(`there is no bench '${unknown}'; there are ${known.join(', ')}`)
if (!existsSync(path('../packages/inbound/dist/index.js'))) stop('not built; run: npm run build')

const load = loadavg()[0].toFixed(1)
console.log(`# Results\n\n${setting()}; load average ${load} at the start.\nWhat is measured and how: [README.md](README.md).`)
for (const name of wanted.length > 0 ? wanted : ALL) {
  console.log('')
  const run = spawnSync(process.execPath, [path(`${name}.mjs`)], { stdio: 'inherit' })
  if (run.status !== 0) stop(`${name} ended with ${run.status ?? run.signal}`)
}

/** @returns {never} */
function stop(/** @type {string} */ why) {
  process.stderr.write(`bench: ${why}\n`)
  process.exit(1)
}
