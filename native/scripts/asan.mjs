// Owns: the native tests, and a long turn of test/fuzz.mjs, against an addon built with AddressSanitizer and UndefinedBehaviorSanitizer: an
// overrun, a use after free, an overflow ends the run. Leaks are not looked for: V8 does not free at exit.
//
//   node scripts/asan.mjs [arguments of vitest]        TUN_FUZZ_SECONDS: of the fuzzer, default 60

import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { compile, root } from './build.mjs'

const repository = path.dirname(root)
const vitest = path.join(repository, 'node_modules', 'vitest', 'vitest.mjs')
const compiler = process.env.CXX || 'g++'

function stop(message) {
  process.stderr.write(`asan: ${message}\n`)
  process.exit(1)
}

if (process.platform !== 'linux') stop('needs Linux')
if (!existsSync(vitest)) stop('vitest is not installed; run: npm ci')

let library
try {
  library = execFileSync(compiler, ['-print-file-name=libasan.so']).toString().trim()
} catch {
  stop(`${compiler} is missing; apt-get install g++`)
}
if (!path.isAbsolute(library)) stop(`${compiler} has no libasan; apt-get install libgcc-12-dev (or that of your gcc)`)

// Under build/, where `require` never finds it by itself: TUN_NATIVE_ROOT names it, also for the children of the tests.
const prefix = path.join(root, 'build', 'asan')
compile(path.join(prefix, 'build', 'Release', 'tun_native.node'), ['-O1', '-g', '-fsanitize=address,undefined', '-fno-omit-frame-pointer'])

const env = {
  ...process.env,
  LD_PRELOAD: library,
  ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1',
  UBSAN_OPTIONS: 'halt_on_error=1:print_stacktrace=1',
  TUN_NATIVE_ROOT: prefix,
}
const index = JSON.stringify(path.join(root, 'index.cjs'))
const mapped = `require(${index}).load(); process.stdout.write(require('node:fs').readFileSync('/proc/self/maps', 'utf8'))`
if (!execFileSync(process.execPath, ['-e', mapped], { env }).includes(prefix)) stop('the sanitized addon was not the one loaded')

const args = [vitest, 'run', '--project', 'system', 'native', ...process.argv.slice(2)]
const run = spawnSync(process.execPath, args, { cwd: repository, env, stdio: 'inherit' })
if (run.status !== 0) process.exit(run.status ?? 1)

const program = [process.execPath, path.join(root, 'test', 'fuzz.mjs'), '--seconds', process.env.TUN_FUZZ_SECONDS || '60']
const [command, ...rest] = process.getuid?.() === 0 ? ['unshare', '-n', ...program] : program // as root with a TUN, which is not the host's
const fuzz = spawnSync(command, rest, { env, stdio: 'inherit' })
process.exit(fuzz.status ?? 1)
