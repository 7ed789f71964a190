// Owns: floods of a proxy through its TUN, with honest applications in the midst of them: what it costs, and who is still served.
// For bench/flood.mjs and test/system/flood.test.ts. The network is that of test/system/namespace.ts; the proxy carries everything DIRECT.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Lab, until } from './lab.mjs'

const TUN = 'tun0'
const APP = '198.18.0.1'
const SERVER = '203.0.113.10'
/** An address of the servers' net from which nothing comes back: dials hang. */
const SILENCE = '203.0.113.99'
const TCP_PORT = 7005 // test/system/programs/ports.mjs: echo
const UDP_PORT = 7101

/** @typedef {{ kind: 'noise' | 'fragments' | 'sources' | 'syn', count: number, rate: number, honestAfter?: number }} Flood
 * `rate`: packets a second. `honestAfter`: ms after which applications come. */
/** @typedef {{ asked: number, answered: number, during: number, slowest: number, errors: string[] }} Served `slowest`: ms */
/**
 * @typedef {{ kind: string, sent: number, dropped: number, seconds: number, cpu: number }} Cost
 * @typedef {{ before: number, peak: number, after: number }} Memory
 * @typedef {Cost & Memory & { tcp: Served, udp: Served }} Figures
 * `dropped`: by the NIC, whose queue was full. `cpu`: seconds of the proxy, all threads. `before`, `peak`, `after`: its resident memory,
 * MB.
 */

const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url))

export class FloodedProxy {
  constructor() {
    this.lab = new Lab()
    this.apps = this.lab.namespace('apps')
    this.servers = this.lab.namespace('servers')
    this.lab.wire(this.apps, ['10.86.0.2/24', 'fd00:86::2/64'], this.servers, ['10.86.0.1/24', 'fd00:86::1/64'])
    this.apps.ip('route', 'add', 'default', 'via', '10.86.0.1')
    this.apps.ip('-6', 'route', 'add', 'default', 'via', 'fd00:86::1')
    this.servers.address(`${SERVER}/32`, 'lo')
    this.servers.address('2001:db8:1::10/128', 'lo')
    this.servers.ip('route', 'add', 'blackhole', SILENCE)
  }

  /** @param {string} proxy the built example proxy */
  static async open(proxy) {
    const flooded = new FloodedProxy()
    try {
      await flooded.start(proxy)
      return flooded
    } catch (error) {
      await flooded.close()
      throw error
    }
  }

  async start(/** @type {string} */ proxy) {
    const { apps, servers } = this
    const config = join(this.lab.directory, 'config.yaml')
    writeFileSync(config, `log-level: error\ntun:\n  enable: true\n  device-url: dev://${TUN}\nrules:\n  - MATCH,DIRECT\n`)
    this.proxy = apps.start(process.execPath, [proxy, '-f', config])
    await until(`the proxy to make ${TUN}`, 15_000, () => apps.hasDevice(TUN))
    apps.address(`${APP}/30`, TUN)
    apps.ip('link', 'set', TUN, 'up')
    apps.ip('route', 'add', 'default', 'dev', TUN, 'table', '100')
    apps.ip('rule', 'add', 'pref', '100', 'from', APP, 'lookup', '100')
    apps.sysctl(`net.ipv4.conf.${TUN}.rp_filter`, 2)
    for (const name of ['tcp-server', 'udp-server']) {
      await servers.start(process.execPath, [here(`../../test/system/programs/${name}.mjs`), SERVER]).waitFor(/^listening/)
    }
  }

  /** MB that the proxy has in memory, or had at most. */
  memory(field = 'VmRSS') {
    const status = readFileSync(`/proc/${this.proxy?.child.pid}/status`, 'utf8')
    return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1024
  }

  /** Seconds that the proxy has used, user and system: proc_pid_stat(5), in ticks of 10 ms. */
  cpu() {
    const fields = readFileSync(`/proc/${this.proxy?.child.pid}/stat`, 'utf8').split(') ')[1].split(' ')
    return (Number(fields[11]) + Number(fields[12])) / 100
  }

  /** Packets that found the NIC's queue full. */
  dropped() {
    const [link] = JSON.parse(this.apps.ip('-j', '-s', 'link', 'show', 'dev', TUN))
    return link.stats64.tx.dropped
  }

  /** @returns {Promise<Figures>} */
  async flood(/** @type {Flood} */ { kind, count, rate, honestAfter = 0 }) {
    const { apps } = this
    writeFileSync(`/proc/${this.proxy?.child.pid}/clear_refs`, '5') // VmHWM begins anew: proc_pid_clear_refs(5)
    const before = this.memory()
    const dropped = this.dropped()
    const cpu = this.cpu()
    const start = performance.now()
    const args = [here('flooder.py'), TUN, kind, String(count), String(rate), kind === 'syn' ? SILENCE : SERVER]
    const flood = apps.run('python3', args, { timeout: 600_000 })
    await new Promise(resolve => setTimeout(resolve, honestAfter))
    const honest = apps.start(process.execPath, [here('honest.mjs'), SERVER, APP, String(TCP_PORT), String(UDP_PORT)])
    const done = await flood
    const seconds = (performance.now() - start) / 1000
    if (done.code !== 0) throw new Error(`flooder.py ${kind} ended with ${done.code ?? done.signal}: ${done.stderr}`)
    const { stdout, stderr } = await honest.finish(90_000, '')
    if (stdout.length === 0) throw new Error(`the honest application ended without a word: ${stderr}`)
    const used = this.cpu() - cpu
    const served = JSON.parse(String(stdout))
    const [peak, after] = [this.memory('VmHWM'), this.memory()]
    return { kind, sent: count, dropped: this.dropped() - dropped, seconds, cpu: used, before, peak, after, ...served }
  }

  async close() {
    await this.proxy?.stop()
    this.lab.close()
  }
}
