// Owns: the network that system tests run in: an application side with a proxy on its TUN, a server side, a wire between them,
// and the pcap that stays behind when a test fails. Namespaces themselves: scripts/lab/lab.mjs.
//
//   applications (198.18.0.1, fd00:198:18::1) ─► tun0 ─► proxy ─► uplink ═══ uplink ─► servers (203.0.113.10, 2001:db8:1::10)
//   with `routers`: … servers ═══ second ═══ far (192.0.2.33, 2001:db8:2::33)

import { chmodSync, copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import { Lab, type Namespace, NOBODY, type Program, until } from '../../scripts/lab/lab.mjs'
import { findBinary } from '../../scripts/peers.mjs'
import { PROXY } from './requirements.js'

export const TUN = 'tun0'
export const APP4 = '198.18.0.1'
export const APP6 = 'fd00:198:18::1'
export const SERVER4 = '203.0.113.10'
export const SERVER6 = '2001:db8:1::10'
/** The server's end of the wire: what a proxy server listens on. */
export const HOP4 = '10.86.0.1'
export const HOP6 = 'fd00:86::1'
/** Behind two routers, where `routers` are asked for: the servers' namespace, and this one. */
export const SECOND4 = '10.87.0.2'
export const SECOND6 = 'fd00:87::2'
export const FAR4 = '192.0.2.33'
export const FAR6 = '2001:db8:2::33'
/** The servers' nameserver, where there is one. */
export const DNS4 = '203.0.113.53'
/** The only nameserver of the applications: an address nobody has, behind the TUN. */
export const RESOLVER = '198.51.100.53'
const TABLE = '100'
const SNAP = 128 // bytes of each packet in a pcap: headers

export interface SceneOptions {
  /** YAML under `tun:`, e.g. `gso: false`. */
  tun?: string[]
  /** The rest of the config; default: everything DIRECT. */
  config?: string
  /** What opens the TUN; default: `dev://tun0`. */
  deviceUrl?: string
  /** The command line that is run with the config's path; default: the example proxy. It makes tun0. */
  program?: (config: string) => string[]
  /** tun0 is there before, and belongs to nobody. */
  persistent?: boolean
  /** The servers' namespace is a router, behind it a second one, and behind a wire of this MTU a host. */
  routers?: { mtu?: number }
  /** `net.ipv4.ping_group_range` of the applications and the proxy, before it starts. Default: nobody may open a ping socket. */
  pingGroups?: string
}

export class Scene {
  private readonly lab = new Lab()
  readonly apps: Namespace
  readonly servers: Namespace
  proxy!: Program
  private capture: Program | undefined

  private constructor() {
    chmodSync(this.lab.directory, 0o711) // servers drop their rights, and applications are nobody
    this.apps = this.lab.namespace('apps', { resolver: RESOLVER })
    this.servers = this.lab.namespace('servers', { resolver: DNS4 })
    this.lab.wire(this.apps, ['10.86.0.2/24', 'fd00:86::2/64'], this.servers, [`${HOP4}/24`, `${HOP6}/64`])
    this.apps.ip('route', 'add', 'default', 'via', HOP4)
    this.apps.ip('-6', 'route', 'add', 'default', 'via', HOP6)
    this.servers.address(`${SERVER4}/32`, 'lo')
    this.servers.address(`${SERVER6}/128`, 'lo')
  }

  /** The network with a proxy running on its TUN. Close it in `afterAll`. */
  static async open(options: SceneOptions = {}): Promise<Scene> {
    const scene = new Scene()
    try {
      if (options.routers) scene.addRouters(options.routers)
      if (options.pingGroups) scene.apps.sysctl('net.ipv4.ping_group_range', options.pingGroups)
      await scene.startProxy(options)
      return scene
    } catch (error) {
      await scene.close()
      throw error
    }
  }

  /** The same for one test, which is watched and closes it. */
  static async forThisTest(options: SceneOptions = {}): Promise<Scene> {
    const scene = await Scene.open(options)
    onTestFinished(() => scene.close())
    scene.watch() // hooks run last to first: before it is closed
    return scene
  }

  private addRouters({ mtu = 1500 }: { mtu?: number }): void {
    const second = this.lab.namespace('second')
    const far = this.lab.namespace('far')
    this.lab.wire(this.servers, ['10.87.0.1/24', 'fd00:87::1/64'], second, [`${SECOND4}/24`, `${SECOND6}/64`], 'wire1')
    this.lab.wire(second, ['10.88.0.1/24', 'fd00:88::1/64'], far, ['10.88.0.2/24', 'fd00:88::2/64'], 'wire2')
    far.address(`${FAR4}/32`, 'lo')
    far.address(`${FAR6}/128`, 'lo')
    for (const namespace of [second, far]) if (mtu < 1500) namespace.ip('link', 'set', 'wire2', 'mtu', String(mtu))
    for (const router of [this.servers, second]) {
      router.sysctl('net.ipv4.ip_forward', 1)
      router.sysctl('net.ipv6.conf.all.forwarding', 1)
    }
    for (const namespace of [this.servers, second, far]) {
      namespace.sysctl('net.ipv4.icmp_ratelimit', 0) // or a traceroute that is quick has holes
      namespace.sysctl('net.ipv6.icmp.ratelimit', 0)
    }
    const routes = [
      [this.servers, SECOND4, SECOND6, [FAR4, '10.88.0.0/24'], [FAR6, 'fd00:88::/64']],
      [second, '10.87.0.1', 'fd00:87::1', ['0.0.0.0/0'], ['::/0']],
      [second, '10.88.0.2', 'fd00:88::2', [FAR4], [FAR6]],
      [far, '10.88.0.1', 'fd00:88::1', ['0.0.0.0/0'], ['::/0']],
    ] as const
    for (const [namespace, via4, via6, to4, to6] of routes) {
      for (const to of to4) namespace.ip('route', 'replace', to, 'via', via4)
      for (const to of to6) namespace.ip('-6', 'route', 'replace', to, 'via', via6)
    }
  }

  private async startProxy(options: SceneOptions): Promise<void> {
    const { tun = [], config = 'rules:\n  - MATCH,DIRECT\n', deviceUrl = `dev://${TUN}` } = options
    const path = this.file('config.yaml')
    const lines = ['enable: true', `device-url: ${deviceUrl}`, 'dns-listen: 0.0.0.0:53', ...tun]
    writeFileSync(path, `tun:\n${lines.map(line => `  ${line}\n`).join('')}${config}`)
    const [command, ...args] = options.program?.(path) ?? [process.execPath, PROXY, '-f', path]
    if (options.persistent) this.apps.ip('tuntap', 'add', 'dev', TUN, 'mode', 'tun')
    this.proxy = this.apps.start(command, args)
    if (options.persistent) await this.proxy.waitFor(/\[TUN\]/)
    await until(`the proxy to make ${TUN}`, 15_000, () => {
      if (!this.proxy.running) throw new Error(`the proxy ended before it made its TUN:\n${this.proxy.tail()}`)
      return this.apps.hasDevice(TUN)
    })
    this.apps.address(`${APP4}/30`, TUN)
    this.apps.address(`${APP6}/126`, TUN)
    this.apps.ip('link', 'set', TUN, 'up')
    // Applications bind to the TUN's address, or are nobody, and go into it; the proxy's own sockets leave by the wire.
    for (const [family, address] of [
      ['-4', APP4],
      ['-6', APP6],
    ]) {
      this.apps.ip(family, 'route', 'add', 'default', 'dev', TUN, 'table', TABLE)
      this.apps.ip(family, 'rule', 'add', 'pref', '100', 'from', address, 'lookup', TABLE)
      this.apps.ip(family, 'rule', 'add', 'pref', '101', 'uidrange', `${NOBODY}-${NOBODY}`, 'lookup', TABLE)
    }
    this.apps.sysctl(`net.ipv4.conf.${TUN}.rp_filter`, 2) // loose: root's route to where an answer comes from is the wire
    await this.startCapture()
  }

  private async startCapture(): Promise<void> {
    const tcpdump = findBinary('tcpdump')
    if (!tcpdump) return
    const args = ['-i', TUN, '-n', '-U', '--immediate-mode', '-Z', 'root', '-B', '8192', '-s', String(SNAP), '-w', this.file('tun.pcap')]
    this.capture = this.apps.start(tcpdump, args)
    await this.capture.waitFor(/listening on/)
  }

  /** Call it first in a test: if that test fails, the headers seen on the TUN and the proxy's last lines are kept and named. */
  watch(): void {
    onTestFinished(({ task }) => {
      if (task.result?.state !== 'fail') return
      const { suite, name: test } = task
      const name = `${suite?.name ?? ''} ${test}`.replace(/[^\w]+/g, '-').slice(0, 120)
      const directory = join(tmpdir(), 'tun-test-failures')
      mkdirSync(directory, { recursive: true })
      const pcap = this.file('tun.pcap')
      if (existsSync(pcap)) copyFileSync(pcap, join(directory, `${name}.pcap`))
      writeFileSync(join(directory, `${name}.log`), `${this.proxy.tail(500)}\n`)
      process.stderr.write(`kept: ${join(directory, name)}.{pcap,log}\nthe proxy’s last lines:\n${this.proxy.tail(15)}\n`)
    })
  }

  /** Starts test/system/programs/NAME.mjs as a server, and waits until it says that it listens. */
  async serve(name: string, args: string[] = []): Promise<Program> {
    const program = this.servers.start(process.execPath, [programPath(name), ...args])
    await program.waitFor(/^listening/)
    return program
  }

  /** Runs a client among the applications; its one line of JSON is the answer. */
  async client<T>(name: string, request: object, timeout = 60_000): Promise<T> {
    const done = await this.apps.run(process.execPath, [programPath(name), JSON.stringify(request)], { timeout })
    const text = done.stdout.toString().trim()
    if (done.code !== 0 || text === '') {
      throw new Error(`${name} ${JSON.stringify(request)} ended with ${done.code ?? done.signal}: ${done.stderr || 'no answer'}`)
    }
    return JSON.parse(text) as T
  }

  /** Runs a program of somebody else as an application, a user without rights. Its stdout; throws with its words if it fails. */
  async app(command: string, args: string[], options: { timeout?: number; env?: Record<string, string> } = {}): Promise<string> {
    const done = await this.apps.run(command, args, { nobody: true, ...options })
    if (done.code !== 0)
      throw new Error(`${command} ${args.join(' ')} ended with ${done.code ?? done.signal}: ${done.stderr || done.stdout}`)
    return done.stdout.toString()
  }

  /** A path in this scene's own directory, which goes with it. */
  file(name: string): string {
    return join(this.lab.directory, name)
  }

  async close(): Promise<void> {
    await this.capture?.stop()
    await this.proxy?.stop()
    this.lab.close()
  }
}

export function programPath(name: string): string {
  return fileURLToPath(new URL(`./programs/${name.includes('.') ? name : `${name}.mjs`}`, import.meta.url))
}
