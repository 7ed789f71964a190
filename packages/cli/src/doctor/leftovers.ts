// Owns: checks for what a killed run left, and for NICs that somebody made and nobody serves.

import { dirname, join } from 'node:path'
import { type Check, type Finding, ok, warn } from './check.js'
import { lives, type Machine, namesIn, textOf } from './machine.js'
import { nicsOf, serversOf } from './nics.js'

/** @param config the configuration's path: fake IPs are kept beside it, too */
export function leftovers(config: string | undefined): readonly Check[] {
  return [
    { id: 'nics', look: nics },
    { id: 'locks', look: machine => locks(machine, config) },
    { id: 'namespaces', look: namespaces },
  ]
}

/** By what the kernel says, where no process is seen that serves it. */
const UNSEEN: Readonly<Record<string, string>> = {
  true: 'served by a process of somebody else',
  false: 'nobody serves it',
  undefined: 'nobody is seen to serve it',
}

function nics(machine: Machine): Finding {
  const all = nicsOf(machine).filter(({ kind }) => kind === 'tun')
  if (all.length === 0) return ok('no TUN here')
  const said = all.map(nic => {
    const by = nic.served === false ? [] : serversOf(machine, nic.name)
    const state = by.length > 0 ? `served by ${by.join(', ')}` : UNSEEN[String(nic.served)]
    const kept = nic.persistent ? [`kept for ${nic.owner === undefined ? 'root' : `user ${nic.owner}`}`] : []
    return { nic, by, line: `${nic.name}: ${[nic.up ? 'up' : 'down', ...kept, state].join(', ')}` }
  })
  const found = said.map(({ line }) => line).join('; ')
  const idle = said.filter(({ nic }) => nic.persistent && nic.served === false).map(({ nic }) => nic.name)
  if (idle.length > 0) {
    const fix = `start what serves it, or: ${idle.map(name => `sudo ip link delete ${name}`).join(' && ')}`
    return warn(`${found}. What is routed into ${idle.join(', ')} is lost`, fix)
  }
  const down = said.filter(({ nic, by }) => !nic.up && by.length > 0).map(({ nic }) => nic.name)
  if (down.length > 0) return warn(`${found}. No packet comes through`, down.map(name => `sudo ip link set ${name} up`).join(' && '))
  return ok(found)
}

/** Where an inbound keeps what outlives it: packages/inbound/src/state-file.ts. */
function placesOf({ env, uid, home }: Machine, config: string | undefined): string[] {
  const places = [
    ...(env.STATE_DIRECTORY?.split(':') ?? []),
    env.XDG_STATE_HOME?.startsWith('/') ? join(env.XDG_STATE_HOME, 'tun') : '',
    uid === 0 ? '/var/lib/tun' : join(home, '.local/state/tun'),
    config === undefined ? '' : dirname(config),
  ]
  return [...new Set(places.filter(place => place !== ''))]
}

/** A lock has its holder's number and start, packages/dns/src/file-lock.ts. Somebody else's `.lock` files have other words in them. */
function locks(machine: Machine, config: string | undefined): Finding {
  const files = placesOf(machine, config).flatMap(place => namesIn(machine, place).map(name => join(place, name)))
  const held: string[] = []
  const stale: string[] = []
  for (const file of files.filter(name => /\.lock(\.\d+)?$/.test(name))) {
    const [, pid, start] = /^(\d+) (\d*)$/.exec(textOf(machine, file) ?? '') ?? []
    if (pid === undefined) continue
    if (lives(machine, pid, start)) held.push(`${file} (pid ${pid})`)
    else stale.push(file)
  }
  if (stale.length > 0) {
    return warn(`left by a process that has ended: ${stale.join(', ')}. The next start takes it over`, `rm ${stale.map(quoted).join(' ')}`)
  }
  return ok(held.length === 0 ? 'none' : `in use: ${held.join(', ')}`)
}

/** As a shell wants it. */
function quoted(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`
}

/** Those of `npm run try` and of the tests are called after their process; tun exec has none with a name. */
function namespaces(machine: Machine): Finding {
  const ours = namesIn(machine, '/run/netns').filter(name => /^tunlab-\d+-/.test(name))
  const stale = ours.filter(name => !lives(machine, name.split('-')[1]))
  if (stale.length === 0) return ok(ours.length === 0 ? 'none of ours' : `in use: ${ours.join(', ')}`)
  const fix = stale.map(name => `sudo ip netns delete ${name} && sudo rm -rf /etc/netns/${name}`).join(' && ')
  return warn(`left by a process that has ended: ${stale.join(', ')}`, fix)
}
