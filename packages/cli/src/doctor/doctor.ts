// Owns: `tun doctor`: all checks, one after the other, and their report, for people or as JSON.
// The JSON is an interface: docs/operating.md.

import type { DoctorArguments } from '../args.js'
import { type Check, type Finding, type Status, unknown } from './check.js'
import { configuration } from './configuration.js'
import { leftovers } from './leftovers.js'
import { type Machine, thisMachine } from './machine.js'
import { network } from './network.js'
import { rights } from './rights.js'

/** Of the JSON: goes up when a reader of the former one would misunderstand this one. */
const VERSION = 1

export type Result = Finding & { id: string }

export interface Report {
  version: typeof VERSION
  /** Nothing failed. */
  ok: boolean
  counts: Record<Status, number>
  checks: Result[]
}

/** The exit code: 0, or 1 if a check failed. */
export function doctor({ json, config }: DoctorArguments, print: (text: string) => void, machine: Machine = thisMachine()): number {
  const report = examine(machine, config)
  print(json ? JSON.stringify(report, null, 2) : describe(report))
  return report.ok ? 0 : 1
}

export function examine(machine: Machine, config?: string): Report {
  const checks = [...rights, ...network, ...leftovers(config), ...(config === undefined ? [] : configuration(config))].map(
    (check): Result => ({ id: check.id, ...lookOf(check, machine) }),
  )
  const counts: Record<Status, number> = { ok: 0, warn: 0, fail: 0, unknown: 0 }
  for (const { status } of checks) counts[status]++
  return { version: VERSION, ok: counts.fail === 0, counts, checks }
}

/** A machine that is stranger than a check expects is no reason to keep the others from being told. */
function lookOf(check: Check, machine: Machine): Finding {
  try {
    return check.look(machine)
  } catch (error) {
    return unknown(`the check failed: ${(error as Error).message}`)
  }
}

export function describe({ checks, counts }: Report): string {
  const width = Math.max(...checks.map(({ id }) => id.length))
  const lines = checks.flatMap(({ id, status, found, fix }) => [
    `${status.padEnd(7)}  ${id.padEnd(width)}  ${found}`,
    ...(fix === undefined ? [] : [`${''.padEnd(7)}  ${''.padEnd(width)}  → ${fix}`]),
  ])
  const said = (['fail', 'warn', 'unknown', 'ok'] as const)
    .filter(status => counts[status] > 0)
    .map(status => `${counts[status]} ${status}`)
  return [...lines, '', `${said.join(', ')}${counts.fail > 0 ? '' : `: ${verdict(checks)}`}`].join('\n')
}

/** Of a machine where nothing failed: who may make NICs can do without a command's own. */
function verdict(checks: readonly Result[]): string {
  const isolation = checks.find(({ id }) => id === 'isolation')
  return isolation?.status === 'warn' ? 'a TUN can be made here, but tun exec cannot work' : 'tun can work here'
}
