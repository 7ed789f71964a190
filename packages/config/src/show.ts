// Owns: values in messages.

import { maskText } from './secrets.js'

/** What a check of a value finds. undefined: fine; else why not, and the fix. */
export type Fault = { message: string; hint?: string } | undefined

/** A value as a message may show it: short, on one line, without the secrets of a URL. */
export function show(value: unknown): string {
  if (typeof value === 'string') {
    const line = maskText(value).replaceAll(/\p{Cc}/gu, ' ')
    return `'${line.length > 60 ? `${line.slice(0, 57)}...` : line}'`
  }
  if (Array.isArray(value)) return 'a list'
  if (value === null || value === undefined) return 'nothing'
  return typeof value === 'object' ? 'a map' : String(value)
}
