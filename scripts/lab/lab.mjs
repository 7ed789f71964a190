// Owns: throw-away networks on this machine: namespaces, wires between them, programs inside, and taking it all down again
// whatever happens. For `npm run try` and test/system. Read ip-netns(8).

import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Programs in a namespace that should not be root run as this user. */
export const NOBODY = 65534
const PREFIX = 'tunlab'
const LOG_LINES = 2000
let labs = 0

/** @typedef {{ code: number | null, signal: string | null, stdout: Buffer, stderr: string, ms: number }} Finished */
/** @typedef {{ nobody?: boolean, env?: Record<string, string>, input?: string, timeout?: number }} RunOptions */

/** Why no lab can be made here, with what to do about it; undefined if one can. */
export function labObstacle() {
  if (process.platform !== 'linux') return 'network namespaces need Linux'
  if (process.getuid?.() !== 0) return 'needs root: run it with sudo'
  if (spawnSync('ip', ['-V']).error) return 'the program ip is missing: apt-get install iproute2'
  if (!existsSync('/dev/net/tun'))
    return '/dev/net/tun is missing: modprobe tun (in a container: --device /dev/net/tun --cap-add NET_ADMIN)'
  const probe = `${PREFIX}-${process.pid}-probe`
  const made = spawnSync('ip', ['netns', 'add', probe], { encoding: 'utf8' })
  if (made.status !== 0) return `cannot make a network namespace (in a container: --privileged): ${made.stderr.trim()}`
  spawnSync('ip', ['netns', 'del', probe])
  return undefined
}

/** Runs `ip` and throws with its words if it fails. */
export function ip(/** @type {string[]} */ ...args) {
  const done = spawnSync('ip', args, { encoding: 'utf8' })
  if (done.error) throw done.error
  if (done.status !== 0) throw new Error(`ip ${args.join(' ')}: ${done.stderr.trim()}`)
  return done.stdout
}

export class Lab {
  constructor() {
    sweep()
    this.number = ++labs
    /** Files of this lab; removed with it. */
    this.directory = mkdtempSync(join(tmpdir(), `${PREFIX}-${process.pid}-`))
    /** @type {Namespace[]} */
    this.namespaces = []
    /** @type {Program[]} */
    this.programs = []
    this.closed = false
    this.onExit = () => this.close()
    process.once('exit', this.onExit)
  }

  /** A namespace with loopback up. `resolver` becomes the only nameserver in its /etc/resolv.conf. */
  namespace(/** @type {string} */ label, /** @type {{ resolver?: string }} */ options = {}) {
    const namespace = new Namespace(this, `${PREFIX}-${process.pid}-${this.number}-${label}`, label)
    this.namespaces.push(namespace)
    ip('netns', 'add', namespace.name)
    for (const scope of ['all', 'default']) {
      namespace.sysctl(`net.ipv6.conf.${scope}.disable_ipv6`, 0)
      namespace.sysctl(`net.ipv6.conf.${scope}.accept_dad`, 0) // or the first second of a wire loses IPv6
    }
    namespace.ip('link', 'set', 'lo', 'up')
    if (options.resolver) {
      // `ip netns exec` binds these over the files in /etc, for the program it starts only.
      const etc = join('/etc/netns', namespace.name)
      mkdirSync(etc, { recursive: true })
      writeFileSync(join(etc, 'resolv.conf'), `nameserver ${options.resolver}\noptions timeout:2 attempts:2\n`)
      // Not systemd-resolved nor mDNS: they answer from outside of the namespace.
      if (existsSync('/etc/nsswitch.conf')) writeFileSync(join(etc, 'nsswitch.conf'), 'hosts: files dns\n')
    }
    return namespace
  }

  /** A wire: an interface called `device` in each, with these addresses (CIDR). */
  wire(
    /** @type {Namespace} */ a,
    /** @type {string[]} */ addressesA,
    /** @type {Namespace} */ b,
    /** @type {string[]} */ addressesB,
    device = 'uplink',
  ) {
    ip('link', 'add', device, 'netns', a.name, 'type', 'veth', 'peer', 'name', device, 'netns', b.name)
    const ends = [
      { namespace: a, addresses: addressesA, mac: '02:00:00:00:00:0a' },
      { namespace: b, addresses: addressesB, mac: '02:00:00:00:00:0b' },
    ]
    for (const { namespace, addresses, mac } of ends) {
      namespace.ip('link', 'set', device, 'address', mac, 'up')
      for (const address of addresses) namespace.address(address, device)
    }
    // They know each other: in the first second of a wire's life the kernel may lose a neighbour solicitation and wait a second.
    for (const [here, there] of [ends, ends.toReversed()]) {
      for (const address of there.addresses) {
        here.namespace.ip('neighbour', 'replace', address.split('/')[0], 'lladdr', there.mac, 'dev', device, 'nud', 'permanent')
      }
    }
  }

  /** Ends every program and removes every namespace and file. Synchronous, idempotent: also runs when the process exits. */
  close() {
    if (this.closed) return
    this.closed = true
    process.removeListener('exit', this.onExit)
    for (const program of this.programs) program.kill('SIGKILL')
    for (const { name } of this.namespaces) removeNamespace(name)
    rmSync(this.directory, { recursive: true, force: true })
  }
}

export class Namespace {
  constructor(/** @type {Lab} */ lab, /** @type {string} */ name, /** @type {string} */ label) {
    this.lab = lab
    this.name = name
    this.label = label
  }

  ip(/** @type {string[]} */ ...args) {
    return ip('-n', this.name, ...args)
  }

  address(/** @type {string} */ cidr, /** @type {string} */ device) {
    const nodad = cidr.includes(':') ? ['nodad'] : []
    this.ip('address', 'replace', cidr, 'dev', device, ...nodad)
  }

  /** Sets a sysctl of this namespace, e.g. `net.ipv4.conf.tun0.rp_filter`. */
  sysctl(/** @type {string} */ key, /** @type {string | number} */ value) {
    const path = `/proc/sys/${key.replaceAll('.', '/')}`
    const done = spawnSync('ip', ['netns', 'exec', this.name, 'sh', '-c', `echo ${value} > ${path}`], { encoding: 'utf8' })
    if (done.status !== 0) throw new Error(`${key}=${value} in ${this.name}: ${done.stderr.trim()}`)
  }

  hasDevice(/** @type {string} */ device) {
    return spawnSync('ip', ['-n', this.name, 'link', 'show', 'dev', device]).status === 0
  }

  /** Packets the kernel sent into a device (from the applications), and got out of it. */
  packets(/** @type {string} */ device) {
    const [link] = JSON.parse(this.ip('-j', '-s', 'link', 'show', 'dev', device))
    return { sent: link.stats64.tx.packets, received: link.stats64.rx.packets }
  }

  /** Starts a program that stays. Its output is kept and can be waited for. */
  start(/** @type {string} */ command, /** @type {string[]} */ args, /** @type {RunOptions} */ options = {}) {
    const program = new Program(command, spawn('ip', this.argv(command, args, options), spawnOptions(options)))
    this.lab.programs.push(program)
    return program
  }

  /** Runs a program to its end. Never rejects for what the program did. @returns {Promise<Finished>} */
  run(/** @type {string} */ command, /** @type {string[]} */ args, /** @type {RunOptions} */ options = {}) {
    return this.start(command, args, options).finish(options.timeout ?? 60_000, options.input)
  }

  /** Resolves when somebody listens on TCP (or, with `udp`, has bound) `port`. */
  async listening(/** @type {number} */ port, { udp = false, timeout = 10_000 } = {}) {
    await until(`${udp ? 'UDP' : 'TCP'} port ${port} in ${this.label}`, timeout, () => {
      const sockets = spawnSync('ip', ['netns', 'exec', this.name, 'ss', udp ? '-Huan' : '-Hltn'], { encoding: 'utf8' })
      return sockets.stdout.split('\n').some(line => line.trim().split(/\s+/)[3]?.endsWith(`:${port}`))
    })
  }

  argv(/** @type {string} */ command, /** @type {string[]} */ args, /** @type {RunOptions} */ options) {
    const user = options.nobody ? ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--'] : []
    return ['netns', 'exec', this.name, ...user, command, ...args]
  }
}

/** A program in a namespace: `ip netns exec` and setpriv become it, so its pid is the child's. */
export class Program {
  constructor(/** @type {string} */ command, /** @type {import('node:child_process').ChildProcess} */ child) {
    this.command = command
    this.child = child
    /** The last lines of both outputs, in order of arrival. @type {string[]} */
    this.lines = []
    /** @type {Buffer[]} */
    this.stdout = []
    this.keepStdout = false
    this.startedAt = performance.now()
    for (const stream of [child.stdout, child.stderr]) {
      let rest = ''
      stream?.on('data', data => {
        if (stream === child.stdout && this.keepStdout) return void this.stdout.push(data)
        const lines = (rest + data).split('\n')
        rest = lines.pop() ?? ''
        this.lines.push(...lines)
        if (this.lines.length > LOG_LINES) this.lines.splice(0, this.lines.length - LOG_LINES)
      })
      stream?.on('end', () => rest && this.lines.push(rest))
    }
    /** @type {Promise<{ code: number | null, signal: string | null }>} */
    this.exited = new Promise(resolve => {
      child.on('error', error => {
        this.lines.push(error.message)
        resolve({ code: 127, signal: null })
      })
      child.on('close', (code, signal) => resolve({ code, signal }))
    })
  }

  get running() {
    return this.child.exitCode === null && this.child.signalCode === null && this.child.pid !== undefined
  }

  /** The end of its output, for a failure's report. */
  tail(lines = 25) {
    return this.lines.slice(-lines).join('\n')
  }

  /** Resolves with the first line that matches; rejects if it ends before or takes too long. */
  async waitFor(/** @type {RegExp} */ pattern, timeout = 10_000) {
    /** @type {string | undefined} */
    let line
    await until(`${this.command} to say ${pattern}`, timeout, () => {
      line = this.lines.find(l => pattern.test(l))
      if (line === undefined && !this.running) throw new Error(`${this.command} ended before it said ${pattern}:\n${this.tail()}`)
      return line !== undefined
    })
    return /** @type {string} */ (line)
  }

  /** Waits for its end, at most `timeout` ms, then kills it. @returns {Promise<Finished>} */
  async finish(/** @type {number} */ timeout, /** @type {string | undefined} */ input) {
    this.keepStdout = true
    this.child.stdin?.on('error', () => {})
    this.child.stdin?.end(input)
    const timer = setTimeout(() => this.kill('SIGKILL'), timeout)
    const { code, signal } = await this.exited
    clearTimeout(timer)
    const ms = performance.now() - this.startedAt
    return { code, signal, stdout: Buffer.concat(this.stdout), stderr: this.lines.join('\n'), ms }
  }

  kill(/** @type {NodeJS.Signals} */ signal = 'SIGTERM') {
    if (this.running) this.child.kill(signal)
  }

  /** Asks it to end, and makes it after `patience` ms. */
  async stop(patience = 5000) {
    this.kill('SIGTERM')
    const timer = setTimeout(() => this.kill('SIGKILL'), patience)
    const end = await this.exited
    clearTimeout(timer)
    return end
  }
}

/** Asks `done` every 30 ms. */
export async function until(
  /** @type {string} */ what,
  /** @type {number} */ timeout,
  /** @type {() => boolean | Promise<boolean>} */ done,
) {
  const deadline = performance.now() + timeout
  while (!(await done())) {
    if (performance.now() > deadline) throw new Error(`waited ${timeout / 1000} s for ${what}`)
    await new Promise(resolve => setTimeout(resolve, 30))
  }
}

function spawnOptions(/** @type {RunOptions} */ options) {
  /** @type {import('node:child_process').SpawnOptions} */
  const spawnWith = { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...options.env } }
  return spawnWith
}

function removeNamespace(/** @type {string} */ name) {
  // A daemon that a program left behind would keep the namespace alive without a name.
  const pids = spawnSync('ip', ['netns', 'pids', name], { encoding: 'utf8' }).stdout ?? ''
  for (const pid of pids.split('\n').filter(Boolean)) {
    try {
      process.kill(Number(pid), 'SIGKILL')
    } catch {} // it has ended meanwhile
  }
  spawnSync('ip', ['netns', 'del', name])
  rmSync(join('/etc/netns', name), { recursive: true, force: true })
  try {
    rmdirSync('/etc/netns')
  } catch {} // not ours alone
}

/** Takes down what a killed run left: everything of a lab carries its pid. */
function sweep() {
  for (const directory of ['/run/netns', '/etc/netns', tmpdir()]) {
    if (!existsSync(directory)) continue
    for (const name of readdirSync(directory)) {
      const pid = new RegExp(`^${PREFIX}-(\\d+)-`).exec(name)?.[1]
      if (!pid || lives(pid)) continue
      if (directory === tmpdir()) rmSync(join(directory, name), { recursive: true, force: true })
      else removeNamespace(name)
    }
  }
}

/** A zombie does not: in a container without an init nobody collects them. proc(5) */
function lives(/** @type {string} */ pid) {
  try {
    return !/^\d+ \(.*\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}
