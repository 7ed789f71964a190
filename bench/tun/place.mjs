// Owns: one run of bench/tun.mjs: a network namespace with a far end (tun/sink.c), a program and its TUN in it; and the applications.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Lab, until } from '../../scripts/lab/lab.mjs'
import { NIC, SOCKS } from './programs.mjs'

/** @typedef {import('./programs.mjs').Present} Present */
/** @typedef {Record<string, any>} Figures one line of JSON of tun/load.c or tun/whole.mjs, or { error } */

const NET = '198.18.0.0/15'
const DATAGRAMS = '198.18.0.9' // load.c

export class Place {
  constructor(/** @type {string} */ tools, /** @type {Present} */ contestant) {
    this.tools = tools
    this.contestant = contestant
    this.lab = new Lab()
    this.namespace = this.lab.namespace('bench')
    this.counts = join(this.lab.directory, 'counts')
    /** @type {import('../scripts/lab/lab.mjs').Program | undefined} */
    this.program = undefined
  }

  /** Starts all; how long it takes the program until a first byte has come back, and what memory it has then. */
  async open(/** @type {string[]} */ nodeOptions) {
    const { namespace } = this
    const { command, config = '', name, mtu, args: argsFor } = this.contestant
    namespace.sysctl('net.ipv4.ip_local_port_range', '"1024 65535"')
    namespace.sysctl('net.ipv4.ip_local_reserved_ports', SOCKS)
    namespace.sysctl('net.ipv4.tcp_max_tw_buckets', 400_000)
    if (!command) namespace.ip('route', 'add', 'local', NET, 'dev', 'lo')
    const sink = namespace.start(join(this.tools, 'sink'), [String(SOCKS), this.counts, ...(command ? [] : ['direct', DATAGRAMS])])
    await until('the far end', 5000, () => {
      if (!sink.running) throw new Error(`the far end ended: ${sink.tail()}`)
      return this.isReady()
    })
    const from = performance.now()
    if (command) {
      const path = join(this.lab.directory, 'config.yaml')
      writeFileSync(path, config)
      this.program = namespace.start(command, [...nodeOptions, ...argsFor(path)])
      while (!namespace.hasDevice(NIC)) {
        if (!this.alive) throw new Error(`${name} ended:\n${this.program.tail(5)}`)
        if (performance.now() - from > 15_000) throw new Error(`${name} made no ${NIC}:\n${this.program.tail(5)}`)
        await new Promise(resolve => setTimeout(resolve, 2))
      }
      if (!namespace.ip('-o', 'address', 'show', 'dev', NIC).includes('inet ')) namespace.address('10.255.0.1/24', NIC)
      namespace.ip('link', 'set', NIC, 'mtu', String(mtu), 'up')
      namespace.ip('route', 'replace', NET, 'dev', NIC)
    }
    const ready = await this.load(['ready', '10'], 15)
    if (ready.error) throw new Error(ready.error)
    return { ms: performance.now() - from }
  }

  get alive() {
    return this.program?.running ?? true
  }

  get pid() {
    return this.program?.child.pid ?? 0
  }

  isReady() {
    try {
      return readFileSync(this.counts)[0] === 1
    } catch {
      return false // not there yet
    }
  }

  load(/** @type {string[]} */ work, /** @type {number} */ limit) {
    return this.app(join(this.tools, 'load'), [this.counts, String(this.pid), ...work], limit)
  }

  /** @returns {Promise<Figures>} */
  async app(/** @type {string} */ command, /** @type {string[]} */ argv, /** @type {number} */ limit) {
    const done = await this.namespace.run(command, argv, { timeout: limit * 1000 })
    if (done.code === 0 && done.stdout.length > 0) return JSON.parse(done.stdout.toString())
    const why = done.signal ? `nothing in ${limit} s` : done.stderr.trim()
    return { error: this.alive ? why || 'no figures' : `the program ended: ${this.program?.tail(3)}` }
  }

  close() {
    this.lab.close()
  }
}
