// Owns: how many UDP flows this process can serve. `direct()` opens a socket for each, so the bound of descriptors is one of flows too.
// Read first: proc_pid_limits(5).

import { readFileSync } from 'node:fs'
import { DEFAULTS } from '@tun/stack'

/** Half of the descriptors this process may have, at most as many as the stack's default. */
export function defaultMaxUdpFlows(most = descriptorLimit()): number {
  return most === undefined ? DEFAULTS.maxUdpFlows : Math.max(1, Math.min(DEFAULTS.maxUdpFlows, Math.floor(most / 2)))
}

/** The soft limit; undefined where it is not told, or there is none. */
export function descriptorLimit(read: () => string = () => readFileSync('/proc/self/limits', 'utf8')): number | undefined {
  try {
    const [, soft] = /^Max open files\s+(\d+)/m.exec(read()) ?? []
    return soft === undefined ? undefined : Number(soft)
  } catch {
    return undefined // no Linux
  }
}
