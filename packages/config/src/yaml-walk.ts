// Owns: one walk over a parsed document, for what the `yaml` package does not tell: repeated keys with both places, merges of what
// is no map, which parts of the text are secrets, and which are values (a `#` in them begins no comment).

import { type Alias, isAlias, isMap, isScalar, isSeq, type Node, type Pair, type YAMLMap } from 'yaml'
import type { Path } from './path.js'
import { isSecretKey, type Range, secretsInUrls } from './secrets.js'

export interface Walked {
  /** Later key, path of it, offset of the first one. */
  duplicates: { at: Node; path: Path; first: number; secret: boolean }[]
  badMerges: { at: Node; path: Path }[]
  /** Keys that are lists or maps (`? - a`). */
  badKeys: { at: Node; path: Path }[]
  /** Not to be shown; in no order. */
  secrets: Range[]
  /** In the order of the text. */
  scalars: Range[]
}

export function walk(root: Node | null, text: string, targetOf: (alias: Alias) => Node | undefined): Walked {
  const found: Walked = { duplicates: [], badMerges: [], badKeys: [], secrets: [], scalars: [] }
  const told = new Set<Node>()
  const visit = (node: unknown, path: Path, secret: boolean): void => {
    if (isMap(node)) {
      visitMap(node, path, secret)
    } else if (isSeq(node)) {
      for (const [i, item] of node.items.entries()) visit(item, [...path, i], secret)
    } else if (isAlias(node)) {
      const target = secret ? targetOf(node) : undefined
      if (!target || told.has(target)) return
      told.add(target)
      visit(target, path, true) // what a secret key points at is a secret where it stands, too
    } else if (isScalar(node) && node.range) {
      const [from, to] = node.range
      found.scalars.push([from, to])
      if (secret) found.secrets.push([from, to])
      else {
        const end = /['"]/.test(text[from]) ? to - 1 : to // a quote that ends it is none of it
        for (const [low, high] of secretsInUrls(text.slice(from, end))) found.secrets.push([from + low, from + high])
      }
    }
  }
  const visitMap = (map: YAMLMap, path: Path, secret: boolean): void => {
    const firsts = new Map<string, number>()
    for (const pair of map.items) {
      const name = nameOf(pair)
      const key = pair.key as Node | null
      if (key && !isScalar(key) && !isAlias(key)) {
        found.badKeys.push({ at: key, path })
        continue
      }
      const below = [...path, name]
      const first = firsts.get(name)
      if (first !== undefined && key) found.duplicates.push({ at: key, path: below, first, secret })
      else firsts.set(name, key?.range?.[0] ?? 0)
      if (name === '<<' && !isMergeable(pair.value, targetOf)) found.badMerges.push({ at: (pair.value ?? key) as Node, path: below })
      visit(key, path, secret)
      visit(pair.value, below, secret || isSecretKey(name))
    }
  }
  visit(root, [], false)
  found.scalars.sort((a, b) => a[0] - b[0])
  return found
}

/** A key as a path has it; a merge key's value is a symbol. */
export function nameOf({ key }: Pair): string {
  const value = isScalar(key) ? key.value : ''
  return typeof value === 'symbol' ? '<<' : String(value)
}

function isMergeable(value: unknown, targetOf: (alias: Alias) => Node | undefined): boolean {
  const target = isAlias(value) ? targetOf(value) : value
  if (isSeq(target)) return target.items.every(item => isMap(isAlias(item) ? targetOf(item) : item))
  return isMap(target)
}
