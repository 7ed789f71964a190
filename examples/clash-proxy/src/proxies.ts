// Owns: the sections `proxies` and `proxy-groups` → named outbounds.

import { type Lookup, type Outbound, socks5 } from '@tun/inbound'
import { didYouMean, type Path, type Problems } from './problems.js'
import { CIPHER_NAMES, findCipher } from './shadowsocks/cipher.js'
import { shadowsocks } from './shadowsocks/shadowsocks.js'

export type RejectReason = 'refused' | 'host-unreachable' | 'net-unreachable' | 'prohibited' | 'drop'

/** Where a rule sends a connection: on through `outbound`, or back with `reject`. */
export interface Target {
  readonly name: string
  readonly outbound: Outbound | undefined
  readonly reject: RejectReason
}

export interface ProxyNeeds {
  direct: Outbound
  /** Resolves the names of proxy servers. */
  lookup?: Lookup
}

export type Targets = ReadonlyMap<string, Target>

const SUPPORTED = ['socks5', 'ss', 'direct', 'reject']
/** mihomo's other types: a configuration that has them runs, and what would go through them is refused, not leaked. */
const KNOWN = new Set(
  'http ssr snell vmess vless trojan hysteria hysteria2 wireguard tuic ssh mieru anytls sudoku masque trusttunnel dns rematch'.split(' '),
)
/** mihomo's other ciphers of `ss`: the same. */
const KNOWN_CIPHERS = new Set([
  ...['2022-blake3-aes-128-gcm', '2022-blake3-aes-256-gcm', '2022-blake3-chacha20-poly1305', 'xchacha20-ietf-poly1305'],
  ...['aes-128-ccm', 'aes-192-ccm', 'aes-256-ccm', 'aes-128-gcm-siv', 'aes-256-gcm-siv', 'chacha8-ietf-poly1305', 'xchacha8-ietf-poly1305'],
  ...['aes-128-ctr', 'aes-192-ctr', 'aes-256-ctr', 'aes-128-cfb', 'aes-192-cfb', 'aes-256-cfb'],
  ...['chacha20', 'chacha20-ietf', 'xchacha20', 'rc4-md5', 'none'],
])
/** Fields of an entry that mihomo knows. Those with false change nothing here yet. */
const COMMON_FIELDS: Record<string, boolean> = {
  ...{ name: true, type: true, server: true, port: true, password: true, udp: true },
  ...{ 'ip-version': false, 'interface-name': false, 'routing-mark': false, tfo: false, mptcp: false, 'dialer-proxy': false },
}
const FIELDS: Record<'socks5' | 'ss', Record<string, boolean>> = {
  socks5: {
    ...{ ...COMMON_FIELDS, username: true },
    ...{ tls: false, fingerprint: false, 'skip-cert-verify': false, certificate: false, 'private-key': false },
  },
  ss: {
    ...{ ...COMMON_FIELDS, cipher: true },
    ...{
      plugin: false,
      'plugin-opts': false,
      'client-fingerprint': false,
      'udp-over-tcp': false,
      'udp-over-tcp-version': false,
      smux: false,
    },
  },
}
/** Without these a connection would take another way than the one that was asked for. */
const WAYS = new Set(['tls', 'dialer-proxy', 'plugin', 'udp-over-tcp'])

/** Keys of a group: true, or names of providers that its members come from. */
const MEMBERS_FROM_ELSEWHERE = ['use', 'include-all', 'include-all-proxies', 'include-all-providers']

type Entry = Record<string, unknown>

/** Everything a rule can send to: the entries of the file, DIRECT, REJECT, REJECT-DROP, and GLOBAL, which is the first entry. */
export function readProxies(section: unknown, needs: ProxyNeeds, problems: Problems): Map<string, Target> {
  const targets = new Map<string, Target>()
  targets.set('DIRECT', { name: 'DIRECT', outbound: needs.direct, reject: 'refused' })
  targets.set('REJECT', { name: 'REJECT', outbound: undefined, reject: 'refused' })
  targets.set('REJECT-DROP', { name: 'REJECT-DROP', outbound: undefined, reject: 'drop' })
  let first: Target | undefined
  for (const [entry, path] of entries(section, problems)) {
    const name = readName(entry, path, targets, problems)
    // One that is wrong is there all the same: rules that name it are not wrong, too.
    const target = readProxy(name, entry, path, needs, problems) ?? { name, outbound: undefined, reject: 'refused' }
    first ??= target
    targets.set(name, target)
  }
  targets.set('GLOBAL', first ?? targets.get('DIRECT')!)
  return targets
}

function readProxy(name: string, entry: Entry, path: Path, needs: ProxyNeeds, problems: Problems): Target | undefined {
  const { type } = entry
  switch (type) {
    case 'socks5':
      return readSocks5(name, entry, path, needs, problems)
    case 'ss':
      return readShadowsocks(name, entry, path, needs, problems)
    case 'direct':
      return { name, outbound: needs.direct, reject: 'refused' }
    case 'reject':
      return { name, outbound: undefined, reject: 'refused' }
  }
  const list = `supported: ${SUPPORTED.join(', ')}`
  if (typeof type === 'string' && KNOWN.has(type)) {
    problems.warn([...path, 'type'], `proxy type '${type}' is not acted on yet (${list}): connections through '${name}' are refused`)
  } else if (type === undefined) problems.error(path, `proxy '${name}' has no type (${list})`)
  else problems.error([...path, 'type'], `unknown proxy type ${show(type)} (${list})`, didYouMean(String(type), SUPPORTED))
  return undefined
}

function readSocks5(name: string, entry: Entry, path: Path, needs: ProxyNeeds, problems: Problems): Target | undefined {
  const server = readServer(entry, path, problems)
  for (const field of ['username', 'password']) {
    if (!['string', 'number', 'undefined'].includes(typeof entry[field])) problems.error([...path, field], `${field} must be a text`)
  }
  if (server === undefined) return undefined
  const text = (value: unknown) => (value === undefined || value === '' ? undefined : String(value))
  const options = { ...server, username: text(entry.username), password: text(entry.password) }
  try {
    return { name, outbound: socks5(options, { lookup: needs.lookup }), reject: 'refused' }
  } catch (error) {
    problems.error(path, (error as Error).message)
    return undefined
  }
}

function readShadowsocks(name: string, entry: Entry, path: Path, needs: ProxyNeeds, problems: Problems): Target | undefined {
  const server = readServer(entry, path, problems)
  const cipher = readCipher(name, entry, path, problems)
  const { password } = entry
  const isText = (typeof password === 'string' && password !== '') || typeof password === 'number'
  if (!isText) problems.error(at(entry, path, 'password'), 'password must be a text', 'write the one of the server')
  if (server === undefined || cipher === undefined || !isText) return undefined
  return { name, outbound: shadowsocks({ ...server, cipher, password: String(password) }, needs.direct), reject: 'refused' }
}

function readCipher(name: string, entry: Entry, path: Path, problems: Problems): string | undefined {
  const { cipher } = entry
  const list = `supported: ${CIPHER_NAMES.join(', ')}`
  if (typeof cipher !== 'string') problems.error(at(entry, path, 'cipher'), `cipher must be a text (${list})`)
  else if (findCipher(cipher)) return cipher
  else if (KNOWN_CIPHERS.has(cipher.toLowerCase())) {
    problems.warn([...path, 'cipher'], `cipher '${cipher}' is not acted on yet (${list}): connections through '${name}' are refused`)
  } else problems.error([...path, 'cipher'], `unknown cipher ${show(cipher)} (${list})`, didYouMean(cipher, CIPHER_NAMES))
  return undefined
}

/** What entries with a server have in common. Undefined: some of it was wrong. */
function readServer(entry: Entry, path: Path, problems: Problems): { host: string; port: number; udp: boolean } | undefined {
  const before = problems.errors.length
  checkFields(entry, path, problems)
  const { server, port, udp } = entry
  if (typeof server !== 'string' || server === '') problems.error(at(entry, path, 'server'), 'server must be a host name or an IP address')
  const number = typeof port === 'string' && /^\d+$/.test(port) ? Number(port) : port
  if (!(Number.isInteger(number) && (number as number) >= 1 && (number as number) <= 65535)) {
    problems.error(at(entry, path, 'port'), `port must be a number from 1 to 65535${port === undefined ? '' : `, got ${show(port)}`}`)
  }
  if (udp !== undefined && typeof udp !== 'boolean') problems.error([...path, 'udp'], `udp must be true or false, got ${show(udp)}`)
  if (problems.errors.length > before) return undefined
  return { host: server as string, port: number as number, udp: udp === true }
}

function checkFields(entry: Entry, path: Path, problems: Problems): void {
  const type = entry.type as keyof typeof FIELDS
  const fields = FIELDS[type]
  for (const [field, value] of Object.entries(entry)) {
    if (fields[field]) continue
    const asksForNothing = value === false || value === null || value === ''
    if (!(field in fields)) problems.warn([...path, field], 'unknown key', didYouMean(field, Object.keys(fields)))
    else if (asksForNothing) continue
    else if (WAYS.has(field)) problems.error([...path, field], `not supported yet for ${type === 'ss' ? 'an ss' : 'a socks5'} proxy`)
    else problems.warn([...path, field], 'known to Clash/mihomo, not acted on yet')
  }
}

/** Adds the groups of the file. They have no selection yet: each stands for its first member. */
export function readGroups(section: unknown, targets: Map<string, Target>, problems: Problems): void {
  const firsts = new Map<string, { first: string; path: Path }>()
  for (const [entry, path] of entries(section, problems)) {
    const name = readName(entry, path, firsts.has(String(entry.name)) ? firsts : targets, problems)
    const list = entry.proxies
    if (Array.isArray(list) && list.length > 0) firsts.set(name, { first: String(list[0]), path: [...path, 'proxies', 0] })
    else {
      targets.set(name, { name, outbound: undefined, reject: 'refused' }) // rules that name it are not wrong, too
      const others = MEMBERS_FROM_ELSEWHERE.find(key => entry[key] === true || (Array.isArray(entry[key]) && entry[key].length > 0))
      if (others === undefined) problems.error(path, `group '${name}' has no proxies`, 'write e.g. proxies: [DIRECT]')
      else problems.warn([...path, others], `providers are not acted on yet: what goes through '${name}' is refused`)
    }
  }
  for (const [name, { path }] of firsts) {
    const seen = new Set<string>()
    let last = name
    while (firsts.has(last) && !seen.has(last)) {
      seen.add(last)
      last = firsts.get(last)!.first
    }
    const target = targets.get(last)
    if (firsts.has(last)) problems.error(path, `group '${name}' contains itself: ${[...seen, last].join(' → ')}`)
    else if (!target) problems.error(path, `there is no proxy '${last}'`, didYouMean(last, targets.keys()))
    else problems.warn(path, `groups are not acted on yet: '${name}' always uses its first proxy, '${last}'`)
    targets.set(name, target ?? targets.get('REJECT')!)
  }
}

function* entries(section: unknown, problems: Problems): Generator<[Entry, Path]> {
  if (section === undefined || section === null) return
  if (!Array.isArray(section)) return problems.error([], `expected a list, got ${show(section)}`)
  for (const [i, entry] of section.entries()) {
    if (typeof entry === 'object' && entry !== null && !Array.isArray(entry)) yield [entry as Entry, [i]]
    else problems.error([i], `expected a map with name and type, got ${show(entry)}`)
  }
}

function readName(entry: Entry, path: Path, taken: ReadonlyMap<string, unknown>, problems: Problems): string {
  const { name } = entry
  if (typeof name !== 'string' && typeof name !== 'number') problems.error(at(entry, path, 'name'), 'name must be a text')
  else if (taken.has(String(name)) && name !== 'GLOBAL') problems.error([...path, 'name'], `the name '${name}' is taken`)
  return String(name)
}

const at = (entry: Entry, path: Path, field: string): Path => (field in entry ? [...path, field] : path)

/** What was written, cut: it may be a whole subscription in one line. */
function show(value: unknown): string {
  const text = typeof value === 'string' ? `'${value}'` : (JSON.stringify(value) ?? String(value))
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}
