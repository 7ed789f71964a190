// Owns: the configuration file → what the program runs with. @tun/config reads `tun:` and `dns:`; the sections of a proxy are ours.

import { networkInterfaces } from 'node:os'
import { basename, dirname, extname, resolve } from 'node:path'
import {
  clashBoolean,
  type Diagnostic,
  type DnsOptions,
  type HostsOptions,
  type LoadedConfig,
  loadConfig,
  NAMESERVER_LISTS,
  NAMESERVER_POLICIES,
  nameserverVia,
  type ProfileOptions,
  type TunOptions,
} from '@tun/config'
import { z } from 'zod'
import { LEVELS, type Level } from './log.js'
import { PING_MODES, type PingMode } from './pings.js'
import { didYouMean, type Problem, Problems } from './problems.js'
import { type ProxyNeeds, readGroups, readProxies, type Target, type Targets } from './proxies.js'
import { MODES, type Mode } from './router.js'
import { Rules, readRules } from './rules.js'

export interface Config {
  tun: TunOptions
  dns: DnsOptions & { hosts: HostsOptions }
  mode: Mode
  level: Level
  ipv6: boolean
  icmp: PingMode
  targets: Targets
  /** Where a key stands: some errors come only when the TUN is opened. */
  locate: LoadedConfig['locate']
  rules: Rules
  /** And notes, in the order of the file. */
  warnings: Diagnostic[]
}

/**
 * @param file as messages name it; fake IPs are kept beside it
 * @throws ConfigError with every error of the file, ours included
 */
export function readConfig(text: string, file: string, needs: ProxyNeeds): Config {
  const found: [section: string, Problem][] = []
  let targets = new Map<string, Target>()
  let rules = new Rules()
  let byMihomo: PingMode | undefined

  /** A section as @tun/config wants it. They are read in this order, so that rules know the proxies. */
  const section = (name: string, read: (value: unknown, problems: Problems) => void) =>
    z.unknown().superRefine((value, context) => {
      const problems = new Problems()
      read(value, problems)
      for (const warning of problems.warnings) found.push([name, warning])
      for (const { path, message, hint } of problems.errors)
        context.addIssue({ code: 'custom', path: [...path], message, params: { id: `tun/${name}`, hint } })
    })
  const loaded = loadConfig(text, {
    file,
    sections: {
      proxies: section('proxies', (value, problems) => {
        targets = readProxies(value, needs, problems)
      }),
      'proxy-groups': section('proxy-groups', (value, problems) => readGroups(value, targets, problems)),
      rules: section('rules', (value, problems) => {
        rules = readRules(value, targets, problems)
      }),
      mode: word(MODES, 'rule'),
      'log-level': word(LEVELS, 'info'),
      ipv6: clashBoolean.default(true),
      icmp: ownWord(PING_MODES),
    },
    known: [ICMP_FORWARDING.join('.')],
    check: (report, { values, written }) => {
      for (const [name, { path, message, hint }] of found) report.warning([name, ...path], { id: `tun/${name}`, message, hint })
      for (const path of misread(values, written)) report.warning(path, MISREAD)
      for (const { path, via } of waysToNowhere(values, targets)) {
        const message = `there is no proxy and no interface '${via}': this nameserver cannot be asked`
        report.warning(path, { id: 'tun/nameserver-way', message, hint: didYouMean(via, targets.keys()) })
      }
      byMihomo = pingsByMihomo(values)
      const icmp = values.icmp === undefined ? byMihomo : String(values.icmp).toLowerCase()
      if (byMihomo === undefined || (byMihomo === 'fake') === (icmp === 'fake')) return
      const message = `'icmp: ${icmp}' is there as well and is taken`
      report.warningAtKey(ICMP_FORWARDING, { id: 'tun/contradiction', message, hint: 'remove one of them' })
    },
  })
  const { tun, dns, profile, sections } = loaded
  return {
    tun,
    dns: { ...dns, ipv6: dns.ipv6 && sections.ipv6, 'fake-ip-store': storeOf(file, dns, profile), hosts: loaded.hosts },
    mode: sections.mode,
    level: sections['log-level'],
    ipv6: sections.ipv6,
    icmp: sections.icmp ?? byMihomo ?? 'reject',
    targets,
    rules,
    locate: loaded.locate,
    warnings: loaded.warnings,
  }
}

/** A path is meant from the file's directory; without one it is the file's own with another ending. */
function storeOf(file: string, dns: DnsOptions, profile: ProfileOptions): string {
  const named = dns['fake-ip-store']
  if (named !== undefined) return named === 'memory' || named.includes('://') ? named : resolve(dirname(file), named)
  return profile['store-fake-ip'] === false ? 'memory' : resolve(dirname(file), `${basename(file, extname(file))}.fake-ip`)
}

const MISREAD = {
  id: 'tun/taken-as-number',
  message: 'was read as a number, which is written otherwise',
  hint: 'put it in quotes',
} as const

/**
 * What stands behind a nameserver's `#` and is neither a proxy nor, now, an interface. They are read as they stand in the file, where
 * their places are; what is wrong with them otherwise was said.
 */
function* waysToNowhere(values: LoadedConfig['values'], targets: Targets): Generator<{ path: (string | number)[]; via: string }> {
  const dns = (values.dns ?? {}) as Record<string, unknown>
  const lists = NAMESERVER_LISTS.map(key => ({ path: ['dns', key], servers: dns[key] }))
  const policies = NAMESERVER_POLICIES.flatMap(key =>
    Object.entries(dns[key] ?? {}).map(([name, servers]) => ({ path: ['dns', key, name], servers })),
  )
  const interfaces = networkInterfaces()
  for (const { path, servers } of [...lists, ...policies]) {
    for (const [i, server] of (Array.isArray(servers) ? servers : [servers]).entries()) {
      const via = typeof server === 'string' ? nameserverVia(server) : undefined
      if (via === undefined || via === 'RULES' || targets.has(via) || interfaces[via]) continue
      yield { path: Array.isArray(servers) ? [...path, i] : path, via }
    }
  }
}

/** Credentials like `0123` and `1e5`, of which only a number is left: the proxy would be told another word. */
function* misread(values: LoadedConfig['values'], written: LoadedConfig['written']): Generator<(string | number)[]> {
  const proxies = Array.isArray(values.proxies) ? values.proxies : []
  for (const [i, entry] of proxies.entries()) {
    for (const field of ['username', 'password']) {
      const value = (entry as Record<string, unknown> | null)?.[field]
      if (typeof value === 'number' && written(['proxies', i, field]) !== String(value)) yield ['proxies', i, field]
    }
  }
}

/**
 * One of `words`, in any case of letters: Clash wrote `mode: Rule`. Other words were already refused by @tun/config, which knows all
 * of Clash's; of those `script` is left, a mode that nobody has any more.
 */
function word<const T extends readonly string[]>(words: T, fallback: T[number]) {
  return z.unknown().transform((value, context): T[number] => {
    const text = typeof value === 'string' ? value.toLowerCase() : undefined
    if (text === 'script') {
      const message = `'script' is not supported; use one of ${words.join(', ')}`
      context.addIssue({ code: 'custom', message, params: { id: 'tun/word' } })
    }
    return words.find(word => word === text) ?? fallback
  })
}

/** The same for a key of ours, of which nobody else has refused any word; undefined if it is not there. */
function ownWord<const T extends readonly string[]>(words: T) {
  return z.unknown().transform((value, context): T[number] | undefined => {
    if (value === undefined) return undefined
    const known = words.find(word => word === (typeof value === 'string' ? value.toLowerCase() : undefined))
    const params = { id: 'tun/word' }
    if (known === undefined) context.addIssue({ code: 'custom', message: `expected one of ${words.join(', ')}`, params })
    return known
  })
}

const ICMP_FORWARDING = ['tun', 'disable-icmp-forwarding']

/** mihomo's way of saying `icmp: fake`, or `icmp: forward`; undefined if it is not there. */
function pingsByMihomo(values: Record<string, unknown>): PingMode | undefined {
  const [section, key] = ICMP_FORWARDING
  const disabled = clashBoolean.safeParse((values[section] as Record<string, unknown> | null | undefined)?.[key]).data
  return disabled === undefined ? undefined : disabled ? 'fake' : 'forward'
}
