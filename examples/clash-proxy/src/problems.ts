// Owns: what is wrong with one section of the configuration, by path inside that section; config.ts turns paths into lines.

import { nearest } from '@tun/config'

export type Path = readonly (string | number)[]

export interface Problem {
  path: Path
  message: string
  hint: string | undefined
}

export class Problems {
  readonly errors: Problem[] = []
  readonly warnings: Problem[] = []

  error(path: Path, message: string, hint?: string): void {
    this.errors.push({ path, message, hint })
  }

  warn(path: Path, message: string, hint?: string): void {
    this.warnings.push({ path, message, hint })
  }
}

/** The hint for a word that is none of `candidates` but near one, in any case of letters. */
export function didYouMean(word: string, candidates: Iterable<string>): string | undefined {
  const byLowerCase = new Map(Array.from(candidates, candidate => [candidate.toLowerCase(), candidate]))
  const near = nearest(word.toLowerCase(), byLowerCase.keys())
  return near === undefined ? undefined : `did you mean '${byLowerCase.get(near)}'?`
}
