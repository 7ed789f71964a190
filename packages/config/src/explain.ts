// Owns: what zod found → our words, with the value that was there (never a secret) and what to write instead.

import type { z } from 'zod'
import type { Path } from './diagnostics.js'
import { nearest } from './nearest.js'
import { show } from './values.js'

type Issue = z.core.$ZodIssue

export interface Explained {
  path: (string | number)[]
  message: string
  hint?: string
  /** The key itself is at fault, not its value. */
  atKey: boolean
}

/** Stands in for the messages zod would write, so that those of a schema's author can be told apart. */
const NO_MESSAGE = '\0'

/** Validates what stands at a path; either a value or every fault with its whole path. Never throws, whatever the schema does. */
export function validate<T extends z.ZodType>(schema: T, value: unknown, at: Path): { value: z.output<T> } | { faults: Explained[] } {
  try {
    const result = schema.safeParse(value, { reportInput: true, error: () => NO_MESSAGE })
    return result.success ? { value: result.data } : { faults: result.error.issues.flatMap(issue => explain(issue, at)) }
  } catch {
    // A cyclic alias, or a check of the caller's that threw.
    return { faults: [{ path: [...at], message: 'could not be checked: it contains itself or is nested too deeply', atKey: false }] }
  }
}

function explain(issue: Issue, above: Path): Explained[] {
  const path = [...above, ...issue.path.map(key => (typeof key === 'symbol' ? String(key) : key))]
  const input = 'input' in issue ? issue.input : undefined
  if (issue.code === 'unrecognized_keys') return issue.keys.map(key => ({ path: [...path, key], message: 'unknown key', atKey: true }))
  if (issue.code === 'invalid_union' && issue.message === NO_MESSAGE && issue.errors.length > 0) {
    // The form that came nearest: the one with its first fault deepest inside.
    const depth = (issues: Issue[]): number => Math.max(...issues.map(({ path }) => path.length))
    const best = issue.errors.reduce((a, b) => (depth(b) > depth(a) ? b : a))
    return best.flatMap(inner => explain(inner, path))
  }
  const told = issue.message === NO_MESSAGE ? tell(issue, secret(path) ? MASKED : input) : { message: issue.message, hint: hintOf(issue) }
  return [{ path, atKey: input === undefined && issue.code === 'invalid_type', ...told }]
}

function hintOf(issue: Issue): string | undefined {
  const hint = issue.code === 'custom' ? issue.params?.hint : undefined
  return typeof hint === 'string' ? hint : undefined
}

const MASKED = Symbol('masked')

/** Keys whose values are nobody's business. */
function secret(path: Path): boolean {
  return path.some(key => /pass|secret|token|psk|private|auth|uuid|cred|key$/i.test(String(key)))
}

function tell(issue: Issue, input: unknown): { message: string; hint?: string } {
  switch (issue.code) {
    case 'invalid_type':
      return wrongType(issue.expected, input)
    case 'too_small':
      return { message: `${amount(issue.origin)} ${issue.inclusive === false ? 'more than' : 'at least'} ${issue.minimum}${got(input)}` }
    case 'too_big':
      return { message: `${amount(issue.origin)} ${issue.inclusive === false ? 'less than' : 'at most'} ${issue.maximum}${got(input)}` }
    case 'invalid_value':
      return wrongWord(issue.values.map(String), input)
    case 'invalid_union': {
      const { discriminator, options } = issue as { discriminator?: string; options?: unknown[] }
      const value = discriminator && typeof input === 'object' && input ? (input as Record<string, unknown>)[discriminator] : input
      return options ? wrongWord(options.map(String), value) : { message: `fits none of the forms possible${got(value)}` }
    }
    case 'invalid_format':
      return { message: `is no ${issue.format}${got(input)}` }
    default:
      return { message: `is not valid${got(input)}` }
  }
}

function wrongType(expected: string, input: unknown): { message: string; hint?: string } {
  if (input === undefined || input === null) return { message: `missing: ${TYPES[expected] ?? expected} is needed` }
  if (expected === 'int' && typeof input === 'number') return { message: `expected a whole number, got ${input}` }
  const message = `expected ${TYPES[expected] ?? expected}${got(input, true)}`
  if ((expected === 'number' || expected === 'int') && typeof input === 'string' && /^\s*-?\d+(\.\d+)?\s*$/.test(input))
    return { message, hint: 'remove the quotes' }
  if (expected === 'string' && (typeof input === 'number' || typeof input === 'boolean')) return { message, hint: 'put it in quotes' }
  if (expected === 'array' && typeof input !== 'object' && typeof input !== 'symbol') return { message, hint: `write a list: [${input}]` }
  return { message }
}

function wrongWord(words: string[], input: unknown): { message: string; hint?: string } {
  const near = typeof input === 'string' ? nearest(input, words) : undefined
  const message = `expected ${words.length === 1 ? '' : 'one of '}${words.join(', ')}${got(input)}`
  return { message, ...(near === undefined ? {} : { hint: `did you mean '${near}'?` }) }
}

function got(input: unknown, withType = false): string {
  if (input === MASKED) return ''
  return `, got ${withType && typeof input === 'string' ? 'the string ' : ''}${show(input)}`
}

function amount(origin: string): string {
  return origin === 'string' ? 'its length must be' : origin === 'array' || origin === 'set' ? 'its number of entries must be' : 'must be'
}

const TYPES: Record<string, string> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  tuple: 'a list',
  object: 'a map of keys and values',
  record: 'a map of keys and values',
  null: 'nothing',
}
