// Owns: domains written as Clash patterns: as a set (`fake-ip-filter`), or with what belongs to each (`nameserver-policy`); a trie over
// the labels from the right.
//   example.com    that name          +.example.com  that name and everything below it
//   *.example.com  one label for *    .example.com   everything below it, not itself

import { domainToASCII } from 'node:url'
import { misuse } from './errors.js'

class Node<V> {
  children: Map<string, Node<V>> | null = null
  /** Of the name that ends here. */
  self: V | undefined
  /** Of every name below. */
  below: V | undefined

  child(label: string): Node<V> {
    this.children ??= new Map()
    let node = this.children.get(label)
    if (!node) this.children.set(label, (node = new Node()))
    return node
  }
}

/** Patterns and what belongs to the names they stand for. */
export class DomainMap<V extends NonNullable<unknown>> {
  private readonly root = new Node<V>()
  /** Patterns added. */
  size = 0

  /** A pattern that is there already keeps its value. @throws RangeError `ERR_TUN_DOMAIN_PATTERN` */
  add(pattern: string, value: V): void {
    const { labels, self, below } = parsePattern(pattern)
    let node = this.root
    for (let i = labels.length - 1; i >= 0; i--) node = node.child(labels[i])
    if (self) node.self ??= value
    if (below) node.below ??= value
    this.size++
  }

  /** The value of the most specific pattern, as in mihomo: label by label from the right, a name before `*` before `+.`. */
  find(name: string): V | undefined {
    if (this.size === 0) return undefined
    const text = name.endsWith('.') ? name.slice(0, -1).toLowerCase() : name.toLowerCase()
    return text === '' ? undefined : search(this.root, text, text.length)
  }
}

/** Every node is looked at once at most (one path leads to it), so wildcards cannot make this slow. */
function search<V>(node: Node<V>, name: string, end: number): V | undefined {
  if (end < 0) return node.self
  if (node.children === null) return node.below
  const dot = name.lastIndexOf('.', end - 1)
  const label = name.slice(dot + 1, end)
  const next = dot < 0 ? -1 : dot
  const exact = node.children.get(label)
  const found = exact && search(exact, name, next)
  if (found !== undefined) return found
  const any = label === '*' ? undefined : node.children.get('*')
  return (any && search(any, name, next)) ?? node.below
}

/** Patterns whose names are in the set. */
export class DomainSet {
  private readonly map = new DomainMap<true>()

  /** @throws RangeError `ERR_TUN_DOMAIN_PATTERN` for a text that is no pattern. */
  constructor(patterns: Iterable<string> = []) {
    for (const pattern of patterns) this.add(pattern)
  }

  get size(): number {
    return this.map.size
  }

  /** @throws RangeError `ERR_TUN_DOMAIN_PATTERN` */
  add(pattern: string): void {
    this.map.add(pattern, true)
  }

  /** Is the name in the set? Any case; a last dot is ignored. */
  has(name: string): boolean {
    return this.map.find(name) !== undefined
  }
}

function parsePattern(pattern: string): { labels: string[]; self: boolean; below: boolean } {
  const trimmed = pattern.trim().replace(/\.$/, '')
  const plus = trimmed.startsWith('+.')
  const dot = trimmed.startsWith('.')
  const rest = plus ? trimmed.slice(2) : dot ? trimmed.slice(1) : trimmed
  // Names arrive in their ASCII form, so an international pattern is brought to it (RFC 5891).
  const text = /^[\x21-\x7e]+$/.test(rest) ? rest.toLowerCase() : domainToASCII(rest)
  const labels = text.split('.')
  if (labels.some(label => label.length === 0 || label.length > 63 || /[\s,:/+]/.test(label) || (label !== '*' && label.includes('*')))) {
    throw misuse(
      'ERR_TUN_DOMAIN_PATTERN',
      `'${pattern}' is no domain pattern: use example.com, *.example.com, .example.com or +.example.com`,
    )
  }
  return { labels, self: !dot, below: plus || dot }
}
