// Owns: where the CPU time of a Node program goes: sampled by perf(1) where it is on PATH, kernel included; else by V8's own profiler,
// which knows only JavaScript and "the rest".

import { spawn, spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { findBinary } from '../../scripts/peers.mjs'

/**
 * @typedef {{ kinds: Map<string, number>, top: { part: number, kind: string, name: string }[] }} Shares of 1
 * @typedef {{ finish: (program: import('../../scripts/lab/lab.mjs').Program) => Promise<Shares> }} Looking
 * @typedef {{ how: string, nodeOptions: (directory: string) => string[], start: (pid: number, directory: string) => Looking }} Profiler
 */
/** @typedef {{ weight: number, kind: string, name: string }} Sample */

const TOP = 12
const HERTZ = 997 // not in step with a tick

/** @returns {Profiler} */
export function profiler() {
  const perf = findBinary('perf')
  return perf ? byPerf(perf) : byV8
}

/** @returns {Profiler} */
function byPerf(/** @type {string} */ perf) {
  return {
    how: `Sampled by perf, ${HERTZ} times a CPU second, all threads.`,
    nodeOptions: directory => ['--perf-basic-prof', `--logfile=${join(directory, 'v8.log')}`, '--no-logfile-per-isolate'],
    start(pid, directory) {
      const data = join(directory, 'perf.data')
      const options = ['record', '-q', '-e', 'cpu-clock', '-F', String(HERTZ), '-p', String(pid), '-o', data]
      const recording = spawn(perf, options, { stdio: ['ignore', 'ignore', 'pipe'] })
      let said = ''
      recording.stderr.on('data', text => (said += text))
      const ended = new Promise(resolve => recording.on('close', resolve))
      return {
        async finish() {
          recording.kill('SIGINT')
          const timer = setTimeout(() => recording.kill('SIGKILL'), 10_000)
          await ended
          clearTimeout(timer)
          const report = [
            'report',
            '-i',
            data,
            '--stdio',
            '-q',
            '--no-children',
            '--sort',
            'dso,symbol',
            '-F',
            'sample,dso,symbol',
            '-t',
            '\t',
          ]
          const { stdout, stderr } = spawnSync(perf, report, { encoding: 'utf8', timeout: 60_000, maxBuffer: 1 << 28 })
          rmSync(`/tmp/perf-${pid}.map`, { force: true }) // node leaves it there
          const samples = stdout.split('\n').flatMap(line => {
            const [count, dso, symbol] = line.split('\t').map(text => text.trim())
            return symbol ? [{ weight: Number(count), ...nameNative(dso, symbol) }] : []
          })
          if (samples.length === 0) throw new Error(`perf saw nothing: ${said || stderr}`)
          return shares(samples)
        },
      }
    },
  }
}

/** perf's `[k] tcp_sendmsg` in `[kernel.kallsyms]`, `[.] v8::internal::…` in `node`, `[.] JS:*input file:1:2` in `perf-PID.map`. */
function nameNative(/** @type {string} */ dso, /** @type {string} */ symbol) {
  const name = symbol.replace(/^\[.\] /, '')
  if (symbol.startsWith('[k]'))
    return { kind: /copy|memcpy|rep_movs|clear_page/i.test(name) ? 'kernel: copying' : 'kernel: the rest', name }
  if (dso.endsWith('.node')) return { kind: 'the addon', name }
  if (/perf-\d+\.map|JIT/.test(dso)) {
    const [, mark, what, file] = /^(?:JS|Function):([*~^+']?)(\S*) (?:file:\/\/)?(\S+)/.exec(name) ?? []
    if (what === undefined) return { kind: 'JavaScript: V8’s builtins', name: name.slice(0, 60) }
    const where = file.replace(/^.*\/(node_modules|packages|examples)\//, '')
    return { kind: mark === '~' ? 'JavaScript, interpreted' : 'JavaScript', name: `${what || '(anonymous)'} ${where}` }
  }
  if (/^Builtins_/.test(name)) return { kind: 'JavaScript: V8’s builtins', name }
  if (/Scaveng|MarkCompact|Marking|Sweep|Evacuat|GarbageCollect|Heap::|GlobalHandles|cppgc/.test(name))
    return { kind: 'garbage collection', name }
  if (/compiler::|turboshaft|maglev|baseline::|Parser|interpreter::|Scanner|Optimiz/.test(name))
    return { kind: 'compiling', name: name.slice(0, 60) }
  if (/^uv_|^uv__/.test(name)) return { kind: 'libuv', name }
  if (/libc|ld-linux|libstdc|vdso|libm|libgcc|libpthread/.test(dso)) return { kind: 'libc', name }
  return { kind: 'V8 and Node, C++', name: name.slice(0, 60) }
}

/** @type {Profiler} */
const byV8 = {
  how: 'Sampled by V8 (`node --cpu-prof`), main thread only: system calls and the addon belong to whichever function called them.',
  nodeOptions: directory => ['--cpu-prof', '--cpu-prof-interval', '1000', `--cpu-prof-dir=${directory}`],
  start: (_, directory) => ({
    async finish(program) {
      await program.stop(15_000) // it writes the profile when it ends
      const file = readdirSync(directory).find(name => name.endsWith('.cpuprofile'))
      if (!file) throw new Error(`node wrote no profile:\n${program.tail(5)}`)
      const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(join(directory, file), 'utf8'))
      /** @type {Map<number, Sample>} */
      const byId = new Map()
      for (const { id, callFrame } of nodes) byId.set(id, { weight: 0, ...nameFrame(callFrame) })
      for (const [at, id] of samples.entries()) {
        const sample = byId.get(id)
        if (sample) sample.weight += timeDeltas[at]
      }
      return shares([...byId.values()].filter(({ kind }) => kind !== 'idle'))
    },
  }),
}

function nameFrame(/** @type {{ functionName: string, url: string, lineNumber: number }} */ { functionName, url, lineNumber }) {
  if (functionName === '(idle)' || functionName === '(root)') return { kind: 'idle', name: functionName }
  if (functionName === '(garbage collector)') return { kind: 'garbage collection', name: functionName }
  if (functionName === '(program)') return { kind: 'V8, Node, libuv', name: functionName }
  const name = `${functionName || '(anonymous)'} ${url.replace(/^.*\/(node_modules|packages|examples)\//, '')}:${lineNumber + 1}`
  if (url === '') return { kind: 'built-in functions', name }
  return { kind: url.startsWith('node:') ? 'JavaScript of Node' : 'JavaScript', name }
}

/** @returns {Shares} */
function shares(/** @type {Sample[]} */ samples) {
  const total = samples.reduce((sum, { weight }) => sum + weight, 0)
  /** @type {Map<string, number>} */
  const kinds = new Map()
  /** @type {Map<string, { part: number, kind: string, name: string }>} */
  const names = new Map()
  for (const { weight, kind, name } of samples) {
    kinds.set(kind, (kinds.get(kind) ?? 0) + weight / total)
    const key = `${kind} ${name}`
    const one = names.get(key) ?? { part: 0, kind, name }
    one.part += weight / total
    names.set(key, one)
  }
  return { kinds, top: [...names.values()].sort((a, b) => b.part - a.part).slice(0, TOP) }
}
