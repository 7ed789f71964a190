// Owns: the way of a connection or datagram: inbound → rule → outbound.

import type { Duplex } from 'node:stream'
import {
  type DatagramOutbound,
  type Destination,
  DialError,
  type Endpoint,
  formatDestination,
  type NameserverDestination,
  type Outbound,
  type Ping,
  type RelayResult,
  type ResolvedAddress,
} from '@tun/inbound'
import type { Log } from './log.js'
import type { RejectReason, Target, Targets } from './proxies.js'
import type { Network, Rule, Rules, Traffic } from './rules.js'

export const MODES = ['rule', 'global', 'direct'] as const
export type Mode = (typeof MODES)[number]

/** What the router needs of a `TunSocket`. */
export interface Incoming extends Duplex {
  readonly source: Endpoint
  readonly destination: Destination
  readonly signal: AbortSignal
  reject(reason: RejectReason): void
}

/** What it needs of a `TunEcho`. */
export interface IncomingPing extends Ping {
  readonly source: Omit<Endpoint, 'port'>
  forward(carry: NonNullable<Outbound['ping']>): Promise<unknown>
  unreachable(why: 'prohibited' | 'net-unreachable'): void
  ignore(): void
}

export interface RouterOptions<S extends Incoming> {
  mode: Mode
  /** False: IPv6 is refused at once, so that applications fall back to IPv4 without waiting. */
  ipv6: boolean
  rules: Rules
  targets: Targets
  log: Log
  relay(socket: S, upstream: Outbound): Promise<RelayResult>
  /** Real addresses of a name, for IP rules. */
  resolve(host: string, signal?: AbortSignal): Promise<readonly ResolvedAddress[]>
}

export class Router<S extends Incoming> {
  private readonly saidWhy = new Set<string>()

  constructor(private readonly options: RouterOptions<S>) {}

  /** Decides at once, but for a name that an IP rule asks about: that one is looked up while the application waits in its connect. */
  route(socket: S): void {
    const { mode, rules } = this.options
    const { destination } = socket
    if (this.isRefusedIpv6(destination)) socket.reject('net-unreachable')
    else if (mode !== 'rule') this.use(socket, this.targetOf(undefined), undefined)
    else if (rules.wantsAddress(tcp(socket))) void this.routeByAddress(socket, destination.host!)
    else this.follow(socket, rules.find(tcp(socket)))
  }

  /** The same for a flow's datagrams to one destination; null: rejected. */
  routeDatagrams(source: Endpoint, destination: Destination): Outbound | null | Promise<Outbound | null> {
    if (this.isRefusedIpv6(destination)) return null
    const traffic: Traffic = { network: 'udp', source, destination }
    const rule = this.ruleFor(traffic)
    return rule instanceof Promise ? rule.then(late => this.carrierOf(traffic, late)) : this.carrierOf(traffic, rule)
  }

  private carrierOf({ source, destination }: Traffic, rule: Rule | undefined): Outbound | null {
    const target = this.targetOf(rule)
    this.options.log.info?.(`${way('udp', source, destination)}${this.because(rule)} using ${target.name}`)
    return target.outbound ?? (target.reject === 'drop' ? SINK : null)
  }

  /**
   * Through what a nameserver is asked: `via` is a proxy's or group's name, `RULES`, or an interface (undefined: not ours). DIRECT, under
   * whatever name, is 'own': queries from sockets of the resolver's own are known again if they come back.
   */
  forNameserver(to: NameserverDestination, network: Network): Outbound | 'own' | null | undefined {
    const { mode, rules, targets } = this.options
    const source: Endpoint = { address: '0.0.0.0', port: 0, family: 4 }
    const ruled =
      mode === 'rule' ? rules.find({ network, source, destination: to })?.target : targets.get(mode === 'global' ? 'GLOBAL' : 'DIRECT')
    const target = to.via === 'RULES' ? (ruled ?? targets.get('DIRECT')) : targets.get(to.via)
    if (target === undefined) return undefined
    if (target.outbound === targets.get('DIRECT')?.outbound) return 'own'
    return target.outbound ?? null
  }

  /** The same for a ping; an outbound that carries none has it refused, for it must go no other way. */
  async routePing(ping: IncomingPing): Promise<void> {
    const source = { ...ping.source, port: 0 }
    const destination: Destination = { ...ping.destination, port: 0 }
    if (this.isRefusedIpv6(destination)) return ping.unreachable('net-unreachable')
    const rule = await this.ruleFor({ network: 'icmp', source, destination })
    const { name, outbound, reject } = this.targetOf(rule)
    const { log } = this.options
    const shown = `[ICMP] ${source.address} --> ${destination.host ?? destination.address}`
    log.debug?.(`${shown}${this.because(rule)} using ${name}`) // not info: a ping a second has no other line a second
    if (outbound?.ping === undefined) return !outbound && reject === 'drop' ? ping.ignore() : ping.unreachable('prohibited')
    const failure = await ping.forward(outbound.ping)
    if (failure instanceof Error) this.pingFailed(shown, failure)
  }

  /** What keeps all pings from leaving is said once; what the network says of one is told to whoever pinged. */
  private pingFailed(shown: string, failure: Error & { code?: string }): void {
    const { log } = this.options
    if (!failure.code?.startsWith('ERR_') || this.saidWhy.has(failure.code)) return log.debug?.(`${shown} error: ${failure.message}`)
    this.saidWhy.add(failure.code)
    log.warning?.(`${shown} error: ${failure.message}`)
  }

  private isRefusedIpv6({ family, host, real }: Destination): boolean {
    return !this.options.ipv6 && family === 6 && (host === undefined || real === true)
  }

  /** A promise only if a name has to be looked up for it. */
  private ruleFor(traffic: Traffic): Rule | undefined | Promise<Rule | undefined> {
    const { mode, rules } = this.options
    if (mode !== 'rule') return undefined
    if (!rules.wantsAddress(traffic)) return rules.find(traffic)
    return this.realAddress(traffic.destination.host!).then(address => rules.find(traffic, address))
  }

  private targetOf(rule: Rule | undefined): Target {
    const { mode, targets } = this.options
    return rule?.target ?? targets.get(mode === 'global' ? 'GLOBAL' : 'DIRECT')!
  }

  /** An association for a flow's datagrams failed. */
  datagramsFailed(source: Endpoint, destination: Destination, error: Error): void {
    this.options.log.warning?.(`${way('udp', source, destination)} error: ${error.message}`)
  }

  private async routeByAddress(socket: S, host: string): Promise<void> {
    const resolved = await this.realAddress(host, socket.signal)
    if (!socket.destroyed) this.follow(socket, this.options.rules.find(tcp(socket), resolved))
  }

  private async realAddress(host: string, signal?: AbortSignal): Promise<string | undefined> {
    try {
      return (await this.options.resolve(host, signal))[0]?.address
    } catch (error) {
      this.options.log.debug?.(`[DNS] resolve ${host} error: ${(error as Error).message}`) // IP rules do not match, as in mihomo
      return undefined
    }
  }

  private follow(socket: S, rule: Rule | undefined): void {
    this.use(socket, this.targetOf(rule), rule)
  }

  private because(rule: Rule | undefined): string {
    return rule ? ` match ${rule.label}` : this.options.mode === 'rule' ? " doesn't match any rule" : ''
  }

  private use(socket: S, target: Target, rule: Rule | undefined): void {
    const { log, relay } = this.options
    const { source, destination } = socket
    const shown = way('tcp', source, destination)
    log.info?.(`${shown}${this.because(rule)} using ${target.name}`)
    const { outbound } = target
    if (!outbound) return socket.reject(target.reject)
    void relay(socket, outbound).then(({ up, down, reason, error }) => {
      if (reason === 'dial-failed') log.warning?.(`[TCP] dial ${target.name} ${shown.slice(6)} error: ${error?.message}`)
      else log.debug?.(`${shown} closed: ${error ? error.message : reason}, ${up} bytes up, ${down} down`)
    })
  }
}

/** REJECT-DROP for datagrams: they go nowhere, and nobody is told. */
const SINK: Outbound = {
  dial: async () => Promise.reject(new DialError('ECONNREFUSED', 'takes datagrams only')),
  associate: async () => {
    let close = () => {}
    const closed = new Promise<undefined>(resolve => {
      close = () => resolve(undefined)
    })
    return { send: () => true, onMessage: () => {}, closed, close } satisfies DatagramOutbound
  },
}

function tcp({ source, destination }: Incoming) {
  return { network: 'tcp', source, destination } as const
}

/** As in Clash's log: `[TCP] 10.0.0.2:51234 --> example.org:443`. */
function way(network: Network, source: Endpoint, destination: Destination): string {
  return `[${network.toUpperCase()}] ${formatDestination(source)} --> ${formatDestination(destination)}`
}
