// Fake-IP addresses in a file, and a process that is killed at any moment. 8 times, 200 with TUN_LONG; TUN_KILLS says otherwise.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { FakeIpPool, openFakeIpFile } from '../../packages/dns/src/index.js'
import { programPath } from './namespace.js'
import { describeSystem, ROOT } from './requirements.js'

const KILLS = Number(process.env.TUN_KILLS ?? (process.env.TUN_LONG ? 200 : 8))
const AT_ONCE = 4

describeSystem('fake IPs in a file', { built: [`${ROOT}packages/dns/dist/index.js`] }, () => {
  it(
    `outlive kill -9, ${KILLS} times: nothing older than a second is lost, no address has two names`,
    async () => {
      const directory = mkdtempSync(join(tmpdir(), 'fake-ip-kill-'))
      onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
      const loop = async (path: string) => {
        for (let i = 0; i < KILLS / AT_ONCE; i++) {
          const told = await killed(path, String(i))
          expect(told.filter(line => line.startsWith('warning'))).toEqual([])
          const warnings: string[] = []
          const pool = new FakeIpPool({ range4: '10.0.0.1/22', store: openFakeIpFile(path, { onWarning: w => warnings.push(w) }) })
          for (const line of told) expect(`${line.split(' ')[0]} ${pool.lookup(line.split(' ')[0], 4)}`).toBe(line)
          const entries = [...pool.entries()]
          expect(new Set(entries.map(({ name }) => name)).size).toBe(entries.length)
          expect(new Set(entries.map(({ address }) => address)).size).toBe(entries.length)
          expect(entries.every(({ name }) => /^(kept|churn)-\d+-\d+$/.test(name))).toBe(true)
          pool.close()
          expect(warnings).toEqual([])
        }
      }
      await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => loop(join(directory, `fake-ip-${i}`))))
    },
    60_000 + KILLS * 2000,
  )
})

/** Runs the writer, kills it some time after it has promised something, and answers what it promised. */
async function killed(path: string, round: string): Promise<string[]> {
  const child = spawn(process.execPath, [programPath('fake-ip-writer'), path, round], { stdio: ['ignore', 'pipe', 'inherit'] })
  let said = ''
  child.stdout.on('data', chunk => {
    said += chunk
  })
  await once(child.stdout, 'data')
  await new Promise(resolve => setTimeout(resolve, Math.random() * 300))
  child.kill('SIGKILL')
  await once(child, 'close')
  return said.split('\n').slice(0, -1)
}
