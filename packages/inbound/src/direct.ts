// Owns: connections by the machine's own sockets, by address or by name. RFC 8305 (racing the addresses of a name) first, then
// connect(2) for the errors. socks5.ts reaches its proxy through `dialTcp`, http-connect.ts through `connectTcp`.

import { promises as dns } from 'node:dns'
import { connect, isIP, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type DialedSocket, dial, hasTcpHandles } from '@tun/device'
import { openDirectDatagrams } from './direct-datagrams.js'
import { DirectPings } from './direct-pings.js'
import { abortReason, type Destination, DialError, formatDestination, type Outbound } from './outbound.js'

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
  /** Milliseconds for a whole dial, looking up included. Default 10,000; the kernel alone would try for two minutes. */
  connectTimeoutMs?: number
}

const CONNECT_TIMEOUT = 10_000 // ms
const ATTEMPT_DELAY = 250 // ms. RFC 8305 §8, Connection Attempt Delay
const MAX_ATTEMPTS = 8 // addresses of one name that are tried: a bound for a hostile answer

const systemLookup: Lookup = host => dns.lookup(host, { all: true, verbatim: true })

/**
 * An outbound that connects from this machine. Streams are `DialedSocket`s, which `relay()` moves without a stream's machinery, or
 * `net.Socket`s where there are none (`hasTcpHandles`); errors are those of connect(2). Pings and datagrams go on as a router would send
 * them, and what the path says of them comes back.
 * @throws TypeError or RangeError ERR_TUN_DIRECT_OPTION: `interface` is no name of a NIC, or `mark` no number of 32 bits
 */
export function direct(options: DirectOptions = {}): Outbound & Required<Pick<Outbound, 'associate' | 'ping'>> {
  checkWay(options)
  const named = { ...options, lookup: options.lookup ?? systemLookup }
  const pings = new DirectPings(named)
  return {
    dial: (destination, signal) => dialTcp(destination, options, signal),
    associate: async flow => openDirectDatagrams(flow, named),
    ping: ping => pings.ask(ping),
  }
}

const LONGEST_NAME = 15 // IFNAMSIZ less its NUL

function checkWay({ interface: name, mark }: DirectOptions): void {
  if (name !== undefined && (typeof name !== 'string' || name === '' || name.length > LONGEST_NAME || /[\s/\0]/.test(name)))
    throw Object.assign(new TypeError(`'interface' is the name of a NIC, e.g. eth0, not '${name}'`), { code: 'ERR_TUN_DIRECT_OPTION' })
  if (mark !== undefined && (!Number.isInteger(mark) || mark < 0 || mark > 0xffff_ffff))
    throw Object.assign(new RangeError(`'mark' is a whole number from 0 to 4294967295, not ${mark}`), { code: 'ERR_TUN_DIRECT_OPTION' })
}

/** As `connectTcp`, by a socket of the addon where there is one. */
export function dialTcp(target: Destination, options: DirectOptions, signal?: AbortSignal): Promise<DialedSocket | Socket> {
  return race<DialedSocket | Socket>(target, options, signal, hasTcpHandles() ? openDialed : openSocket)
}

/** As `race`, by exactly a `net.Socket`: for what only takes such. */
export function connectTcp(target: Destination, options: DirectOptions, signal?: AbortSignal): Promise<Socket> {
  return race(target, options, signal, openSocket)
}

type Open<S extends Duplex> = (address: string, family: number, port: number, options: DirectOptions) => S

/**
 * Dials `target` and resolves to a connected socket: no delay, half-open allowed, not flowing, and without listeners but an error
 * guard that goes after the caller's turn. Of a name's addresses the families alternate and the first to connect wins (RFC 8305 §4, §5);
 * if none does, the first error is reported: later ones tend to be about the family this machine has not got.
 */
function race<S extends Duplex>(
  target: Destination,
  options: DirectOptions,
  signal: AbortSignal | undefined,
  openOne: Open<S>,
): Promise<S> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(abortReason(signal))
    const timeoutMs = options.connectTimeoutMs ?? CONNECT_TIMEOUT
    const open: S[] = []
    let addresses: readonly ResolvedAddress[] = []
    let tried = 0
    let over = false
    let firstError: Error | undefined
    let race: NodeJS.Timeout | undefined

    const settle = (winner: S | undefined, error?: Error) => {
      if (over) return
      over = true
      clearTimeout(deadline)
      clearTimeout(race)
      signal?.removeEventListener('abort', onAbort)
      for (const socket of open) if (socket !== winner) socket.destroy()
      if (winner) resolve(winner)
      else reject(error)
    }
    const onAbort = () => settle(undefined, abortReason(signal!))
    const deadline = setTimeout(() => {
      settle(undefined, new DialError('ETIMEDOUT', `${formatDestination(target)} did not answer within ${timeoutMs} ms`))
    }, timeoutMs)

    const attempt = () => {
      if (over) return
      clearTimeout(race)
      const { address, family } = addresses[tried++]
      let socket: S
      try {
        socket = openOne(address, family, target.port, options)
      } catch (error) {
        return settle(undefined, error as Error) // a port or local address which is none
      }
      open.push(socket)
      const onError = (error: Error) => {
        socket.destroy()
        open.splice(open.indexOf(socket), 1)
        firstError ??= error
        if (tried < addresses.length) attempt()
        else if (open.length === 0) settle(undefined, firstError)
      }
      socket.on('error', onError)
      socket.once('connect', () => {
        if (over) return
        guard(socket)
        socket.off('error', onError)
        settle(socket)
      })
      if (tried < addresses.length) race = setTimeout(attempt, ATTEMPT_DELAY)
    }
    const begin = (found: readonly ResolvedAddress[]) => {
      addresses = found
      if (found.length === 0) return settle(undefined, new DialError('EHOSTUNREACH', `${target.host} has no address`))
      attempt()
    }

    signal?.addEventListener('abort', onAbort)
    // A real address is dialled as the application chose it: the name has others, perhaps, which it did not.
    const byAddress = target.host === undefined || target.real === true
    const host = byAddress ? target.address : (target.host as string)
    const family = byAddress ? target.family : isIP(host)
    if (family !== 0) return begin([{ address: host, family }])
    const lookup = options.lookup ?? systemLookup
    lookup(host, signal).then(
      found => begin(interleave(found).slice(0, MAX_ATTEMPTS)),
      error => settle(undefined, lookupError(host, error)),
    )
  })
}

/** Until the turn in which it is handed over has ended, an error of `socket` without a listener must not end the process. */
export function guard(socket: Duplex): void {
  socket.on('error', ignore)
  setImmediate(unguard, socket)
}

function unguard(socket: Duplex): void {
  socket.off('error', ignore)
}

function ignore(): void {}

function openDialed(address: string, family: number, port: number, options: DirectOptions): DialedSocket {
  const localAddress = family === 6 ? options.localAddress6 : options.localAddress
  return dial({ address, port, family: family === 6 ? 6 : 4, localAddress, device: options.interface, mark: options.mark })
}

function openSocket(address: string, family: number, port: number, options: DirectOptions): Socket {
  return connect({
    host: address,
    port,
    family,
    localAddress: family === 6 ? options.localAddress6 : options.localAddress,
    autoSelectFamily: false,
    noDelay: true,
    allowHalfOpen: true, // a FIN of one side leaves the other direction open, as between the two ends themselves
  })
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
