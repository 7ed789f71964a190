// Owns: connections by the machine's own sockets, and what is asked of them: race.ts connects. socks5.ts reaches its proxy through
// `startTcp`, http-connect.ts through `connectTcp`.

import { connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { DialedSocket, hasTcpHandles } from '@tun/device'
import { type Attempt, type Caller, promised, promising, type Start, tell } from './attempt.js'
import { openDirectDatagrams } from './direct-datagrams.js'
import { DirectPings } from './direct-pings.js'
import type { DatagramFlow, DatagramOutbound, Destination, Outbound } from './outbound.js'
import { type DirectOptions, dialOrRace, type Lookup, Race, type ResolvedAddress, systemLookup } from './race.js'

export type { DirectOptions, Lookup, ResolvedAddress }

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
  const connect: Start<Destination, DialedSocket | Socket> = (caller, destination) => startTcp(caller, destination, options)
  const associate: Start<DatagramFlow, DatagramOutbound> = (caller, flow) => {
    tell(caller, () => openDirectDatagrams(flow, named))
    return NOTHING_TO_CANCEL
  }
  return {
    dial: promising(connect, handOver),
    associate: promising(associate),
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

const NOTHING_TO_CANCEL: Attempt = { cancel: () => {} }

/** Connects to `target` by a socket of the addon where there is one. */
export function startTcp(caller: Caller<DialedSocket | Socket>, target: Destination, options: DirectOptions): Attempt {
  return hasTcpHandles() ? dialOrRace(caller, target, options) : new Race(caller, target, options, openSocket)
}

/** The same by exactly a `net.Socket`, for what only takes such; resolves as `Outbound.dial` does. */
export function connectTcp(target: Destination, options: DirectOptions, signal?: AbortSignal): Promise<Socket> {
  return promised<Socket>(caller => new Race(caller, target, options, openSocket), signal, handOver)
}

/** Gives a stream to whoever awaits it: he may attach his listeners until this turn has ended, and need not read to hear of a reset. */
export function handOver(socket: Duplex): void {
  guard(socket)
  if (socket instanceof DialedSocket) socket.read(0) // as net.Socket does when it has connected
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
