// Owns: a process that has opened what only root may open becomes somebody else, in all its threads, and cannot come back.
// Read first: credentials(7), setuid(2), capabilities(7) "Effect of user ID changes on capabilities", passwd(5), group(5).

import { spawnSync } from 'node:child_process'
import { closeSync, constants, fchownSync, fstatSync, openSync, readdirSync, readFileSync } from 'node:fs'

export interface Account {
  /** As it was asked for; a number if nobody has a name for it. */
  name: string
  uid: number
  gid: number
  /** It has an entry, and so supplementary groups. */
  known: boolean
}

export interface DropOptions {
  /** Files that the process goes on using, of which some may be root's: those that are there are given to the account. */
  files?: readonly string[]
}

/** Where accounts are looked up: NAME or number → the line of passwd(5) or group(5). */
export type Lookup = (database: 'passwd' | 'group', key: string) => string | undefined

/** @types/node has forgotten one. */
type Process = NodeJS.Process & { initgroups?: (user: string, group: number) => void }

const MAX_ID = 0xfffffffe // -1 means "leave it"

function failure(message: string, hint?: string): Error {
  return Object.assign(new Error(hint === undefined ? message : `${message}; ${hint}`), { code: 'ERR_TUN_USER', hint })
}

/** `NAME`, `NAME:GROUP`, or numbers; a number without an entry needs a group. @throws Error ERR_TUN_USER */
export function findAccount(text: string, lookup: Lookup = lookUp): Account {
  const [, name, group] = /^([^:\s]+)(?::([^:\s]+))?$/.exec(text) ?? []
  if (name === undefined) throw failure(`user '${text}': expected NAME or NAME:GROUP`)
  const [entryName, , uidText, ownGid] = lookup('passwd', name)?.split(':') ?? []
  const uid = Number(uidText ?? name)
  if (!isId(uid, uidText ?? name)) throw failure(`there is no user '${name}'`, `sudo useradd --system --no-create-home ${name}`)
  if (uid === 0) throw failure(`user '${name}' is root: nothing would be dropped`, 'name another one, e.g. nobody')
  const gidText = group === undefined ? ownGid : (lookup('group', group)?.split(':')[2] ?? group)
  if (gidText === undefined) throw failure(`user ${uid} has no entry, and so no group`, `write ${uid}:GROUP`)
  const gid = Number(gidText)
  if (!isId(gid, gidText)) throw failure(`there is no group '${group}'`, `sudo groupadd --system ${group}`)
  return { name: entryName ?? name, uid, gid, known: entryName !== undefined }
}

/**
 * For all threads of this process, and for good: supplementary groups, group, user. Afterwards it is verified that no thread has kept an
 * id or a capability and that the way back is closed. Descriptors stay open: call it when everything is. Not for worker threads.
 * @throws Error ERR_TUN_USER: end the process then; it may have dropped a part
 */
export function dropPrivileges(account: Account, { files = [] }: DropOptions = {}): void {
  const { name, uid, gid, known } = account
  const { setuid, setgid, setgroups, initgroups } = process as Process
  if (!setuid || !setgid || !setgroups || !initgroups)
    throw failure('users cannot be changed here', 'only the main thread of a POSIX process can')
  // libuv's ring would go on with the rights that it was opened with.
  const ring = process.env.UV_USE_IO_URING
  if (ring !== undefined && ring !== '0') throw failure('io_uring keeps root’s rights', 'start it without UV_USE_IO_URING')
  if (process.geteuid?.() !== 0) {
    if (process.getuid?.() === uid && process.getgid?.() === gid) return verify(account)
    throw failure(`only root can become ${name}`, 'start it with sudo, or as that user and without --user')
  }
  for (const file of files) give(file, account)
  try {
    if (known) initgroups(name, gid)
    else setgroups([gid])
    setgid(gid)
    setuid(uid)
  } catch (error) {
    throw failure(`becoming ${name} failed: ${(error as Error).message}`)
  }
  verify(account)
}

/** By its descriptor and without following links: a name could be turned meanwhile into that of a file that is none of theirs. */
function give(file: string, { name, uid, gid }: Account): void {
  let fd: number
  try {
    fd = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return
    throw failure(`${file} cannot be given to ${name} (${code})`)
  }
  try {
    const status = fstatSync(fd)
    if (status.uid === uid) return
    if (!status.isFile() || status.nlink !== 1)
      throw failure(`${file} is not given to ${name}: it is no file of its own (a link, a device)`)
    fchownSync(fd, uid, gid)
  } finally {
    closeSync(fd)
  }
}

function verify({ name, uid, gid }: Account): void {
  const kept = (what: string) => failure(`this process has not become ${name} for good: ${what}`)
  for (const status of threads()) {
    const of = (field: string) => (new RegExp(`^${field}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? '').trim().split(/\s+/)
    // real, effective, saved, filesystem: proc_pid_status(5)
    for (const [field, id] of [
      ['Uid', uid],
      ['Gid', gid],
    ] as const) {
      if (of(field).some(value => value !== String(id))) throw kept(`${field} of a thread is ${of(field).join(' ')}`)
    }
    for (const field of ['CapPrm', 'CapEff', 'CapAmb']) {
      if (!/^0*$/.test(of(field)[0])) throw kept(`${field} of a thread is ${of(field)[0]}`)
    }
  }
  const ways: [string, () => void][] = [
    ['setuid', () => process.setuid?.(0)],
    ['setgroups', () => process.setgroups?.([0])],
  ]
  if (gid !== 0) ways.push(['setgid', () => process.setgid?.(0)])
  for (const [call, back] of ways) {
    try {
      back()
    } catch {
      continue
    }
    throw kept(`${call}(0) is still allowed`)
  }
}

/** /proc/self/task/TID/status of each; none where there is no /proc. */
function threads(): string[] {
  try {
    return readdirSync('/proc/self/task').flatMap(tid => {
      try {
        return [readFileSync(`/proc/self/task/${tid}/status`, 'latin1')]
      } catch {
        return [] // it has just ended
      }
    })
  } catch {
    return []
  }
}

function isId(id: number, text: string): boolean {
  return /^\d{1,10}$/.test(text) && id <= MAX_ID
}

/** The files first: they are there without a C library's help; then getent(1), for LDAP and its like. */
function lookUp(database: 'passwd' | 'group', key: string): string | undefined {
  const lines = (text: string) => text.split('\n').find(line => line.startsWith(`${key}:`) || line.split(':')[2] === key)
  try {
    const found = lines(readFileSync(`/etc/${database}`, 'utf8'))
    if (found !== undefined) return found
  } catch {
    // no such file
  }
  const { status, stdout } = spawnSync('getent', [database, '--', key], { encoding: 'utf8', timeout: 10_000 })
  return status === 0 ? lines(stdout) : undefined
}
