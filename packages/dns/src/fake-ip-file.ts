// Owns: fake-IP addresses in a file: one line `ADDRESS NAME CHECK` for each assignment, appended; the last one of a name or an
// address counts, `* * CHECK` forgets all before it. A line that is cut or damaged is passed over, so a kill at any moment costs
// what was not written yet (WRITE_DELAY). When most lines are outdated the file is written anew beside and renamed: rename(2).

import {
  closeSync,
  constants,
  fstatSync,
  fsync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  write,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import type { FakeIpEntry, FakeIpStore } from './fake-ip-store.js'
import { lockFile } from './file-lock.js'

/** Assignments wait this long to be written together. */
const WRITE_DELAY = 200 // ms
/** … or for this much. */
const WRITE_BYTES = 64 * 1024
/** Outdated lines that are not worth a rewrite. */
const SPARE_LINES = 4096
/** A file longer than this is not one of ours: 16,777,216 addresses fit in it. */
const MAX_FILE_BYTES = 2 ** 30

/** The first line: what has another one is somebody else's file and is left alone. */
const HEAD = lineOf('#', 'tun-fake-ip-1')

export interface FakeIpFileOptions {
  /** Told once, why nothing is kept from now on. */
  onWarning?: (message: string) => void
}

/**
 * A store in a file, made with its directory if missing. If it cannot be read or written, or another process has it, there is one warning
 * and addresses are kept in memory only: the ones handed out stay as they are.
 */
export function openFakeIpFile(path: string, options: FakeIpFileOptions = {}): FakeIpStore {
  return new FakeIpFile(path, options.onWarning ?? (() => {}))
}

class FakeIpFile implements FakeIpStore {
  /** -1: memory only. */
  private fd = -1
  private waiting: string[] = []
  private waitingBytes = 0
  private timer: NodeJS.Timeout | undefined
  private lines = 0
  private entries: (() => Iterable<FakeIpEntry>) | null = null
  /** While the file is written anew: what came meanwhile. */
  private since: string[] | null = null
  private unlock = () => {}

  constructor(
    private readonly path: string,
    private readonly onWarning: (message: string) => void,
  ) {}

  attach(entries: () => Iterable<FakeIpEntry>): void {
    this.entries = entries
  }

  load(): Iterable<FakeIpEntry> {
    try {
      mkdirSync(dirname(this.path), { recursive: true, mode: 0o700 })
      this.unlock = lockFile(`${this.path}.lock`)
      this.fd = openOwn(this.path)
      if (!fstatSync(this.fd).isFile()) throw new Error('it is no file')
      const text = readFileSync(this.fd, 'latin1')
      if (text.length > MAX_FILE_BYTES || !(text.startsWith(HEAD) || HEAD.startsWith(text))) throw new Error('it is some other file')
      if (text === '') writeAll(this.fd, HEAD)
      const { kept, lines, whole } = parse(text)
      this.lines = lines
      // Something is damaged: after a cut line the next one would be lost, too.
      if (!whole) this.replaceNow(kept)
      return kept
    } catch (error) {
      this.degrade(error)
      return []
    }
  }

  set(entry: FakeIpEntry): void {
    if (this.fd >= 0 && !/\s/.test(entry.name)) this.append(lineOf(entry.address, entry.name))
  }

  reset(entries: Iterable<FakeIpEntry>): void {
    if (this.fd < 0) return
    this.append(lineOf('*', '*'))
    for (const entry of entries) this.set(entry)
  }

  close(): void {
    if (this.fd < 0) return
    this.flush()
    this.shut()
  }

  private append(line: string): void {
    this.waiting.push(line)
    this.waitingBytes += line.length
    this.timer ??= setTimeout(() => this.flush(), WRITE_DELAY).unref()
    if (this.waitingBytes >= WRITE_BYTES) this.flush()
  }

  /** Into the page cache, where it outlives this process: some microseconds. Only the rewrite waits for the disk. */
  private flush(): void {
    clearTimeout(this.timer)
    this.timer = undefined
    if (this.fd < 0 || this.waiting.length === 0) return
    const text = this.waiting.join('')
    this.since?.push(text)
    this.lines += this.waiting.length
    this.waiting = []
    this.waitingBytes = 0
    try {
      writeAll(this.fd, text)
    } catch (error) {
      return this.degrade(error)
    }
    void this.tidy()
  }

  private async tidy(): Promise<void> {
    if (this.since !== null || this.entries === null || this.lines <= SPARE_LINES) return
    const kept = Array.from(this.entries(), ({ address, name }) => lineOf(address, name))
    if (this.lines <= 2 * kept.length + SPARE_LINES) return
    this.since = []
    const beside = `${this.path}.new`
    let fd = -1
    try {
      fd = openNew(beside)
      await writeSlowly(fd, HEAD)
      for (let i = 0; i < kept.length; i += 1024) await writeSlowly(fd, kept.slice(i, i + 1024).join(''))
      await promisify(fsync)(fd)
      const since = this.since.join('')
      if (this.fd < 0) throw null // closed meanwhile: the old file is complete
      writeAll(fd, since)
      renameSync(beside, this.path)
      closeSync(this.fd)
      this.fd = openOwn(this.path)
      this.lines = kept.length + since.split('\n').length
    } catch (error) {
      if (error !== null && this.fd >= 0) this.degrade(error)
    } finally {
      if (fd >= 0) quietly(() => closeSync(fd))
      this.since = null
    }
  }

  private replaceNow(kept: readonly FakeIpEntry[]): void {
    const beside = `${this.path}.new`
    const fd = openNew(beside)
    try {
      writeAll(fd, HEAD + kept.map(({ address, name }) => lineOf(address, name)).join(''))
    } finally {
      closeSync(fd)
    }
    renameSync(beside, this.path)
    closeSync(this.fd)
    this.fd = openOwn(this.path)
    this.lines = kept.length
  }

  private degrade(error: unknown): void {
    this.shut()
    const { message } = error as Error
    this.onWarning(`fake IPs are kept in memory only, ${this.path} cannot be used: ${message}`)
  }

  private shut(): void {
    clearTimeout(this.timer)
    this.timer = undefined
    this.waiting = []
    const { fd } = this
    this.fd = -1
    if (fd >= 0) quietly(() => closeSync(fd))
    if (this.since !== null) quietly(() => unlinkSync(`${this.path}.new`)) // before another may make its own
    this.unlock()
    this.unlock = () => {}
  }
}

// The directory may be that of an account with fewer rights than ours: a link of its making would have us write elsewhere.

/** For reading, and for writing at its end; no link, and nothing that waits for somebody at the other end. */
function openOwn(path: string): number {
  const { O_RDWR, O_APPEND, O_CREAT, O_NOFOLLOW = 0, O_NONBLOCK = 0 } = constants
  return openSync(path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600) // names are nobody's business
}

function openNew(path: string): number {
  rmSync(path, { force: true })
  return openSync(path, 'wx', 0o600)
}

/** What counts in a file, in the order of assignment. `whole`: there was nothing else in it. */
function parse(text: string): { kept: FakeIpEntry[]; lines: number; whole: boolean } {
  const names = new Map<string, string>() // address → name, as it was assigned last
  const addresses = new Map<string, string>()
  let lines = 0
  let whole = true
  let at = 0
  while (at < text.length) {
    const end = text.indexOf('\n', at)
    const [address, name, check, more] = text.slice(at, end < 0 ? text.length : end).split(' ')
    at = end < 0 ? text.length : end + 1
    lines++
    if (end < 0 || more !== undefined || check === undefined || check !== checkOf(`${address} ${name}`)) {
      whole = false
      continue
    }
    if (address === '#') continue
    if (address === '*') {
      names.clear()
      addresses.clear()
      continue
    }
    const before = names.get(address)
    if (before !== undefined) {
      names.delete(address)
      if (addresses.get(`${family(address)}${before}`) === address) addresses.delete(`${family(address)}${before}`)
    }
    const moved = addresses.get(`${family(address)}${name}`)
    if (moved !== undefined) names.delete(moved)
    names.set(address, name)
    addresses.set(`${family(address)}${name}`, address)
  }
  return { kept: Array.from(names, ([address, name]) => ({ address, name })), lines, whole }
}

function family(address: string): '4' | '6' {
  return address.includes(':') ? '6' : '4'
}

function lineOf(address: string, name: string): string {
  return `${address} ${name} ${checkOf(`${address} ${name}`)}\n`
}

/** FNV-1a: finds a line that is cut, or torn by a crash of the machine. */
function checkOf(text: string): string {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return (hash >>> 0).toString(36)
}

function writeAll(fd: number, text: string): void {
  const bytes = Buffer.from(text, 'latin1')
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at)
}

async function writeSlowly(fd: number, text: string): Promise<void> {
  const bytes = Buffer.from(text, 'latin1')
  for (let at = 0; at < bytes.length; ) at += (await promisify(write)(fd, bytes, at, bytes.length - at)).bytesWritten
}

function quietly(close: () => void): void {
  try {
    close()
  } catch {
    // Gone already.
  }
}
