// Owns: isolate(): a command with a TUN as its only way out, without root. The namespaces are native's (isolate_linux.cc); which
// files the command sees instead of the host's is decided here. Read namespaces(7), resolv.conf(5), nsswitch.conf(5).

import { readFileSync, readlinkSync, realpathSync, statSync } from 'node:fs'
import { constants } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
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
  /** The TUN as the command sees it. Defaults: tun0, 1500 bytes, 198.18.0.1/32, fdfe:dcba:9876::1/126. */
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
  // No longer prefix: it would have a broadcast address, which a name behind a fake address may not have.
  address4: '198.18.0.1/32',
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
const MAX_LINKS = 40 // Linux's own bound, path_resolution(7)

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
      files: replacements(nameserver, masks),
    })
    try {
      return new IsolatedProcess(native, openReceived(native.tun, { mtu }), command[0], env.PATH)
    } catch (error) {
      native.close()
      throw error
    }
  } catch (cause) {
    throw cause instanceof TunError || cause instanceof TypeError ? cause : isolationError(cause)
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

/** Paths and contents, by turns. */
function replacements(nameserver: string, masks: readonly string[]): string[] {
  // No search list: the program that serves the TUN resolves names, with the host's.
  const files = [resolvConf(masks), `nameserver ${nameserver}\n`]
  // Without "resolve" and "mdns", which ask daemons outside. Without the file, glibc's default is what we want.
  const nsswitchConf = placeOf(NSSWITCH_CONF)
  if (nsswitchConf?.exists) files.push(nsswitchConf.path, nsswitch())
  return files
}

/** Where the command's own goes. Behind a mask it is made; elsewhere it would be made on the host. */
function resolvConf(masks: readonly string[]): string {
  const fail = (what: string, hint: string) =>
    new TunError('ERR_TUN_NAMESPACES', `${RESOLV_CONF} ${what}: the command's own has no place`, { hint })
  const place = placeOf(RESOLV_CONF)
  if (place === undefined) throw fail('is missing', `run: sudo touch ${RESOLV_CONF}`)
  const { path, exists } = place
  if (exists && statSync(path).isDirectory()) throw fail('is a directory', `run: sudo rmdir ${path} && sudo touch ${path}`)
  if (exists || masks.some(mask => path.startsWith(`${mask}/`))) return path
  throw fail(`is a link to ${path}, which does not exist`, `run: sudo mkdir -p ${dirname(path)} && sudo touch ${path}`)
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

/** Where `path` leads, whether there is something or not. Undefined: it is not there itself. */
function placeOf(path: string): { path: string; exists: boolean } | undefined {
  let at = path
  for (let links = 0; links < MAX_LINKS; links++) {
    try {
      return { path: realpathSync(at), exists: true }
    } catch {
      // it is not there, or leads on to what is not
    }
    try {
      at = resolve(realParts(dirname(at)), readlinkSync(at))
    } catch {
      return links === 0 ? undefined : { path: realParts(at), exists: false }
    }
  }
  return undefined
}

/** As realpath(3), for a path whose last parts need not exist. */
function realParts(path: string): string {
  return realDirectory(path) ?? (dirname(path) === path ? path : join(realParts(dirname(path)), basename(path)))
}

function realDirectory(path: string): string | undefined {
  try {
    return realpathSync(path)
  } catch {
    return undefined
  }
}
