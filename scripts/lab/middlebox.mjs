// A bad line between two network interfaces, for the kernel's TCP: where there is no netem, or where it should also stand between the
// kernel and this repository's stack. It makes a TUN at either end, without any offload: every packet is one segment, lost by itself.
//
// How well it keeps time: a packet comes out 0 to 0.3 ms late, as long as this process gets a CPU when it is due (it asks for a high
// priority); `late` in the counters is the worst that happened. Timers of Node count milliseconds, so that it naps through the last two
// before a deadline: a tenth of a core. It carries some 100,000 packets a second, both ways together: 1 Gbit/s of TCP at MTU 1500, if it
// has a core for itself. Beyond, the bottleneck is this process, with QUEUE packets in the kernel before it: set `--rate` below. Packets
// under way are copies: 400 Mbit/s × 100 ms are 5 MB, and garbage then. A seed draws the same for the same packets, but no kernel sends
// the same twice.

import { spawnSync } from 'node:child_process'
import { setPriority } from 'node:os'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { openTun } from '@tun/device'
import { FaultyWire, NO_FAULTS } from './faulty-wire.mjs'

/** @typedef {import('./faulty-wire.mjs').Faults} Faults */

const USAGE = `A line with delay, loss and other faults between two TUNs, which it makes. Linux, root.

  node scripts/lab/middlebox.mjs --a NIC[@NAMESPACE] --b NIC[@NAMESPACE] [faults]

  --a, --b       the two ends: name of the interface, and of the network namespace (ip netns) it is put into

  --delay MS     one way (0)                       --jitter MS    up to so much more, order is kept (0)
  --loss P       part of the packets lost (0)      --burst N      mean number lost in a row (1)
  --reorder P    part that is held back (0)        --hold MS      for at most so long (delay + jitter + 1)
  --duplicate P  part that arrives twice (0)       --corrupt P    part of which one bit is flipped (0)
  --rate BITS    per second, e.g. 10m (no bound)   --queue BYTES  that wait for that rate, e.g. 64k (256k)

  Each for both ways; for one: --ab-loss 0.1, --ba-rate 1m …

  --mtu BYTES    of both ends (1500)               --seed N       of all chances (1)

It says 'ready' on stdout. Lines on stdin, while it runs:  {"delay": 20, "ba": {"loss": 0.1}}   new faults, by the names above
                                                           counters [reset]                     prints them: counters {"ab": …}
It ends with stdin, or by a signal; its interfaces go with it.

Two namespaces 20 ms apart:
  ip netns add x; ip netns add y
  node scripts/lab/middlebox.mjs --a line0@x --b line0@y --delay 20 --loss 0.01 &
  ip -n x address add 10.9.0.1/24 dev line0; ip -n y address add 10.9.0.2/24 dev line0; ip netns exec x ping 10.9.0.2
`

/** Packets the kernel keeps for us while this process does something else. */
const QUEUE = 10_000
/** Before what it stands between: the two ends may keep every CPU busy. setpriority(2) */
const PRIORITY = -15
const SUFFIX = /** @type {Record<string, number>} */ ({ '': 1, k: 1e3, m: 1e6, g: 1e9 })
const NAMES = /** @type {(keyof Faults)[]} */ (Object.keys(NO_FAULTS))
const PROBABILITIES = new Set(['loss', 'reorder', 'duplicate', 'corrupt'])

/** @type {Record<string, { type: 'string' | 'boolean', default?: string }>} */
const options = {
  ...{ help: { type: 'boolean' }, a: { type: 'string' }, b: { type: 'string' } },
  ...{ mtu: { type: 'string', default: '1500' }, seed: { type: 'string', default: '1' } },
}
for (const way of ['', 'ab-', 'ba-']) for (const name of NAMES) options[way + name] = { type: 'string' }

try {
  main()
} catch (error) {
  stop(/** @type {Error} */ (error).message)
}

function main() {
  const args = /** @type {Record<string, string | undefined>} */ (parseArgs({ options }).values)
  if (args.help) return void process.stdout.write(USAGE)
  if (!args.a || !args.b) throw new Error('--a and --b are needed; --help tells more')
  const both = faults(args, '')
  const faultsOf = { ab: { ...both, ...faults(args, 'ab-') }, ba: { ...both, ...faults(args, 'ba-') } }
  const a = openEnd(args.a, 'a', Number(args.mtu))
  const b = openEnd(args.b, 'b', Number(args.mtu))
  setPriority(PRIORITY)
  const wire = new FaultyWire(a, b, { seed: Number(args.seed), ...faultsOf })
  wire.onlost = name => stop(`the interface made as ${name} is gone`)
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => end(wire))
  createInterface({ input: process.stdin })
    .on('line', line => {
      try {
        command(wire, line.trim())
      } catch (error) {
        process.stderr.write(`middlebox: ${line}: ${/** @type {Error} */ (error).message}\n`)
      }
    })
    .on('close', () => end(wire))
  console.log('ready')
}

function command(/** @type {FaultyWire} */ wire, /** @type {string} */ line) {
  const [verb, ...more] = line.split(' ')
  if (line === '') return
  if (verb === 'counters') return console.log(`counters ${JSON.stringify(wire.counters(more.includes('reset')))}`)
  const { ab = {}, ba = {}, ...both } = JSON.parse(line)
  wire.set({ ab: { ...faults(both, ''), ...faults(ab, '') }, ba: { ...faults(both, ''), ...faults(ba, '') } })
  console.log('set')
}

/** @returns {Partial<Faults>} the faults among `given` whose name begins with `way` */
function faults(/** @type {Record<string, string | number | undefined>} */ given, /** @type {string} */ way) {
  /** @type {Partial<Faults>} */
  const found = {}
  for (const name of NAMES) {
    const value = given[way + name]
    if (value !== undefined) found[name] = number(way + name, value, PROBABILITIES.has(name) ? 1 : Infinity)
  }
  return found
}

function number(/** @type {string} */ name, /** @type {string | number} */ text, /** @type {number} */ most) {
  const [, digits, suffix] = /^([\d.]+|Infinity)([kmg]?)$/i.exec(String(text)) ?? []
  const value = Number(digits) * SUFFIX[suffix?.toLowerCase() ?? '']
  if (!(value >= 0 && value <= most)) throw new Error(`${name} is ${text}: expected a number from 0 to ${most}`)
  return value
}

/** A TUN made here, where we may, and put where it is wanted: its descriptor stays good. */
function openEnd(/** @type {string} */ end, /** @type {string} */ which, /** @type {number} */ mtu) {
  const [name, namespace] = end.split('@')
  const device = openTun(`dev://mb${which}${process.pid}`, { offload: false, mtu, up: false })
  ip('link', 'set', 'dev', device.name, 'txqueuelen', String(QUEUE))
  ip('link', 'set', 'dev', device.name, 'name', name, ...(namespace ? ['netns', namespace] : []))
  ip(...(namespace ? ['-n', namespace] : []), 'link', 'set', 'dev', name, 'up')
  return device
}

function ip(/** @type {string[]} */ ...argv) {
  const done = spawnSync('ip', argv, { encoding: 'utf8' })
  if (done.error) throw done.error
  if (done.status !== 0) throw new Error(`ip ${argv.join(' ')}: ${done.stderr.trim()}`)
}

function end(/** @type {FaultyWire} */ wire) {
  wire.close()
  process.exit(0)
}

/** @returns {never} */
function stop(/** @type {string} */ why) {
  process.stderr.write(`middlebox: ${why}\n`)
  process.exit(1)
}
