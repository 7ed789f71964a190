// Signals of a terminal and of other processes, at a real terminal.

import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Program, until } from '../../../scripts/lab/lab.mjs'
import { describeSystem, ROOT } from '../../../test/system/requirements.js'
import { program, TUN, type User, World } from './world.js'

const needs = { lab: true, peers: ['setpriv', 'python3'], built: [TUN, join(ROOT, 'packages/cli/dist/main.js')] }
const ECHO = 1000 // ms, of signals.ts

describeSystem('tun exec at a terminal', needs, () => {
  let world: World
  beforeAll(async () => {
    world = await World.open()
  })
  afterAll(() => world?.close())

  it.each<User>(['root', 'nobody'])('as %s: Ctrl-C reaches the command once, and so does a kill of tun alone', async user => {
    // No shell: it would take two signals within one `sleep` for one.
    const counting = 'import signal\nsignal.signal(signal.SIGINT, lambda *_: print("int"))\nprint("ready")\nwhile True: signal.pause()'
    const terminal: Program = world.start(['exec', '--', 'python3', '-u', '-c', counting], {
      user,
      within: ['python3', program('terminal.py')],
    })
    const count = () => terminal.lines.filter(line => /^(\^C)?int$/.test(line)).length
    const order = (word: string) => terminal.child.stdin!.write(`${word}\n`)
    const settled = () => new Promise(resolve => setTimeout(resolve, ECHO + 200))
    await terminal.waitFor(/^ready$/)
    order('key')
    await until('the key to arrive', 10_000, () => count() === 1)
    await settled()
    expect(count()).toBe(1) // not from us, too
    order('kill')
    await until('the signal to arrive', 10_000, () => count() === 2)
    await settled()
    expect(count()).toBe(2)
    terminal.kill('SIGKILL')
  })
})
