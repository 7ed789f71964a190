// Owns: where a process keeps what shall outlive it. XDG Base Directory Specification; systemd.exec(5), StateDirectory=.

import { homedir } from 'node:os'
import { join } from 'node:path'

/** The path of a file of this name; nothing is made. undefined where there is no place for it. */
export function stateFile(name: string, env: NodeJS.ProcessEnv = process.env): string | undefined {
  const directory = env.STATE_DIRECTORY?.split(':')[0] // systemd: one for each that the unit names
  if (directory) return join(directory, name)
  if (env.XDG_STATE_HOME?.startsWith('/')) return join(env.XDG_STATE_HOME, 'tun', name) // relative ones are ignored, says the standard
  if (process.getuid?.() === 0) return join('/var/lib/tun', name)
  const home = homedir()
  return home ? join(home, '.local/state/tun', name) : undefined
}
