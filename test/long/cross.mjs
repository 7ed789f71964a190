// The addon for machines that this one is not: compiled and linked by zig, and what came out read back. Exit code 77: cannot run here, the
// last line says why. Minutes long the first time: zig compiles the C and C++ libraries of each target.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build, findZig, NO_ZIG, TARGETS } from '../../scripts/cross-build.mjs'

const zig = findZig()
if (!zig) {
  console.log(NO_ZIG)
  process.exit(77)
}
const out = mkdtempSync(join(tmpdir(), 'tun-cross-'))
process.on('exit', () => rmSync(out, { recursive: true, force: true }))
for (const name of Object.keys(TARGETS)) {
  const { problems, notes } = build(zig, name, out)
  console.log(`${name}: ${problems.length > 0 ? problems.join('\n  ') : notes}`)
  if (problems.length > 0) process.exitCode = 1
}
