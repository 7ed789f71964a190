// Configurations as they come from people, in test/corpus/config, and what `clash-proxy -t` says of each, beside it. `good-` ones say
// nothing, `warn-` ones run, `bad-` ones do not. UPDATE_GOLDEN=1 writes what is said; read the diff.

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ConfigError, configJsonSchema, DIAGNOSTICS, dnsSchema, factsOf, formatReport, profileSchema, tunSchema } from '@tun/config'
import { direct } from '@tun/inbound'
import { Ajv } from 'ajv'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { readConfig } from '../../examples/clash-proxy/src/config.js'

const CORPUS = fileURLToPath(new URL('../corpus/config', import.meta.url))
const names = readdirSync(CORPUS)
  .filter(file => file.endsWith('.yaml'))
  .map(file => file.slice(0, -'.yaml'.length))
const textOf = (name: string) => readFileSync(join(CORPUS, `${name}.yaml`), 'utf8')

/** Every secret in the corpus has this in it. */
const SECRET = /s3cr3t|czNjcjN0|eyJhZGQi/i

/** What the program prints, and whether it would run. */
function check(name: string): { runs: boolean; report: string } {
  const file = `${name}.yaml`
  try {
    return { runs: true, report: formatReport(readConfig(textOf(name), file, { direct: direct() }).warnings, file) }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return { runs: false, report: error.report }
  }
}

describe('the corpus', () => {
  test('is of forty files at least, of each kind some', () => {
    const count = (kind: string) => names.filter(name => name.startsWith(`${kind}-`)).length
    expect(names.length).toBeGreaterThanOrEqual(40)
    expect([count('good') > 9, count('warn') > 9, count('bad') > 19, count('good') + count('warn') + count('bad')]).toEqual([
      true,
      true,
      true,
      names.length,
    ])
  })

  test.each(names)('%s: what is said of it', name => {
    const { runs, report } = check(name)
    const golden = join(CORPUS, `${name}.txt`)
    if (process.env.UPDATE_GOLDEN && report !== '') writeFileSync(golden, report)
    expect(report).toBe(existsSync(golden) ? readFileSync(golden, 'utf8') : '')
    expect([name, runs, report === '']).toEqual([name, !name.startsWith('bad-'), name.startsWith('good-')])
    expect(report).not.toMatch(SECRET)
  })

  test('no excerpt is wider than a terminal, and every id is documented', () => {
    const answers = [tunSchema, dnsSchema, profileSchema].flatMap(schema =>
      Object.entries(schema.shape).flatMap(([key, value]) => (factsOf(value)?.answer ? [`tun/${key}`] : [])),
    )
    for (const name of names) {
      const { report } = check(name)
      for (const line of report.split('\n')) if (/^ *\d+ \|/.test(line)) expect(line.length).toBeLessThan(140)
      for (const [, id] of report.matchAll(/^.*?(?:error|warning|note)\[([^\]]+)\]/gm))
        expect([...Object.keys(DIAGNOSTICS), ...answers]).toContain(id)
    }
  })
})

describe('the JSON Schema', () => {
  const validate = new Ajv({ allErrors: true }).compile(configJsonSchema())
  const faultsOf = (name: string) => (validate(parse(textOf(name), { merge: true })) ? [] : (validate.errors ?? []))

  test.each(names.filter(name => name.startsWith('good-')))('%s is valid by it, but for keys without values, which it underlines', name => {
    expect(faultsOf(name).length > 0).toBe(name === 'good-empty-keys')
  })

  test('finds wrong types, words, numbers and keys', () => {
    for (const name of ['bad-types', 'bad-numbers', 'bad-words', 'warn-nearly-right']) {
      const faults = faultsOf(name)
      expect([name, faults.length > 3]).toEqual([name, true])
    }
    const unknown = faultsOf('warn-nearly-right').map(({ params }) => params.additionalProperty)
    expect(unknown).toEqual(expect.arrayContaining(['device_url', 'dnsListen', 'fakeip-range', 'name-server']))
  })
})
