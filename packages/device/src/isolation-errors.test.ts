import { describe, expect, it } from 'vitest'
import { commandError, type HostFacts, isolationError } from './isolation-errors.js'

const native = (code: string, syscall: string, detail: string) => Object.assign(new Error(code), { code, errno: -1, syscall, detail })
const user: HostFacts = { root: false, nodeMode: 0o20600, maxUserNamespaces: 1000 }

/** What the machine is like, what failed, and the whole message. */
const cases: [string, HostFacts, [string, string, string], string, string][] = [
  [
    'the device node is for root',
    user,
    ['EACCES', 'open', 'device-node'],
    'ERR_TUN_PERMISSION',
    'the device node /dev/net/tun cannot be opened by this user (mode 0600); run: sudo chmod 0666 /dev/net/tun',
  ],
  [
    'the device node is for nobody',
    { ...user, nodeMode: 0o20000 },
    ['EACCES', 'open', 'device-node'],
    'ERR_TUN_PERMISSION',
    'the device node /dev/net/tun cannot be opened by this user (mode 0000); run: sudo chmod 0666 /dev/net/tun',
  ],
  [
    'what is called /dev/net/tun is something else',
    { ...user, root: true },
    ['ENOTTY', 'TUNSETIFF', 'tun'],
    'ERR_TUN_NO_DEVICE_NODE',
    '/dev/net/tun is not the TUN device; run: sudo rm /dev/net/tun && sudo mknod -m 0666 /dev/net/tun c 10 200',
  ],
  [
    'there is no device node',
    user,
    ['ENOENT', 'open', 'device-node'],
    'ERR_TUN_NO_DEVICE_NODE',
    'the device node /dev/net/tun does not work here; run: sudo modprobe tun (in a container: --device /dev/net/tun)',
  ],
  [
    'user namespaces are switched off',
    { ...user, maxUserNamespaces: 0 },
    ['ENOSPC', 'unshare', 'user-namespace'],
    'ERR_TUN_NAMESPACES',
    'user namespaces are switched off (user.max_user_namespaces is 0); run: sudo sysctl -w user.max_user_namespaces=15000',
  ],
  [
    'Debian’s switch forbids them',
    { ...user, unprivilegedClone: 0 },
    ['EPERM', 'unshare', 'user-namespace'],
    'ERR_TUN_NAMESPACES',
    'user namespaces are for root only (kernel.unprivileged_userns_clone is 0); run: sudo sysctl -w kernel.unprivileged_userns_clone=1',
  ],
  [
    'AppArmor forbids them',
    { ...user, apparmorRestricts: 1 },
    ['EPERM', 'write', 'user-namespace'],
    'ERR_TUN_NAMESPACES',
    'AppArmor forbids user namespaces to programs without a profile (kernel.apparmor_restrict_unprivileged_userns is 1);' +
      ' run: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0',
  ],
  [
    'AppArmor lets the namespace be made and nothing be done in it',
    { ...user, apparmorRestricts: 1 },
    ['EPERM', 'TUNSETIFF', 'tun'],
    'ERR_TUN_NAMESPACES',
    'AppArmor forbids user namespaces to programs without a profile (kernel.apparmor_restrict_unprivileged_userns is 1);' +
      ' run: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0',
  ],
  [
    'a container forbids root everything',
    { root: true, nodeMode: 0o20666, maxUserNamespaces: 1000 },
    ['EPERM', 'unshare', 'user-namespace'],
    'ERR_TUN_NAMESPACES',
    'user namespaces are not permitted here (unshare: EPERM); in a container:' +
      ' --device /dev/net/tun --cap-add SYS_ADMIN --cap-add NET_ADMIN --security-opt seccomp=unconfined',
  ],
]

describe('what keeps a command from being isolated', () => {
  it.each(cases)('%s', (_, facts, [code, syscall, detail], wanted, message) => {
    const error = isolationError(native(code, syscall, detail), facts)
    expect(error).toMatchObject({ code: wanted, message, syscall })
  })

  it('is not blamed on AppArmor when root fails', () => {
    const error = isolationError(native('EPERM', 'mount', 'mount'), { root: true, apparmorRestricts: 1 })
    expect(error).toMatchObject({ code: 'ERR_TUN_SYSTEM', message: 'mount failed with EPERM (mount)' })
  })
})

describe('a command that cannot be run', () => {
  it('is missing if the only objection was to a directory of PATH', () => {
    const denied = native('EACCES', 'execve', 'command')
    expect(commandError(denied, 'no-such-program', '/nowhere:/usr/bin')).toMatchObject({
      errno: -2,
      message: 'no-such-program: no such program',
    })
    expect(commandError(denied, '/dev/null').message).toBe('/dev/null: it is not an executable file')
    expect(commandError(denied, 'passwd', '/etc').message).toBe('passwd: it is not an executable file')
  })

  it('is not called missing if what is missing is its interpreter', () => {
    const absent = native('ENOENT', 'execve', 'command')
    const there = 'it is there, but not the interpreter or loader that its first bytes name'
    expect(commandError(absent, '/etc/passwd')).toMatchObject({ errno: -2, message: `/etc/passwd: ${there}` })
    expect(commandError(absent, 'passwd', '/nowhere:/etc').message).toBe(`passwd: ${there}`)
    expect(commandError(absent, '/no/such', '/etc').message).toBe('/no/such: no such program')
  })
})
