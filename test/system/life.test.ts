// The life of a process with inbounds in it: many starts and stops, several at once, in worker threads, ended in the middle of everything.

import { spawnSync } from 'node:child_process'
import { expect, it } from 'vitest'
import { programPath } from './namespace.js'
import { describeSystem, ROOT } from './requirements.js'

const needs = { lab: true, peers: ['ip'], built: [`${ROOT}packages/inbound/dist/index.js`] }

/** Runs a program in a network namespace of its own, which goes with it; its line of JSON. */
function alone(program: string, ...args: string[]) {
  const run = spawnSync('unshare', ['-n', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh', process.execPath, program, ...args], {
    encoding: 'utf8',
    timeout: 100_000,
    killSignal: 'SIGKILL',
  })
  expect(run.status, run.stderr).toBe(0)
  return JSON.parse(run.stdout)
}

describeSystem('the life of a process', needs, () => {
  it('fifty starts and stops leave nothing behind: no descriptor, thread, handle, NIC, address, route, rule, namespace or child', () => {
    const { before, after } = alone(`${ROOT}bench/cycles.mjs`, '--cycles', '50', '--json')
    const memory = ['RSS, MiB', 'heap, MiB', 'array buffers, MiB']
    const counts = (of: Record<string, number>) => Object.fromEntries(Object.entries(of).filter(([what]) => !memory.includes(what)))
    expect(counts(after)).toEqual(counts(before))
    // A slab that was kept would be a quarter of a MiB each time.
    expect(after['array buffers, MiB'] - before['array buffers, MiB']).toBeLessThan(2)
    expect(after['heap, MiB'] - before['heap, MiB']).toBeLessThan(10)
  }, 180_000)

  it('an inbound in a worker that is terminated, exits or throws takes its NIC with it; the main thread’s own goes on', () => {
    const each = { there: 'there', here: 'here', nics: 1 }
    const found = ['terminate', 'exit', 'throw', 'close', 'terminate'].map(end => ({ end, ...each }))
    expect(alone(programPath('worker-inbound'))).toEqual({ found, left: 0, nics: 0 })
  })

  it('close() while a thousand transfers run resets each of them; the other inbound of the process goes on', () => {
    const { down, ...rest } = alone(programPath('closing'), '1000')
    expect(rest).toEqual({ ended: 1000, up: ['ECONNRESET'], unmoved: 0, goesOn: true, flows: 0, left: 0 })
    expect(['', 'ECONNRESET']).toContain(down.join())
  })
})
