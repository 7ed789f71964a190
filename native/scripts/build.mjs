// Owns: how the addon is compiled without node-gyp, and the fingerprint that tells a stale build from a fresh one.

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { sourcesFor } from './sources.mjs'

const require = createRequire(import.meta.url)
export const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
export const addonPath = path.join(root, 'build', 'Release', 'tun_native.node')
const fingerprintPath = path.join(root, 'build', 'Release', 'sources.sha256')

/** Changes with every byte of the sources and of the ways to build them. */
export function fingerprint() {
  const hash = createHash('sha256')
  const files = readdirSync(path.join(root, 'src')).map(name => path.join('src', name))
  for (const file of [...files.sort(), 'binding.gyp', path.join('scripts', 'build.mjs'), path.join('scripts', 'sources.mjs')]) {
    hash.update(`${file}\0`)
    hash.update(readFileSync(path.join(root, file)))
  }
  return hash.digest('hex')
}

export function recordFingerprint() {
  writeFileSync(fingerprintPath, fingerprint() + '\n')
}

/** There is a build of our own, and it is of other sources. */
export function isStale() {
  if (!existsSync(addonPath)) return false
  return !existsSync(fingerprintPath) || readFileSync(fingerprintPath, 'utf8').trim() !== fingerprint()
}

/** In a process of its own: a broken addon may take the process with it, and a loaded one cannot be replaced. */
export function loads() {
  try {
    const index = JSON.stringify(path.join(root, 'index.cjs'))
    execFileSync(process.execPath, ['-e', `require(${index}).load()`], { stdio: 'ignore', timeout: 20_000 })
    return true
  } catch {
    return false
  }
}

/**
 * One g++ call with the headers of node-api-headers; Linux only. `files` are relative to the package. Throws with the compiler's words on
 * stderr.
 */
export function compile(output = addonPath, extra = ['-O3', '-s'], files = sourcesFor('linux')) {
  mkdirSync(path.dirname(output), { recursive: true })
  const sources = files.map(name => path.join(root, name))
  const temporary = `${output}.${process.pid}`
  const definitions = [
    ...['NAPI_VERSION=8', 'NODE_GYP_MODULE_NAME=tun_native', 'NODE_ADDON_API_DISABLE_DEPRECATED', 'NAPI_CPP_EXCEPTIONS'],
    'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS', // those of a worker that is being terminated would end the process
  ]
  const headers = name => path.dirname(require.resolve(`${name}/package.json`)) // node-addon-api's own answer is relative to cwd
  const includes = [path.join(headers('node-api-headers'), 'include'), headers('node-addon-api')]
  const compiler = process.env.CXX || 'g++'
  execFileSync(
    compiler,
    [
      ...['-std=c++17', '-Wall', '-Wextra', '-fPIC', '-shared', '-pthread', '-fvisibility=hidden'],
      ...definitions.map(definition => `-D${definition}`),
      ...includes.map(include => `-I${include}`),
      ...extra,
      ...sources,
      ...['-o', temporary],
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  )
  renameSync(temporary, output) // a running process keeps the file it has mapped
}
