// Owns: what `tun doctor` sees of a machine. Checks get it as an argument, so that tests show them other machines. Nothing here writes.
// Read first: proc(5), sysfs(5).

import { closeSync, constants, openSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { homedir, release } from 'node:os'
import { type TunTrial, tryTun } from '@tun/device'
import { load } from '@tun/native'

export interface FileFacts {
  /** Type and permission bits. */
  mode: number
  uid: number
  /** Of a device node: major and minor. */
  device: [major: number, minor: number]
}

/** Methods throw what node:fs does, with its `code`. */
export interface Machine {
  platform: NodeJS.Platform
  /** The kernel's, e.g. 6.1.0-28-amd64. */
  release: string
  /** e.g. 20.19.0 */
  node: string
  env: NodeJS.ProcessEnv
  home: string
  uid: number
  /** The effective one and the supplementary ones. */
  groups: readonly number[]
  read(path: string): string
  list(path: string): string[]
  link(path: string): string
  stat(path: string): FileFacts
  /** Opens the file for reading and writing and closes it: what the kernel says to that. */
  tryOpen(path: string): void
  /** Loads the native addon. @throws Error with `hint` */
  loadAddon(): void
  /** Once: a second call answers the same. @throws TunError */
  tryTun(): TunTrial
}

export function thisMachine(): Machine {
  let trial: (() => TunTrial) | undefined
  return {
    platform: process.platform,
    release: release(),
    node: process.versions.node,
    env: process.env,
    home: homedir(),
    uid: process.geteuid?.() ?? -1,
    groups: [process.getegid?.() ?? -1, ...(process.getgroups?.() ?? [])],
    read: path => readFileSync(path, 'utf8'),
    list: path => readdirSync(path),
    link: path => readlinkSync(path),
    stat: path => {
      const { mode, uid, rdev } = statSync(path)
      return { mode, uid, device: [(rdev >> 8) & 0xfff, (rdev & 0xff) | ((rdev >> 12) & 0xfff00)] } // makedev(3)
    },
    tryOpen: path => closeSync(openSync(path, constants.O_RDWR)),
    loadAddon: load,
    tryTun: () => {
      trial ??= attempt(tryTun)
      return trial()
    },
  }
}

/** The outcome, to be had any number of times. */
function attempt<T>(run: () => T): () => T {
  try {
    const value = run()
    return () => value
  } catch (error) {
    return () => {
      throw error
    }
  }
}

/** What `read` answers, trimmed; undefined if there is no such file, or it tells us nothing. */
export function textOf(machine: Machine, path: string): string | undefined {
  try {
    return machine.read(path).trim()
  } catch {
    return undefined
  }
}

/** A number of /proc/sys, by its key with slashes: net/ipv4/ip_forward. */
export function sysctl(machine: Machine, key: string): number | undefined {
  const text = textOf(machine, `/proc/sys/${key}`)
  return text === undefined || text === '' ? undefined : Number(text)
}

export function namesIn(machine: Machine, directory: string): string[] {
  try {
    return machine.list(directory)
  } catch {
    return []
  }
}

/** Does the process live? A zombie does not. With `start` – field 22 of proc_pid_stat(5) – only if it is that very one. */
export function lives(machine: Machine, pid: string, start = ''): boolean {
  const stat = textOf(machine, `/proc/${pid}/stat`)
  if (stat === undefined) return false
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return !/^[ZX]/.test(fields[0]) && (start === '' || fields[19] === start)
}
