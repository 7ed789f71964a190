// Owns: checks of what this process and this kernel can do: the programs, the device node, capabilities, namespaces, offloads.
// Read first: capabilities(7), user_namespaces(7), Documentation/networking/tuntap.rst.

import { type Check, type Finding, fail, ok, told, unknown, warn } from './check.js'
import { type Machine, sysctl, textOf } from './machine.js'

export const NET_BIND_SERVICE = 10
export const NET_ADMIN = 12
export const NET_RAW = 13
const SYS_ADMIN = 21
/** Those that tun and the example proxy have a use for. linux/capability.h */
const USED = new Map([
  [6, 'setgid'],
  [7, 'setuid'],
  [NET_BIND_SERVICE, 'net_bind_service'],
  [NET_ADMIN, 'net_admin'],
  [NET_RAW, 'net_raw'],
  [SYS_ADMIN, 'sys_admin'],
])

/** Node 20.19; pidfd_open(2) is of Linux 5.3. */
const NODE = [20, 19]
const LINUX = [5, 3]
const MISC_TUN = [10, 200] // Documentation/admin-guide/devices.txt
export const NODE_FILE = '/dev/net/tun'

export const rights: readonly Check[] = [
  { id: 'system', look: system },
  { id: 'node', look: node },
  { id: 'addon', look: addon },
  { id: 'device-node', look: deviceNode },
  { id: 'capabilities', look: capabilities },
  { id: 'user-namespaces', look: userNamespaces },
  { id: 'isolation', look: isolation },
  { id: 'offload', look: offload },
]

/** Bit by bit what this process may do; undefined where there is no /proc. */
export function hasCapability(machine: Machine, bit: number): boolean | undefined {
  const [, hex] = /^CapEff:\s*([0-9a-f]+)/m.exec(textOf(machine, '/proc/self/status') ?? '') ?? []
  return hex === undefined ? undefined : ((BigInt(`0x${hex}`) >> BigInt(bit)) & 1n) === 1n
}

function system({ platform, release }: Machine): Finding {
  if (platform !== 'linux') return fail(`${platform}: TUN devices are served on Linux only so far`)
  if (atLeast(release, LINUX)) return ok(`Linux ${release}`)
  return fail(`Linux ${release}: tun exec and tun dump need 5.3 or later`, 'use a kernel of 5.3 or later')
}

function node(machine: Machine): Finding {
  if (atLeast(machine.node, NODE)) return ok(`Node ${machine.node}`)
  return fail(`Node ${machine.node} is too old: 20.19 or later is needed`, 'install Node 20.19 or later')
}

function atLeast(version: string, [major, minor]: readonly number[]): boolean {
  const [a, b] = version.split('.', 2).map(part => Number.parseInt(part, 10))
  return a > major || (a === major && b >= minor)
}

function addon(machine: Machine): Finding {
  try {
    machine.loadAddon()
  } catch (error) {
    const { found, fix } = told(error)
    return fail(found, fix)
  }
  // Which file that was, the kernel knows best.
  const file = /\s(\/.*\.node)$/m.exec(textOf(machine, '/proc/self/maps') ?? '')?.[1]
  if (file === undefined) return ok('loaded')
  return ok(`${file.includes('/prebuilds/') ? 'prebuilt' : 'built here'}: ${file}`)
}

function deviceNode(machine: Machine): Finding {
  const container = 'in a container: --device /dev/net/tun'
  try {
    const { mode, device } = machine.stat(NODE_FILE)
    const isNode = (mode & 0o170000) === 0o020000 && device.join() === MISC_TUN.join()
    if (!isNode) return fail(`${NODE_FILE} is not the TUN device`, `sudo rm ${NODE_FILE} && sudo mknod -m 0666 ${NODE_FILE} c 10 200`)
    const bits = `mode ${(mode & 0o777).toString(8).padStart(4, '0')}`
    try {
      machine.tryOpen(NODE_FILE)
      return ok(`${NODE_FILE}, ${bits}`)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'EACCES') return fail(`${NODE_FILE} cannot be opened by this user (${bits})`, `sudo chmod 0666 ${NODE_FILE}`)
      if (code === 'EPERM') return fail(`opening ${NODE_FILE} is not permitted here`, container)
      return fail(`${NODE_FILE} does not work here (${code})`, `sudo modprobe tun (${container})`)
    }
  } catch {
    return fail(`${NODE_FILE} is missing`, `sudo modprobe tun (${container})`)
  }
}

function capabilities(machine: Machine): Finding {
  const admin = hasCapability(machine, NET_ADMIN)
  if (admin === undefined) return unknown('/proc/self/status does not tell them')
  const names = [...USED].filter(([bit]) => hasCapability(machine, bit)).map(([, name]) => name)
  const list = names.length === 0 ? 'none' : names.map(name => `cap_${name}`).join(', ')
  const own = textOf(machine, '/proc/self/uid_map')?.split(/\s+/).join(' ')
  const where = own === undefined || own === '0 0 4294967295' ? '' : '; they count within this user namespace only'
  if (admin) return ok(`${list}${where}`)
  return warn(
    `${list}: tun exec does without; in the machine’s own network root has to make the NIC`,
    'sudo ip tuntap add dev tun0 mode tun user $USER && sudo ip link set tun0 up',
  )
}

/** Who may make NICs in this very network can do without a command's own. */
const gravity = (machine: Machine) => (hasCapability(machine, NET_ADMIN) ? warn : fail)

function userNamespaces(machine: Machine): Finding {
  const most = sysctl(machine, 'user/max_user_namespaces')
  const apparmor = sysctl(machine, 'kernel/apparmor_restrict_unprivileged_userns')
  const clone = sysctl(machine, 'kernel/unprivileged_userns_clone')
  const said = [
    most === undefined ? [] : `user.max_user_namespaces ${most}`,
    clone === undefined ? [] : `kernel.unprivileged_userns_clone ${clone}`,
    apparmor === undefined ? [] : `kernel.apparmor_restrict_unprivileged_userns ${apparmor}`,
  ].flat()
  const switches = said.length === 0 ? 'no switch forbids them' : said.join(', ')
  if (machine.uid === 0 && hasCapability(machine, SYS_ADMIN) && hasCapability(machine, NET_ADMIN)) return ok(`root needs none; ${switches}`)
  if (most === 0) return gravity(machine)(`switched off: ${switches}`, 'sudo sysctl -w user.max_user_namespaces=15000')
  if (clone === 0) return gravity(machine)(`for root only: ${switches}`, 'sudo sysctl -w kernel.unprivileged_userns_clone=1')
  if (apparmor !== undefined && apparmor > 0) {
    return warn(
      `AppArmor forbids them to programs without a profile: ${switches}`,
      'sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0',
    )
  }
  return ok(switches)
}

function isolation(machine: Machine): Finding {
  try {
    machine.tryTun()
    return ok('a TUN could be made in throw-away namespaces, as tun exec does')
  } catch (error) {
    const { found, fix } = told(error)
    return gravity(machine)(`tun exec cannot work: ${found}`, fix)
  }
}

function offload(machine: Machine): Finding {
  let trial: ReturnType<Machine['tryTun']>
  try {
    trial = machine.tryTun()
  } catch {
    return unknown('no TUN could be made to try it (see isolation)')
  }
  const { vnetHeader, checksum, tso4, tso6, uso } = trial
  const parts = Object.entries({ checksums: checksum, TSO4: tso4, TSO6: tso6, USO: uso }).map(([name, has]) => (has ? name : `no ${name}`))
  if (!vnetHeader || !checksum || !tso4 || !tso6) return warn(`${parts.join(', ')}: the addon does it instead, for more CPU time`)
  return uso ? ok(parts.join(', ')) : warn(`${parts.join(', ')}: it came with Linux 6.2; datagrams go one by one`)
}
