// Owns: keys that nothing acts on and none of our schemas has: slips of the pen, keys in the wrong section, and what Clash and mihomo
// know beside `tun:` and `dns:`.

import { type ZodType, z } from 'zod'
import type { Report } from './diagnostics.js'
import { dnsSchema, profileSchema } from './dns-schema.js'
import { validate } from './explain.js'
import { type Kind, TOP_KEYS } from './known-keys.js'
import { nearest } from './nearest.js'
import type { Path } from './path.js'
import { isSecretKey } from './secrets.js'
import { show } from './show.js'
import { tunSchema } from './tun-schema.js'
import { clashBoolean, port } from './values.js'

export const SECTIONS = ['tun', 'dns', 'profile', 'hosts']

export const KEYS_OF = {
  tun: Object.keys(tunSchema.shape),
  dns: Object.keys(dnsSchema.shape),
  profile: Object.keys(profileSchema.shape),
}

/** @param isAnchored whether a key is only there for what others take from it */
export function checkTopKeys(root: Record<string, unknown>, acted: Set<string>, isAnchored: (path: Path) => boolean, report: Report): void {
  const all = [...SECTIONS, ...acted, ...Object.keys(TOP_KEYS)]
  for (const [key, value] of Object.entries(root)) {
    if (SECTIONS.includes(key)) continue
    if (Object.hasOwn(TOP_KEYS, key)) checkKnown([key], value, TOP_KEYS[key], acted.has(key), report)
    else if (!acted.has(key) && !isAnchored([key])) warnUnknown([key], all, report)
  }
}

export function checkKeys(section: Record<string, unknown>, name: keyof typeof KEYS_OF, known: readonly string[], report: Report): void {
  for (const key of Object.keys(section)) {
    if (!KEYS_OF[name].includes(key) && !known.includes(`${name}.${key}`)) warnUnknown([name, key], KEYS_OF[name], report)
  }
}

/** A key of Clash's or mihomo's. Ports and words that are wrong are errors there too; of the rest only whoever acts on it can be sure. */
function checkKnown(path: Path, value: unknown, kind: Kind, acted: boolean, report: Report): void {
  if (value !== null && kind !== 'any') {
    const word = typeof kind === 'object'
    const result = validate(schemaOf(kind), word && typeof value === 'string' ? value.toLowerCase() : value, path)
    if ('faults' in result && !(acted && !word && kind !== 'port')) {
      const { path: at, saying } = result.faults[0]
      if (word || kind === 'port') report.error(at, saying)
      else report.warning(at, saying)
      return
    }
  }
  if (!acted) report.warningAtKey(path, NOT_ACTED_ON)
}

export const NOT_ACTED_ON = { id: 'tun/not-acted-on', message: 'known to Clash/mihomo, not acted on yet' } as const

export function schemaOf(kind: Exclude<Kind, 'any'>): ZodType {
  switch (kind) {
    case 'boolean':
      return clashBoolean
    case 'number':
      return z.number()
    case 'port':
      return port
    case 'string':
      return z.string()
    case 'list':
      return z.array(z.unknown())
    case 'map':
      return z.record(z.string(), z.unknown())
    default:
      return z.enum([...kind])
  }
}

/** Where a key belongs that stands in the wrong section. */
const HOMES: readonly [string, ReadonlySet<string>][] = [
  ["under 'tun:'", new Set(KEYS_OF.tun)],
  ["under 'dns:'", new Set(KEYS_OF.dns)],
  ["under 'profile:'", new Set(KEYS_OF.profile)],
  ['at the top of the file', new Set([...Object.keys(TOP_KEYS), ...SECTIONS])],
]

function warnUnknown(path: Path, candidates: readonly string[], report: Report): void {
  const key = String(path[path.length - 1])
  const home = HOMES.find(([, keys]) => keys.has(key))?.[0]
  const near = home === undefined ? nearest(key, candidates) : undefined
  const hint = near !== undefined ? `did you mean '${near}'?` : home && `it belongs ${home}`
  const shown = key.length > 60 && !isSecretKey(key) ? [...path.slice(0, -1), show(key)] : path
  report.warningAtKey(shown, { id: 'tun/unknown-key', message: 'unknown key', hint })
}
