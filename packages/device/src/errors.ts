// Owns: TunError, the one class of what can go wrong with a device, and the words for it: cause, and the command that fixes it.

import type { NativeError } from '@tun/native'
import { type Platform, platformOf } from './platform.js'

export type TunErrorCode =
  | 'ERR_TUN_DEVICE_URL'
  | 'ERR_TUN_PERMISSION'
  | 'ERR_TUN_BUSY'
  | 'ERR_TUN_NOT_A_TUN'
  | 'ERR_TUN_BAD_DESCRIPTOR'
  | 'ERR_TUN_QUEUE_FLAGS'
  | 'ERR_TUN_MTU'
  | 'ERR_TUN_ADDRESS'
  | 'ERR_TUN_GONE'
  | 'ERR_TUN_NO_DEVICE_NODE'
  | 'ERR_TUN_NO_DRIVER'
  | 'ERR_TUN_NATIVE_UNAVAILABLE'
  | 'ERR_TUN_UNSUPPORTED_PLATFORM'
  | 'ERR_TUN_PASSING'
  | 'ERR_TUN_NAMESPACES'
  | 'ERR_TUN_COMMAND'
  | 'ERR_TUN_SYSTEM'

export interface TunErrorDetails {
  errno?: number
  syscall?: string
  device?: string
  hint?: string
  cause?: unknown
}

/** `message` is one line with cause and fix; the parts are beside it. */
export class TunError extends Error {
  override readonly name = 'TunError'
  readonly code: TunErrorCode
  /** Negative, as in Node's own errors; undefined if no system call was involved. */
  readonly errno: number | undefined
  /** The system call or ioctl that failed, e.g. `TUNSETIFF`. */
  readonly syscall: string | undefined
  /** The device URL. */
  readonly device: string | undefined
  /** What fixes it, a command where there is one. */
  readonly hint: string | undefined

  constructor(code: TunErrorCode, message: string, details: TunErrorDetails = {}) {
    super(details.hint ? `${message}; ${details.hint}` : message, 'cause' in details ? { cause: details.cause } : undefined)
    this.code = code
    this.errno = details.errno
    this.syscall = details.syscall
    this.device = details.device
    this.hint = details.hint
  }
}

/** What was to be opened, for the words of an error. */
export interface OpenTarget {
  url: string
  name?: string
  fd?: number
  mtu?: number
}

/** A failure of the addon's open() as a TunError. */
export function openError(cause: unknown, target: OpenTarget, platform: NodeJS.Platform = process.platform): TunError {
  const error = cause as NativeError & { hint?: string }
  const { url } = target
  const details = { errno: error.errno, syscall: error.syscall, device: url, cause }
  const fail = (code: TunErrorCode, message: string, hint?: string) => new TunError(code, `${url}: ${message}`, { ...details, hint })

  if (error.code === 'ERR_TUN_NATIVE_UNAVAILABLE') {
    return fail('ERR_TUN_NATIVE_UNAVAILABLE', 'the native addon is not built for this machine', error.hint)
  }
  if (error.code === 'ERR_TUN_UNSUPPORTED_PLATFORM') {
    return fail('ERR_TUN_UNSUPPORTED_PLATFORM', `TUN devices are not supported on ${platform}`, 'run it on Linux')
  }
  if (error.syscall === 'SIOCSIFMTU' && error.code === 'EINVAL') {
    return fail('ERR_TUN_MTU', `the kernel refuses mtu ${target.mtu}`, 'use 1280 to 65535 (IPv4 alone: from 68)')
  }
  if (error.syscall?.startsWith('SIOCAIFADDR') && error.code !== 'EPERM') {
    return fail('ERR_TUN_ADDRESS', `the kernel refuses an address (${error.code})`, 'see that no other NIC has it')
  }
  const words = platformOf(platform)
  if (target.fd !== undefined) return descriptorError(error, target.fd, words, fail)
  const known = words.nameWords(error, target.name ?? '')
  return known ? fail(known.code, known.message, known.hint) : systemError(error, words, fail)
}

/** The event loop would not watch the descriptor: EEXIST if something else in this process does. */
export function pollError(cause: unknown, device: string): TunError {
  const error = cause as NativeError
  const hint = error.code === 'EEXIST' ? 'another stream of this process uses the descriptor: pass it with ownership "dup"' : undefined
  const details = { errno: error.errno, syscall: error.syscall, device, hint, cause }
  return new TunError('ERR_TUN_SYSTEM', `${device}: the descriptor cannot be polled (${error.code})`, details)
}

type Fail = (code: TunErrorCode, message: string, hint?: string) => TunError

/** What a descriptor that is no TUN turned out to be (`detail` of the addon). */
const KINDS: Readonly<Record<string, string>> = {
  file: 'a regular file',
  pipe: 'a pipe',
  directory: 'a directory',
  'other-device': 'a terminal or another device',
  'stream-socket': 'a stream socket, which keeps no packet boundaries',
  'other-socket': 'a socket of another family than AF_UNIX',
  'unconnected-socket': 'a socket that is not connected',
  unattached: '/dev/net/tun without a NIC (TUNSETIFF was not called)',
  tap: 'a TAP, not a TUN',
  'packet-info': 'a TUN without IFF_NO_PI',
  'vnet-header-size': 'a TUN with an unknown virtio-net header size',
}

function descriptorError(error: NativeError, fd: number, platform: Platform, fail: Fail): TunError {
  if (error.code === 'EBADF') {
    return fail('ERR_TUN_BAD_DESCRIPTOR', `descriptor ${fd} is not open in this process`, 'let the parent process pass it on (stdio)')
  }
  const kind = error.detail ? KINDS[error.detail] : undefined
  if (kind) {
    return fail('ERR_TUN_NOT_A_TUN', `descriptor ${fd} is ${kind}`, platform.descriptorHint)
  }
  return systemError(error, platform, fail)
}

function systemError(error: NativeError, platform: Platform, fail: Fail): TunError {
  if (error.code === 'EPERM') {
    return fail('ERR_TUN_PERMISSION', `${error.syscall} is not permitted`, platform.permissionHint)
  }
  return fail('ERR_TUN_SYSTEM', error.syscall ? `${error.syscall} failed with ${error.code}` : error.message)
}
