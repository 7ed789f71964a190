// All unit tests with other defaults, which nobody may notice: without header prediction every segment takes the long way through SEGMENT
// ARRIVES; over NICs without offload each is a packet of its own.

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const DEFAULTS = [{ TUN_TEST_STACK: '{"prediction":false}' }, { TUN_TEST_DEVICE: '{"offload":false}' }]

for (const others of DEFAULTS) {
  console.log(JSON.stringify(others))
  const { status } = spawnSync(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', '--project', 'unit'], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...others },
  })
  if (status !== 0) process.exitCode = status ?? 1
}
