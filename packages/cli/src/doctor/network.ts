// Owns: checks of how this network is set up: what would drop, divert or bound the traffic of a TUN.
// Read first: Documentation/networking/ip-sysctl.rst, resolv.conf(5), nsswitch.conf(5), proc_pid_limits(5).

import { type Check, type Finding, ok, unknown, warn } from './check.js'
import { type Machine, sysctl, textOf } from './machine.js'
import { nicsOf } from './nics.js'
import { hasCapability, NET_RAW } from './rights.js'

/** Fewer ephemeral ports than this: connections of a busy proxy to one server run out of them. */
const PORTS = 16_384
/** Descriptors that a busy machine's flows need: each UDP flow has a socket. */
const DESCRIPTORS = 4096
const MAX_GROUP = 2_147_483_647

export const network: readonly Check[] = [
  { id: 'rp-filter', look: rpFilter },
  { id: 'ipv6', look: ipv6 },
  { id: 'forwarding', look: forwarding },
  { id: 'resolver', look: resolver },
  { id: 'ping-group-range', look: pingGroupRange },
  { id: 'descriptors', look: descriptors },
  { id: 'port-range', look: portRange },
]

/** Of `all` and the NIC's own the greater one counts; 1 is strict, 2 loose. */
function rpFilter(machine: Machine): Finding {
  const of = (name: string) => sysctl(machine, `net/ipv4/conf/${name}/rp_filter`)
  const all = of('all')
  if (all === undefined) return unknown('net.ipv4.conf.all.rp_filter cannot be read')
  const strict = ['default', ...nicsOf(machine).map(({ name }) => name)].filter(name => Math.max(all, of(name) ?? 0) === 1)
  if (strict.length === 0) return ok(all === 0 ? 'off' : 'loose')
  const which = strict.map(name => (name === 'default' ? 'new NICs' : name)).join(', ')
  return warn(
    `strict for ${which}: a packet out of the TUN is dropped if the way back to its source is not the TUN`,
    'sudo sysctl -w net.ipv4.conf.all.rp_filter=2',
  )
}

function ipv6(machine: Machine): Finding {
  const of = (name: string) => sysctl(machine, `net/ipv6/conf/${name}/disable_ipv6`)
  if (of('all') === undefined) return warn('this kernel has no IPv6, or was started without it: applications have IPv4 only')
  const off = ['all', 'default', ...nicsOf(machine).map(({ name }) => name)].filter(name => of(name) === 1)
  if (off.length === 0) return ok('on')
  const keys = off.map(name => `net.ipv6.conf.${name}.disable_ipv6`)
  return warn(`switched off: ${keys.join(', ')}`, `sudo sysctl -w ${keys.map(key => `${key}=0`).join(' ')}`)
}

function forwarding(machine: Machine): Finding {
  const v4 = sysctl(machine, 'net/ipv4/ip_forward') === 1
  const v6 = sysctl(machine, 'net/ipv6/conf/all/forwarding') === 1
  if (v4 && v6) return ok('on: other machines’ traffic may be routed into a TUN')
  const which = v4 ? 'off for IPv6' : v6 ? 'off for IPv4' : 'off'
  return ok(`${which}: a TUN gets this machine’s own traffic; a gateway needs net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1`)
}

function resolver(machine: Machine): Finding {
  const conf = textOf(machine, '/etc/resolv.conf')
  if (conf === undefined) return warn('/etc/resolv.conf is missing: names are asked at 127.0.0.1', 'sudo touch /etc/resolv.conf')
  const servers = [...conf.matchAll(/^\s*nameserver\s+(\S+)/gm)].map(match => match[1])
  const asked = servers.length === 0 ? 'none (127.0.0.1 is asked)' : servers.join(', ')
  const hosts = /^\s*hosts\s*:(.*)$/m.exec(textOf(machine, '/etc/nsswitch.conf') ?? '')?.[1] ?? ''
  const past = hosts.split(/[\s[]+/).filter(word => /^(resolve|mymachines|mdns\w*)$/.test(word))
  const beside = past.length > 0 ? `; hosts: of /etc/nsswitch.conf asks ${past.join(', ')} before or beside them` : ''
  const found = `nameservers: ${asked}${beside}`
  const stub = servers.filter(server => /^(127\.|::1$)/.test(server))
  if (servers.length > 0 && stub.length === 0 && !past.includes('resolve')) return ok(found)
  const systemd = stub.some(server => /^127\.0\.0\.5[34]$/.test(server)) || past.includes('resolve')
  return warn(
    `${found}. Such queries do not enter a TUN${systemd ? ': systemd-resolved asks by itself' : ''} ` +
      '(tun exec has a resolv.conf of its own)',
    systemd ? "sudo resolvectl dns tun0 198.18.0.2 && sudo resolvectl domain tun0 '~.'" : undefined,
  )
}

function pingGroupRange(machine: Machine): Finding {
  const range = textOf(machine, '/proc/sys/net/ipv4/ping_group_range')
  if (range === undefined) return unknown('net.ipv4.ping_group_range cannot be read')
  const [low, high] = range.split(/\s+/).map(Number)
  if (machine.groups.some(group => group >= low && group <= high)) return ok(`${low} to ${high}: this process may send pings`)
  const who = `${low > high ? 'nobody' : `only groups ${low} to ${high}`} may send pings without a capability`
  if (hasCapability(machine, NET_RAW)) return ok(`${who}; this process has cap_net_raw (not after --user)`)
  return warn(`${who}: they cannot be carried on`, `sudo sysctl -w net.ipv4.ping_group_range="0 ${MAX_GROUP}"`)
}

function descriptors(machine: Machine): Finding {
  const [, soft] = /^Max open files\s+(\w+)/m.exec(textOf(machine, '/proc/self/limits') ?? '') ?? []
  if (soft === undefined) return unknown('/proc/self/limits does not tell')
  if (soft === 'unlimited' || Number(soft) >= DESCRIPTORS) return ok(soft)
  return warn(`${soft}: at most ${Math.floor(Number(soft) / 2)} UDP flows at once`, 'sudo prlimit --pid $$ --nofile=65536')
}

function portRange(machine: Machine): Finding {
  const [low, high] = (textOf(machine, '/proc/sys/net/ipv4/ip_local_port_range') ?? '').split(/\s+/).map(Number)
  if (high === undefined) return unknown('net.ipv4.ip_local_port_range cannot be read')
  const ports = high - low + 1
  if (ports >= PORTS) return ok(`${low} to ${high}`)
  return warn(
    `${low} to ${high}: ${ports} connections to one server, and no more`,
    'sudo sysctl -w net.ipv4.ip_local_port_range="16384 60999"',
  )
}
