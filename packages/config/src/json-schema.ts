// Owns: the JSON Schema of a config file, for editors: what they complete, explain and underline.

import { z } from 'zod'
import { dnsSchema, hostsSchema, profileSchema } from './dns-schema.js'
import { TOP_KEYS } from './known-keys.js'
import { tunSchema } from './tun-schema.js'
import { schemaOf } from './unknown-keys.js'

/**
 * JSON Schema (draft 7, which editors read) of a whole file. `tun:`, `dns:` and `profile:` have these keys and no others; what else
 * stands at the top is left open.
 */
export function configJsonSchema(): Record<string, unknown> {
  const top = Object.fromEntries(
    Object.entries(TOP_KEYS).map(([key, kind]) => {
      const words = typeof kind === 'object' ? z.union([z.enum([...kind]), z.string().regex(inAnyCase(kind))]) : undefined
      return [key, (words ?? (kind === 'any' ? z.unknown() : schemaOf(kind as never))).nullish()]
    }),
  )
  const file = z.looseObject({
    tun: z.strictObject(tunSchema.shape).partial().nullish().describe('The virtual network card.'),
    dns: z.strictObject(dnsSchema.shape).partial().nullish().describe('How names are answered and asked for.'),
    profile: z.strictObject(profileSchema.shape).partial().nullish().describe('What outlives the process.'),
    hosts: hostsSchema.nullish(),
    ...top,
  })
  const schema = z.toJSONSchema(file, { io: 'input', target: 'draft-7' }) as Record<string, unknown>
  return { ...schema, title: 'Clash-style configuration, as @tun/config reads it' }
}

/** Clash wrote `mode: Rule`; the words alone are what editors propose. */
function inAnyCase(words: readonly string[]): RegExp {
  return new RegExp(`^(${words.join('|').replace(/[a-z]/g, letter => `[${letter.toUpperCase()}${letter}]`)})$`)
}
