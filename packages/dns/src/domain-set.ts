// Owns: a set of domains written as Clash patterns, as `fake-ip-filter` has them; a trie over the labels from the right.
//   example.com    that name          +.example.com  that name and everything below it
//   *.example.com  one label for *    .example.com   everything below it, not itself

import { domainToASCII } from 'node:url'
import { misuse } from './errors.js'

class Node {
  children: Map<string, Node> | null = null
  /** The name that ends here is in the set. */
  self = false
  /** Every name below is in the set. */
  below = false

  child(label: string): Node {
    this.children ??= new Map()
    let node = this.children.get(label)
    if (!node) this.children.set(label, (node = new Node()))
    return node
  }
}

export class DomainSet {
  private readonly root = new Node()
  /** Patterns added. */
  size = 0

  /** @throws RangeError `ERR_TUN_DOMAIN_PATTERN` for a text that is no pattern. */
  constructor(patterns: Iterable<string> = []) {
    for (const pattern of patterns) this.add(pattern)
  }

  /** @throws RangeError `ERR_TUN_DOMAIN_PATTERN` */
  add(pattern: string): void {
    const { labels, self, below } = parsePattern(pattern)
    let node = this.root
    for (let i = labels.length - 1; i >= 0; i--) node = node.child(labels[i])
    node.self ||= self
    node.below ||= below
    this.size++
  }

  /** Is the name in the set? Any case; a last dot is ignored. */
  has(name: string): boolean {
    const text = name.endsWith('.') ? name.slice(0, -1).toLowerCase() : name.toLowerCase()
    return this.size > 0 && text !== '' && matches(this.root, text.split('.'))
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

/** Every node is looked at once at most (one path leads to it), so wildcards cannot make this slow. */
function matches(root: Node, labels: string[]): boolean {
  let nodes = [root]
  for (let i = labels.length - 1; i >= 0; i--) {
    const next: Node[] = []
    for (const node of nodes) {
      if (node.below) return true
      const exact = node.children?.get(labels[i])
      const any = labels[i] === '*' ? undefined : node.children?.get('*')
      if (exact) next.push(exact)
      if (any) next.push(any)
    }
    if (next.length === 0) return false
    nodes = next
  }
  return nodes.some(node => node.self)
}
