// Owns: what a check is. Its `id` and the words of `status` are an interface: docs/operating.md has them, scripts rely on them.

import type { Machine } from './machine.js'

/**
 * `warn`: it works, but not for everybody or not all of it. `fail`: what tun is for does not work. `unknown`: it could not be found out.
 */
export type Status = 'ok' | 'warn' | 'fail' | 'unknown'

export interface Finding {
  status: Status
  /** One line for people. */
  found: string
  /** What helps: a command, if there is one. */
  fix?: string
}

export interface Check {
  id: string
  look(machine: Machine): Finding
}

export const ok = (found: string): Finding => ({ status: 'ok', found })
export const warn = (found: string, fix?: string): Finding => ({ status: 'warn', found, fix })
export const fail = (found: string, fix?: string): Finding => ({ status: 'fail', found, fix })
export const unknown = (found: string): Finding => ({ status: 'unknown', found })

/** An error with its cure, as all of ours are: the message without the cure, and the cure. */
export function told(error: unknown): { found: string; fix?: string } {
  const { message, hint } = error as Error & { hint?: string }
  if (hint === undefined || !message.endsWith(`; ${hint}`)) return { found: message, fix: hint?.replace(/^run: /, '') }
  return { found: message.slice(0, -hint.length - 2), fix: hint.replace(/^run: /, '') }
}
