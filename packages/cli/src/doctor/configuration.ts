// Owns: checks of what a configuration file asks of this machine: its NIC, and the port of `dns.listen`. Nothing is opened:
// what is there is read. proc_net(5): local_address is hexadecimal, port and all.

import { type LoadedConfig, loadConfig } from '@tun/config'
import { type Check, type Finding, fail, ok, unknown, warn } from './check.js'
import { type Machine, sysctl, textOf } from './machine.js'
import { nicNames, nicOf, serversOf } from './nics.js'
import { hasCapability, NET_ADMIN, NET_BIND_SERVICE } from './rights.js'

const LISTEN = '0A' // TCP_LISTEN, net/tcp_states.h
/** ip_unprivileged_port_start(7) where the kernel does not tell. */
const PRIVILEGED = 1024

export function configuration(path: string): readonly Check[] {
  let loaded: LoadedConfig | undefined
  return [
    {
      id: 'config',
      look(machine) {
        try {
          loaded = loadConfig(machine.read(path), { file: path })
          return ok(`${path} is understood`)
        } catch (error) {
          const { code, message } = error as NodeJS.ErrnoException
          if (code !== 'ERR_TUN_CONFIG') return fail(`${path} cannot be read (${code})`)
          return fail(message.split('\n').join(' · '))
        }
      },
    },
    { id: 'device', look: machine => (loaded === undefined ? unknown('see config') : device(machine, loaded)) },
    { id: 'dns-listen', look: machine => (loaded === undefined ? unknown('see config') : dnsListen(machine, loaded)) },
  ]
}

function device(machine: Machine, { tun }: LoadedConfig): Finding {
  const url = tun['device-url']
  if (!tun.enable || url === undefined) return warn('tun.enable is not true: no NIC is opened')
  const name = /^dev:\/\/(.*)$/.exec(url)?.[1]
  if (name === undefined) return ok(`${url}: whoever starts the program passes it on`)
  const create = `sudo ip tuntap add dev ${name} mode tun user $USER && sudo ip link set ${name} up`
  const admin = hasCapability(machine, NET_ADMIN)
  if (name.includes('%') || !nicNames(machine).includes(name)) {
    if (admin) return ok(`${name} will be made, and goes with the program`)
    return fail(`${name} is not there, and this process may not make it`, create)
  }
  const nic = nicOf(machine, name)
  if (nic === undefined) return fail(`${name} is there and is not a TUN`, `use another name in tun.device-url of the file`)
  const again = `sudo ip link delete ${name} && ${create}`
  if (nic.kind === 'tap') return fail(`${name} is a TAP, not a TUN`, again)
  if (nic.multiQueue) return fail(`${name} was made with multi_queue`, again)
  if (nic.served) {
    const by = serversOf(machine, name)
    const pids = by.flatMap(server => /\d+(?=\)$)/.exec(server) ?? [])
    return fail(
      `${name} is busy: ${by.length > 0 ? `${by.join(', ')} serves it` : 'a process of another user serves it'}`,
      pids.length > 0 ? `kill ${pids.join(' ')}` : `sudo grep -l '${name}' /proc/[0-9]*/fdinfo/*`,
    )
  }
  if (!admin && nic.owner !== machine.uid) return fail(`${name} is there and belongs to ${whose(nic.owner)}`, again)
  if (!nic.up) return warn(`${name} is there, and down: no packet comes through`, `sudo ip link set ${name} up`)
  return ok(`${name} is there, and free`)
}

const whose = (owner: number | undefined) => (owner === undefined ? 'root' : `user ${owner}`)

function dnsListen(machine: Machine, { dns }: LoadedConfig): Finding {
  const place = dns.listen
  if (!dns.enable || place === undefined) return ok('dns.listen is not set: DNS is answered on the TUN only')
  const port = Number(place.slice(place.lastIndexOf(':') + 1))
  const start = sysctl(machine, 'net/ipv4/ip_unprivileged_port_start') ?? PRIVILEGED
  if (port < start && !hasCapability(machine, NET_BIND_SERVICE)) {
    return fail(`${place}: ports below ${start} are for root`, `sudo sysctl -w net.ipv4.ip_unprivileged_port_start=${port}`)
  }
  const taken = ['udp', 'udp6', 'tcp', 'tcp6'].filter(table => isTaken(textOf(machine, `/proc/self/net/${table}`) ?? '', port, table))
  if (taken.length === 0) return ok(`port ${port} is free`)
  const fix = `sudo ss -lpn 'sport = :${port}'`
  return warn(`port ${port} is in use (${taken.join(', ')}); at another address it may still be free`, fix)
}

function isTaken(table: string, port: number, protocol: string): boolean {
  const hex = port.toString(16).toUpperCase().padStart(4, '0')
  return table.split('\n').some(line => {
    const [, local, , state] = line.trim().split(/\s+/)
    return local?.endsWith(`:${hex}`) && (protocol.startsWith('udp') || state === LISTEN)
  })
}
