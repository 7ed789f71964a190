// Owns: a config's text → typed sections, or one report of everything wrong with it. Read this first.

import type { ZodType, z } from 'zod'
import { answerKeys, surroundings } from './answers.js'
import { type Diagnostic, finding, NOWHERE, type Place, Report } from './diagnostics.js'
import { checkDisabled, readDns, readHosts, readProfile } from './dns.js'
import { type DnsOptions, dnsAnswered, type HostsOptions, type ProfileOptions, profileSchema } from './dns-schema.js'
import { checkOverlaps, FAKE_RANGES, type FakeRange, type NicAddress } from './overlaps.js'
import type { Path } from './path.js'
import { read, readMap, type Section } from './sections.js'
import { readTun } from './tun.js'
import { tunAnswered } from './tun-answers.js'
import type { TunOptions } from './tun-schema.js'
import { checkKeys, checkTopKeys } from './unknown-keys.js'
import { YamlSource } from './yaml-source.js'

export interface LoadOptions<S extends Record<string, ZodType> = Record<string, ZodType>> {
  /** Stands before each line of the error's message. */
  file?: string
  /** Top-level sections of the caller's own (`proxies`, `rules`), by key; one that is absent is validated as undefined. */
  sections?: S
  /** Further keys the caller acts on, so that they get no warning: `mode`, `tun.stack`, `dns.prefer-h3`. */
  known?: readonly string[]
  /** Whose rules for interface names hold; this machine's by default. */
  platform?: NodeJS.Platform
  /** Called when all sections were read, with errors or without: what else the caller has to say about the file. */
  check?: (report: Report, file: Pick<LoadedConfig, 'values' | 'written'>) => void
}

export interface LoadedConfig<S extends Record<string, ZodType> = Record<string, ZodType>> {
  tun: TunOptions
  dns: DnsOptions
  profile: ProfileOptions
  hosts: HostsOptions
  sections: { [K in keyof S]: z.output<S[K]> }
  /** The whole file as plain values, for keys named in `known`. */
  values: Record<string, unknown>
  /** And notes, in the order of the file. */
  warnings: Diagnostic[]
  /** Where the value at a path stands, or what is left of the path. */
  locate(path: Path): Place
  /** The text of a single value: `0123`, where the value is the number 123. */
  written(path: Path): string | undefined
}

/** @throws ConfigError `ERR_TUN_CONFIG` with every error of the file */
export function loadConfig<S extends Record<string, ZodType>>(text: string, options: LoadOptions<S> = {}): LoadedConfig<S> {
  const { file, known = [], platform = process.platform } = options
  const sections = (options.sections ?? {}) as S
  const source = new YamlSource(text)
  const report = new Report(source)
  for (const { path, place, ...saying } of source.faults) report.errors.push(finding('error', path, place, saying))
  const root = source.root ?? {}
  if (source.root === undefined) report.settle(file)
  checkTopKeys(root, new Set([...Object.keys(sections), ...known]), path => source.isAnchored(path), report)
  const { tun, dns } = readTunAndDns(root.tun ?? {}, root.dns ?? {}, known, platform, report)
  const profile = readProfileSection(root.profile ?? {}, known, report)
  const hosts = readHosts(root.hosts ?? undefined, report)
  const values = Object.fromEntries(
    Object.entries(sections).map(([key, schema]) => [key, read(schema, root[key] ?? undefined, [key], report)]),
  )
  options.check?.(report, { values: root, written: path => source.written(path) })
  report.settle(file)
  return {
    tun: tun as TunOptions,
    dns: dns as DnsOptions,
    profile: profile as ProfileOptions,
    hosts: hosts as HostsOptions,
    sections: values as LoadedConfig<S>['sections'],
    values: root,
    warnings: report.warnings,
    locate: path => source.value(path),
    written: path => source.written(path),
  }
}

export interface ParseOptions {
  /** Gets notes, too. */
  onWarning?: (warning: Diagnostic) => void
  known?: readonly string[]
  platform?: NodeJS.Platform
}

/** The `tun:` section as a plain object. @throws ConfigError */
export function parseTun(tun: object, { onWarning, known = [], platform = process.platform }: ParseOptions = {}): TunOptions {
  const report = new Report(NOWHERE)
  const section = readMap(tun, 'tun', report)
  if (section) checkKeys(section, 'tun', known, report)
  const parsed = section && readTun(section, platform, report)
  if (section) {
    answerKeys('tun', section, tunAnswered, known, surroundings(section, {}), report)
  }
  report.settle()
  if (onWarning) report.warnings.forEach(onWarning)
  return parsed as TunOptions
}

/** The `dns:` section as a plain object. @throws ConfigError */
export function parseDns(dns: object, { onWarning, known = [] }: Omit<ParseOptions, 'platform'> = {}): DnsOptions {
  const report = new Report(NOWHERE)
  const section = readMap(dns, 'dns', report)
  if (section) checkKeys(section, 'dns', known, report)
  const parsed = section && readDns(section, report)
  if (section) {
    answerKeys('dns', section, dnsAnswered, known, surroundings({}, section), report)
  }
  report.settle()
  if (onWarning) report.warnings.forEach(onWarning)
  return parsed as DnsOptions
}

/** Both, and what concerns both. Undefined: it was wrong, and is in the report. */
function readTunAndDns(
  rawTun: unknown,
  rawDns: unknown,
  known: readonly string[],
  platform: NodeJS.Platform,
  report: Report,
): { tun: TunOptions | undefined; dns: DnsOptions | undefined } {
  const tunSection = readMap(rawTun, 'tun', report)
  const dnsSection = readMap(rawDns, 'dns', report)
  const tun = tunSection && readTun(tunSection, platform, report)
  const dns = dnsSection && readDns(dnsSection, report)
  const around = surroundings(tunSection ?? {}, dnsSection ?? {})
  if (tunSection) {
    checkKeys(tunSection, 'tun', known, report)
    answerKeys('tun', tunSection, tunAnswered, known, around, report)
  }
  if (dnsSection) {
    checkKeys(dnsSection, 'dns', known, report)
    answerKeys('dns', dnsSection, dnsAnswered, known, around, report)
    if (tun?.['dns-listen'] !== undefined) checkDisabled(dnsSection, report)
  }
  if (tun && dns) checkOverlaps(tun, nicAddresses(tunSection ?? {}), { ...dns, ...wrongRanges(dnsSection ?? {}, dns) }, report)
  return { tun, dns }
}

/** A range that is wrong is not the default one. */
function wrongRanges(section: Section, dns: DnsOptions): Partial<Record<FakeRange, undefined>> {
  const wrong = FAKE_RANGES.filter(key => section[key] !== undefined && section[key] !== dns[key])
  return Object.fromEntries(wrong.map(key => [key, undefined]))
}

/** What the NIC is to have, though it is not set here: the file says it. */
function nicAddresses(section: Section): NicAddress[] {
  return (['inet4-address', 'inet6-address'] as const).flatMap(key => {
    const parsed = tunAnswered[key].safeParse(section[key])
    const listed = Array.isArray(section[key])
    return (parsed.data ?? []).map((text, i): NicAddress => ({ path: listed ? ['tun', key, i] : ['tun', key], text }))
  })
}

function readProfileSection(raw: unknown, known: readonly string[], report: Report): ProfileOptions | undefined {
  const section = readMap(raw, 'profile', report)
  if (!section) return undefined
  checkKeys(section, 'profile', known, report)
  answerKeys('profile', section, profileSchema.shape, known, surroundings({}, {}), report)
  return readProfile(section, report)
}
