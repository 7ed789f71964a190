// DNS on a TUN, and on a socket: how many queries a second, and CPU of the process that answers, for each. dnsperf in a namespace asks
// the example proxy and, where it is found, sing-box: the same names in turn, each process alone with dnsperf.
//
//   sudo node bench/dns.mjs [--seconds 4] [--repeat 3] [--names 10000] [--sing-box PATH] [--only ours]
//                           needs npm run build, dnsperf, unbound

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Lab, until } from '../scripts/lab/lab.mjs'
import { findBinary } from '../scripts/peers.mjs'
import { median, table } from './report.mjs'

const { values: args } = parseArgs({
  options: {
    seconds: { type: 'string', default: '4' },
    repeat: { type: 'string', default: '3' },
    names: { type: 'string', default: '10000' },
    'sing-box': { type: 'string', default: findBinary('sing-box') ?? '' },
    only: { type: 'string', default: '' },
    profile: { type: 'boolean', default: false },
  },
})
const PROXY = fileURLToPath(new URL('../examples/clash-proxy/bin/clash-proxy.js', import.meta.url))
const UPSTREAM = '10.86.0.1'
const ON_TUN = '198.51.100.53'
const LISTEN = 1053
const TICKS = 100 // of /proc/PID/stat a second: sysconf(_SC_CLK_TCK) on Linux

/** @typedef {{ name: string, command: string, args: (directory: string) => string[] }} Contestant */

/** @type {Contestant[]} */
const contestants = [
  {
    name: 'clash-proxy',
    command: process.execPath,
    args: directory => {
      const path = join(directory, 'ours.yaml')
      writeFileSync(
        path,
        `log-level: error
tun: { enable: true, device-url: 'dev://tun0', dns-listen: '0.0.0.0:53' }
dns: { enable: true, ipv6: true, fake-ip-store: memory, nameserver: ['${UPSTREAM}'], listen: '127.0.0.1:${LISTEN}', cache-max-size: 65536 }
rules: ['MATCH,DIRECT']
`,
      )
      return [...(args.profile ? ['--cpu-prof', '--cpu-prof-dir=/tmp/dns-profile'] : []), PROXY, '-f', path]
    },
  },
  {
    name: 'sing-box',
    command: args['sing-box'],
    args: directory => {
      const path = join(directory, 'sing-box.json')
      const servers = [
        { type: 'udp', tag: 'up', server: UPSTREAM },
        { type: 'fakeip', tag: 'fake', inet4_range: '198.18.0.0/15' },
      ]
      const dns = { servers, rules: [{ query_type: ['A', 'AAAA'], action: 'route', server: 'fake' }], final: 'up', cache_capacity: 65536 }
      const inbounds = [
        { type: 'tun', tag: 'tun', interface_name: 'tun0', address: ['10.99.0.1/30'], auto_route: false, stack: 'system' },
        { type: 'direct', tag: 'socket', listen: '127.0.0.1', listen_port: LISTEN },
      ]
      const route = {
        rules: [
          { inbound: 'socket', action: 'hijack-dns' },
          { port: 53, action: 'hijack-dns' },
        ],
        default_domain_resolver: 'up',
      }
      writeFileSync(path, JSON.stringify({ log: { level: 'error' }, dns, inbounds, outbounds: [{ type: 'direct' }], route }))
      return ['run', '-c', path]
    },
  },
]
const chosen = contestants.filter(
  ({ name, command }) => command !== '' && (args.only === '' || (args.only === 'ours') === (name === 'clash-proxy')),
)
/** @type {[what: string, type: string, server: string, port: number][]} */
const CASES = [
  ['fake IP, on the TUN', 'A', ON_TUN, 53],
  ['cached answer, on the TUN', 'TXT', ON_TUN, 53],
  ['fake IP, on a socket', 'A', '127.0.0.1', LISTEN],
  ['cached answer, on a socket', 'TXT', '127.0.0.1', LISTEN],
]

const lab = new Lab()
try {
  await run()
} finally {
  lab.close()
}

async function run() {
  const dnsperf = findBinary('dnsperf')
  if (dnsperf === undefined) throw new Error('dnsperf is missing: apt-get install dnsperf')
  const apps = lab.namespace('apps')
  const servers = lab.namespace('servers')
  lab.wire(apps, ['10.86.0.2/24'], servers, [`${UPSTREAM}/24`])
  apps.sysctl('net.ipv4.conf.all.rp_filter', 0)
  const unbound = join(lab.directory, 'unbound.conf')
  writeFileSync(
    unbound,
    `server:\n  chroot: ""\n  username: ""\n  directory: "${lab.directory}"\n  pidfile: ""\n  use-syslog: no\n  do-daemonize: no
  interface: ${UPSTREAM}\n  access-control: 0.0.0.0/0 allow\n  local-zone: "test." redirect\n  local-data: 'test. 86400 IN TXT "an answer of some length"'
remote-control:\n  control-enable: no\n`,
  )
  servers.start(/** @type {string} */ (findBinary('unbound')), ['-d', '-c', unbound])
  await servers.listening(53)
  for (const type of ['A', 'TXT']) {
    const names = Array.from({ length: Number(args.names) }, (_, i) => `host-${i}.some-site.test ${type}\n`)
    writeFileSync(join(lab.directory, type), names.join(''))
  }

  /** @type {Map<string, { rate: number, cpu: number }[]>} */
  const results = new Map()
  for (let i = 0; i < Number(args.repeat); i++) {
    for (const contestant of chosen) {
      const program = apps.start(contestant.command, contestant.args(lab.directory))
      await until(`${contestant.name} to make its TUN`, 20_000, () => {
        if (!program.running) throw new Error(`${contestant.name} ended:\n${program.tail()}`)
        return apps.hasDevice('tun0')
      })
      apps.ip('address', 'replace', '10.99.0.1/30', 'dev', 'tun0')
      apps.ip('link', 'set', 'tun0', 'up')
      apps.ip('route', 'replace', '198.51.100.0/24', 'dev', 'tun0')
      await apps.listening(LISTEN, { udp: true })
      for (const [what, type, server, port] of CASES) {
        const ask = async (/** @type {string[]} */ ...limit) => {
          const common = ['-s', server, '-p', String(port), '-d', join(lab.directory, type), '-q', '64', '-c', '4', '-t', '2']
          return apps.run(dnsperf, [...common, ...limit], { timeout: 120_000 })
        }
        await ask('-n', '2') // every name is known from here on
        const before = cpuOf(program.child.pid)
        const { stdout } = await ask('-l', args.seconds, '-n', '1000000')
        const cpu = cpuOf(program.child.pid) - before
        const text = stdout.toString()
        const completed = Number(/Queries completed:\s+(\d+)/.exec(text)?.[1])
        const good = Number(/NOERROR (\d+)/.exec(text)?.[1])
        if (!(good > 0.99 * completed)) throw new Error(`${contestant.name}, ${what}:\n${text}`)
        const key = `${what}|${contestant.name}`
        const of = results.get(key) ?? []
        results.set(key, of)
        of.push({ rate: Number(/Queries per second:\s+([\d.]+)/.exec(text)?.[1]), cpu: (1e6 * cpu) / completed })
      }
      await program.stop()
      await until('the TUN to go', 5000, () => !apps.hasDevice('tun0'))
    }
  }
  const rows = CASES.flatMap(([what]) =>
    chosen.map(({ name }) => {
      const of = results.get(`${what}|${name}`) ?? []
      const cpu = median(of.map(({ cpu }) => cpu))
      return [
        what,
        name,
        Math.round(median(of.map(({ rate }) => rate))),
        cpu,
        Math.round(1e6 / cpu),
        of.map(({ cpu }) => cpu.toFixed(1)).join(' '),
      ]
    }),
  )
  console.log('## DNS\n')
  console.log(`${args.names} names, 64 queries under way; medians of ${args.repeat} runs of ${args.seconds} s each, runs interleaved.\n`)
  console.log(table(['what', 'who', 'queries/s', 'CPU µs a query', 'queries a CPU second', 'each run, µs'], rows))
}

/** CPU seconds of a process, all its threads, user and system: proc(5). */
function cpuOf(/** @type {number | undefined} */ pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS
}
