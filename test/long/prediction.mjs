// All unit tests without header prediction: every segment takes the long way through SEGMENT ARRIVES, and nobody may notice.

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const { status } = spawnSync(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', '--project', 'unit'], {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, TUN_TEST_STACK: '{"prediction":false}' },
})
process.exitCode = status ?? 1
