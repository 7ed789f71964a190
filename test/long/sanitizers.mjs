// The addon's tests, and a minute of native/test/fuzz.mjs, under AddressSanitizer and UndefinedBehaviorSanitizer. Exit code 77:
// cannot run here, the last line says why.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { findBinary, installLine } from '../../scripts/peers.mjs'

const script = fileURLToPath(new URL('../../native/scripts/asan.mjs', import.meta.url))
if (process.platform !== 'linux' || !findBinary('g++')) {
  console.log(process.platform === 'linux' ? `g++ missing: ${installLine('g++')}` : 'needs Linux')
  process.exit(77)
}
if (!existsSync(script)) throw new Error(`${script} is missing`)
process.exitCode = spawnSync(process.execPath, [script], { stdio: 'inherit' }).status ?? 1
