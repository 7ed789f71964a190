// The directions of imports that docs/architecture.md draws, and the purity of the engine's core.

import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const STACK = join(ROOT, 'packages/stack/src')

/** Which packages of ours a package may name. */
const MAY_IMPORT: Record<string, string[]> = {
  'packages/stack': [],
  'packages/dns': [],
  'packages/config': [],
  'packages/device': ['@tun/stack', '@tun/native'],
  'packages/inbound': ['@tun/device', '@tun/stack', '@tun/dns', '@tun/config'],
  'packages/cli': ['@tun/config', '@tun/device', '@tun/inbound', '@tun/native'],
}

interface Import {
  file: string
  from: string
}

function sources(directory: string): string[] {
  if (!existsSync(directory)) return []
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' })
  return files.filter(name => name.endsWith('.ts') && !/\.test(-kit)?\.ts$/.test(name)).map(name => join(directory, name))
}

const withoutComments = (source: string) => source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|[^:])\/\/.*$/gm, '$1')

function importsOf(file: string, source = readFileSync(file, 'utf8')): Import[] {
  const pattern = /(?:^|[^\w.])(?:from|import|require)\s*\(?\s*['"]([^'"]+)['"]/g
  return [...withoutComments(source).matchAll(pattern)].map(match => ({ file, from: match[1] }))
}

/** The file an import means, relative to the stack's src; undefined for a package. */
function target({ file, from }: Import): string | undefined {
  return from.startsWith('.') ? relative(STACK, resolve(dirname(file), from)).replace(/\.js$/, '.ts') : undefined
}

const shown = ({ file, from }: Import) => `${relative(ROOT, file)} imports ${from}`

const stackFiles = sources(STACK)
const placeOf = (file: string) => relative(STACK, file).split('/')
const isCore = (file: string) => !['node', 'testing', 'index.ts'].includes(placeOf(file)[0])
const core = stackFiles.filter(isCore)

describe('packages', () => {
  it.each(Object.entries(MAY_IMPORT))('%s imports no package of ours but %j, and package.json says the same', (directory, allowed) => {
    const wrong = sources(join(ROOT, directory, 'src'))
      .flatMap(file => importsOf(file))
      .filter(({ from }) => from.startsWith('@tun/') && !allowed.some(name => from === name || from.startsWith(`${name}/`)))
    expect(wrong.map(shown)).toEqual([])
    const manifest = JSON.parse(readFileSync(join(ROOT, directory, 'package.json'), 'utf8'))
    const depends = Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies, ...manifest.optionalDependencies })
    expect(depends.filter(name => name.startsWith('@tun/') && !allowed.includes(name))).toEqual([])
  })

  it.each(Object.keys(MAY_IMPORT))('%s reaches into no other directory by a relative path', directory => {
    const src = join(ROOT, directory, 'src')
    const wrong = sources(src)
      .flatMap(file => importsOf(file))
      .filter(({ file, from }) => from.startsWith('.') && relative(src, resolve(dirname(file), from)).startsWith('..'))
    expect(wrong.map(shown)).toEqual([])
  })
})

describe('the engine', () => {
  it('has a core that imports neither node/ nor testing/ nor any package', () => {
    expect(core.length).toBeGreaterThan(5)
    const wrong = core
      .flatMap(file => importsOf(file))
      .filter(i => !target(i) || /^(node|testing)\//.test(target(i) ?? '') || target(i) === 'index.ts')
    expect(wrong.map(shown)).toEqual([])
  })

  it('imports nothing upwards: wire/ and memory/ only each other, what stands on them never stack.ts', () => {
    const low = core.filter(file => ['wire', 'memory'].includes(placeOf(file)[0]))
    const fromLow = low.flatMap(file => importsOf(file)).filter(i => !/^(wire|memory)\//.test(target(i) ?? ''))
    const middle = core.filter(file => placeOf(file)[0] !== 'stack.ts')
    const toTop = middle.flatMap(file => importsOf(file)).filter(i => target(i) === 'stack.ts')
    expect([...fromLow, ...toTop].map(shown)).toEqual([])
  })

  it('lets a simulation run anywhere: nothing that testing/ reaches, through however many files, imports Node', () => {
    const reached = new Set(stackFiles.filter(file => placeOf(file)[0] === 'testing'))
    const wrong: Import[] = []
    for (const file of reached) {
      for (const found of importsOf(file)) {
        const next = target(found)
        if (next) reached.add(join(STACK, next))
        else wrong.push(found)
      }
    }
    expect(wrong.map(shown)).toEqual([])
  })

  it('knows no clock, no chance, no host: they are arguments', () => {
    const names = 'Date|Buffer|process|performance|crypto|setTimeout|setInterval|setImmediate|queueMicrotask|globalThis|console'
    const forbidden = new RegExp(`(?<![\\w.])(?:${names})\\b\\s*[.(]|\\bnew Date\\b|\\bMath\\.random\\b`)
    const wrong = core.flatMap(file =>
      withoutComments(readFileSync(file, 'utf8'))
        .split('\n')
        .filter(text => forbidden.test(text))
        .map(text => `${relative(ROOT, file)}: ${text.trim()}`),
    )
    expect(wrong).toEqual([])
  })

  it('compiles without the types of Node or of a browser', { timeout: 120_000 }, () => {
    const tsc = spawnSync(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', 'packages/stack/tsconfig.core.json'], {
      cwd: ROOT,
      encoding: 'utf8',
    })
    expect(tsc.stdout).toBe('')
    expect(tsc.status).toBe(0)
  })
})

describe('the reader of imports', () => {
  it('sees every form of import and nothing in comments', () => {
    const source = `import type { A } from './a.js'\nexport * from "./b.js"\nconst c = await import('./c.js')\nimport './d.js'
      // import './e.js'\n/* from './f.js' */\nimport {\n  x,\n} from 'node:fs' // https://example.org`
    expect(importsOf('x.ts', source).map(i => i.from)).toEqual(['./a.js', './b.js', './c.js', './d.js', 'node:fs'])
  })
})
