// The whole relay: applications (sockets of the kernel) → TUN → program → SOCKS5 → far end, in a network namespace of its own for each
// program and repetition. Beside the example proxy, whatever other Tun inbound is on PATH does the same work. Markdown on stdout.
//
//   sudo npm run --silent bench:tun [-- ours hev --repeat 1 --seconds 2]      needs npm run build, cc, iproute2; 30 s a program
//   sudo npm run --silent bench:tun -- --perf                                where the time goes, instead: perf, or node --cpu-prof

import { execFileSync } from 'node:child_process'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Lab, labObstacle } from '../scripts/lab/lab.mjs'
import { findBinary, installLine } from '../scripts/peers.mjs'
import { median, setting, table } from './report.mjs'
import { Place } from './tun/place.mjs'
import { profiler } from './tun/profile.mjs'
import { CONTESTANTS, present, versionOf } from './tun/programs.mjs'

/** @typedef {import('./tun/programs.mjs').Present} Present */
/** @typedef {import('./tun/place.mjs').Figures} Figures */

const { values: args, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    repeat: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '2' },
    idle: { type: 'string', default: '10000' },
    perf: { type: 'boolean', default: false },
  },
})
const seconds = args.seconds
const WARM = '0.4' // s: until windows have grown and code is compiled
const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url))

/** What is done, in this order; the second part goes to tun/load.c. @type {[key: string, work: string[]][]} */
const WORKS = [
  ['refused', ['refused']],
  ['up1', ['bulk', 'up', '1', seconds, WARM]],
  ['down1', ['bulk', 'down', '1', seconds, WARM]],
  ['up8', ['bulk', 'up', '8', seconds, WARM]],
  ['down8', ['bulk', 'down', '8', seconds, WARM]],
  ['connections', ['connections', '64', seconds]],
  ['rr', ['rr', '1']],
  ['downBeside', ['bulk', 'down', '4', seconds, WARM, 'beside']],
  ['upBeside', ['bulk', 'up', '4', seconds, WARM, 'beside']],
  ['datagrams', ['datagrams', '1200', seconds, '128']],
  ['flows', ['flows', '1000']],
]
/** Those that `--perf` looks at. */
const LOOKED_AT = ['up1', 'down1', 'connections', 'datagrams']

const obstacle = labObstacle() ?? (findBinary('cc') ? undefined : `the program cc is missing: ${installLine('g++')}`)
if (obstacle) process.stderr.write(`bench/tun: skipped, ${obstacle}\n`)
else await main()

async function main() {
  const tools = new Lab()
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) process.once(signal, () => process.exit(1)) // labs close
  try {
    for (const tool of ['sink', 'load']) {
      execFileSync('cc', ['-O2', '-pthread', '-o', join(tools.directory, tool), here(`tun/${tool}.c`)], { stdio: ['ignore', 2, 2] })
    }
    if (args.perf) await profile(tools.directory)
    else await compare(tools.directory)
  } finally {
    tools.close()
  }
}

async function compare(/** @type {string} */ tools) {
  const load = loadavg()[0].toFixed(1)
  const { here: contestants, missing } = present(positionals)
  if (contestants.length === 0) {
    const names = new Set(CONTESTANTS.map(({ name }) => name))
    process.stderr.write(`bench/tun: nobody of ${positionals.join(', ')} is here; there are ${[...names].join(', ')}\n`)
    process.exitCode = 1
    return
  }
  /** @type {Map<string, Figures>[]} */
  const results = contestants.map(() => new Map())
  for (let i = 0; i < Number(args.repeat); i++) {
    for (const [at, contestant] of contestants.entries()) {
      const from = performance.now()
      for (const [key, figures] of await run(tools, contestant)) {
        const before = results[at].get(key) ?? []
        results[at].set(key, [...before, figures])
        if (figures.error) process.stderr.write(`${contestant.name}@${contestant.mtu}, ${key}: ${figures.error}\n`)
      }
      process.stderr.write(`${contestant.name}@${contestant.mtu}, run ${i + 1}: ${((performance.now() - from) / 1000).toFixed(0)} s\n`)
    }
  }
  report(contestants, results, missing, load)
}

/** One program, all works. @returns {Promise<Map<string, Figures>>} */
async function run(/** @type {string} */ tools, /** @type {Present} */ contestant) {
  /** @type {Map<string, Figures>} */
  const all = new Map()
  const place = new Place(tools, contestant)
  try {
    all.set('start', await place.open([]))
    all.set('idle', await place.load(['idle', args.idle], 60)) // first: memory is compared with that of a fresh process
    all.set('sha', await place.app(process.execPath, [here('tun/whole.mjs'), '198.18.0.7', '7'], 60))
    for (const [key, work] of WORKS) {
      if (!place.alive) break
      all.set(key, await place.load(work, 2 * Number(seconds) + 20))
    }
  } catch (error) {
    all.set('start', { error: String(error) })
  } finally {
    place.close()
  }
  return all
}

function report(
  /** @type {Present[]} */ contestants,
  /** @type {Map<string, Figures>[]} */ results,
  /** @type {string[]} */ missing,
  /** @type {string} */ load,
) {
  const names = contestants.map(({ name, mtu }) => `${name}@${mtu}`)
  const each = (
    /** @type {(of: (key: string, field: string, scale?: number) => string | number, at: number) => (string | number)[]} */ row,
  ) =>
    names.map((name, at) => [
      name,
      ...row((key, field, scale = 1) => {
        const values = (results[at].get(key) ?? []).map((/** @type {Figures} */ one) => one[field]).filter(Number.isFinite)
        return values.length > 0 ? median(values) * scale : '–'
      }, at),
    ])
  const versions = [...new Set(contestants.map(versionOf).filter(version => version !== undefined))]
  console.log('## The whole relay\n')
  console.log(`${setting()}; load average ${load} at the start.${versions.length > 0 ? ` ${versions.join(', ')}.` : ''}`)
  if (missing.length > 0) console.log(`Not on PATH and left out: ${missing.join(', ')}.`)
  console.log(
    `Medians of ${args.repeat} runs, ${seconds} s a cell, runs interleaved. CPU: the program's own, all threads, user and system.\n`,
  )
  console.log('### Bulk: Gbit/s, and CPU seconds per GB\n')
  const bulk = ['up1', 'down1', 'up8', 'down8']
  console.log(
    table(
      ['who@MTU', 'up 1', 'CPU', 'down 1', 'CPU', 'up 8', 'CPU', 'down 8', 'CPU', 'SHA-256 of 64 MiB there and back'],
      each((of, at) => [...bulk.flatMap(key => [of(key, 'gbits'), of(key, 'cpuPerGB')]), sha(results[at])]),
    ),
  )
  console.log('\n### Connections (a byte there and back, 64 at once), and 64 bytes asked and answered\n')
  console.log(
    table(
      ['who@MTU', 'connections/s', 'CPU µs each', 'p50 µs', 'p99 µs', 'failed', 'answer p50 µs', 'p99 µs'],
      each(of => [
        ...['perSecond', 'micros', 'p50', 'p99', 'failed'].map(field => of('connections', field)),
        of('rr', 'p50'),
        of('rr', 'p99'),
      ]),
    ),
  )
  console.log('\n### The same answers beside 4 bulk streams: µs; Gbit/s of the streams; the least of them by the most\n')
  const beside = ['p50', 'p99', 'gbits', 'share']
  console.log(
    table(
      ['who@MTU', 'down: p50', 'p99', 'Gbit/s', 'share', 'up: p50', 'p99', 'Gbit/s', 'share'],
      each(of => ['downBeside', 'upBeside'].flatMap(key => beside.map(field => of(key, field)))),
    ),
  )
  console.log('\n### Datagrams of 1200 bytes there and back, 128 under way; flows of one datagram each, 64 at once\n')
  console.log(
    table(
      ['who@MTU', 'a second', 'CPU µs each', 'lost %', 'new flows/s', 'CPU µs each', 'lost of 1,000'],
      each(of => ['datagrams', 'flows'].flatMap(key => ['perSecond', 'micros', 'lost'].map(field => of(key, field)))),
    ),
  )
  console.log(`\n### ${Number(args.idle).toLocaleString('en-US')} connections that say nothing; what applications are told\n`)
  console.log(
    table(
      [
        'who@MTU',
        'first answer ms',
        'MB fresh',
        'bytes each',
        'held',
        'alive at the end',
        's to open',
        'idle CPU %',
        'nobody listens',
        'all of 8 MiB behind our FIN, and theirs',
      ],
      each((of, at) => [
        of('start', 'ms'),
        of('idle', 'fresh', 1e-6),
        ...['each', 'held', 'alive', 'seconds'].map(field => of('idle', field)),
        of('idle', 'idle', 100),
        [...new Set((results[at].get('refused') ?? []).map((/** @type {Figures} */ one) => one.told ?? 'nothing'))].join('; ') || '–',
        halves(results[at]),
      ]),
    ),
  )
  const failures = contestants.flatMap((_, at) =>
    [...results[at]].flatMap(([key, runs]) =>
      runs.filter((/** @type {Figures} */ one) => one.error).map((/** @type {Figures} */ one) => `- ${names[at]}, ${key}: ${one.error}`),
    ),
  )
  if (failures.length > 0) console.log(`\nWhat failed, and is not in the medians:\n\n${failures.join('\n')}`)
  if (contestants.some(({ name }, at) => name.startsWith('ours') && sha(results[at]) !== 'the same')) process.exitCode = 1
}

function sha(/** @type {Map<string, Figures>} */ result) {
  /** @type {Figures[]} */
  const runs = result.get('sha') ?? []
  if (runs.some(({ whole }) => whole?.back === 1 && !whole.same)) return 'NOT the same'
  return runs.length > 0 && runs.every(({ whole }) => whole?.same) ? 'the same' : 'not all came back'
}

function halves(/** @type {Map<string, Figures>} */ result) {
  const runs = result.get('sha') ?? []
  if (runs.length > 0 && runs.every((/** @type {Figures} */ one) => one.half?.same && one.half.ended)) return 'yes'
  return `no: ${runs.map((/** @type {Figures} */ one) => `${Math.round(100 * (one.half?.back ?? 0))} %`).join(', ')}`
}

/** Instead of figures: what the CPU does in `ours`, for each of a few works. */
async function profile(/** @type {string} */ tools) {
  const [ours] = present(['ours']).here
  const look = profiler()
  /** @type {import('./tun/profile.mjs').Shares[]} */
  const columns = []
  const limit = 2 * Number(seconds) + 30
  for (const key of LOOKED_AT) {
    const work = WORKS.find(([name]) => name === key)?.[1] ?? []
    const place = new Place(tools, ours)
    try {
      await place.open(look.nodeOptions(place.lab.directory))
      for (let i = 0; i < 2; i++) await place.load(work, limit) // most is compiled by then
      const looking = look.start(place.pid, place.lab.directory)
      await new Promise(resolve => setTimeout(resolve, 1000)) // until it is attached; nothing runs meanwhile, so nothing is counted
      const figures = await place.load(work, limit)
      if (figures.error) throw new Error(`${key}: ${figures.error}`)
      columns.push(await looking.finish(/** @type {import('../scripts/lab/lab.mjs').Program} */ (place.program)))
    } finally {
      place.close()
    }
  }
  console.log(`## Where the time goes in the example proxy\n\n${setting()}. ${look.how}\n`)
  const kinds = [...new Set(columns.flatMap(({ kinds }) => [...kinds.keys()]))]
  const share = (/** @type {number} */ part) => `${(100 * part).toFixed(1)} %`
  const most = (/** @type {string} */ kind) => Math.max(...columns.map(column => column.kinds.get(kind) ?? 0))
  kinds.sort((a, b) => most(b) - most(a))
  console.log(
    table(
      ['CPU time', ...LOOKED_AT],
      kinds.map(kind => [kind, ...columns.map(column => share(column.kinds.get(kind) ?? 0))]),
    ),
  )
  for (const [at, { top }] of columns.entries()) {
    console.log(`\nThe most of \`${LOOKED_AT[at]}\`:\n`)
    console.log(
      table(
        ['share', 'kind', 'function'],
        top.map(({ part, kind, name }) => [share(part), kind, name]),
      ),
    )
  }
}
