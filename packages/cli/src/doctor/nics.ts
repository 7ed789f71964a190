// Owns: the TUN NICs of this network namespace, and who serves them. Read tun_show_flags and tun_chr_show_fdinfo in drivers/net/tun.c.

import { type Machine, namesIn, textOf } from './machine.js'

export interface Nic {
  name: string
  kind: 'tun' | 'tap'
  persistent: boolean
  multiQueue: boolean
  /** Who else than root may serve it; undefined: anybody who may administer the network. */
  owner?: number
  up: boolean
  /** A process has it open; undefined while it is down: the kernel does not tell. */
  served?: boolean
}

const TUN = 1
const TAP = 2
const PERSIST = 0x800
const MULTI_QUEUE = 0x100
const IFF_UP = 1

/** By their names in /proc/net/dev, which is of this namespace even where /sys is not. */
export function nicsOf(machine: Machine): Nic[] {
  return nicNames(machine).flatMap(name => nicOf(machine, name) ?? [])
}

export function nicNames(machine: Machine): string[] {
  return [...(textOf(machine, '/proc/self/net/dev') ?? '').matchAll(/^\s*([^\s:|]+):/gm)].map(match => match[1])
}

/** Undefined: it is no TUN or TAP. */
export function nicOf(machine: Machine, name: string): Nic | undefined {
  const of = (file: string) => textOf(machine, `/sys/class/net/${name}/${file}`)
  const flags = Number(of('tun_flags') ?? 0)
  if ((flags & (TUN | TAP)) === 0) return undefined
  const owner = Number(of('owner') ?? -1)
  const up = (Number(of('flags') ?? 0) & IFF_UP) !== 0
  const carrier = of('carrier') // EINVAL while it is down
  return {
    name,
    kind: (flags & TUN) !== 0 ? 'tun' : 'tap',
    persistent: (flags & PERSIST) !== 0,
    multiQueue: (flags & MULTI_QUEUE) !== 0,
    owner: owner >= 0 ? owner : undefined,
    up,
    served: carrier === undefined ? undefined : carrier === '1',
  }
}

/** The processes that have /dev/net/tun open for a NIC of this name, as `node (pid 12)`: those that this user may look at. */
export function serversOf(machine: Machine, name: string): string[] {
  const servers: string[] = []
  for (const pid of namesIn(machine, '/proc').filter(entry => /^\d+$/.test(entry))) {
    const open = namesIn(machine, `/proc/${pid}/fd`).some(fd => {
      try {
        if (machine.link(`/proc/${pid}/fd/${fd}`) !== '/dev/net/tun') return false
      } catch {
        return false
      }
      return /^iff:\s*(.*)$/m.exec(textOf(machine, `/proc/${pid}/fdinfo/${fd}`) ?? '')?.[1] === name
    })
    if (open) servers.push(`${textOf(machine, `/proc/${pid}/comm`) ?? 'a process'} (pid ${pid})`)
  }
  return servers
}
