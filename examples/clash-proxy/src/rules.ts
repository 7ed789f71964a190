// Owns: the section `rules`: reading it, and the first rule that matches. Rules are kept by kind – names and suffixes in maps,
// prefixes as masked words – with their place in the file; the lowest place of all kinds wins.

import type { Destination, Endpoint } from '@tun/inbound'
import { isMapped, parseAddress } from '@tun/stack'
import { didYouMean, type Problems } from './problems.js'
import type { Target, Targets } from './proxies.js'

export interface Rule {
  /** As in mihomo's log: `DomainSuffix(example.org)`. */
  readonly label: string
  readonly target: Target
}

const NETWORKS = ['tcp', 'udp', 'icmp'] as const
/** The last are pings, of which only `icmp: forward` asks the rules. */
export type Network = (typeof NETWORKS)[number]

/** What rules look at. */
export interface Traffic {
  readonly network: Network
  readonly source: Endpoint
  readonly destination: Destination
}

interface Prefix {
  place: number
  // Four words, masked; IPv4 is ::ffff:a.b.c.d as everywhere.
  w0: number
  w1: number
  w2: number
  w3: number
  m0: number
  m1: number
  m2: number
  m3: number
  /** Of IPv4; `::/0` means IPv6 only, although ::ffff:a.b.c.d lies in it. */
  v4: boolean
}

type Wrong = readonly [what: string, hint: string]

interface PortRange {
  place: number
  low: number
  high: number
}

const LABELS: Record<string, string> = {
  DOMAIN: 'Domain',
  'DOMAIN-SUFFIX': 'DomainSuffix',
  'DOMAIN-KEYWORD': 'DomainKeyword',
  'IP-CIDR': 'IPCIDR',
  'IP-CIDR6': 'IPCIDR',
  'SRC-IP-CIDR': 'SrcIPCIDR',
  'DST-PORT': 'DstPort',
  NETWORK: 'Network',
  MATCH: 'Match',
}
const NOT_YET = new Set(
  (
    'DOMAIN-REGEX DOMAIN-WILDCARD GEOSITE GEOIP SRC-GEOIP IP-ASN SRC-IP-ASN IP-SUFFIX SRC-IP-SUFFIX SRC-PORT IN-PORT IN-TYPE IN-USER ' +
    'IN-NAME DSCP PROCESS-PATH PROCESS-PATH-REGEX PROCESS-NAME PROCESS-NAME-REGEX UID RULE-SET AND OR NOT SUB-RULE'
  ).split(' '),
)
const PARAMETERS = new Set(['no-resolve', 'src'])
const NOWHERE = Number.MAX_SAFE_INTEGER

export class Rules {
  private readonly rules: Rule[] = []
  private readonly domains = new Map<string, number>()
  private readonly suffixes = new Map<string, number>()
  private readonly keywords: { place: number; keyword: string }[] = []
  private readonly prefixes: Prefix[] = []
  private readonly sources: Prefix[] = []
  private readonly ports: PortRange[] = []
  private readonly networks: Record<Network, number> = { tcp: NOWHERE, udp: NOWHERE, icmp: NOWHERE }
  private matchAll = NOWHERE
  private firstThatResolves = NOWHERE

  get size(): number {
    return this.rules.length
  }

  /**
   * The first rule for `traffic`, or undefined. A destination with a `host` and a fake address has none of its own: IP rules match it
   * by `resolved`, if that is given, and are passed over otherwise.
   */
  find(traffic: Traffic, resolved?: string): Rule | undefined {
    return this.rules[this.place(traffic, resolved)]
  }

  /** Whether an IP rule without `no-resolve` stands before the one that matches otherwise: then the real address decides. */
  wantsAddress(traffic: Traffic): boolean {
    if (isReal(traffic.destination) || this.firstThatResolves === NOWHERE) return false
    return this.firstThatResolves < this.place(traffic)
  }

  private place({ network, source, destination }: Traffic, resolved?: string): number {
    const { host, address, port } = destination
    let place = Math.min(this.matchAll, this.networks[network])
    if (host !== undefined) place = this.placeOfName(normalize(host), place)
    for (const range of this.ports) {
      if (range.place >= place || network === 'icmp') break // a ping has no port
      if (port >= range.low && port <= range.high) place = range.place
    }
    place = placeOfAddress(this.sources, source.address, place)
    const ip = isReal(destination) ? address : resolved
    return ip === undefined ? place : placeOfAddress(this.prefixes, ip, place)
  }

  private placeOfName(name: string, limit: number): number {
    let place = Math.min(limit, this.domains.get(name) ?? NOWHERE)
    for (const entry of this.keywords) {
      if (entry.place >= place) break
      if (name.includes(entry.keyword)) place = entry.place
    }
    if (this.suffixes.size === 0) return place
    for (let at = 0; ; ) {
      const found = this.suffixes.get(at === 0 ? name : name.slice(at))
      if (found !== undefined && found < place) place = found
      const dot = name.indexOf('.', at)
      if (dot < 0) return place
      at = dot + 1
    }
  }

  /** Appends the rule `text`, if it is one that can be used; otherwise `problems` says under `place` what it is. */
  add(text: string, targets: Targets, place: number, problems: Problems): void {
    const parts = text.split(',').map(part => part.trim())
    const written = parts[0].toUpperCase()
    // `IP-CIDR,…,src` is mihomo's other way of writing SRC-IP-CIDR.
    const type = written.startsWith('IP-CIDR') && parts.slice(3).includes('src') ? 'SRC-IP-CIDR' : written
    if (NOT_YET.has(type)) return problems.warn([place], `rule type ${type} is not acted on yet: this rule is skipped`)
    if (!Object.hasOwn(LABELS, type)) {
      return problems.error([place], `unknown rule type '${parts[0]}'`, didYouMean(type, [...Object.keys(LABELS), ...NOT_YET]))
    }
    const form = type === 'MATCH' ? 'MATCH,TARGET' : `${type},VALUE,TARGET`
    const payload = type === 'MATCH' ? '' : parts[1]
    const [name, ...parameters] = parts.slice(type === 'MATCH' ? 1 : 2)
    if (!name || (type !== 'MATCH' && !payload)) return problems.error([place], `'${text}' is no rule`, `write ${form}`)
    const target = targets.get(name)
    if (!target) return problems.error([place], `there is no proxy '${name}'`, didYouMean(name, targets.keys()))
    for (const parameter of parameters) {
      if (!PARAMETERS.has(parameter)) problems.warn([place], `unknown parameter '${parameter}'`, didYouMean(parameter, PARAMETERS))
    }
    const wrong = this.insert(type, payload, parameters)
    if (wrong) return problems.error([place], `'${payload}' is no ${wrong[0]}`, wrong[1])
    const shown = type === 'NETWORK' ? payload.toLowerCase() : payload
    this.rules.push({ label: type === 'MATCH' ? 'Match' : `${LABELS[type]}(${shown})`, target })
  }

  /** Answers what the payload should have been, and how that is written, if it is not. */
  private insert(type: string, payload: string, parameters: readonly string[]): Wrong | undefined {
    const place = this.rules.length
    switch (type) {
      case 'MATCH':
        this.matchAll = Math.min(this.matchAll, place)
        return undefined
      case 'DOMAIN':
      case 'DOMAIN-SUFFIX': {
        const name = normalize(payload).replace(/^\+?\./, '')
        if (name === '' || /[\s/:*]/.test(name)) return ['domain name', 'write e.g. example.org']
        const names = type === 'DOMAIN' ? this.domains : this.suffixes
        if (!names.has(name)) names.set(name, place)
        return undefined
      }
      case 'DOMAIN-KEYWORD':
        this.keywords.push({ place, keyword: payload.toLowerCase() })
        return undefined
      case 'NETWORK': {
        const network = NETWORKS.find(known => known === payload.toLowerCase())
        if (network === undefined) return ['network', 'write tcp, udp or icmp']
        this.networks[network] = Math.min(this.networks[network], place)
        return undefined
      }
      case 'DST-PORT':
        return this.insertPorts(place, payload)
      default: {
        const prefix = readPrefix(payload)
        if (!prefix) return ['range of addresses', 'write e.g. 10.0.0.0/8 or fd00::/8']
        if (type === 'SRC-IP-CIDR') {
          this.sources.push({ place, ...prefix })
          return undefined
        }
        this.prefixes.push({ place, ...prefix })
        if (!parameters.includes('no-resolve')) this.firstThatResolves = Math.min(this.firstThatResolves, place)
        return undefined
      }
    }
  }

  private insertPorts(place: number, payload: string): Wrong | undefined {
    const ranges: PortRange[] = []
    for (const part of payload.split('/')) {
      const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part.trim())
      const low = Number(match?.[1])
      const high = Number(match?.[2] ?? low)
      if (!match || high > 65535 || low > high) return ['port', 'write e.g. 443, 8000-8999 or 80/443']
      ranges.push({ place, low, high })
    }
    this.ports.push(...ranges)
    return undefined
  }
}

/** Reads the section; each mistake names its rule. */
export function readRules(section: unknown, targets: Targets, problems: Problems): Rules {
  const rules = new Rules()
  if (section === undefined || section === null) return rules
  if (!Array.isArray(section)) {
    problems.error([], 'expected a list of rules', "write - 'MATCH,DIRECT' below it")
    return rules
  }
  for (const [place, text] of section.entries()) {
    if (typeof text === 'string') rules.add(text, targets, place, problems)
    else problems.error([place], 'a rule is a text', 'e.g. DOMAIN-SUFFIX,example.org,DIRECT')
  }
  return rules
}

function placeOfAddress(prefixes: readonly Prefix[], ip: string, limit: number): number {
  const words = prefixes.length === 0 ? null : parseAddress(ip)
  if (words === null) return limit
  const [w0, w1, w2, w3] = words
  const v4 = isMapped(w0, w1, w2)
  for (const p of prefixes) {
    if (p.place >= limit) break
    if (p.v4 === v4 && (w3 & p.m3) === p.w3 && (w2 & p.m2) === p.w2 && (w1 & p.m1) === p.w1 && (w0 & p.m0) === p.w0) return p.place
  }
  return limit
}

function normalize(name: string): string {
  const lower = name.toLowerCase()
  return lower.endsWith('.') ? lower.slice(0, -1) : lower
}

function readPrefix(text: string): Omit<Prefix, 'place'> | undefined {
  const slash = text.indexOf('/')
  const words = parseAddress(slash < 0 ? text : text.slice(0, slash))
  if (!words) return undefined
  const dotted = !text.includes(':')
  const bitsText = slash < 0 ? (dotted ? '32' : '128') : text.slice(slash + 1)
  const bits = Number(bitsText)
  if (!/^\d{1,3}$/.test(bitsText) || bits > (dotted ? 32 : 128)) return undefined
  const length = dotted ? 96 + bits : bits
  const v4 = dotted || (length >= 96 && isMapped(words[0], words[1], words[2]))
  const mask = (word: number) => {
    const ones = Math.min(32, Math.max(0, length - 32 * word))
    return ones === 0 ? 0 : -1 << (32 - ones)
  }
  const [m0, m1, m2, m3] = [mask(0), mask(1), mask(2), mask(3)]
  return { w0: words[0] & m0, w1: words[1] & m1, w2: words[2] & m2, w3: words[3] & m3, m0, m1, m2, m3, v4 }
}

/** Is the address the one that the application wants, not one that stands for a name? */
function isReal({ host, real }: Destination): boolean {
  return host === undefined || real === true
}
