// Owns: YAML text → plain values, and where each of them stands. YAML 1.2 core schema with `<<` merges; the `yaml` package.

import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  visit,
  type YAMLMap,
  type YAMLParseError,
  type YAMLSeq,
} from 'yaml'
import type { Place, Places } from './diagnostics.js'
import { excerptOf } from './excerpt.js'
import type { GeneralId } from './ids.js'
import type { Path } from './path.js'
import { isBelowSecret, type Range, secretsInLine } from './secrets.js'
import { nameOf, type Walked, walk } from './yaml-walk.js'
import { HINTS, SYNTAX } from './yaml-words.js'

/** Longer texts are no configs. */
const MAX_CHARACTERS = 16 * 1024 * 1024
/** Uses of anchored collections, counted through nesting: far over any real config, far under an alias bomb. */
const MAX_ALIASES = 10_000

export interface YamlFault {
  id: GeneralId
  place: Place
  message: string
  hint?: string
  path: Path
}

/** `? key`: the package passes over what stands behind such a key without a word (`? a "b"`), so that it is in no node. */
const EXPLICIT_KEY = /(^|\s)\?\s/

/** A text that was read; `value` is undefined if it could not be (then `faults` says why). */
export class YamlSource implements Places {
  readonly faults: YamlFault[] = []
  readonly document: Document | null = null
  readonly root: Record<string, unknown> | undefined
  private readonly lines = new LineCounter()
  private readonly targets = new Map<Alias, Node>()
  private walked: Walked = { duplicates: [], badMerges: [], badKeys: [], secrets: [], scalars: [] }
  /** The document was read whole, so that it is known where values begin and end. */
  private whole = false

  constructor(private readonly text: string) {
    if (text.length > MAX_CHARACTERS) {
      this.fault('tun/yaml', 0, `the file has ${text.length} characters, at most ${MAX_CHARACTERS} are read`)
      return
    }
    let document: Document
    try {
      // Repeated keys are found by our own walk, which knows both places.
      const options = { lineCounter: this.lines, merge: true, uniqueKeys: false, prettyErrors: false, logLevel: 'error' } as const
      document = parseDocument(text, options)
      this.document = document
      const aliases = this.linkAliases(document)
      this.walked = walk(document.contents, text, alias => this.targets.get(alias))
      const isYaml = document.errors.length === 0
      this.whole = isYaml && !EXPLICIT_KEY.test(text)
      for (const error of document.errors) this.syntaxFault(error)
      if (isYaml && aliases.fault) this.fault('tun/alias', aliases.fault.at, aliases.fault.message)
      if (isYaml) this.root = this.read(document, aliases.first)
    } catch {
      this.whole = false
      this.fault('tun/yaml', 0, 'collections are nested too deeply to be read')
    }
  }

  value(path: Path): Place {
    const { node, key } = this.find(path)
    return this.placeOf(node && !isEmpty(node) ? node : (key ?? node))
  }

  key(path: Path): Place {
    const { node, key } = this.find(path)
    return this.placeOf(key ?? node)
  }

  /** The scalar at a path as it was written; undefined if there is none. */
  written(path: Path): string | undefined {
    const { node } = this.find(path)
    const scalar = this.resolve(node)
    return isScalar(scalar) ? scalar.source : undefined
  }

  /** Is the value under this key marked with an anchor, to be used elsewhere? */
  isAnchored(path: Path): boolean {
    const { node } = this.find(path)
    return !!node && !isAlias(node) && 'anchor' in node && node.anchor !== undefined
  }

  private read(document: Document, firstAlias: number): Record<string, unknown> | undefined {
    const { contents } = document
    if (contents === null || isEmpty(contents)) {
      this.fault('tun/yaml', 0, 'the file is empty', "a config is at least 'tun:' with its keys")
      return undefined
    }
    if (!isMap(contents)) {
      const what = isSeq(contents) ? 'a list' : 'a single value'
      this.fault('tun/yaml', contents.range?.[0] ?? 0, `expected keys and values, got ${what}`, "e.g. 'tun:' with its keys indented below")
      return undefined
    }
    if (this.faults.length > 0) return undefined // aliases
    for (const { at, path, first, secret } of this.walked.duplicates) {
      const key = secret ? 'a key' : `the key '${path[path.length - 1]}'`
      const hint = path[path.length - 1] === '<<' ? 'write <<: [*a, *b]' : 'remove one of them'
      const message = `${key} stands twice in this map, first in line ${this.lines.linePos(first).line}`
      this.faults.push({ id: 'tun/duplicate-key', place: this.placeOf(at), message, hint, path })
    }
    for (const { at, path } of this.walked.badMerges) {
      const message = "a merge ('<<') takes a map, or a list of maps"
      this.faults.push({ id: 'tun/merge', place: this.placeOf(at), message, hint: 'e.g. <<: *name, with &name at a map above', path })
    }
    for (const { at, path } of this.walked.badKeys) {
      this.faults.push({ id: 'tun/yaml', place: this.keyPlace(at), message: 'a list or a map cannot be a key', path })
    }
    if (this.walked.badMerges.length + this.walked.badKeys.length > 0) return undefined
    try {
      return document.toJS({ maxAliasCount: MAX_ALIASES }) as Record<string, unknown>
    } catch {
      this.fault('tun/alias', firstAlias, 'aliases (*name) are nested or repeated without bound')
      return undefined
    }
  }

  /**
   * Finds what each alias stands for (the package would search the whole document each time), up to one that stands for nothing or for
   * what it is part of. `first`: the offset of the first one.
   */
  private linkAliases(document: Document): { first: number; fault?: { at: number; message: string } } {
    const anchors = new Map<string, Node>()
    const result: ReturnType<typeof this.linkAliases> = { first: 0 }
    visit(document, (_, node, ancestors) => {
      if (!isNode(node)) return undefined
      if (!isAlias(node)) {
        if ('anchor' in node && node.anchor) anchors.set(node.anchor, node)
        return undefined
      }
      const at = node.range?.[0] ?? 0
      result.first ||= at
      const target = anchors.get(node.source)
      if (target && !ancestors.includes(target)) {
        this.targets.set(node, target)
        return undefined
      }
      const why = target ? 'stands inside what it stands for' : `has no anchor '&${node.source}' before it`
      result.fault = { at, message: `the alias '*${node.source}' ${why}` }
      return visit.BREAK
    })
    return result
  }

  private fault(id: GeneralId, offset: number, message: string, hint?: string): void {
    this.faults.push({ id, place: this.placeAt(offset, offset + 1), message, path: [], ...(hint === undefined ? {} : { hint }) })
  }

  /** Only the first: those behind it mostly follow from it. */
  private syntaxFault({ code, message, pos }: YAMLParseError): void {
    if (this.faults.length > 0) return
    const open = this.unclosed(pos[0])
    if (/closing .quote/.test(message)) this.fault('tun/yaml', this.quoteBefore(pos[0]), 'a quote is never closed')
    else if (open >= 0) {
      this.fault('tun/yaml', open, `'${this.text[open]}' is never closed`, `add '${this.text[open] === '[' ? ']' : '}'}'`)
    } else this.fault('tun/yaml', pos[0], SYNTAX[code] ?? 'not valid YAML', HINTS[code])
  }

  /** Offset of the bracket of the innermost flow collection before `at` that has no end, -1 if there is none. */
  private unclosed(at: number): number {
    let open = -1
    if (!this.document) return open
    const look = (_: unknown, node: YAMLMap | YAMLSeq): void => {
      if (!node.flow || !node.range || node.range[0] > at) return
      const last = this.text[node.range[1] - 1]
      if (node.range[1] - node.range[0] < 2 || last !== (isSeq(node) ? ']' : '}')) open = Math.max(open, node.range[0])
    }
    visit(this.document, { Map: look, Seq: look })
    return open >= 0 && '[{'.includes(this.text[open]) ? open : -1
  }

  /** Where the last quoted text before `at` begins. */
  private quoteBefore(at: number): number {
    let start = -1
    if (this.document) {
      visit(this.document, {
        Scalar: (_, { type, range }) => {
          if (type?.startsWith('QUOTE') && range && range[0] <= at) start = Math.max(start, range[0])
        },
      })
    }
    return start < 0 ? at : start
  }

  /** The node at a path and its key; of a path that leads nowhere, the last that is there. */
  private find(path: Path): { node: Node | null; key: Node | null } {
    let node: Node | null = this.document?.contents ?? null
    let key: Node | null = null
    for (const step of path) {
      const inside = this.resolve(node)
      const pair = isMap(inside) ? this.pairOf(inside, step, 0) : null
      const item = isSeq(inside) && typeof step === 'number' ? inside.items[step] : null
      if (pair) {
        key = isNode(pair.key) ? pair.key : key
        node = isNode(pair.value) ? pair.value : null
      } else if (isNode(item)) {
        node = item
        key = null
      } else break
    }
    return { node, key }
  }

  private pairOf(map: YAMLMap, step: string | number, depth: number): Pair | null {
    let merged: Pair | null = null
    for (const pair of map.items) {
      const name = nameOf(pair)
      if (name === String(step)) return pair
      if (name !== '<<' || depth > 8 || !isNode(pair.value)) continue
      const sources = this.resolve(pair.value)
      for (const source of isSeq(sources) ? sources.items : [sources]) {
        const target = isNode(source) ? this.resolve(source) : null
        if (isMap(target)) merged ??= this.pairOf(target, step, depth + 1)
      }
    }
    return merged
  }

  private resolve(node: Node | null): Node | null {
    return isAlias(node) ? (this.targets.get(node) ?? null) : node
  }

  private placeOf(node: Node | null): Place {
    const [from, to] = node?.range ?? [0, 1]
    return this.placeAt(from, to)
  }

  /** Of a key that is not to be shown: what it is below has not been asked. */
  private keyPlace(key: Node): Place {
    const { line, column } = this.placeOf(key)
    return { line, column }
  }

  private placeAt(from: number, to: number): Place {
    const { line, col } = this.lines.linePos(from)
    const start = this.text.lastIndexOf('\n', from - 1) + 1
    const newline = this.text.indexOf('\n', from)
    const end = newline < 0 ? this.text.length : newline
    const hidden = this.hiddenIn(start, end)
    const shown = this.text
      .slice(start, this.commentIn(start, end, from))
      .replace(/\r$/, '')
      .replace(/^\uFEFF/, ' ')
    const excerpt = excerptOf(shown, from - start, Math.min(to, end) - start, hidden)
    return { line: Math.max(line, 1), column: Math.max(col, 1), excerpt }
  }

  /** Ranges of a line that are not to be shown, as offsets in it. */
  private hiddenIn(start: number, end: number): Range[] {
    const known = this.walked.secrets
      .filter(([from, to]) => from < end && to > start)
      .map(([from, to]): Range => [Math.max(from, start) - start, Math.min(to, end) - start])
    if (this.whole) return known
    return isBelowSecret(this.text, start) ? [[0, end - start]] : [...known, ...secretsInLine(this.text.slice(start, end))]
  }

  /** Where the comment of a line begins, or the line's end. What is marked is no comment. */
  private commentIn(start: number, end: number, marked: number): number {
    for (let at = this.text.indexOf('#', start); at >= 0 && at < end; at = this.text.indexOf('#', at + 1)) {
      const begins = at === start || /\s/.test(this.text[at - 1])
      if (begins && at > marked && !this.walked.scalars.some(([from, to]) => at >= from && at < to)) return at
    }
    return end
  }
}

function isEmpty(node: Node): boolean {
  return isScalar(node) && node.value === null
}
