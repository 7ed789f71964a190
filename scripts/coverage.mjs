// `npm run coverage`: what of the TCP engine the unit tests of its package run; fails below 95 % of lines or branches.

import { spawnSync } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
const TCP = 'packages/stack/src/tcp'
const { status } = spawnSync(
  join(ROOT, 'node_modules/.bin/vitest'),
  [
    ...['run', '--project', 'unit', 'packages/stack/src', '--reporter=dot', '--coverage'],
    '--exclude=**/throughput.test.ts', // it measures, for half a minute, and runs nothing that the others do not
    ...[`--coverage.include=${TCP}/**/*.ts`, '--coverage.exclude=**/*.{test,test-kit}.ts', '--coverage.reporter=text'],
    ...['--coverage.thresholds.lines=95', '--coverage.thresholds.branches=95'],
    ...process.argv.slice(2),
  ],
  { cwd: ROOT, stdio: 'inherit' },
)
process.exitCode = status ?? 1
