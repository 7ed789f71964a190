// docs/config.md and the JSON Schema are what the schema says, and every key's test is there. `npm run docs` writes both, and so does
// UPDATE_GOLDEN=1.

import { readFileSync, writeFileSync } from 'node:fs'
import * as config from '@tun/config'
import { describe, expect, test } from 'vitest'
import { check, hasTest, PAGE, render, SCHEMA } from '../../scripts/docs.mjs'

describe('npm run docs', () => {
  const { page, schema } = render(config)

  test.each([
    ['docs/config.md', PAGE, page],
    ['packages/config/schema.json', SCHEMA, schema],
  ])('%s is what it writes', (_, file, text) => {
    if (process.env.UPDATE_GOLDEN) writeFileSync(file, text)
    expect(readFileSync(file, 'utf8')).toBe(text)
  })

  test('names every key and every general diagnostic', () => {
    const keys = [config.tunSchema, config.dnsSchema, config.profileSchema].flatMap(schema => Object.keys(schema.shape))
    for (const word of [...keys, ...Object.keys(config.DIAGNOSTICS)]) expect(page).toContain(`\`${word}\``)
  })

  test('fails for a key without a description, without a test, and with one that is not there', () => {
    const mtu = config.tunSchema.shape.mtu
    const facts = { does: 'Is.', test: { file: 'test/unit/config-docs.test.ts', title: 'no such test' } }
    const withFacts = (factsOf: unknown) => check({ ...config, factsOf } as never, 'tun', { mtu })
    expect(withFacts(() => undefined)).toEqual(['tun.mtu has no description: say in the schema what it does'])
    expect(withFacts(() => ({ does: 'Is.' }))).toEqual(['tun.mtu names no test that shows its effect'])
    expect(withFacts(() => facts)).toEqual(["tun.mtu: test/unit/config-docs.test.ts has no test 'no such test'"])
    expect(withFacts(() => ({ ...facts, test: { ...facts.test, file: 'nowhere.ts' } }))).toEqual(['tun.mtu: there is no file nowhere.ts'])
    expect(withFacts(config.factsOf)).toEqual([])
  })

  test('finds titles of tests, however they are quoted, and not what only reads like one', () => {
    expect(hasTest("test('it is', () => {})", 'it is')).toBe(true)
    expect(hasTest('it.each([1])(\n  "it\'s %s",', "it's %s")).toBe(true)
    expect(hasTest("test('it\\'s', f)", "it's")).toBe(true)
    expect(hasTest("const title = 'it is'", 'it is')).toBe(false)
    expect(hasTest("test('it is not', f)", 'it is')).toBe(false)
  })
})
