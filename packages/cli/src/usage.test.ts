import { expect, it } from 'vitest'
import { parseArgs, VERBS } from './args.js'
import { USAGE, VERB_USAGE } from './usage.js'

const TEXTS = Object.entries({ tun: USAGE, ...VERB_USAGE })

it.each(TEXTS)('%s --help reads as it did', (name, text) => {
  expect(text).toMatchSnapshot(name)
})

it.each(TEXTS)('%s --help fits in a terminal of 140 columns', (_, text) => {
  expect(text.split('\n').filter(line => line.length > 140)).toEqual([])
})

/** Up to two spaces and a remark, a pipe, or the end of the line. */
const examples = TEXTS.flatMap(([, text]) =>
  [...text.slice(text.lastIndexOf('Examples:')).matchAll(/^ {2}(?:sudo )?tun (.*?)(?: {2,}.*| \|.*)?$/gm)].map(match => match[1]),
)

it.each(examples)('the example is a good command line: tun %s', line => {
  const words = [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare)
  const { do: verb } = parseArgs(words)
  expect(VERBS).toContain(verb)
})

it('has examples of every verb', () => {
  expect(examples.length).toBeGreaterThan(15)
})
