// Owns: where two plays of the same situation differ, how that is told, and what a listed difference is.

import type { Step } from './player.js'

/** A step in which the two did something else. */
export interface Difference {
  step: string
  kernel: string[]
  ours: string[]
}

/** Differences of the same kind, by the situations' names. */
export interface Listed {
  reason: string
  situations: Record<string, Difference[]>
}

export function differencesOf(kernel: Step[], ours: Step[]): Difference[] {
  const found: Difference[] = []
  for (let i = 0; i < Math.max(kernel.length, ours.length); i++) {
    const [k, o] = [kernel[i]?.came ?? [], ours[i]?.came ?? []]
    if (k.join('\n') !== o.join('\n')) found.push({ step: (kernel[i] ?? ours[i]).did, kernel: k, ours: o })
  }
  return found
}

/** The whole play, the kernel's lines marked `k`, ours `o`, both `=`. */
export function transcript(kernel: Step[], ours: Step[]): string {
  const lines: string[] = []
  kernel.forEach((step, i) => {
    lines.push(`  ${step.did}`)
    const theirs = ours[i]?.came ?? []
    if (step.came.join('\n') === theirs.join('\n')) lines.push(...step.came.map(line => `    = ${line}`))
    else lines.push(...step.came.map(line => `    k ${line}`), ...theirs.map(line => `    o ${line}`))
  })
  return lines.join('\n')
}
