// Owns: a way between the kernel's TCP and ours on which packets get lost: a TUN pair with delay (scripts/lab/middlebox.mjs), nft's dice on
// the router in front of our TUN. No packet on it is more than one segment, so each is lost by itself.
//
//   kernel 10.86.0.1, fd00:86::1 ─► wire ═ middlebox ═ wire ─► router: nft ─► tun0 ─► our stack, 198.51.100.0/24, 2001:db8:2::/64

import { spawnSync } from 'node:child_process'
import type { StackOptions } from '@tun/stack'
import { onTestFinished } from 'vitest'
import { Lab, type Namespace, type Program } from '../../scripts/lab/lab.mjs'
import { type SlowWire, slowWire, type WireFaults } from '../../scripts/lab/slow-wire.mjs'
import { findBinary } from '../../scripts/peers.mjs'
import { programPath } from './namespace.js'

export const FAMILIES = {
  IPv4: { kernel: '10.86.0.1', stack: '198.51.100.1' },
  IPv6: { kernel: 'fd00:86::1', stack: '2001:db8:2::1' },
}
export type Family = keyof typeof FAMILIES

/** What a transfer answers. */
export interface Transfer {
  bytes: number
  sha: string
  ms: number
}

/** What the engine thinks of a connection; bytes and ms. */
export interface ConnectionState {
  remote: string
  state: number
  cwnd: number
  ssthresh: number
  rto: number
  srtt: number
  flight: number
  acked: number
  received: number
}

export interface PathOptions {
  /** Of the wire between. */
  wire?: WireFaults
  stack?: StackOptions
  /** Of the kernel's namespace, e.g. `net.ipv4.tcp_sack`. */
  sysctls?: Record<string, string | number>
  /** The kernel's congestion control. */
  congestion?: 'cubic' | 'reno'
}

export class Path {
  private readonly lab = new Lab()
  readonly kernel: Namespace
  readonly router: Namespace
  wire!: SlowWire
  /** The process with our stack in it. */
  host!: Program

  private constructor() {
    this.kernel = this.lab.namespace('kernel')
    this.router = this.lab.namespace('router')
  }

  static async open(options: PathOptions = {}): Promise<Path> {
    const path = new Path()
    try {
      await path.start(options)
      return path
    } catch (error) {
      await path.close()
      throw error
    }
  }

  /** The same for one test. */
  static async forThisTest(options: PathOptions = {}): Promise<Path> {
    const path = await Path.open(options)
    onTestFinished(() => path.close())
    return path
  }

  private async start({ wire = {}, stack = {}, sysctls = {}, congestion = 'cubic' }: PathOptions): Promise<void> {
    const { kernel, router } = this
    for (const [key, value] of Object.entries({ ...SYSCTLS, ...sysctls })) kernel.sysctl(key, value)
    this.wire = await slowWire(this.lab, kernel, ['10.86.0.1/24', 'fd00:86::1/64'], router, ['10.86.0.2/24', 'fd00:86::2/64'], wire)
    this.host = router.start(process.execPath, [programPath('stack-host'), JSON.stringify({ device: 'dev://tun0', offload: false, stack })])
    await this.host.waitFor(/^listening/)
    router.sysctl('net.ipv4.ip_forward', 1)
    router.sysctl('net.ipv6.conf.all.forwarding', 1)
    router.ip('route', 'add', '198.51.100.0/24', 'dev', 'tun0')
    router.ip('-6', 'route', 'add', '2001:db8:2::/64', 'dev', 'tun0')
    // By route: a namespace's sysctl takes only what the host's users may choose.
    kernel.ip('route', 'add', 'default', 'via', '10.86.0.2', 'congctl', congestion)
    kernel.ip('-6', 'route', 'add', 'default', 'via', 'fd00:86::2', 'congctl', congestion)
    await kernel.start(process.execPath, [programPath('tcp-server'), '10.86.0.1', 'fd00:86::1']).waitFor(/^listening/)
  }

  /** From now on nft drops this many packets of a thousand, of those to us and of those from us. */
  lose(perThousand: number): void {
    const dice = `numgen random mod 1000 < ${perThousand} counter drop`
    const rules = `table inet loss
      delete table inet loss
      table inet loss {
        chain forward {
          type filter hook forward priority 0; policy accept;
          oifname "tun0" ${dice}
          iifname "tun0" ${dice}
        }
      }`
    this.nft(['-f', '-'], rules)
  }

  /** Packets that nft has dropped. */
  get dropped(): { toUs: number; fromUs: number } {
    const counters = [...this.nft(['list', 'table', 'inet', 'loss']).matchAll(/counter packets (\d+)/g)].map(match => Number(match[1]))
    return { toUs: counters[0], fromUs: counters[1] }
  }

  private nft(args: string[], input = ''): string {
    const argv = ['netns', 'exec', this.router.name, findBinary('nft') ?? 'nft', ...args]
    const done = spawnSync('ip', argv, { input, encoding: 'utf8' })
    if (done.status !== 0) throw new Error(`nft ${args.join(' ')}: ${done.stderr}`)
    return done.stdout
  }

  /** The kernel dials us. */
  async fromKernel<T = Transfer>(op: string, family: Family, request: object, timeout = 60_000): Promise<T> {
    const { kernel, stack } = FAMILIES[family]
    const argv = [programPath('tcp-client'), JSON.stringify({ op, host: stack, from: kernel, ...request })]
    const done = await this.kernel.run(process.execPath, argv, { timeout })
    const text = done.stdout.toString().trim()
    if (done.code !== 0 || text === '') throw new Error(`${op} of the kernel ended with ${done.code ?? done.signal}: ${done.stderr}`)
    return JSON.parse(text) as T
  }

  /** We dial the kernel. */
  async fromUs<T = Transfer>(op: string, family: Family, request: object, timeout = 60_000): Promise<T> {
    const { kernel, stack } = FAMILIES[family]
    return await this.ask<T>({ op, host: kernel, from: stack, ...request }, timeout)
  }

  /** What the engine thinks now. */
  async state(): Promise<{ connections: ConnectionState[]; stats: Record<string, number> }> {
    return await this.ask({ op: 'state' }, 10_000)
  }

  private async ask<T>(request: { op: string; host?: string; from?: string }, timeout: number): Promise<T> {
    const { host } = this
    const answer = `${request.op} {`
    host.lines = host.lines.filter(line => !line.startsWith(answer))
    host.child.stdin!.write(`${JSON.stringify(request)}\n`)
    const line = await host.waitFor(new RegExp(`^${request.op} \\{`), timeout)
    return JSON.parse(line.slice(request.op.length)) as T
  }

  async close(): Promise<void> {
    await this.host?.stop()
    this.lab.close()
  }
}

/** No connection inherits an earlier one's ssthresh. */
const SYSCTLS = { 'net.ipv4.tcp_no_metrics_save': 1 }
