// Owns: isolate(): a command with a TUN as its only way out, without root. The namespaces are native's (isolate_linux.cc); which
// files the command sees instead of the host's is decided here. Read namespaces(7), resolv.conf(5), nsswitch.conf(5).

import { lstatSync, mkdtempSync, readFileSync, readlinkSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { type Isolated, isolate as isolateNatively } from '@tun/native'
import { TunError } from './errors.js'
import { commandError, isolationError } from './isolation-errors.js'
import { openReceived } from './pass.js'
import type { TunDevice } from './tun.js'

export interface IsolateOptions {
  /** Default: this process's. */
  env?: NodeJS.ProcessEnv
  /** Descriptors that become the command's 0, 1 and 2; -1 is /dev/null. Default: this process's own. */
  stdio?: readonly [number, number, number]
  /** The TUN as the command sees it. Defaults: tun0, 1500 bytes, 198.18.0.1/30, fdfe:dcba:9876::1/126. */
  name?: string
  mtu?: number
  address4?: string
  address6?: string
  /** Who the command asks for names; whoever serves the TUN answers there. Default 198.18.0.2. */
  nameserver?: string
}

export const ISOLATE_DEFAULTS = {
  name: 'tun0',
  mtu: 1500,
  address4: '198.18.0.1/30',
  address6: 'fdfe:dcba:9876::1/126',
  nameserver: '198.18.0.2',
  stdio: [0, 1, 2],
} as const satisfies IsolateOptions

/** One of the two is null. */
export interface IsolatedExit {
  code: number | null
  signal: NodeJS.Signals | null
}

/** Resolvers of the host that would answer past /etc/resolv.conf: systemd-resolved's sockets, nscd's. */
const RESOLVERS = ['/run/systemd/resolve', '/run/nscd', '/var/run/nscd']
const RESOLV_CONF = '/etc/resolv.conf'
const NSSWITCH_CONF = '/etc/nsswitch.conf'

/**
 * Prepares `command` in network and mount namespaces of its own – and, for all but root, a user namespace in which its user is the
 * same. The TUN is there, configured, with the default routes of IPv4 and IPv6 into it; `device` is its other end. The command waits
 * for start(). Directory and environment stay; resolv.conf names `nameserver`. Blocks some milliseconds. Linux 5.3 or later.
 * @throws TunError: ERR_TUN_PERMISSION, ERR_TUN_NO_DEVICE_NODE, ERR_TUN_NAMESPACES, ERR_TUN_SYSTEM, each with the command that helps
 */
export function isolate(command: readonly string[], options: IsolateOptions = {}): IsolatedProcess {
  const { name, mtu, address4, address6, nameserver, stdio, env } = { ...ISOLATE_DEFAULTS, env: process.env, ...options }
  const [ip4, prefix4] = address4.split('/')
  const [ip6, prefix6] = address6.split('/')
  const scratch = mkdtempSync(join(tmpdir(), 'tun-isolate-'))
  try {
    const masks = [...new Set(RESOLVERS.map(realDirectory).filter(path => path !== undefined))]
    const native = isolateNatively({
      command,
      env: Object.entries(env).flatMap(([key, value]) => (value === undefined ? [] : [`${key}=${value}`])),
      stdio,
      name,
      mtu,
      ...{ address4: ip4, prefix4: Number(prefix4 ?? 32), address6: ip6, prefix6: Number(prefix6 ?? 128) },
      masks,
      files: replacements(scratch, nameserver),
    })
    try {
      return new IsolatedProcess(native, openReceived(native.tun, { mtu }), command[0], env.PATH)
    } catch (error) {
      native.close()
      throw error
    }
  } catch (cause) {
    throw cause instanceof TunError || cause instanceof TypeError ? cause : isolationError(cause)
  } finally {
    rmSync(scratch, { recursive: true, force: true }) // what is bound stays
  }
}

/** A command in namespaces of its own. `pid` is the command's: the same in here and out there. */
export class IsolatedProcess {
  readonly pid: number
  /** The TUN. Close it when the command has ended: what it left running loses its network then, and is otherwise let be. */
  readonly device: TunDevice
  /** Resolves when the command has ended, never rejects; not before start(). */
  readonly exited: Promise<IsolatedExit>
  private readonly native: Isolated
  private readonly program: string
  private readonly path: string | undefined
  private over!: (exit: IsolatedExit) => void

  /** Use isolate(). */
  constructor(native: Isolated, device: TunDevice, program: string, path: string | undefined) {
    this.native = native
    this.pid = native.pid
    this.device = device
    this.program = program
    this.path = path
    this.exited = new Promise(resolve => {
      this.over = resolve
    })
  }

  /** Runs the command. @throws TunError ERR_TUN_COMMAND, `errno` says why: ENOENT, EACCES…; nothing is left then but `device`. */
  start(): void {
    this.native.onExit(() => this.ended())
    try {
      this.native.start()
    } catch (cause) {
      throw commandError(cause, this.program, this.path)
    }
  }

  /** @throws TunError if the command has ended */
  kill(signal: NodeJS.Signals = 'SIGTERM'): void {
    try {
      this.native.kill(constants.signals[signal])
    } catch (cause) {
      throw isolationError(cause)
    }
  }

  /** Gives up a command that was not started; one that runs is left alone and no longer watched. `device` is yours to close. */
  close(): void {
    this.native.close()
  }

  private ended(): void {
    const exit = this.native.takeExit()
    if (exit === undefined) return
    const [code, signal] = exit
    const name = Object.entries(constants.signals).find(([, number]) => number === signal)?.[0] as NodeJS.Signals | undefined
    this.over(code >= 0 ? { code, signal: null } : { code: null, signal: name ?? 'SIGKILL' })
  }
}

function replacements(directory: string, nameserver: string): string[] {
  const files: string[] = []
  const replace = (target: string, text: string) => {
    const real = realFile(target)
    if (real === undefined) return false
    const source = join(directory, String(files.length))
    writeFileSync(source, text, { mode: 0o644 })
    files.push(source, real)
    return true
  }
  // No search list: the program that serves the TUN resolves names, with the host's.
  if (!replace(RESOLV_CONF, `nameserver ${nameserver}\n`)) {
    throw new TunError('ERR_TUN_NAMESPACES', `${RESOLV_CONF} is missing: the command's own has no place`, {
      hint: `sudo touch ${RESOLV_CONF}`,
    })
  }
  // Without "resolve" and "mdns", which ask daemons outside. Without the file, glibc's default is what we want.
  replace(NSSWITCH_CONF, nsswitch())
  return files
}

/** The host's file with another way to find hosts: users and groups are still those of the host. */
function nsswitch(): string {
  let text = ''
  try {
    text = readFileSync(NSSWITCH_CONF, 'utf8')
  } catch {
    // a link that leads nowhere
  }
  return `${text.replace(/^\s*hosts\s*:.*\n?/gm, '').replace(/\n*$/, '\n')}hosts: files dns\n`
}

/** Where mounting over `path` lands. A link into a directory that is masked leads nowhere then; its end is still the place. */
function realFile(path: string): string | undefined {
  try {
    return realpathSync(path)
  } catch {
    try {
      return lstatSync(path).isSymbolicLink() ? resolve(dirname(path), readlinkSync(path)) : undefined
    } catch {
      return undefined
    }
  }
}

function realDirectory(path: string): string | undefined {
  try {
    return realpathSync(path)
  } catch {
    return undefined
  }
}
