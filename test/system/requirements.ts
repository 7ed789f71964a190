// Owns: what a system test needs of the machine, and what happens where it is not there: a skip that says why and how to cure it
// (scripts/test.mjs prints it at the end), or, with TUN_REQUIRE=all as CI sets it, a failure.

import { appendFileSync, existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, it } from 'vitest'
import { labObstacle } from '../../scripts/lab/lab.mjs'
import { missingPeers } from '../../scripts/peers.mjs'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))
export const PROXY = `${ROOT}examples/clash-proxy/bin/clash-proxy.js`
/** What programs import as @tun/device and @tun/stack: the middlebox, stack-host.mjs. */
export const DEVICE = `${ROOT}packages/device/dist/index.js`

export interface Needs {
  /** Root, /dev/net/tun and network namespaces. */
  lab?: boolean
  /** Names in the table of scripts/peers.mjs. */
  peers?: string[]
  /** Files that `npm run build` makes. */
  built?: string[]
}

/** Why these tests cannot run here, or undefined. */
export function lacking(needs: Needs): string | undefined {
  const obstacle = (needs.lab ? labObstacle() : undefined) ?? missingPeers(...(needs.peers ?? []))
  if (obstacle) return obstacle
  const unbuilt = needs.built?.find(file => !existsSync(file))
  return unbuilt && `${unbuilt.replace(ROOT, '')} is missing: npm run build`
}

/** A `describe` whose tests run only where `needs` are met. */
export function describeSystem(name: string, needs: Needs, body: () => void): void {
  const reason = lacking(needs)
  if (reason === undefined) return void describe(name, body)
  if (process.env.TUN_REQUIRE === 'all') {
    return void describe(name, () => {
      it('can run here (TUN_REQUIRE=all)', () => {
        throw new Error(reason)
      })
    })
  }
  tell(name, reason)
  describe.skip(name, body)
}

/** A test with a peer that CI does not install either (`used: false`, a browser of 350 MB): run where it is, else skipped aloud. */
export function itWith(peer: string, name: string, body: () => Promise<void>): void {
  const reason = missingPeers(peer)
  if (reason === undefined) return void it(name, body)
  tell(name, reason)
  if (process.env.TUN_REQUIRE !== 'all') it.skip(name, body) // where skips fail, this one is only told
}

function tell(name: string, reason: string): void {
  const line = `${name}: ${reason}`
  process.stderr.write(`skipped: ${line}\n`)
  if (process.env.TUN_TEST_SKIPS) appendFileSync(process.env.TUN_TEST_SKIPS, `${line}\n`)
}
