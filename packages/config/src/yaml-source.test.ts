import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { ConfigError } from './diagnostics.js'
import { loadConfig } from './load.js'
import { formatReport } from './render.js'

/** The whole report; sections of a proxy are refused, so that each of their lines is shown. */
function reportOf(text: string): string {
  const no = z.array(z.looseObject({ name: z.number(), password: z.number().optional(), headers: z.number().optional() })).optional()
  try {
    return formatReport(loadConfig(text, { file: 'c', platform: 'linux', sections: { proxies: no } }).warnings, 'c')
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError)
    return (error as ConfigError).report
  }
}

const marks = (text: string): string[] => {
  const lines = reportOf(text).split('\n')
  return lines.flatMap((line, i) => (/^ +\| +\^/.test(line) ? [lines[i - 1].slice(line.indexOf('^'), line.length)] : []))
}

describe('a repeated key', () => {
  test('is told with both places, however deep, in every map', () => {
    expect(reportOf('dns:\n  listen: 127.0.0.1:53\n  nameserver: [system]\n  listen: 127.0.0.1:54\n')).toBe(
      `c:4:3: error[tun/duplicate-key]: dns.listen: the key 'listen' stands twice in this map, first in line 2
  4 |   listen: 127.0.0.1:54
    |   ^^^^^^
help: remove one of them

c: 1 error
`,
    )
    expect(reportOf('a: [{b: {c: 1, "c": 2, 1: x, "1": y}}]\n').match(/tun\/duplicate-key\]: \S+/g)).toEqual([
      'tun/duplicate-key]: a[0].b.c:',
      'tun/duplicate-key]: a[0].b.1:',
    ])
  })

  test('that is a merge is told how several are merged; one that a merge brings as well is none', () => {
    expect(reportOf('x: &x {mtu: 1400}\ny: &y {gso: off}\ntun: {<<: *x, <<: *y}\n')).toContain('help: write <<: [*a, *b]')
    expect(reportOf('x: &x {mtu: 1400}\ntun: {<<: *x, mtu: 1500}\n')).toBe('')
  })
})

test('a list or a map is no key', () => {
  expect(reportOf('tun:\n  ? - a\n  : 1\n  ? {b: 1}\n  : 2\n').match(/.*error\[.*/g)).toEqual([
    'c:2:5: error[tun/yaml]: tun: a list or a map cannot be a key',
    'c:4:5: error[tun/yaml]: tun: a list or a map cannot be a key',
  ])
})

test('a merge takes maps and nothing else', () => {
  for (const bad of ['x: &x 1\ntun: {<<: *x}', 'tun: {<<: 5}', 'x: &x {}\ntun: {<<: [*x, 5]}', 'tun: {<<: }']) {
    expect([bad, reportOf(bad)]).toEqual([bad, expect.stringContaining("error[tun/merge]: tun.<<: a merge ('<<') takes a map")])
  }
  for (const good of ['x: &x {mtu: 1400}\ntun: {<<: *x}', 'x: &x {}\ny: &y {}\ntun: {<<: [*x, *y]}', 'tun: {<<: {mtu: 1400}}'])
    expect([good, reportOf(good)]).toEqual([good, ''])
})

test('the mark covers the value, or the key where that is at fault', () => {
  expect(marks('tun:\n  mtu: "99"  # a comment\n  devcie: [1,\n    2]\n  device-url: |\n    a\n    b\n')).toEqual(['"99"', 'devcie', '|'])
  expect(marks('tun: {stack: nonesuch, mtu: 5}')).toEqual(['nonesuch', '5'])
  expect(marks('\uFEFFmdoe: x\r\ntun: 5\r\n')).toEqual(['mdoe', '5'])
})

describe('what nobody may read', () => {
  const SECRET = 'hunter2'

  test('is in no report of a file that is YAML, by value, by alias, by comment and by URL', () => {
    const text = `x-a: {pw: &k ${SECRET}, y: 1, y: 2}
authentication: [me:${SECRET}]
tun: {device-url: "socks5://me:${SECRET}@h"} # ${SECRET}
proxies:
  - {name: a, password: ${SECRET}, plugin: "ss://${SECRET}", url: 'https://h/?token=${SECRET}'}
  - {name: b, password: *k, uuid: ["${SECRET}"]}
  - name: c # ${SECRET}
    private-key: |
      ${SECRET}
    password: {${SECRET}: ${SECRET}}
    headers: {Cookie: ${SECRET}, X-Auth: {a: [${SECRET}]}}
  - {name: d, x-key: 1, x-key: 2}
mtu: 5
`
    const report = reportOf(text)
    expect(report.match(/^c:\d+/gm)?.length).toBeGreaterThan(6)
    expect(report).not.toContain(SECRET)
  })

  test('is in no report of what is passed over: the text behind an explicit key', () => {
    for (const key of ['*a', 'x y', '"x"']) {
      const report = reportOf(`authentication:\n  ? ${key} "me:${SECRET}"\n  ? ${key} "me:${SECRET}"\nmtu: 5\n`)
      expect(report).toMatch(/^c:[23]:5: error/m)
      expect(report).not.toContain(SECRET)
    }
  })

  test('is in no report of a file that is broken anywhere but in the key itself', () => {
    const lines = [
      'tun:',
      '  enable: true',
      'authentication:',
      `  - "me:${SECRET}"`,
      'proxies:',
      `  - {name: a, type: ss, password: ${SECRET}}`,
      '  - name: b',
      '    private-key: |',
      `      ${SECRET}`,
      `      ${SECRET}`,
      `    password: "${SECRET}"`,
      `    url: socks5://me:${SECRET}@192.0.2.1:1080`,
      'users:',
      `- me:${SECRET}`,
      'rules: []',
    ]
    const piece = fc.constantFrom(
      '[',
      ']',
      '{',
      '}',
      '"',
      "'",
      '\t',
      '- ',
      '&a ',
      '*a',
      '--- ',
      '!!x ',
      '%',
      '@',
      '`',
      ': ',
      '? ',
      '\\',
      ', ',
    )
    const breakage = fc.tuple(fc.nat(lines.length - 1), fc.boolean(), piece)
    fc.assert(
      fc.property(fc.array(breakage, { minLength: 1, maxLength: 3 }), broken => {
        const text = lines.map((line, i) => {
          const here = broken.filter(([at, front]) => at === i && !(front && /^ *[\w-]+:/.test(line)))
          const before = here.filter(([, front]) => front).map(([, , text]) => text)
          const after = here.filter(([, front]) => !front).map(([, , text]) => text)
          return `${line.slice(0, line.length - line.trimStart().length)}${before.join('')}${line.trimStart()}${after.join('')}`
        })
        expect(reportOf(text.join('\n'))).not.toContain(SECRET)
      }),
      { numRuns: 600 },
    )
  }, 120_000)
})

test('a file of ten thousand mistakes is told in seconds, and a bomb of aliases under a secret key at once', () => {
  const many = Array.from({ length: 5_000 }, (_, i) => `  - {name: n${i}, password: p${i}}`).join('\n')
  expect(reportOf(`proxies:\n${many}\n`)).toContain('c: 10000 errors')
  const bomb = [
    'a: &a [x,x,x]',
    ...'bcdefghijklmnop'.split('').map((c, i) => `${c}: &${c} [${Array(9).fill(`*${'abcdefghijklmno'[i]}`).join(',')}]`),
  ]
  expect(reportOf(`${bomb.join('\n')}\npassword: *p\n`)).toContain('nested or repeated without bound')
}, 60_000)
