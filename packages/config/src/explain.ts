// Owns: what zod found → our words, with the value that was there (never a secret) and what to write instead.

import type { z } from 'zod'
import type { Saying } from './diagnostics.js'
import type { DiagnosticId, GeneralId } from './ids.js'
import { nearest } from './nearest.js'
import type { Path } from './path.js'
import { isSecret } from './secrets.js'
import { show } from './show.js'

type Issue = z.core.$ZodIssue

export interface Explained {
  path: (string | number)[]
  saying: Saying
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
    const saying = { id: 'tun/value', message: 'could not be checked: it contains itself or is nested too deeply' } as const
    return { faults: [{ path: [...at], saying, atKey: false }] }
  }
}

function explain(issue: Issue, above: Path): Explained[] {
  const path = [...above, ...issue.path.map(key => (typeof key === 'symbol' ? String(key) : key))]
  const input = 'input' in issue ? issue.input : undefined
  if (issue.code === 'unrecognized_keys') return issue.keys.map(key => ({ path: [...path, key], saying: UNKNOWN_KEY, atKey: true }))
  if (issue.code === 'invalid_union' && issue.message === NO_MESSAGE && issue.errors.length > 0) {
    // The form that came nearest: the one with its first fault deepest inside.
    const depth = (issues: Issue[]): number => Math.max(...issues.map(({ path }) => path.length))
    const best = issue.errors.reduce((a, b) => (depth(b) > depth(a) ? b : a))
    return best.flatMap(inner => explain(inner, path))
  }
  const saying = issue.message === NO_MESSAGE ? tell(issue, isSecret(path) ? MASKED : input, path) : toldByAuthor(issue)
  return [{ path, atKey: input === undefined && issue.code === 'invalid_type', saying }]
}

const UNKNOWN_KEY = { id: 'tun/unknown-key', message: 'unknown key' } as const

/** The message of a check of our own (values.ts) or of the caller's, which may say its id and what to do. */
function toldByAuthor(issue: Issue): Saying {
  const { hint, id } = (issue.code === 'custom' ? issue.params : undefined) ?? {}
  const named = typeof id === 'string' && id.startsWith('tun/') ? (id as DiagnosticId) : idOf(issue)
  return { id: named, message: issue.message, ...(typeof hint === 'string' ? { hint } : {}) }
}

function idOf({ code }: Issue): GeneralId {
  if (code === 'invalid_type' || code === 'invalid_union') return 'tun/type'
  if (code === 'too_small' || code === 'too_big') return 'tun/range'
  return code === 'invalid_value' ? 'tun/word' : 'tun/value'
}

const MASKED = Symbol('masked')

function tell(issue: Issue, input: unknown, path: Path): Saying {
  const id = idOf(issue)
  switch (issue.code) {
    case 'invalid_type':
      return wrongType(issue.expected, input, path)
    case 'too_small':
      return {
        id,
        message: `${amount(issue.origin)} ${issue.inclusive === false ? 'more than' : 'at least'} ${issue.minimum}${got(input)}`,
      }
    case 'too_big':
      return { id, message: `${amount(issue.origin)} ${issue.inclusive === false ? 'less than' : 'at most'} ${issue.maximum}${got(input)}` }
    case 'invalid_value':
      return wrongWord(issue.values.map(String), input)
    case 'invalid_union': {
      const { discriminator, options } = issue as { discriminator?: string; options?: unknown[] }
      const value = discriminator && typeof input === 'object' && input ? (input as Record<string, unknown>)[discriminator] : input
      return options ? wrongWord(options.map(String), value) : { id, message: `fits none of the forms possible${got(value)}` }
    }
    case 'invalid_format':
      return { id, message: `is no ${issue.format}${got(input)}` }
    default:
      return { id, message: `is not valid${got(input)}` }
  }
}

function wrongType(expected: string, input: unknown, path: Path): Saying {
  if (input === undefined || input === null) return { id: 'tun/missing', message: `missing: ${TYPES[expected] ?? expected} is needed` }
  const id = 'tun/type'
  if (expected === 'int' && typeof input === 'number') return { id, message: `expected a whole number, got ${input}` }
  const message = `expected ${TYPES[expected] ?? expected}${got(input, true)}`
  if ((expected === 'number' || expected === 'int') && typeof input === 'string' && /^\s*-?\d+(\.\d+)?\s*$/.test(input))
    return { id, message, hint: 'remove the quotes' }
  const timed = /timeout|ttl|stale|interval/.test(String(path[path.length - 1]))
  const seconds = timed && typeof input === 'string' ? secondsOf(input) : undefined
  if (seconds !== undefined) return { id, message, hint: `write ${seconds}, without a unit` }
  if (expected === 'string' && (typeof input === 'number' || typeof input === 'boolean')) return { id, message, hint: 'put it in quotes' }
  if (expected === 'array' && typeof input !== 'object' && typeof input !== 'symbol')
    return { id, message, hint: `write a list: [${typeof input === 'string' ? show(input).slice(1, -1) : input}]` }
  return { id, message }
}

/** `5m`, as Go and others write it. */
function secondsOf(text: string): number | undefined {
  const match = /^(\d+)(s|m|h)$/.exec(text)
  return match ? Number(match[1]) * { s: 1, m: 60, h: 3600 }[match[2] as 's' | 'm' | 'h'] : undefined
}

function wrongWord(words: string[], input: unknown): Saying {
  const near = typeof input === 'string' ? nearest(input, words) : undefined
  const message = `expected ${words.length === 1 ? '' : 'one of '}${words.join(', ')}${got(input)}`
  return { id: 'tun/word', message, ...(near === undefined ? {} : { hint: `did you mean '${near}'?` }) }
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
