// Owns: the words for what keeps a command from being isolated: which of device node, user namespaces and AppArmor it is, and
// the command that helps. user_namespaces(7); Debian's and Ubuntu's own switches are sysctls of theirs.

import { existsSync, readFileSync, statSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import type { NativeError } from '@tun/native'
import { openError, TunError, type TunErrorCode } from './errors.js'

/** What the machine says of itself; undefined: it does not know the switch. */
export interface HostFacts {
  root: boolean
  /** Permission bits of /dev/net/tun. */
  nodeMode?: number
  /** user.max_user_namespaces */
  maxUserNamespaces?: number
  /** kernel.unprivileged_userns_clone, Debian's patch. */
  unprivilegedClone?: number
  /** kernel.apparmor_restrict_unprivileged_userns, since Ubuntu 23.10. */
  apparmorRestricts?: number
}

export function hostFacts(): HostFacts {
  const sysctl = (key: string) => {
    try {
      return Number(readFileSync(`/proc/sys/${key}`, 'utf8'))
    } catch {
      return undefined
    }
  }
  return {
    root: process.geteuid?.() === 0,
    nodeMode: statSync('/dev/net/tun', { throwIfNoEntry: false })?.mode,
    maxUserNamespaces: sysctl('user/max_user_namespaces'),
    unprivilegedClone: sysctl('kernel/unprivileged_userns_clone'),
    apparmorRestricts: sysctl('kernel/apparmor_restrict_unprivileged_userns'),
  }
}

const CONTAINER = 'in a container: --device /dev/net/tun --cap-add SYS_ADMIN --cap-add NET_ADMIN --security-opt seccomp=unconfined'

type Fail = (code: TunErrorCode, message: string, hint?: string) => TunError

/** A failure of the addon's isolate() as a TunError. */
export function isolationError(cause: unknown, facts: HostFacts = hostFacts()): TunError {
  const error = cause as NativeError
  if (error.code === 'ERR_TUN_NATIVE_UNAVAILABLE') return openError(cause, { url: 'isolate' })
  const details = { errno: error.errno, syscall: error.syscall, cause }
  const fail: Fail = (code, message, hint) => new TunError(code, message, { ...details, hint })
  if (error.code === 'ERR_TUN_UNSUPPORTED_PLATFORM') {
    return fail('ERR_TUN_UNSUPPORTED_PLATFORM', `a command cannot be isolated on ${process.platform}`, 'run it on Linux')
  }
  const denied = error.code === 'EPERM' || error.code === 'EACCES'
  switch (error.detail) {
    case 'device-node':
      return nodeError(error, facts, fail)
    case 'user-namespace':
      return namespaceError(error, facts, fail)
    case 'tun':
    case 'network':
    case 'mount':
      // Ubuntu lets the namespace be made and takes its capabilities away.
      if (denied && !facts.root) return namespaceError(error, facts, fail)
      if (error.syscall === 'TUNSETIFF' && error.code === 'EINVAL') {
        return fail('ERR_TUN_SYSTEM', 'this kernel cannot make a TUN with IFF_VNET_HDR', 'use Linux 5.3 or later')
      }
      if (error.syscall === 'TUNSETIFF' && error.code === 'ENOTTY') {
        const hint = 'run: sudo rm /dev/net/tun && sudo mknod -m 0666 /dev/net/tun c 10 200'
        return fail('ERR_TUN_NO_DEVICE_NODE', '/dev/net/tun is not the TUN device', hint)
      }
      break
    case 'namespaces':
      if (error.code === 'ENOSPC') {
        const hint = 'sudo sysctl -w user.max_net_namespaces=15000 user.max_mnt_namespaces=15000'
        return fail('ERR_TUN_NAMESPACES', 'there are too many namespaces already', hint)
      }
  }
  if (error.syscall === 'pidfd_open' && error.code === 'ENOSYS')
    return fail('ERR_TUN_SYSTEM', 'this kernel is too old', 'use Linux 5.3 or later')
  const step = error.detail === undefined ? '' : ` (${error.detail})`
  return fail('ERR_TUN_SYSTEM', error.syscall ? `${error.syscall} failed with ${error.code}${step}` : error.message)
}

function nodeError(error: NativeError, facts: HostFacts, fail: Fail): TunError {
  if (error.code === 'EACCES') {
    const mode = facts.nodeMode === undefined ? '' : ` (mode ${(facts.nodeMode & 0o777).toString(8).padStart(4, '0')})`
    return fail(
      'ERR_TUN_PERMISSION',
      `the device node /dev/net/tun cannot be opened by this user${mode}`,
      'run: sudo chmod 0666 /dev/net/tun',
    )
  }
  if (error.code === 'EPERM') return fail('ERR_TUN_PERMISSION', 'opening the device node /dev/net/tun is not permitted', CONTAINER)
  if (error.code === 'ENOENT' || error.code === 'ENODEV' || error.code === 'ENXIO') {
    const hint = 'run: sudo modprobe tun (in a container: --device /dev/net/tun)'
    return fail('ERR_TUN_NO_DEVICE_NODE', 'the device node /dev/net/tun does not work here', hint)
  }
  return fail('ERR_TUN_SYSTEM', `/dev/net/tun: ${error.syscall} failed with ${error.code}`)
}

function namespaceError(error: NativeError, facts: HostFacts, fail: Fail): TunError {
  const say = (message: string, hint: string) => fail('ERR_TUN_NAMESPACES', message, hint)
  if (facts.maxUserNamespaces === 0) {
    return say('user namespaces are switched off (user.max_user_namespaces is 0)', 'run: sudo sysctl -w user.max_user_namespaces=15000')
  }
  if (facts.unprivilegedClone === 0) {
    return say(
      'user namespaces are for root only (kernel.unprivileged_userns_clone is 0)',
      'run: sudo sysctl -w kernel.unprivileged_userns_clone=1',
    )
  }
  if (facts.apparmorRestricts !== undefined && facts.apparmorRestricts > 0) {
    return say(
      'AppArmor forbids user namespaces to programs without a profile (kernel.apparmor_restrict_unprivileged_userns is 1)',
      'run: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0',
    )
  }
  if (error.code === 'ENOSPC') {
    return say('there are too many namespaces already, or too many within each other', 'run: sudo sysctl -w user.max_user_namespaces=15000')
  }
  if (error.code === 'EINVAL' || error.code === 'ENOSYS')
    return say('this kernel has no user namespaces (CONFIG_USER_NS)', 'run it as root')
  return say(
    `user namespaces are not permitted here (${error.syscall}: ${error.code})`,
    facts.root ? CONTAINER : `run it as root; ${CONTAINER}`,
  )
}

/** The command could not be run; `path` is the PATH it was looked for in. */
export function commandError(cause: unknown, program: string, path = ''): TunError {
  const error = cause as NativeError
  if (error.syscall !== 'execve') return isolationError(cause)
  // execvp(3) says EACCES also if a directory of PATH may not be looked into, and the program is in none.
  const found = (program.includes('/') ? [''] : path.split(':')).some(place => existsSync(place === '' ? program : join(place, program)))
  const missing = error.code === 'ENOENT' || (error.code === 'EACCES' && !found)
  const reason = missing
    ? found
      ? 'it is there, but not the interpreter or loader that its first bytes name'
      : 'no such program'
    : error.code === 'EACCES'
      ? 'it is not an executable file'
      : `it cannot be run (${error.code})`
  const errno = missing ? -constants.errno.ENOENT : error.errno
  return new TunError('ERR_TUN_COMMAND', `${program}: ${reason}`, { errno, syscall: error.syscall, cause })
}
