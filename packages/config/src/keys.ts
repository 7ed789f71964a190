// Owns: what is known of each key beside its type: whether it is acted on, which test shows that, or what is answered instead.
// A key cannot be in a schema without it: docs/config.md is made from here, and a test goes through all keys.

import { z } from 'zod'

/** A test that fails when the key loses its effect: file from the root of the project, title as it stands there. */
export interface TestOf {
  file: string
  title: string
}

/** What commands need to be whole. */
export interface Surroundings {
  /** Name of the interface; `DEV` where only a descriptor is known. */
  nic: string
  /** The range of fake addresses, if there are any. */
  fake4?: string
  fake6?: string
  /** Of the rules and routes that commands make. */
  table: number
  rule: number
}

export interface Answer {
  severity: 'warning' | 'note'
  why: string
  /** What to do instead; lines behind the first are commands. */
  instead?: (value: unknown, around: Surroundings) => string | undefined
  /** A value that asks for something: for the documentation and the test. */
  example: unknown
  /** Values that ask for nothing, beside false, 0, '' and what is empty: nothing is said. */
  idle?: (value: unknown) => boolean
}

export interface KeyFacts {
  does: string
  test: TestOf
  /** Undefined: the key is acted on. */
  answer?: Answer
}

export const keyFacts = z.registry<KeyFacts>()

/** A key that is acted on. */
export function honoured<T extends z.ZodType>(schema: T, does: string, test: readonly [file: string, title: string]): T {
  const described = schema.describe(does)
  keyFacts.add(described, { does, test: { file: test[0], title: test[1] } })
  return described
}

const ANSWERS_TEST = {
  file: 'packages/config/src/answers.test.ts',
  title: 'a key that is not acted on has its own answer when it asks for something, and none when it does not',
}

/** A key that is answered by the diagnostic `tun/KEY`, and by nothing else. */
export function answered<T extends z.ZodType>(schema: T, does: string, answer: Answer): z.ZodOptional<T> {
  const described = schema.optional().describe(`${does} Not done here: ${answer.why}.`)
  keyFacts.add(described, { does, test: ANSWERS_TEST, answer })
  return described
}

export function factsOf(schema: z.ZodType): KeyFacts | undefined {
  return keyFacts.get(schema) as KeyFacts | undefined
}

/** Does the value ask for nothing? */
export function isIdle(value: unknown, { idle }: Answer): boolean {
  if (value === undefined || value === null || value === false || value === 0 || value === '') return true
  if (typeof value === 'object' && Object.keys(value).length === 0) return true
  return idle?.(value) ?? false
}
