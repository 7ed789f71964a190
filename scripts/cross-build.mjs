// Owns: the addon for machines that this one is not, by zig, which brings the headers of all of them: compiled, linked, and read back.
// Nothing it makes for macOS and Windows was ever run.
//
//   node scripts/cross-build.mjs                       all targets, into native/prebuilds, as node-gyp-build looks for them
//   node scripts/cross-build.mjs darwin-arm64 …        these
//   node scripts/cross-build.mjs --out DIRECTORY …     elsewhere
//
// zig: one in PATH, or ZIG (a command line), or `python3 -m ziglang`, which `pip install ziglang==0.17.1` brings (in a venv).

import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { sourcesFor } from '../native/scripts/sources.mjs'
import { readObjectFile } from './lab/object-file.mjs'

const NATIVE = join(dirname(dirname(fileURLToPath(import.meta.url))), 'native')
const load = createRequire(join(NATIVE, 'package.json'))
const header = (/** @type {string} */ name) => dirname(load.resolve(`${name}/package.json`))

/** @typedef {{ platform: string, zig: string, file: string, arch: string, format: string, link: string[], machine?: string }} Target */

// glibc 2.28 is that of Debian 10 and of Node 20's own binaries; macOS 11 the first of arm64, and Node 20's oldest but one.
const DARWIN = { platform: 'darwin', file: 'tun_native.node', format: 'mach-o', link: ['-Wl,-undefined,dynamic_lookup'] }
const LINUX = { platform: 'linux', format: 'elf', link: ['-pthread'] }
/** Its CMSG_NXTHDR compares signed with unsigned. */
const MUSL = { ...LINUX, file: 'tun_native.musl.node', link: ['-pthread', '-Wno-sign-compare'] }
const WINDOWS = {
  platform: 'win32',
  file: 'tun_native.node',
  format: 'pe',
  link: ['-DWIN32_LEAN_AND_MEAN', '-DNOMINMAX', '-lws2_32', '-liphlpapi'],
}

/** @type {Record<string, Target>} */
export const TARGETS = {
  'darwin-arm64': { ...DARWIN, zig: 'aarch64-macos.11.0', arch: 'arm64' },
  'darwin-x64': { ...DARWIN, zig: 'x86_64-macos.11.0', arch: 'x64' },
  'linux-arm64': { ...LINUX, zig: 'aarch64-linux-gnu.2.28', arch: 'arm64', file: 'tun_native.glibc.node' },
  'linux-arm64-musl': { ...MUSL, zig: 'aarch64-linux-musl', arch: 'arm64' },
  'linux-x64': { ...LINUX, zig: 'x86_64-linux-gnu.2.28', arch: 'x64', file: 'tun_native.glibc.node' },
  'linux-x64-musl': { ...MUSL, zig: 'x86_64-linux-musl', arch: 'x64' },
  'win32-x64': { ...WINDOWS, zig: 'x86_64-windows-gnu', arch: 'x64', machine: 'i386:x86-64' },
}

export const NO_ZIG = 'zig is missing: python3 -m venv .zig && .zig/bin/pip install ziglang==0.17.1, then ZIG=".zig/bin/python -m ziglang"'

/** The command line that runs zig, or undefined: then NO_ZIG. Throws if ZIG names one that does not run. */
export function findZig() {
  const named = process.env.ZIG?.split(' ').filter(Boolean) ?? []
  const candidates = named.length > 0 ? [named] : [['zig'], ['python3', '-m', 'ziglang']]
  const found = candidates.find(([program, ...args]) => spawnSync(program, [...args, 'version'], { stdio: 'ignore' }).status === 0)
  if (!found && named.length > 0) throw new Error(`ZIG="${process.env.ZIG}" does not run`)
  return found
}

/** What node gives an addon: all of N-API 8, and what of libuv uv_poll.h declares. */
function nodeSymbols() {
  const { js_native_api_symbols, node_api_symbols } = load('node-api-headers').symbols.v8
  const uv = readFileSync(join(NATIVE, 'src', 'uv_poll.h'), 'utf8').matchAll(/\b(uv_\w+)\(/g)
  return new Set([...js_native_api_symbols, ...node_api_symbols, ...Array.from(uv, match => match[1])])
}

/** Compiles, links and reads back; answers what is wrong with it. @returns {{ file: string, problems: string[], notes: string }} */
export function build(/** @type {string[]} */ zig, /** @type {string} */ name, /** @type {string} */ out) {
  const target = TARGETS[name]
  const directory = join(out, `${target.platform}-${target.arch}`)
  const file = join(directory, target.file)
  mkdirSync(directory, { recursive: true })
  const definitions = [
    ...['NAPI_VERSION=8', 'NODE_GYP_MODULE_NAME=tun_native', 'NODE_ADDON_API_DISABLE_DEPRECATED', 'NAPI_CPP_EXCEPTIONS'],
    'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
  ]
  const [program, ...before] = zig
  const run = (/** @type {string[]} */ args) => spawnSync(program, [...before, ...args], { cwd: NATIVE, encoding: 'utf8' })
  const libraries = target.machine ? [importLibrary(run, target.machine, directory)] : []
  const args = [
    ...['c++', '-target', target.zig, '-std=c++17', '-O3', '-Wall', '-Wextra', '-Werror', '-fPIC', '-shared', '-fvisibility=hidden', '-s'],
    ...definitions.map(definition => `-D${definition}`),
    ...[join(header('node-api-headers'), 'include'), header('node-addon-api')].flatMap(include => ['-isystem', include]),
    ...sourcesFor(target.platform),
    ...target.link,
    ...libraries,
    ...['-o', file],
  ]
  const { status, stderr } = run(args)
  for (const library of libraries) rmSync(dirname(library), { recursive: true })
  if (status !== 0) return { file, problems: [`zig ended with ${status}:\n${stderr}`], notes: '' }
  return { file, ...judge(file, target) }
}

/**
 * What MSVC calls node.lib: the functions of node.exe. The addon then loads into a program of that name only – not into Electron or a
 * renamed node, which the delay-load hook of node-gyp allows and this linker does not have.
 */
function importLibrary(/** @type {(args: string[]) => unknown} */ run, /** @type {string} */ machine, /** @type {string} */ directory) {
  const scratch = mkdtempSync(join(directory, '.node-'))
  writeFileSync(join(scratch, 'node.def'), ['NAME node.exe', 'EXPORTS', ...nodeSymbols(), ''].join('\n'))
  run(['dlltool', '-m', machine, '-D', 'node.exe', '-d', join(scratch, 'node.def'), '-l', join(scratch, 'node.lib')])
  return join(scratch, 'node.lib')
}

function judge(/** @type {string} */ file, /** @type {Target} */ target) {
  const made = readObjectFile(file)
  const known = nodeSymbols()
  const problems = []
  if (made.format !== target.format || made.arch !== target.arch) problems.push(`it is ${made.format} for ${made.arch}`)
  if (!made.exports.includes('napi_register_module_v1')) problems.push('it does not export napi_register_module_v1')
  const fromNode = made.imports.filter(({ from, name }) => (from === '*' ? /^(napi|uv|node)_/.test(name) : from === 'node.exe'))
  if (fromNode.length < 50) problems.push(`it imports only ${fromNode.length} functions of node`)
  // On macOS nothing but node may be left open: a function that is nowhere would only be missed when it is called.
  const open = made.format === 'mach-o' ? made.imports.filter(({ from }) => from === '*') : fromNode
  for (const { name } of open) if (!known.has(name)) problems.push(`node has no ${name}`)
  for (const { name } of made.imports) if (/^_ZN3tun/.test(name)) problems.push(`${name} is nowhere defined`)
  const notes = Object.entries(made.notes).map(([key, value]) => `${key} ${value}`)
  return { problems, notes: [`${made.format} ${made.arch}`, `${fromNode.length} functions of node`, ...notes].join(', ') }
}

function main() {
  const args = process.argv.slice(2)
  const at = args.indexOf('--out')
  const out = at < 0 ? join(NATIVE, 'prebuilds') : resolve(args.splice(at, 2)[1] ?? '')
  const names = args.length > 0 ? args : Object.keys(TARGETS)
  const unknown = names.find(name => !(name in TARGETS))
  if (unknown) return fail(`no target ${unknown}; there are ${Object.keys(TARGETS).join(', ')}`)
  let zig
  try {
    zig = findZig()
  } catch (error) {
    return fail(/** @type {Error} */ (error).message)
  }
  if (!zig) return fail(NO_ZIG)
  for (const name of names) {
    const start = performance.now()
    const { file, problems, notes } = build(zig, name, out)
    const seconds = Math.round((performance.now() - start) / 1000)
    if (problems.length > 0) fail(`${name}: ${problems.join('\n  ')}`)
    else console.log(`${name.padEnd(17)} ${relative('', file)}: ${notes} (${seconds} s)`)
  }
}

function fail(/** @type {string} */ message) {
  console.error(`cross-build: ${message}`)
  process.exitCode = 1
}

if (process.argv[1] && import.meta.url === pathToFileURL(resolve(process.argv[1])).href) main()
