// `npm test`: build, typecheck, lint, unit tests, system tests, and at the end a table of what ran, what was skipped, and why.
//
//   npm test                        all of what CI runs; system tests are skipped, loudly, where they cannot run
//   npm test -- handshake           only test files whose path contains "handshake"
//   npm run test:long               also test/long: sanitizers, long fuzzing (TUN_LONG=1)
//   TUN_REQUIRE=all npm test        a skip is a failure, and missing Debian programs may be installed (what .ci/run sets)

import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stripVTControlCharacters } from 'node:util'
import { bold, dim, duration, green, red, yellow } from './lab/report.mjs'
import { installMissing } from './peers.mjs'

/**
 * @typedef {{ what: string, passed: number, failed: number, skipped: number, ms: number, ok: boolean, why: string[] }} Row
 * `why`: one line for each thing that failed, was skipped or is to be known.
 * @typedef {{ status: string, fullName: string, failureMessages: string[] }} Test
 */

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
const TURBO = join(ROOT, 'node_modules/.bin/turbo')
const VITEST = join(ROOT, 'node_modules/.bin/vitest')
const BIOME = join(ROOT, 'node_modules/.bin/biome')
const SKIPPED = 77 // exit code of a program in test/long that cannot run here; automake's convention

const long = process.argv.includes('--long')
const filters = process.argv.slice(2).filter(arg => arg !== '--long')
const requireAll = process.env.TUN_REQUIRE === 'all'
const scratch = mkdtempSync(join(tmpdir(), 'tun-test-'))
const env = {
  TUN_FUZZ_SECONDS: filters.length === 0 ? '60' : '6', // of random packets and operations; unit tests by themselves take 6
  ...process.env,
  TURBO_TELEMETRY_DISABLED: '1',
  DO_NOT_TRACK: '1',
  ...(long ? { TUN_LONG: '1' } : {}),
}
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }))
for (const [signal, number] of /** @type {[NodeJS.Signals, number][]} */ ([
  ['SIGINT', 2],
  ['SIGTERM', 15],
])) {
  process.on(signal, () => process.exit(128 + number))
}

/** @type {Row[]} */
const rows = []

if (requireAll) {
  const problem = installMissing()
  if (problem) console.log(yellow(`peers: ${problem}`))
}
if (await command('build', TURBO, ['run', 'build', '--output-logs=errors-only'])) {
  if (filters.length === 0) {
    await command('typecheck', TURBO, ['run', 'typecheck', '--output-logs=errors-only'])
    await command('lint', BIOME, ['check', '.', '--diagnostic-level=error'])
  }
  await vitest('unit')
  await vitest('system')
  if (long) for (const name of longPrograms()) await longProgram(name)
}
finish()

/** A step that passes or fails as a whole. */
async function command(/** @type {string} */ what, /** @type {string} */ program, /** @type {string[]} */ args) {
  console.log(`\n${bold(`── ${what}`)}`)
  const { code, ms } = await run(program, args)
  rows.push({ what, passed: 0, failed: code === 0 ? 0 : 1, skipped: 0, ms, ok: code === 0, why: code === 0 ? [] : [`ended with ${code}`] })
  return code === 0
}

async function vitest(/** @type {string} */ project) {
  console.log(`\n${bold(`── ${project} tests`)}`)
  const json = join(scratch, `${project}.json`)
  const skips = join(scratch, `${project}.skips`)
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile=${json}`]
  const args = ['run', '--project', project, '--passWithNoTests', ...reporters, ...filters]
  const { code, ms } = await run(VITEST, args, { TUN_TEST_SKIPS: skips })
  const report = readReport(json, code)
  rows.push({ what: `${project} tests`, ms, ...report, why: [...report.why, ...readSkips(skips)] })
}

/**
 * The counts of vitest's JSON report, and what failed with the first line of why: a log cut at its head still tells. A file
 * that could not even be loaded counts as one failed test.
 */
function readReport(/** @type {string} */ json, /** @type {number | null} */ code) {
  if (!existsSync(json)) return { passed: 0, failed: 1, skipped: 0, ok: false, why: [`ended with ${code}, without a report`] }
  const report = JSON.parse(readFileSync(json, 'utf8'))
  /** @type {{ name: string, status: string, message: string, assertionResults: Test[] }[]} */
  const files = report.testResults
  const failedTests = files.flatMap(({ name, assertionResults }) =>
    assertionResults.filter(test => test.status === 'failed').map(test => failure(name, test.fullName, test.failureMessages[0])),
  )
  const broken = files.filter(file => file.status === 'failed' && !file.assertionResults.some(test => test.status === 'failed'))
  const why = [...failedTests, ...broken.map(file => failure(file.name, 'could not be run', file.message))]
  if (why.length === 0 && code !== 0) why.push(`ended with ${code}: an error outside of any test`)
  const skipped = report.numPendingTests + report.numTodoTests
  return { passed: report.numPassedTests, failed: why.length, skipped, ok: why.length === 0, why }
}

function failure(/** @type {string} */ file, /** @type {string} */ test, /** @type {string | undefined} */ message) {
  const [why] = stripVTControlCharacters(message ?? '')
    .trim()
    .split('\n')
  return `${relative(ROOT, file)}: ${test}: ${why}`
}

/** Tests that skip say why in this file, a line each (test/system/requirements.ts). */
function readSkips(/** @type {string} */ path) {
  if (!existsSync(path)) return []
  return [...new Set(readFileSync(path, 'utf8').split('\n').filter(Boolean))]
}

function longPrograms() {
  const directory = join(ROOT, 'test/long')
  return existsSync(directory) ? readdirSync(directory).filter(name => name.endsWith('.mjs')) : []
}

async function longProgram(/** @type {string} */ name) {
  console.log(`\n${bold(`── long: ${name}`)}`)
  const { code, ms, last } = await run(process.execPath, [join(ROOT, 'test/long', name)])
  const ok = code === 0 || code === SKIPPED
  rows.push({
    what: `long: ${name.replace('.mjs', '')}`,
    passed: code === 0 ? 1 : 0,
    failed: ok ? 0 : 1,
    skipped: code === SKIPPED ? 1 : 0,
    ms,
    ok,
    why: code === SKIPPED ? [last] : [],
  })
}

/** @returns {Promise<{ code: number | null, ms: number, last: string }>} */
function run(/** @type {string} */ program, /** @type {string[]} */ args, /** @type {Record<string, string>} */ more = {}) {
  const start = performance.now()
  const colour = process.stdout.isTTY && !process.env.NO_COLOR ? { FORCE_COLOR: '1' } : {}
  const child = spawn(program, args, { cwd: ROOT, env: { ...env, ...colour, ...more }, stdio: ['ignore', 'pipe', 'inherit'] })
  let last = ''
  child.stdout.on('data', data => {
    process.stdout.write(data)
    last = String(data).trim().split('\n').at(-1) || last
  })
  return new Promise(resolve => {
    child.on('error', error => resolve({ code: 127, ms: performance.now() - start, last: error.message }))
    child.on('close', code => resolve({ code, ms: performance.now() - start, last }))
  })
}

function finish() {
  console.log(`\n${bold('── what ran, what was skipped, why')}`)
  const sum = { passed: 0, failed: 0, skipped: 0 }
  let ok = true
  for (const row of rows) {
    const tolerated = row.skipped === 0 || !requireAll
    ok &&= row.ok && tolerated
    sum.passed += row.passed
    sum.failed += row.failed
    sum.skipped += row.skipped
    const mark = !row.ok || !tolerated ? red('✗') : row.skipped > 0 ? yellow('–') : green('✓')
    const counts = row.passed + row.failed + row.skipped > 0 ? `${row.passed} passed, ${row.failed} failed, ${row.skipped} skipped` : ''
    console.log(` ${mark} ${row.what.padEnd(22)} ${counts.padEnd(38)} ${dim(duration(row.ms))}`)
    if (row.skipped > 0 && row.why.length === 0) row.why.push('tests skipped without a reason')
    for (const why of row.why) console.log(`     ${why}`)
  }
  if (rows.length === 1) console.log(`     nothing was tested: the build failed`)
  if (requireAll && sum.skipped > 0) console.log(red(' TUN_REQUIRE=all: a skip is a failure'))
  console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`)
  process.exitCode = ok ? 0 : 1
}
