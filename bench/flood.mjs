// What a flood through the TUN costs the example proxy, and who is still served meanwhile: random and broken packets, fragments without
// their rest, UDP sources without a socket, SYNs that are repeated. A table on stdout.
//
//   sudo npm run bench:flood [-- --scale 0.1] [syn noise …]      needs npm run build, iproute2, python3; two minutes

import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { FloodedProxy } from '../scripts/lab/flood.mjs'
import { labObstacle } from '../scripts/lab/lab.mjs'
import { table } from './report.mjs'

const { values: args, positionals } = parseArgs({ allowPositionals: true, options: { scale: { type: 'string', default: '1' } } })
const PROXY = fileURLToPath(new URL('../examples/clash-proxy/bin/clash-proxy.js', import.meta.url))

/** @type {import('../scripts/lab/flood.mjs').Flood[]} */
const FLOODS = [
  { kind: 'noise', count: 1_000_000, rate: 50_000 },
  { kind: 'fragments', count: 65_536, rate: 10_000 },
  { kind: 'sources', count: 100_000, rate: 10_000 },
  { kind: 'syn', count: 160_000, rate: 8_000 },
]
const WHAT = {
  noise: 'random and bit-flipped packets',
  fragments: 'first fragments, the rest never comes',
  sources: 'UDP sources, no socket behind them',
  syn: 'SYNs of 10,000 connections, repeated; dials hang',
}

const obstacle = labObstacle()
if (obstacle) process.stderr.write(`bench/flood: skipped, ${obstacle}\n`)
else await run()

async function run() {
  const rows = []
  const proxy = await FloodedProxy.open(PROXY)
  try {
    for (const flood of FLOODS.filter(({ kind }) => positionals.length === 0 || positionals.includes(kind))) {
      const figures = await proxy.flood({ ...flood, count: Math.round(flood.count * Number(args.scale)) })
      const { sent, dropped, seconds, cpu, before, peak, after, tcp, udp } = figures
      const served = [tcp, udp].map(({ asked, answered, slowest }) => `${answered} of ${asked}, ${slowest} ms at most`)
      for (const error of [...tcp.errors, ...udp.errors]) process.stderr.write(`${flood.kind}: an honest application got ${error}\n`)
      rows.push([
        WHAT[flood.kind],
        sent,
        dropped,
        sent / seconds,
        (cpu * 1e6) / (sent - dropped),
        ...[before, peak, after].map(Math.round),
        ...served,
      ])
    }
  } finally {
    await proxy.close()
  }
  console.log(
    '## Floods\n\nMemory is the resident set of the proxy, the floods one behind the other; honest applications ask all the while.\n',
  )
  const head = [
    'what',
    'packets',
    'of them dropped by the NIC',
    'a second',
    'CPU µs each',
    'MB before',
    'MB at most',
    'MB behind it',
    'honest TCP',
    'honest UDP',
  ]
  console.log(table(head, rows))
}
