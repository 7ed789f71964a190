// Owns: one process at a time for a file: a lock file with the holder's number and start, so that one left by a kill does not bind.
// Node has no flock(2). /proc/PID/stat: proc(5), field 22.

import { linkSync, readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'

const held = new Set<string>()

/** Takes the lock and answers what gives it back (idempotent). @throws Error if another live process, or we, have it */
export function lockFile(path: string): () => void {
  if (held.has(path)) throw new Error('it is in use already')
  const own = `${path}.${process.pid}`
  // The directory may be a less privileged account's: what it has put there under this name is not written through.
  rmSync(own, { force: true })
  writeFileSync(own, `${process.pid} ${startOf(process.pid) ?? ''}\n`, { mode: 0o600, flag: 'wx' })
  try {
    take(own, path)
  } finally {
    unlinkSync(own)
  }
  held.add(path)
  let holds = true
  return () => {
    if (!holds) return
    holds = false
    held.delete(path)
    try {
      unlinkSync(path)
    } catch {
      // Somebody tidied up.
    }
  }
}

/** link(2) fails if the name is there, and what it makes is complete from the first moment on. */
function take(own: string, path: string): void {
  for (let i = 0; i < 3; i++) {
    try {
      return linkSync(own, path)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
    const holder = holderOf(path)
    if (holder !== undefined) throw new Error(`process ${holder} uses it`)
    try {
      unlinkSync(path)
    } catch {
      // Another was faster: look again.
    }
  }
  throw new Error('others use it')
}

function holderOf(path: string): number | undefined {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
  const [pid, start] = text.trim().split(' ')
  if (Number(pid) === process.pid || !/^\d+$/.test(pid)) return undefined // our number before a restart, as in a container
  try {
    process.kill(Number(pid), 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return undefined
  }
  const now = startOf(Number(pid))
  return start && now && now !== start ? undefined : Number(pid)
}

/** When the process started, in clock ticks since the machine did; undefined where that cannot be told. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
  } catch {
    return undefined
  }
}
