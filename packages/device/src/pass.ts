// Owns: a TUN that goes from the process that may open it to the one that serves it, over an AF_UNIX socket. unix(7), SCM_RIGHTS.

import { closeSync } from 'node:fs'
import { type NativeError, receiveDescriptor, sendDescriptor } from '@tun/native'
import { openError, TunError } from './errors.js'
import { openTun, type TunOptions } from './open.js'
import type { TunDevice } from './tun.js'

/** A descriptor, or a socket of node:net: what `net.connect(path)` gives, a server's client, `child.stdio[3]`. */
export type UnixSocket = number | object

/**
 * Sends a TUN over a connected AF_UNIX socket. It stays open here; close it afterwards, without ever having read from it.
 * Blocks while the socket's buffer is full, unless that is non-blocking. Throws TunError ERR_TUN_PASSING.
 */
export function sendTun(socket: UnixSocket, device: TunDevice | number): void {
  const fd = descriptorOf(socket)
  try {
    sendDescriptor(fd, typeof device === 'number' ? device : device.fd)
  } catch (cause) {
    throw passingError(cause, fd)
  }
  if (typeof device !== 'number') device.handedOver()
}

/**
 * Waits for a TUN sent by sendTun() – or by anybody's SCM_RIGHTS, one descriptor with at least one byte – and opens it as `fd://` does.
 * Blocks for at most `timeoutMs` (default 5000; negative: for ever). Throws TunError ERR_TUN_PASSING, or what openTun() throws.
 */
export function receiveTun(socket: UnixSocket, options: Omit<TunOptions, 'ownership'> & { timeoutMs?: number } = {}): TunDevice {
  const { timeoutMs, ...rest } = options
  const from = descriptorOf(socket)
  let fd: number
  try {
    fd = receiveDescriptor(from, timeoutMs)
  } catch (cause) {
    throw passingError(cause, from)
  }
  return openReceived(fd, rest)
}

/** Node tells the descriptor of a socket nowhere else. A socket that is read by node:net loses what comes: give it none to read. */
function descriptorOf(socket: UnixSocket): number {
  if (typeof socket === 'number') return socket
  const fd = (socket as { _handle?: { fd?: unknown } | null })._handle?.fd
  if (typeof fd === 'number' && fd >= 0) return fd
  throw new TunError('ERR_TUN_PASSING', 'the socket is closed, or is none of node:net', { hint: 'give it connected, or its descriptor' })
}

/** Opens a descriptor that nobody else knows of: what fails closes it. */
export function openReceived(fd: number, options: TunOptions): TunDevice {
  try {
    return openTun(`fd://${fd}`, { ...options, ownership: 'take' })
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ended: 'the other side closed it without sending a descriptor',
  'no-descriptor': 'the other side sent bytes without a descriptor',
  several: 'the other side sent more than one descriptor',
}

function passingError(cause: unknown, socket: number): TunError {
  const error = cause as NativeError
  if (error.code === 'ERR_TUN_UNSUPPORTED_PLATFORM') {
    return new TunError('ERR_TUN_UNSUPPORTED_PLATFORM', `${process.platform} cannot hand over a TUN`, { syscall: error.syscall, cause })
  }
  if (error.code?.startsWith('ERR_TUN_')) return openError(cause, { url: `fd://${socket}`, fd: socket })
  const details = { errno: error.errno, syscall: error.syscall, cause }
  const say = (what: string, hint?: string) => new TunError('ERR_TUN_PASSING', `socket ${socket}: ${what}`, { ...details, hint })
  if (error.detail && REASONS[error.detail]) return say(REASONS[error.detail])
  if (error.code === 'ETIMEDOUT') return say('no descriptor came in time')
  if (error.code === 'EBADF') return say('it, or the descriptor to send, is not open in this process')
  if (error.code === 'ENOTSOCK' || error.code === 'EINVAL' || error.code === 'EOPNOTSUPP') {
    return say('descriptors go over AF_UNIX sockets only', 'pass one end of a socketpair (child_process: stdio)')
  }
  return say(`${error.syscall} failed with ${error.code}`)
}
