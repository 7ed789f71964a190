// A short turn of fuzz.mjs; a long one with sanitizers is test/long/sanitizers.mjs.

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { missing } from './namespace.js'

it('whatever the arguments, a call answers or throws an Error: no crash, no descriptor left, in two threads at once', () => {
  const seed = String(Date.now() % 1e9)
  const program = [process.execPath, fileURLToPath(new URL('./fuzz.mjs', import.meta.url)), '--seconds', '3', '--seed', seed]
  const [command, ...args] = missing() === '' ? ['unshare', '-n', ...program] : program // with a TUN, where one can be had
  const run = spawnSync(command, args, { encoding: 'utf8', timeout: 50_000, killSignal: 'SIGKILL' })
  expect([run.status, run.signal], `seed ${seed}: ${run.stderr}`).toEqual([0, null])
  expect(JSON.parse(run.stdout)).toMatchObject({ left: [] })
})
