// Owns: which sources make the addon of a platform. The end of a file's name says it: _linux, _darwin, _windows, _posix (all but Windows),
// _unsupported (where there is no driver); a name without such an end is for all. `node scripts/sources.mjs OS` is what binding.gyp asks.

import { readdirSync, realpathSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const own = fileURLToPath(import.meta.url)
const root = path.dirname(path.dirname(own))

/** By process.platform, and by gyp's word for it. */
const ENDS = {
  linux: ['linux', 'posix'],
  darwin: ['darwin', 'posix'],
  mac: ['darwin', 'posix'],
  win32: ['windows'],
  win: ['windows'],
}

/** Paths relative to this package, sorted. */
export function sourcesFor(/** @type {string} */ platform) {
  const ends = ENDS[/** @type {keyof ENDS} */ (platform)] ?? ['unsupported']
  const belongs = (/** @type {string} */ name) => {
    const end = /_(linux|darwin|windows|posix|unsupported)\.cc$/.exec(name)?.[1]
    return name.endsWith('.cc') && (end === undefined || ends.includes(end))
  }
  const files = readdirSync(path.join(root, 'src')).filter(belongs)
  return files.sort().map(name => `src/${name}`)
}

if (process.argv[1] && realpathSync(process.argv[1]) === own) process.stdout.write(`${sourcesFor(process.argv[2]).join('\n')}\n`)
