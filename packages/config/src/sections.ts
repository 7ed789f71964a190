// Owns: a section as it was written → a map of its keys; a value and a schema → the value, or findings.

import { type ZodType, z } from 'zod'
import type { Report } from './diagnostics.js'
import { type Explained, validate } from './explain.js'
import type { Path } from './path.js'

export type Section = Record<string, unknown>

/** A section's keys and values; one without a value (`fake-ip-filter:`) is as good as absent, as in Clash. */
export function readMap(raw: unknown, name: string, report: Report): Section | undefined {
  const map = read(z.record(z.string(), z.unknown()), raw, [name], report)
  return map && Object.fromEntries(Object.entries(map).filter(([, value]) => value !== null && value !== undefined))
}

/** Undefined: it was wrong, and is in the report. */
export function read<T extends ZodType>(schema: T, value: unknown, at: Path, report: Report): z.output<T> | undefined {
  const result = validate(schema, value, at)
  if ('value' in result) return result.value
  tell(result.faults, report)
  return undefined
}

/**
 * The same for a section, of which keys that are wrong are as good as absent: so the others are checked as well. Nobody gets the result,
 * because the report has errors.
 */
export function readSection<T extends ZodType>(schema: T, section: Section, name: string, report: Report): z.output<T> | undefined {
  const result = validate(schema, section, [name])
  if ('value' in result) return result.value
  tell(result.faults, report)
  const wrong = new Set(result.faults.map(({ path }) => path[1]))
  const rest = validate(schema, Object.fromEntries(Object.entries(section).filter(([key]) => !wrong.has(key))), [name])
  return 'value' in rest ? rest.value : undefined
}

function tell(faults: readonly Explained[], report: Report): void {
  for (const { path, saying, atKey } of faults) {
    if (atKey) report.errorAtKey(path, saying)
    else report.error(path, saying)
  }
}

/** The keys of `schema` only. */
export function pick(values: Section, schema: z.ZodObject): Section {
  return Object.fromEntries(Object.entries(values).filter(([key, value]) => key in schema.shape && value !== undefined))
}
