// Owns: connections that we open towards the side of the applications: whom we pretend to be, and from which port.
// RFC 9293 §3.10.1, RFC 6056.

import { randomInt } from 'node:crypto'
import {
  type AddressWords,
  type Driver,
  isLoopback,
  isMapped,
  isMulticast,
  isUnspecified,
  parseAddress,
  type Stack,
  TunSocket,
} from '@tun/stack'
import { isOfThisHost } from './address-match.js'

export interface ConnectOptions {
  /** Address of the peer behind the TUN: the host itself, or a machine that routes through it. Not a name. */
  host: string
  port: number
  /** Whom the peer sees. Its answers must be routed into the TUN. Default 198.18.0.2 or fdfe:dcba:9876::2. */
  localAddress?: string
  /** Default: a random one of 32768–60999. */
  localPort?: number
  /** Aborted: the attempt, or the connection, is over. */
  signal?: AbortSignal
}

const DEFAULT4 = '198.18.0.2' // as in the examples of `listen`: RFC 2544's range, which nobody routes elsewhere
const DEFAULT6 = 'fdfe:dcba:9876::2'
/** Linux ip_local_port_range. */
const FIRST_PORT = 32_768
const LAST_PORT = 60_999
/** Random ports tried before it counts as "all in use": RFC 6056 §3.3.1 tries the whole range. */
const TRIES = 256

/**
 * @throws TypeError ERR_TUN_ADDRESS (no address, one no connection can have, or two of different families), ERR_TUN_LOCAL_ADDRESS;
 * RangeError ERR_TUN_PORT; Error EADDRINUSE
 */
export function openConnection(stack: Stack, driver: Driver, options: ConnectOptions, routed: boolean): TunSocket {
  const { host, port, localPort, signal } = options
  const remote = endOf('host', host)
  const v4 = isMapped(remote[0], remote[1], remote[2])
  const localAddress = options.localAddress ?? (v4 ? DEFAULT4 : DEFAULT6)
  const local = endOf('localAddress', localAddress)
  if (local.every((word, i) => word === remote[i])) throw bad(`both ends of the connection would be '${host}': give another localAddress`)
  if (isMapped(local[0], local[1], local[2]) !== v4) throw bad(`'${localAddress}' and '${host}' are of different families`)
  if (routed && isOfThisHost(localAddress)) {
    throw bad(`localAddress '${localAddress}' is local to the host: it would answer to itself, not to the TUN`, 'ERR_TUN_LOCAL_ADDRESS')
  }
  checkPort('port', port)
  if (localPort !== undefined) checkPort('localPort', localPort)
  for (let i = 0; i < (localPort === undefined ? TRIES : 1); i++) {
    const connection = stack.connect(local, localPort ?? randomInt(FIRST_PORT, LAST_PORT + 1), remote, port)
    if (connection === null) continue
    const socket = new TunSocket(connection, driver)
    if (signal !== undefined) follow(socket, signal)
    driver.wake()
    return socket
  }
  throw Object.assign(new Error(`${localAddress} has no free port towards ${host}:${port}`), { code: 'EADDRINUSE' })
}

function follow(socket: TunSocket, signal: AbortSignal): void {
  const abort = () => void socket.destroy(signal.reason instanceof Error ? signal.reason : new Error('aborted'))
  if (signal.aborted) return void process.nextTick(abort)
  signal.addEventListener('abort', abort, { once: true })
  socket.once('close', () => signal.removeEventListener('abort', abort))
}

function endOf(name: string, text: string): AddressWords {
  const words = parseAddress(text)
  if (words === null) throw bad(`${name}: '${text}' is no IP address`)
  if (isUnspecified(...words) || isMulticast(...words) || isLoopback(...words)) throw bad(`${name}: no connection has the end '${text}'`)
  return words
}

function checkPort(name: string, port: number): void {
  if (Number.isInteger(port) && port > 0 && port < 65_536) return
  throw Object.assign(new RangeError(`${name}: '${port}' is no port`), { code: 'ERR_TUN_PORT' })
}

function bad(message: string, code = 'ERR_TUN_ADDRESS'): TypeError & { code: string } {
  return Object.assign(new TypeError(message), { code })
}
