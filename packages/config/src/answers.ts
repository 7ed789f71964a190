// Owns: the answers to keys that are known and not acted on: said at the key, with the commands that do it instead.

import type { z } from 'zod'
import { networkOf } from './cidr.js'
import type { Report } from './diagnostics.js'
import { DNS_DEFAULTS, dnsSchema } from './dns-schema.js'
import { factsOf, isIdle, type Surroundings } from './keys.js'
import type { Section } from './sections.js'
import { deviceUrl } from './values.js'

/** As mihomo numbers its own. */
const TABLE = 2022
const RULE = 9000

/**
 * Answers every key of `shape` that has an answer and asks for something, unless the caller acts on it. One of a wrong type is left to
 * the section's own check.
 */
export function answerKeys(
  name: string,
  section: Section,
  shape: Readonly<Record<string, z.ZodType>>,
  known: readonly string[],
  around: Surroundings,
  report: Report,
): void {
  for (const [key, value] of Object.entries(section)) {
    const schema = Object.hasOwn(shape, key) ? shape[key] : undefined
    const answer = schema && factsOf(schema)?.answer
    if (!answer || known.includes(`${name}.${key}`)) continue
    const parsed = schema.safeParse(value)
    if (!parsed.success || isIdle(parsed.data, answer)) continue
    const saying = { id: `tun/${key}` as const, message: answer.why, hint: answer.instead?.(parsed.data, around) }
    if (answer.severity === 'note') report.noteAtKey([name, key], saying)
    else report.warningAtKey([name, key], saying)
  }
}

/** What commands are about: the interface, the fake addresses, and the numbers that were wished for. Of what is wrong, the default. */
export function surroundings(tun: Section, dns: Section): Surroundings {
  const url = deviceUrl.safeParse(tun['device-url'] ?? `dev://${String(tun.device ?? '')}`).data ?? ''
  const name = url.startsWith('dev://') ? url.slice('dev://'.length) : ''
  const { shape } = dnsSchema
  const fake = (shape['enhanced-mode'].safeParse(dns['enhanced-mode']).data ?? 'fake-ip') === 'fake-ip'
  const ipv6 = shape.ipv6.safeParse(dns.ipv6).data ?? false
  const number = (key: string, fallback: number): number => {
    const value = tun[key]
    return typeof value === 'number' && Number.isInteger(value) && value > 0 ? value : fallback
  }
  return {
    nic: name === '' || name.includes('%') ? 'DEV' : name,
    fake4: fake ? networkOf(shape['fake-ip-range'].safeParse(dns['fake-ip-range']).data ?? DNS_DEFAULTS['fake-ip-range']) : undefined,
    fake6: fake && ipv6 ? networkOf(shape['fake-ip-range6'].safeParse(dns['fake-ip-range6']).data) : undefined,
    table: number('iproute2-table-index', TABLE),
    rule: number('iproute2-rule-index', RULE),
  }
}
