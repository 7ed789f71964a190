// Owns: what must be on the machine before anything can be built or run: each lacking thing is one line that names its cure.

import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { findBinary, installLine } from '../peers.mjs'
import { labObstacle } from './lab.mjs'

const NODE_MAJOR = 20
const NODE_MINOR = 19

/** Lines that say what is missing; empty if all is there. */
export function obstacles(/** @type {string} */ root) {
  const lines = []
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major < NODE_MAJOR || (major === NODE_MAJOR && minor < NODE_MINOR)) {
    lines.push(`Node ${process.versions.node} is too old: this needs 20.19 or later (https://nodejs.org/en/download)`)
  }
  for (const tool of ['ip', 'curl', 'setpriv', 'unshare']) {
    if (!findBinary(tool)) lines.push(`the program ${tool} is missing: ${installLine(tool)}`)
  }
  if (!isInstalled(root) && !findBinary('npm')) lines.push('the program npm is missing: apt-get install npm')
  if (!nativeIsBuilt(root) && !['c++', 'g++', 'clang++'].some(findBinary)) {
    lines.push(`no C++ compiler, and the addon is not built yet: ${installLine('g++')}`)
  }
  if (lines.length === 0) {
    const obstacle = isRoot() ? labObstacle() : rootlessObstacle()
    if (obstacle) lines.push(obstacle)
  }
  return lines
}

/** Why an ordinary user can have no network of its own here; undefined if one can. */
function rootlessObstacle() {
  if (process.platform !== 'linux') return 'network namespaces need Linux'
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK)
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'ENOENT') return '/dev/net/tun is missing: sudo modprobe tun'
    return 'this user may not open /dev/net/tun: sudo chmod 0666 /dev/net/tun, or: sudo npm run try'
  }
  const probe = spawnSync('unshare', ['--user', '--map-root-user', '--net', '--mount', 'true'], { encoding: 'utf8' })
  if (probe.status !== 0) return `this user may not make namespaces (${probe.stderr.trim()}): sudo npm run try`
  return undefined
}

export function isRoot() {
  return process.getuid?.() === 0
}

export function isInstalled(/** @type {string} */ root) {
  return existsSync(join(root, 'node_modules', '.package-lock.json'))
}

export function nativeIsBuilt(/** @type {string} */ root) {
  return ['native/build/Release', 'native/prebuilds'].some(directory => {
    const path = join(root, directory)
    return existsSync(path) && readdirSync(path, { recursive: true }).some(name => String(name).endsWith('.node'))
  })
}

/**
 * How to run npm and the build: under sudo as the owner of the clone, whose files would otherwise become root's.
 * @returns {{ prefix: string[], env: NodeJS.ProcessEnv }}
 */
export function asOwner(/** @type {string} */ root) {
  const env = { ...process.env, TURBO_TELEMETRY_DISABLED: '1', DO_NOT_TRACK: '1' }
  const { uid, gid } = statSync(root)
  if (process.getuid?.() !== 0 || uid === 0) return { prefix: [], env }
  const home = spawnSync('getent', ['passwd', String(uid)], { encoding: 'utf8' }).stdout?.split(':')[5]
  return { prefix: ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--init-groups', '--'], env: { ...env, HOME: home || root } }
}
