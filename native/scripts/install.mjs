// Owns: getting a loadable addon onto this machine, by the first way that works. Never breaks an install (exit 0, one
// line) unless TUN_DEVICE_REQUIRE_NATIVE=1: openTun() then says ERR_TUN_NATIVE_UNAVAILABLE.

import { spawnSync } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { compile, isStale, loads, recordFingerprint, root } from './build.mjs'

const require = createRequire(import.meta.url)

/** True for Debian's nodejs, the official tarballs, nvm: headers lie beside node. */
function headersBesideNode() {
  const prefix = path.dirname(path.dirname(process.execPath))
  const include = path.join(prefix, 'include', 'node')
  return existsSync(path.join(include, 'node_api.h')) && existsSync(path.join(include, 'common.gypi')) ? prefix : undefined
}

function gyp(nodedir) {
  const bin = path.join(path.dirname(require.resolve('node-gyp-build/package.json')), 'bin.js')
  const env = { ...process.env, npm_config_build_from_source: 'true' }
  if (nodedir) env.npm_config_nodedir = nodedir
  const verbose = Boolean(process.env.npm_config_verbose)
  const done = spawnSync(process.execPath, [bin], { cwd: root, env, stdio: verbose ? 'inherit' : ['ignore', 'ignore', 'pipe'] })
  return done.status === 0
}

function gcc() {
  if (process.platform !== 'linux') return false
  try {
    compile()
    return true
  } catch {
    return false
  }
}

function build() {
  const prefix = headersBesideNode()
  const ways = [() => prefix !== undefined && gyp(prefix), gcc, () => prefix === undefined && gyp()]
  for (const way of ways) {
    if (!way()) continue
    if (loads()) return true
  }
  return false
}

const stale = isStale()
if (!stale && loads()) process.exit(0)
try {
  if (stale) rmSync(path.join(root, 'build', 'Release'), { recursive: true, force: true })
  if (build()) {
    recordFingerprint()
    process.exit(0)
  }
} catch (error) {
  process.stderr.write(`@tun/native: ${error.message}\n`) // a tree that cannot be written
}
const cure =
  process.platform === 'linux'
    ? 'install a C++ compiler (Debian: apt-get install g++, or build-essential) and run: npm rebuild @tun/native'
    : 'install a C++ compiler and Python and run: npm rebuild @tun/native'
process.stderr.write(`@tun/native: no addon for ${process.platform}-${process.arch} and none could be built; ${cure}\n`)
process.exit(process.env.TUN_DEVICE_REQUIRE_NATIVE === '1' ? 1 : 0)
