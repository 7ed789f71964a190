// Owns: a config's text → typed sections, or one report of everything wrong with it. Read this first.

import { type ZodType, z } from 'zod'
import { type Diagnostic, formatPath, NOWHERE, type Path, Report } from './diagnostics.js'
import { validate } from './explain.js'
import { DNS_KEYS, type Kind, PROFILE_KEYS, TOP_KEYS, TUN_KEYS } from './known-keys.js'
import { nearest } from './nearest.js'
import {
  adopted,
  adoptNat,
  adoptSynonyms,
  checkDns,
  checkTun,
  type DnsOptions,
  dnsSchema,
  type HostsOptions,
  hostsSchema,
  type ProfileOptions,
  profileSchema,
  type TunOptions,
  tunSchema,
} from './schema.js'
import { clashBoolean, domainPatternFault, port, show } from './values.js'
import { YamlSource } from './yaml-source.js'

export interface LoadOptions<S extends Record<string, ZodType> = Record<string, ZodType>> {
  /** Stands before each line of the error's message. */
  file?: string
  /** Top-level sections of the caller's own (`proxies`, `rules`), by key; one that is absent is validated as undefined. */
  sections?: S
  /** Further keys the caller acts on, so that they get no warning: `mode`, `tun.stack`, `dns.fallback`. */
  known?: readonly string[]
  /** Whose rules for interface names hold; this machine's by default. */
  platform?: NodeJS.Platform
}

export interface LoadedConfig<S extends Record<string, ZodType> = Record<string, ZodType>> {
  tun: TunOptions
  dns: DnsOptions
  profile: ProfileOptions
  hosts: HostsOptions
  sections: { [K in keyof S]: z.output<S[K]> }
  /** The whole file as plain values, for keys named in `known`. */
  values: Record<string, unknown>
  /** In the order of the file. */
  warnings: Diagnostic[]
  /** Where the value at a path stands (both from 1), or what is left of the path. */
  locate(path: Path): { line: number; column: number }
  /** The text of a single value: `0123`, where the value is the number 123. */
  written(path: Path): string | undefined
}

/** @throws ConfigError `ERR_TUN_CONFIG` with every error of the file */
export function loadConfig<S extends Record<string, ZodType>>(text: string, options: LoadOptions<S> = {}): LoadedConfig<S> {
  const { file, known = [], platform = process.platform } = options
  const sections = (options.sections ?? {}) as S
  const source = new YamlSource(text)
  const report = new Report(source)
  for (const { path, ...fault } of source.faults) report.errors.push({ severity: 'error', path: formatPath(path), ...fault })
  const root = source.root ?? {}
  if (source.root === undefined) report.settle(file)
  checkTopKeys(root, new Set([...Object.keys(sections), ...known]), source, report)
  const tun = readTun(root.tun ?? {}, known, platform, report)
  const dns = readDns(root.dns ?? {}, known, report)
  const profile = readProfile(root.profile ?? {}, known, report)
  const hosts = readHosts(root.hosts ?? {}, report)
  if (tun?.['dns-listen'] !== undefined) checkDisabled(root.dns, report)
  const values = Object.fromEntries(
    Object.entries(sections).map(([key, schema]) => [key, read(schema, root[key] ?? undefined, [key], report)]),
  )
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
  onWarning?: (warning: Diagnostic) => void
  known?: readonly string[]
  platform?: NodeJS.Platform
}

/** The `tun:` section as a plain object. @throws ConfigError */
export function parseTun(tun: object, { onWarning, known = [], platform = process.platform }: ParseOptions = {}): TunOptions {
  const report = new Report(NOWHERE)
  const parsed = readTun(tun, known, platform, report)
  report.settle()
  if (onWarning) report.warnings.forEach(onWarning)
  return parsed as TunOptions
}

/** The `dns:` section as a plain object. @throws ConfigError */
export function parseDns(dns: object, { onWarning, known = [] }: Omit<ParseOptions, 'platform'> = {}): DnsOptions {
  const report = new Report(NOWHERE)
  const parsed = readDns(dns, known, report)
  report.settle()
  if (onWarning) report.warnings.forEach(onWarning)
  return parsed as DnsOptions
}

const SECTIONS = ['tun', 'dns', 'profile', 'hosts']
const TUN_SYNONYMS = ['device', 'file-descriptor']

function readTun(raw: unknown, known: readonly string[], platform: NodeJS.Platform, report: Report): TunOptions | undefined {
  const section = readMap(raw, 'tun', report)
  if (!section) return undefined
  checkKeys(section, 'tun', [...Object.keys(tunSchema.shape), ...TUN_SYNONYMS], TUN_KEYS, known, report)
  const own = adoptNat(adoptSynonyms(section, report), report)
  const tun = read(tunSchema, own, ['tun'], report)
  return tun && checkTun(tun, !adopted(own), platform, report)
}

function readDns(raw: unknown, known: readonly string[], report: Report): DnsOptions | undefined {
  const section = readMap(raw, 'dns', report)
  if (!section) return undefined
  checkKeys(section, 'dns', Object.keys(dnsSchema.shape), DNS_KEYS, known, report)
  const dns = read(dnsSchema, section, ['dns'], report)
  return dns && checkDns(dns, report)
}

function readProfile(raw: unknown, known: readonly string[], report: Report): ProfileOptions | undefined {
  const section = readMap(raw, 'profile', report)
  if (!section) return undefined
  checkKeys(section, 'profile', Object.keys(profileSchema.shape), PROFILE_KEYS, known, report)
  return read(profileSchema, section, ['profile'], report)
}

function readHosts(raw: unknown, report: Report): HostsOptions | undefined {
  const hosts = read(hostsSchema, raw, ['hosts'], report)
  for (const name of Object.keys(hosts ?? {})) {
    const { fault, unused } = domainPatternFault(name)
    if (fault ?? unused) report.errorAtKey(['hosts', name], fault?.message ?? unused ?? '', fault?.hint)
  }
  return hosts
}

/** `enable: false` is not taken for what it does not do. Left out it means nothing. */
function checkDisabled(dns: unknown, report: Report): void {
  const enable = clashBoolean.safeParse((dns as { enable?: unknown } | null | undefined)?.enable)
  if (enable.success && !enable.data) {
    report.warning(['dns', 'enable'], "does not turn off 'tun.dns-listen', which answers DNS on the TUN", "remove 'dns-listen' for that")
  }
}

/** A section's keys and values; one without a value (`fake-ip-filter:`) is as good as absent, as in Clash. */
function readMap(raw: unknown, name: string, report: Report): Record<string, unknown> | undefined {
  const map = read(z.record(z.string(), z.unknown()), raw, [name], report)
  return map && Object.fromEntries(Object.entries(map).filter(([, value]) => value !== null && value !== undefined))
}

function read<T extends ZodType>(schema: T, value: unknown, at: Path, report: Report): z.output<T> | undefined {
  const result = validate(schema, value, at)
  if ('value' in result) return result.value
  for (const { path, message, hint, atKey } of result.faults) {
    if (atKey) report.errorAtKey(path, message, hint)
    else report.error(path, message, hint)
  }
  return undefined
}

function checkTopKeys(root: Record<string, unknown>, acted: Set<string>, source: YamlSource, report: Report): void {
  const all = [...SECTIONS, ...acted, ...Object.keys(TOP_KEYS)]
  for (const [key, value] of Object.entries(root)) {
    if (SECTIONS.includes(key)) continue
    if (Object.hasOwn(TOP_KEYS, key)) checkKnown([key], value, TOP_KEYS[key], acted.has(key), report)
    else if (!acted.has(key) && !source.isAnchored([key])) warnUnknown([key], all, report) // an anchor is there for others
  }
}

function checkKeys(
  section: Record<string, unknown>,
  name: 'tun' | 'dns' | 'profile',
  own: readonly string[],
  others: Readonly<Record<string, Kind>>,
  known: readonly string[],
  report: Report,
): void {
  for (const [key, value] of Object.entries(section)) {
    const acted = known.includes(`${name}.${key}`)
    if (own.includes(key)) continue
    if (Object.hasOwn(others, key)) checkKnown([name, key], value, others[key], acted, report)
    else if (!acted) warnUnknown([name, key], [...own, ...Object.keys(others)], report)
  }
}

/** A key of Clash's or mihomo's. Ports and words that are wrong are errors there too; of the rest only whoever acts on it can be sure. */
function checkKnown(path: Path, value: unknown, kind: Kind, acted: boolean, report: Report): void {
  if (value !== null && kind !== 'any') {
    const word = typeof kind === 'object'
    const result = validate(schemaOf(kind), word && typeof value === 'string' ? value.toLowerCase() : value, path)
    if ('faults' in result && !(acted && !word && kind !== 'port')) {
      const { path: at, message, hint } = result.faults[0]
      if (word || kind === 'port') report.error(at, message, hint)
      else report.warning(at, message, hint)
      return
    }
  }
  if (!acted) report.warningAtKey(path, 'known to Clash/mihomo, not acted on yet')
}

function schemaOf(kind: Exclude<Kind, 'any'>): ZodType {
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
  ["under 'tun:'", new Set([...Object.keys(tunSchema.shape), ...TUN_SYNONYMS, ...Object.keys(TUN_KEYS)])],
  ["under 'dns:'", new Set([...Object.keys(dnsSchema.shape), ...Object.keys(DNS_KEYS)])],
  ["under 'profile:'", new Set([...Object.keys(profileSchema.shape), ...Object.keys(PROFILE_KEYS)])],
  ['at the top of the file', new Set(Object.keys(TOP_KEYS))],
]

function warnUnknown(path: Path, candidates: readonly string[], report: Report): void {
  const key = String(path[path.length - 1])
  const near = nearest(key, candidates)
  const home = near === undefined ? HOMES.find(([, keys]) => keys.has(key))?.[0] : undefined
  const hint = near !== undefined ? `did you mean '${near}'?` : home && `it belongs ${home}`
  report.warningAtKey(key.length > 60 ? [...path.slice(0, -1), show(key)] : path, 'unknown key', hint)
}
