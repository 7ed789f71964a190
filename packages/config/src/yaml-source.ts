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
import type { Path, Places } from './diagnostics.js'

/** Longer texts are no configs. */
const MAX_CHARACTERS = 16 * 1024 * 1024
/** Uses of anchored collections, counted through nesting: far over any real config, far under an alias bomb. */
const MAX_ALIASES = 10_000

interface Place {
  line: number
  column: number
}

export interface YamlFault extends Place {
  message: string
  hint?: string
  path: Path
}

/** A text that was read; `value` is undefined if it could not be (then `faults` says why). */
export class YamlSource implements Places {
  readonly faults: YamlFault[] = []
  readonly document: Document | null = null
  readonly root: Record<string, unknown> | undefined
  private readonly lines = new LineCounter()
  private readonly targets = new Map<Alias, Node>()

  constructor(private readonly text: string) {
    if (text.length > MAX_CHARACTERS) {
      this.fault(0, `the file has ${text.length} characters, at most ${MAX_CHARACTERS} are read`)
      return
    }
    try {
      this.document = parseDocument(text, { lineCounter: this.lines, merge: true, prettyErrors: false, logLevel: 'error' })
    } catch {
      this.fault(0, 'collections are nested too deeply to be read')
      return
    }
    for (const error of this.document.errors) this.syntaxFault(error)
    if (this.document.errors.every(error => error.code === 'DUPLICATE_KEY')) this.root = this.read(this.document)
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

  private read(document: Document): Record<string, unknown> | undefined {
    const { contents } = document
    if (contents === null || isEmpty(contents)) {
      this.fault(0, 'the file is empty', "a config is at least 'tun:' with its keys")
      return undefined
    }
    if (!isMap(contents)) {
      this.fault(
        contents.range?.[0] ?? 0,
        `expected keys and values, got ${isSeq(contents) ? 'a list' : 'a single value'}`,
        "e.g. 'tun:' with its keys indented below",
      )
      return undefined
    }
    const firstAlias = this.linkAliases(document)
    if (this.faults.some(fault => fault.path.length === 0)) return undefined
    try {
      return document.toJS({ maxAliasCount: MAX_ALIASES }) as Record<string, unknown>
    } catch {
      this.fault(firstAlias, 'aliases (*name) are nested or repeated without bound')
      return undefined
    }
  }

  /**
   * Finds what each alias stands for (the package would search the whole document each time), and those that stand for nothing
   * or for what they are part of. Answers the offset of the first one.
   */
  private linkAliases(document: Document): number {
    const anchors = new Map<string, Node>()
    let first = 0
    visit(document, (_, node, ancestors) => {
      if (!isNode(node)) return undefined
      if (!isAlias(node)) {
        if ('anchor' in node && node.anchor) anchors.set(node.anchor, node)
        return undefined
      }
      const at = node.range?.[0] ?? 0
      first ||= at
      const target = anchors.get(node.source)
      if (target) this.targets.set(node, target)
      if (target && !ancestors.includes(target)) return undefined
      if (target) this.fault(at, `the alias '*${node.source}' stands inside what it stands for`)
      else this.fault(at, `the alias '*${node.source}' has no anchor '&${node.source}' before it`)
      return visit.BREAK
    })
    return first
  }

  private fault(offset: number, message: string, hint?: string, path: Path = []): void {
    this.faults.push({ ...this.placeAt(offset), message, path, ...(hint === undefined ? {} : { hint }) })
  }

  /** One for each repeated key; of the others only the first: those behind it mostly follow from it. */
  private syntaxFault({ code, message, pos }: YAMLParseError): void {
    if (code === 'DUPLICATE_KEY') {
      const key = /^[^\s:#'"]+/.exec(this.text.slice(pos[0], pos[0] + 80))?.[0]
      this.fault(pos[0], 'the key appears twice in the same map', 'remove one of them', key === undefined ? [] : [key])
      return
    }
    if (this.faults.some(fault => fault.path.length === 0)) return
    const open = this.unclosed(pos[0])
    if (/closing .quote/.test(message)) this.fault(this.quoteBefore(pos[0]), 'a quote is never closed')
    else if (open >= 0) this.fault(open, `'${this.text[open]}' is never closed`, `add '${this.text[open] === '[' ? ']' : '}'}'`)
    else this.fault(pos[0], SYNTAX[code] ?? 'not valid YAML', HINTS[code])
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
      const key = isScalar(pair.key) ? pair.key.value : ''
      const name = typeof key === 'symbol' ? '<<' : String(key) // the merge key's value is a symbol
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
    return this.placeAt(node?.range?.[0] ?? 0)
  }

  private placeAt(offset: number): Place {
    const { line, col } = this.lines.linePos(offset)
    return { line: Math.max(line, 1), column: Math.max(col, 1) }
  }
}

function isEmpty(node: Node): boolean {
  return isScalar(node) && node.value === null
}

/** In our words: the package's own quote the text, which may hold a password. */
const SYNTAX: Record<string, string> = {
  BAD_ALIAS: 'an alias (*name) without its anchor (&name)',
  BAD_COLLECTION_TYPE: 'a tag that does not fit its value',
  BAD_DIRECTIVE: 'an unknown % directive',
  BAD_DQ_ESCAPE: 'an unknown escape in a double-quoted text',
  BAD_INDENT: 'the indentation does not fit what stands above',
  BAD_SCALAR_START: 'a text cannot begin with this character',
  BLOCK_AS_IMPLICIT_KEY: 'a key and its value in a place for a plain value',
  BLOCK_IN_FLOW: 'an indented block inside brackets',
  KEY_OVER_1024_CHARS: 'a key of more than 1024 characters',
  MISSING_CHAR: 'something is missing here: a colon, comma, space, quote or bracket',
  MULTILINE_IMPLICIT_KEY: "a line without ':' where keys are expected",
  MULTIPLE_ANCHORS: 'two anchors for one value',
  MULTIPLE_DOCS: "the file has several documents ('---')",
  MULTIPLE_TAGS: 'two tags for one value',
  TAB_AS_INDENT: 'tabs cannot indent in YAML',
  TAG_RESOLVE_FAILED: 'an unknown tag, or a value that does not fit it',
  UNEXPECTED_TOKEN: 'this does not belong here',
}

const HINTS: Record<string, string> = {
  BAD_DQ_ESCAPE: 'use single quotes',
  BAD_SCALAR_START: 'put it in quotes',
  MULTIPLE_DOCS: 'keep one of them',
  TAB_AS_INDENT: 'use spaces',
}
