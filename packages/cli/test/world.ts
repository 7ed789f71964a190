// Owns: where `tun exec` is tried: a namespace that stands for the machine and the Internet at once (nothing leaves it), with a
// web server, a DNS server, a UDP server, and a SOCKS5 proxy whose connections come from addresses of their own.

import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Finished, Lab, type Namespace, NOBODY, type Program } from '../../../scripts/lab/lab.mjs'
import { ROOT } from '../../../test/system/requirements.js'

export const TUN = join(ROOT, 'packages/cli/bin/tun.js')
export const WEB4 = '203.0.113.10'
export const WEB6 = '2001:db8:1::10'
export const PROXY4 = '203.0.113.99'
export const PROXY6 = '2001:db8:1::99'
const DNS = '203.0.113.53'
export const PROXY_PORT = 1080
export const HTTP_PROXY_PORT = 3128
export const ACCOUNT = 'me:p@ss:w%rd'
export const UDP_PORT = 7
export const SINK_PORT = 19

export const program = (name: string) => fileURLToPath(new URL(`programs/${name}`, import.meta.url))

export type User = 'root' | 'nobody'

export interface Run {
  user?: User
  input?: string
  /** Mode of the user's own /dev/net/tun. */
  nodeMode?: string
  /** Shell words between the device node and the user, e.g. another namespace. */
  within?: string[]
}

export class World {
  readonly lab = new Lab()
  readonly machine: Namespace
  proxy!: Program
  httpProxy!: Program
  sink!: Program

  constructor() {
    this.machine = this.lab.namespace('machine', { resolver: DNS })
    for (const address of [WEB4, PROXY4, DNS]) this.machine.address(`${address}/32`, 'lo')
    for (const address of [WEB6, PROXY6]) this.machine.address(`${address}/128`, 'lo')
  }

  static async open(): Promise<World> {
    const world = new World()
    const { machine } = world
    const here = join(ROOT, 'scripts/lab')
    const names = machine.start(process.execPath, [join(here, 'dns-server.mjs'), DNS, `web.test=${WEB4},${WEB6}`, `v4.test=${WEB4}`])
    const web = machine.start(process.execPath, [join(here, 'web-server.mjs'), world.lab.directory, WEB4, WEB6])
    const udp = machine.start(process.execPath, [program('udp-echo.mjs'), String(UDP_PORT), WEB4, WEB6])
    world.proxy = machine.start(process.execPath, [program('socks5.mjs'), String(PROXY_PORT), PROXY4, PROXY6])
    world.httpProxy = machine.start(process.execPath, [program('http-proxy.mjs'), String(HTTP_PROXY_PORT), PROXY4, `v4.test=${WEB4}`])
    const other = machine.start(process.execPath, [program('socks5.mjs'), String(PROXY_PORT + 1), PROXY4, PROXY6, ACCOUNT])
    world.sink = machine.start(process.execPath, [program('sink.mjs'), String(SINK_PORT), WEB4])
    await Promise.all([names, web, udp, world.sink].map(server => server.waitFor(/listening/)))
    await Promise.all([world.proxy, world.httpProxy, other].map(server => server.waitFor(/listening/)))
    return world
  }

  /** Starts `tun` with these arguments. Root too has a device node of its own: what the host's is like does not matter. */
  start(args: string[], { user = 'nobody', nodeMode = '0666', within = [] }: Run = {}): Program {
    const become = user === 'nobody' ? ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--'] : []
    const node = `mount -t tmpfs none /dev/net && mknod -m ${nodeMode} /dev/net/tun c 10 200 && cd / && exec "$@"`
    return this.machine.start('unshare', ['-m', 'sh', '-c', node, 'sh', ...within, ...become, process.execPath, TUN, ...args])
  }

  run(args: string[], options: Run = {}): Promise<Finished> {
    return this.start(args, options).finish(30_000, options.input)
  }

  close(): void {
    this.lab.close()
  }
}
