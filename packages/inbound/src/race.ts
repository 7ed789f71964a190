// Owns: connecting to a destination: by one address, or by the addresses of a name, which race. RFC 8305, then connect(2) for the errors.

import { promises as dns } from 'node:dns'
import { isIP } from 'node:net'
import type { Duplex } from 'node:stream'
import { type DialedSocket, dial, type TcpSink } from '@tun/device'
import type { Attempt, Caller } from './attempt.js'
import { type Destination, DialError, formatDestination } from './outbound.js'

export interface ResolvedAddress {
  address: string
  family: number
}

/** Name → addresses, best first. `inbound.resolve` is one: it asks the upstream servers and never answers a fake IP. */
export type Lookup = (host: string, signal?: AbortSignal) => Promise<readonly ResolvedAddress[]>

export interface DirectOptions {
  /** Source address of IPv4 sockets, e.g. the uplink's, so that they leave by it and not by the TUN. */
  localAddress?: string
  /** The same for IPv6. */
  localAddress6?: string
  /** For destinations with a `host`. Default: the system's resolver; behind an `auto-route` TUN that one answers fake IPs. */
  lookup?: Lookup
  /** TCP, UDP and pings leave by this NIC only (SO_BINDTODEVICE), e.g. the uplink `eth0`. Linux. */
  interface?: string
  /** TCP, UDP and pings bear this mark (SO_MARK), for `ip rule` and nftables; needs CAP_NET_ADMIN. Linux. */
  mark?: number
  /** Milliseconds for a whole dial, looking up included; 0: as long as the kernel tries, about two minutes. Default 10,000. */
  connectTimeoutMs?: number
}

export const CONNECT_TIMEOUT = 10_000 // ms
const ATTEMPT_DELAY = 250 // ms. RFC 8305 §8, Connection Attempt Delay
const MAX_ATTEMPTS = 8 // addresses of one name that are tried: a bound for a hostile answer

export const systemLookup: Lookup = host => dns.lookup(host, { all: true, verbatim: true })

/** The address to dial, if no name is to be looked up. A real address is dialled as the application chose it: the name may have others. */
function addressOf(target: Destination): ResolvedAddress | null {
  if (target.host === undefined || target.real === true) return target
  const family = isIP(target.host)
  return family === 0 ? null : { address: target.host, family }
}

export function openDialed(address: string, family: number, port: number, options: DirectOptions): DialedSocket {
  const localAddress = family === 6 ? options.localAddress6 : options.localAddress
  return dial({ address, port, family: family === 6 ? 6 : 4, localAddress, device: options.interface, mark: options.mark })
}

/** As `race`, by sockets of the addon; one address is no race, and needs nothing of a stream until it is connected. */
export function dialOrRace(caller: Caller<DialedSocket>, target: Destination, options: DirectOptions): Attempt {
  const only = addressOf(target)
  return only === null ? new Race(caller, target, options, openDialed) : new SingleDial(caller, target, only, options)
}

function timeoutError(target: Destination, timeoutMs: number): DialError {
  return new DialError('ETIMEDOUT', `${formatDestination(target)} did not answer within ${timeoutMs} ms`)
}

class SingleDial implements Attempt, TcpSink {
  private readonly caller: Caller<DialedSocket>
  private readonly timer: NodeJS.Timeout | null = null
  private socket: DialedSocket | null = null
  private over = false

  constructor(caller: Caller<DialedSocket>, target: Destination, { address, family }: ResolvedAddress, options: DirectOptions) {
    this.caller = caller
    try {
      const socket = openDialed(address, family, target.port, options)
      this.socket = socket
      if (socket.detach(this) === null) {
        // It has failed, which it tells in the next turn; or a subscriber of `tun.dial` has destroyed it.
        socket.on('error', error => this.end(error))
        socket.on('close', () => this.end(new DialError('ECONNABORTED', `the dial of ${formatDestination(target)} was destroyed`)))
      }
    } catch (error) {
      this.end(error as Error) // a port or local address which is none
      return
    }
    const timeoutMs = options.connectTimeoutMs ?? CONNECT_TIMEOUT
    if (timeoutMs > 0) this.timer = setTimeout(() => this.end(timeoutError(target, timeoutMs)), timeoutMs)
  }

  connected(): void {
    const { socket } = this
    if (this.over || socket === null) return
    this.letGo()
    socket.attach(null)
    this.caller.succeeded(socket)
  }

  failed(errno: number): void {
    if (this.socket !== null) this.end(this.socket.systemError(errno, 'connect'))
  }

  readable(): void {}

  writable(): void {}

  cancel(): void {
    if (this.over) return
    this.letGo()
    this.socket?.destroy()
  }

  private end(error: Error): void {
    if (this.over) return
    this.cancel()
    this.caller.failed(error)
  }

  private letGo(): void {
    this.over = true
    if (this.timer !== null) clearTimeout(this.timer)
  }
}

type Open<S extends Duplex> = (address: string, family: number, port: number, options: DirectOptions) => S

/**
 * Of a name's addresses the families alternate and the first to connect wins (RFC 8305 §4, §5); if none does, the first error is reported:
 * later ones tend to be about the family this machine has not got.
 */
export class Race<S extends Duplex> implements Attempt {
  private readonly running: S[] = []
  private readonly deadline: NodeJS.Timeout | undefined
  private addresses: readonly ResolvedAddress[] = []
  private tried = 0
  private over = false
  private firstError: Error | undefined
  private next: NodeJS.Timeout | undefined
  private lookingUp: AbortController | undefined

  constructor(
    private readonly caller: Caller<S>,
    private readonly target: Destination,
    private readonly options: DirectOptions,
    private readonly openOne: Open<S>,
  ) {
    const timeoutMs = options.connectTimeoutMs ?? CONNECT_TIMEOUT
    if (timeoutMs > 0) this.deadline = setTimeout(() => this.fail(timeoutError(target, timeoutMs)), timeoutMs)
    const only = addressOf(target)
    if (only !== null) this.begin([only])
    else this.lookUp(target.host ?? target.address)
  }

  cancel(): void {
    this.settle(undefined)
  }

  private lookUp(host: string): void {
    this.lookingUp = new AbortController()
    const lookup = this.options.lookup ?? systemLookup
    const { signal } = this.lookingUp
    const looking = async () => interleave(await lookup(host, signal)).slice(0, MAX_ATTEMPTS) // a lookup of somebody's may throw at once
    looking().then(
      addresses => {
        this.lookingUp = undefined
        this.begin(addresses)
      },
      error => this.fail(lookupError(host, error)),
    )
  }

  private begin(found: readonly ResolvedAddress[]): void {
    if (this.over) return
    this.addresses = found
    if (found.length === 0) return this.fail(new DialError('EHOSTUNREACH', `${this.target.host} has no address`))
    this.attempt()
  }

  private attempt(): void {
    if (this.over) return
    clearTimeout(this.next)
    const { address, family } = this.addresses[this.tried++]
    let socket: S
    try {
      socket = this.openOne(address, family, this.target.port, this.options)
    } catch (error) {
      return this.fail(error as Error) // a port or local address which is none
    }
    this.running.push(socket)
    const onError = (error: Error) => {
      socket.destroy()
      this.running.splice(this.running.indexOf(socket), 1)
      this.firstError ??= error
      if (this.tried < this.addresses.length) this.attempt()
      else if (this.running.length === 0) this.fail(this.firstError)
    }
    socket.on('error', onError)
    socket.once('connect', () => {
      if (this.over) return
      socket.off('error', onError)
      this.settle(socket)
      this.caller.succeeded(socket)
    })
    if (this.tried < this.addresses.length) this.next = setTimeout(() => this.attempt(), ATTEMPT_DELAY)
  }

  private fail(error: Error): void {
    if (this.over) return
    this.settle(undefined)
    this.caller.failed(error)
  }

  private settle(winner: S | undefined): void {
    if (this.over) return
    this.over = true
    clearTimeout(this.deadline)
    clearTimeout(this.next)
    for (const socket of this.running) if (socket !== winner) socket.destroy()
    this.lookingUp?.abort(new DialError('ECANCELED', 'nobody waits for the addresses any more'))
  }
}

/** RFC 8305 §4: the resolver's order, but families take turns. */
function interleave(addresses: readonly ResolvedAddress[]): readonly ResolvedAddress[] {
  if (addresses.length < 2) return addresses
  const first = addresses.filter(a => a.family === addresses[0].family)
  const other = addresses.filter(a => a.family !== addresses[0].family)
  const order: ResolvedAddress[] = []
  for (let i = 0; i < first.length || i < other.length; i++) {
    if (i < first.length) order.push(first[i])
    if (i < other.length) order.push(other[i])
  }
  return order
}

/** The resolver's codes (ENOTFOUND, EAI_AGAIN, ESERVFAIL…) are no errnos: for the application it is a host out of reach. */
function lookupError(host: string, cause: unknown): DialError {
  const { code, message } = cause as NodeJS.ErrnoException
  return new DialError('EHOSTUNREACH', `cannot resolve ${host} (${code ?? message})`, { cause })
}
