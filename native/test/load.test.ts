// Finding the addon in a process that has no descriptor left, and afterwards.

import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const index = fileURLToPath(new URL('../index.cjs', import.meta.url))

const SCRIPT = `
const fs = require('node:fs')
const native = require(process.argv[1])
const held = []
const attempt = fn => { try { return fn() } catch (error) { return error.code } }
try { for (;;) held.push(fs.openSync('/dev/null', 'r')) } catch {}
const without = [attempt(() => native.load()), native.hasTcpSockets(), native.hasUdpSockets()]
for (const fd of held) fs.closeSync(fd)
const afterwards = [attempt(() => native.load()), native.hasTcpSockets(), native.hasUdpSockets()]
fs.writeSync(1, JSON.stringify([without, afterwards]))
`

/** What load() and the two hasSockets() say with no descriptor left, and what with some. */
function asked(env: NodeJS.ProcessEnv = {}): unknown {
  const limited = ['-c', 'ulimit -n 64 && exec "$0" -e "$1" "$2"', process.execPath, SCRIPT, index]
  const { stdout, stderr } = spawnSync('sh', limited, { encoding: 'utf8', timeout: 60_000, env: { ...process.env, ...env } })
  expect(stderr).toBe('')
  return JSON.parse(stdout)
}

it.runIf(process.platform === 'linux')('a process without a descriptor is not told for ever that there is no addon', () => {
  expect(asked()).toEqual([
    ['EMFILE', false, false],
    [null, true, true],
  ])
})

it.runIf(process.platform === 'linux')('that there is none, is', () => {
  const empty = mkdtempSync(path.join(tmpdir(), 'tun native '))
  try {
    const none = 'ERR_TUN_NATIVE_UNAVAILABLE'
    expect(asked({ TUN_NATIVE_ROOT: empty })).toEqual([
      ['EMFILE', false, false],
      [none, false, false],
    ])
  } finally {
    rmSync(empty, { recursive: true, force: true })
  }
})

it('a file that does not lie where it was loaded from, bundled or replaced since, is told what is missing all the same', () => {
  const place = mkdtempSync(path.join(tmpdir(), 'tun moved '))
  const copy = path.join(place, 'index.cjs')
  copyFileSync(index, copy)
  const native = createRequire(import.meta.url)(copy) as { load(): void }
  rmSync(place, { recursive: true, force: true })
  expect(() => native.load()).toThrow(expect.objectContaining({ code: 'ERR_TUN_NATIVE_UNAVAILABLE' }))
})
