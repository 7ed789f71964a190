// Owns: the network that system tests run in: an application side with a proxy on its TUN, a server side, a wire between them,
// and the pcap that stays behind when a test fails. Namespaces themselves: scripts/lab/lab.mjs.
//
//   applications (198.18.0.1, fd00:198:18::1) ─► tun0 ─► proxy ─► uplink ═══ uplink ─► servers (203.0.113.10, 2001:db8:1::10)

import { copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFailed } from 'vitest'
import { Lab, type Namespace, type Program, until } from '../../scripts/lab/lab.mjs'
import { findBinary } from '../../scripts/peers.mjs'
import { PROXY } from './requirements.js'

export const TUN = 'tun0'
export const APP4 = '198.18.0.1'
export const APP6 = 'fd00:198:18::1'
export const SERVER4 = '203.0.113.10'
export const SERVER6 = '2001:db8:1::10'
/** The server's end of the wire: what a proxy server listens on. */
export const HOP4 = '10.86.0.1'
const TABLE = '100'
const SNAP = 128 // bytes of each packet in a pcap: headers

export interface SceneOptions {
  /** YAML under `tun:`, e.g. `gso: false`. */
  tun?: string[]
  /** The rest of the config; default: everything DIRECT. */
  config?: string
}

export class Scene {
  private readonly lab = new Lab()
  readonly apps: Namespace
  readonly servers: Namespace
  proxy!: Program
  private capture: Program | undefined

  private constructor() {
    this.apps = this.lab.namespace('apps')
    this.servers = this.lab.namespace('servers')
    this.lab.wire(this.apps, ['10.86.0.2/24', 'fd00:86::2/64'], this.servers, [`${HOP4}/24`, 'fd00:86::1/64'])
    this.apps.ip('route', 'add', 'default', 'via', HOP4)
    this.apps.ip('-6', 'route', 'add', 'default', 'via', 'fd00:86::1')
    this.servers.address(`${SERVER4}/32`, 'lo')
    this.servers.address(`${SERVER6}/128`, 'lo')
  }

  /** The network with a proxy running on its TUN. Close it in `afterAll`. */
  static async open(options: SceneOptions = {}): Promise<Scene> {
    const scene = new Scene()
    try {
      await scene.startProxy(options)
      return scene
    } catch (error) {
      await scene.close()
      throw error
    }
  }

  private async startProxy({ tun = [], config = 'rules:\n  - MATCH,DIRECT\n' }: SceneOptions): Promise<void> {
    const path = join(this.lab.directory, 'config.yaml')
    const lines = ['enable: true', `device-url: dev://${TUN}`, 'dns-listen: 0.0.0.0:53', ...tun]
    writeFileSync(path, `tun:\n${lines.map(line => `  ${line}\n`).join('')}${config}`)
    this.proxy = this.apps.start(process.execPath, [PROXY, '-f', path])
    await until(`the proxy to make ${TUN}`, 15_000, () => {
      if (!this.proxy.running) throw new Error(`the proxy ended before it made its TUN:\n${this.proxy.tail()}`)
      return this.apps.hasDevice(TUN)
    })
    this.apps.address(`${APP4}/30`, TUN)
    this.apps.address(`${APP6}/126`, TUN)
    this.apps.ip('link', 'set', TUN, 'up')
    // Applications bind to the TUN's address and go into it; the proxy's own sockets are unbound and leave by the wire.
    this.apps.ip('route', 'add', 'default', 'dev', TUN, 'table', TABLE)
    this.apps.ip('-6', 'route', 'add', 'default', 'dev', TUN, 'table', TABLE)
    this.apps.ip('rule', 'add', 'pref', '100', 'from', APP4, 'lookup', TABLE)
    this.apps.ip('-6', 'rule', 'add', 'pref', '100', 'from', APP6, 'lookup', TABLE)
    await this.startCapture()
  }

  private async startCapture(): Promise<void> {
    const tcpdump = findBinary('tcpdump')
    if (!tcpdump) return
    const args = [
      '-i',
      TUN,
      '-n',
      '-U',
      '--immediate-mode',
      '-Z',
      'root',
      '-B',
      '8192',
      '-s',
      String(SNAP),
      '-w',
      join(this.lab.directory, 'tun.pcap'),
    ]
    this.capture = this.apps.start(tcpdump, args)
    await this.capture.waitFor(/listening on/)
  }

  /** Call it first in a test: if that test fails, the headers seen on the TUN and the proxy's last lines are kept and named. */
  watch(): void {
    onTestFailed(context => {
      const { suite, name: test } = context.task
      const name = `${suite?.name ?? ''} ${test}`.replace(/[^\w]+/g, '-').slice(0, 120)
      const directory = join(tmpdir(), 'tun-test-failures')
      mkdirSync(directory, { recursive: true })
      const pcap = join(this.lab.directory, 'tun.pcap')
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

  async close(): Promise<void> {
    await this.capture?.stop()
    await this.proxy?.stop()
    this.lab.close()
  }
}

function programPath(name: string): string {
  return fileURLToPath(new URL(`./programs/${name}.mjs`, import.meta.url))
}
