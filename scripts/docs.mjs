// `npm run docs`: writes docs/config.md and packages/config/schema.json from the schema of @tun/config.
// Fails if a key has no description, no test that shows its effect, or one that is not there. test/unit/config-docs.test.ts holds both
// up to date.

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

/** @typedef {typeof import('@tun/config')} Config */
/** @typedef {import('zod').ZodType} Schema */

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
export const PAGE = join(ROOT, 'docs/config.md')
export const SCHEMA = join(ROOT, 'packages/config/schema.json')

const AROUND = { nic: 'tun0', fake4: '198.18.0.0/16', fake6: undefined, table: 2022, rule: 9000 }

/** The page and the schema, as text. @param {Config} config @returns {{ page: string, schema: string }} */
export function render(config) {
  const sections = {
    tun: config.tunSchema.shape,
    dns: config.dnsSchema.shape,
    profile: config.profileSchema.shape,
    '': { hosts: config.hostsSchema },
  }
  const json = /** @type {any} */ (config.configJsonSchema())
  const problems = Object.entries(sections).flatMap(([name, shape]) => check(config, name, shape))
  if (problems.length > 0) throw new Error(problems.join('\n'))
  const page = [
    HEAD,
    ...Object.entries(sections).map(([name, shape]) => section(config, name, shape, typesOf(json, name))),
    ROUTES,
    diagnostics(config),
  ].join('\n')
  return { page, schema: `${JSON.stringify(json, null, 2)}\n` }
}

/** What is missing of each key. @param {Config} config @param {string} section @param {Record<string, any>} shape @returns {string[]} */
export function check(config, section, shape) {
  return Object.entries(shape).flatMap(([key, schema]) => {
    const name = section === '' ? key : `${section}.${key}`
    const facts = config.factsOf(schema)
    if (!facts?.does) return [`${name} has no description: say in the schema what it does`]
    if (!facts.test?.file || !facts.test.title) return [`${name} names no test that shows its effect`]
    const { file, title } = facts.test
    const path = join(ROOT, file)
    if (!existsSync(path)) return [`${name}: there is no file ${file}`]
    return hasTest(readFileSync(path, 'utf8'), title) ? [] : [`${name}: ${file} has no test '${title}'`]
  })
}

/** Is there a test of that title? @param {string} source @param {string} title */
export function hasTest(source, title) {
  return ["'", '"', '`'].some(quote => {
    const written = title.replaceAll('\\', '\\\\').replaceAll(quote, `\\${quote}`)
    const at = source.indexOf(`${quote}${written}${quote}`)
    // The title of a call: test('…', test.each([…])('…'
    return at > 0 && source.slice(0, at).trimEnd().endsWith('(')
  })
}

const HEAD = `# Configuration

<!-- Made by \`npm run docs\` from the schema in packages/config/src. Change it there. -->

A file is Clash's: YAML with \`tun:\`, \`dns:\` and the sections of a proxy. The same keys are the options of
\`createTunInbound({ tun, dns })\`. Each key is either acted on, or answered by a diagnostic of its own that says why, and what to do instead.

    clash-proxy -t -f config.yaml       # prints the report of everything that is to be said about a file; exit code 1 if it has errors

\`\`\`
config.yaml:5:15: error[tun/device-url]: tun.device-url: unknown scheme 'tap://': a TAP carries Ethernet frames, not IP packets
  5 |   device-url: tap://tun0
    |               ^^^^^^^^^^
help: use dev://NAME or fd://N
\`\`\`

An *error* keeps the program from starting; a *warning* does not; a *note* says how something was taken. Passwords, UUIDs, tokens and what
stands before the \`@\` of a URL are in no message.

Editors complete and check files with the [JSON Schema](../packages/config/schema.json) (\`@tun/config/schema.json\`). For those with the
YAML language server one line at the top does it:

\`\`\`yaml
# yaml-language-server: $schema=./node_modules/@tun/config/schema.json
\`\`\`

It is stricter in two things: it underlines keys without a value, and unknown keys like wrong ones.

YAML is read as version 1.2, with \`<<\` merges, and \`yes\`, \`no\`, \`on\`, \`off\` where true or false are wanted. A key that stands twice is an
error. A key without a value is as good as absent. A range may be written with bits behind its prefix only where these are an address
(\`fake-ip-range: 198.18.0.1/16\`, \`inet4-address\`); elsewhere there is a warning.
`

/** JSON Schema of each key of a section. @param {any} json @param {string} name */
function typesOf(json, name) {
  return name === '' ? json.properties : json.properties[name].anyOf.find((/** @type {any} */ form) => form.properties).properties
}

/** @param {Config} config @param {string} name @param {Record<string, any>} shape @param {Record<string, any>} types */
function section(config, name, shape, types) {
  const facts = (/** @type {string} */ key) => /** @type {import('@tun/config').KeyFacts} */ (config.factsOf(shape[key]))
  const keys = Object.keys(shape)
  const acted = keys.filter(key => !facts(key).answer)
  const others = keys.filter(key => facts(key).answer)
  const lines = [name === '' ? '## Beside them' : `## \`${name}:\``, '', '| key | type | default | what it does |', '|---|---|---|---|']
  for (const key of acted) lines.push(`| \`${key}\` | ${type(types[key])} | ${byDefault(shape[key])} | ${cell(facts(key).does)} |`)
  if (others.length > 0) {
    lines.push('', `Known, and answered by the diagnostic \`tun/KEY\` when it asks for something:`, '')
    lines.push('| key | type | what it would do | why not | instead |', '|---|---|---|---|---|')
    for (const key of others) {
      const { does, answer } = facts(key)
      const instead = answer?.instead?.(answer.example, AROUND)
      lines.push(`| \`${key}\` | ${type(types[key])} | ${cell(does)} | ${cell(answer?.why ?? '')} | ${commands(instead)} |`)
    }
  }
  lines.push('', '<details><summary>The test that shows each key’s effect</summary>', '')
  for (const [file, titles] of group(keys.map(key => [facts(key).test.file, facts(key).test.title, key]))) {
    lines.push(`- [${file}](../${file})`)
    for (const [title, names] of titles)
      lines.push(`  - *${title}*: ${names.length > 12 ? 'all others' : names.map(name => `\`${name}\``).join(', ')}`)
  }
  lines.push('', '</details>', '')
  return lines.join('\n')
}

/** @param {string[][]} rows */
function group(rows) {
  /** @type {Map<string, Map<string, string[]>>} */
  const files = new Map()
  for (const [file, title, key] of rows) {
    const titles = files.get(file) ?? new Map()
    files.set(file, titles.set(title, [...(titles.get(title) ?? []), key]))
  }
  return files
}

/** A JSON Schema in a word. @param {any} json @returns {string} */
function type(json) {
  if (json === undefined) return ''
  if (json.enum) return json.enum.map((/** @type {string} */ word) => `\`${word}\``).join(' ')
  if (json.anyOf) {
    const kinds = new Set(json.anyOf.map(type))
    return kinds.has('boolean') ? 'boolean' : [...kinds].filter(kind => kind !== 'null').join(' or ')
  }
  if (json.type === 'array') return `list of ${type(json.items)}`
  if (json.type === 'object') return 'map'
  if (json.type === 'integer') {
    const { minimum, maximum } = json
    return maximum !== undefined && maximum < Number.MAX_SAFE_INTEGER ? `${minimum}–${maximum}` : 'integer'
  }
  return json.type === 'string' ? 'text' : (json.type ?? 'any')
}

/** What a key is if it is left out. @param {Schema} schema */
function byDefault(schema) {
  const value = schema.safeParse(undefined).data
  if (value === undefined) return ''
  const text = typeof value === 'object' ? JSON.stringify(value) : String(value)
  return text === '[]' || text === '{}' ? 'empty' : `\`${text}\``
}

const cell = (/** @type {string} */ text) => text.replaceAll('|', '\\|')

/** @param {string | undefined} hint */
function commands(hint) {
  if (hint === undefined) return ''
  const [head, ...lines] = hint.split('\n')
  return [cell(head), ...lines.map(line => `\`${line}\``)].join('<br>')
}

const ROUTES = `## Routes

Neither routes nor rules are set by this program: what enters the TUN is decided by whoever runs it. For fake addresses one route is enough:

    ip route add 198.18.0.0/16 dev tun0

For everything, keep the program's own connections out of the TUN by the user it runs as (here 129), and let the machine's own networks go
before, but not their DNS:

    ip route add default dev tun0 table 2022
    ip -6 route add default dev tun0 table 2022
    ip rule add pref 9000 uidrange 129-129 lookup main
    ip rule add pref 9010 not dport 53 lookup main suppress_prefixlength 0
    ip rule add pref 9020 lookup 2022
    sysctl -w net.ipv4.conf.tun0.rp_filter=2

and the same three rules with \`ip -6 rule\`. To undo it: \`ip rule del pref 9000\`, and so on; routes go with the interface.
`

/** @param {Config} config */
function diagnostics(config) {
  const lines = [
    '## Diagnostics',
    '',
    'Each has a name that stays. Keys that are not acted on have `tun/KEY`, as listed above.',
    '',
    '| name | what it is about |',
    '|---|---|',
  ]
  for (const [id, about] of Object.entries(config.DIAGNOSTICS)) lines.push(`| \`${id}\` | ${cell(about)} |`)
  return `${lines.join('\n')}\n`
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { page, schema } = render(await import('@tun/config'))
  writeFileSync(PAGE, page)
  writeFileSync(SCHEMA, schema)
  console.log('docs/config.md and packages/config/schema.json are written')
}
