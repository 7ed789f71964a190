// The install script where it can build nothing: it must not break an install. Root only: the tree is made read-only in a mount namespace.

import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { missing } from './namespace.js'

const root = fileURLToPath(new URL('..', import.meta.url))
let directory = ''
afterEach(() => rmSync(directory, { recursive: true, force: true }))

/** A copy of the package in a path with spaces, with a stale build of another source. */
function stalePackage(): string {
  directory = mkdtempSync(path.join(tmpdir(), 'tun native '))
  const copy = path.join(directory, 'a package')
  for (const name of ['src', 'scripts', 'index.cjs', 'package.json', 'binding.gyp'])
    cpSync(path.join(root, name), path.join(copy, name), { recursive: true })
  symlinkSync(path.join(root, '..', 'node_modules'), path.join(directory, 'node_modules'))
  mkdirSync(path.join(copy, 'build', 'Release'), { recursive: true })
  writeFileSync(path.join(copy, 'build', 'Release', 'tun_native.node'), 'no addon')
  return copy
}

describe.skipIf(missing() !== '')('install', () => {
  it.each([['', 0] as const, ['1', 1] as const])(
    'in a read-only tree says so in a line and ends well, unless TUN_DEVICE_REQUIRE_NATIVE (%j)',
    (required, code) => {
      const copy = stalePackage()
      const readOnly = `mount --bind "${copy}" "${copy}" && mount -o remount,ro,bind "${copy}"`
      const command = `${readOnly} && exec "${process.execPath}" "${copy}/scripts/install.mjs"`
      const env = { ...process.env, CXX: '/bin/false', TUN_DEVICE_REQUIRE_NATIVE: required }
      const { status, stderr } = spawnSync('unshare', ['-m', 'sh', '-c', command], { env, encoding: 'utf8', timeout: 60_000 })
      expect(stderr).toContain('@tun/native: no addon for linux-')
      expect(stderr).not.toContain('    at ')
      expect(status).toBe(code)
    },
    90_000,
  )
})
