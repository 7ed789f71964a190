// Owns: what nobody may read in a message: values under keys that hold credentials, and credentials inside of URLs.

import type { Path } from './path.js'

/** Stands where something was left out. Its length says nothing. */
export const MASK = '***'

const SECRET_KEY = /pass|pwd|secret|token|psk|private|auth|uuid|cred|cookie|^users$|(obfs|protocol)-param|key$/i

/** Keys whose values, and all that is in them, are nobody's business. */
export function isSecretKey(key: string | number): boolean {
  return typeof key === 'string' && SECRET_KEY.test(key)
}

export function isSecret(path: Path): boolean {
  return path.some(isSecretKey)
}

/** Share links: all that follows is the server with its credentials, mostly in base64. */
const SHARE_LINK = /\b(?:ssr?|vmess|vless|trojan|tuic|hysteria2?|hy2|snell|wireguard|anytls|juicity|mieru):\/\//i

export type Range = readonly [from: number, to: number]

/** Of a text: what stands before an @ in a URL, behind its `?`, and all of a share link. */
export function secretsInUrls(text: string): Range[] {
  const share = SHARE_LINK.exec(text)
  if (share) return [[share.index + share[0].length, text.length]]
  const scheme = text.indexOf('://')
  if (scheme < 0) return []
  const at = text.lastIndexOf('@')
  const query = text.indexOf('?', Math.max(scheme, at))
  const found: Range[] = []
  if (at > scheme) found.push([scheme + 3, at])
  if (query > 0 && query + 1 < text.length) found.push([query + 1, text.length])
  return found
}

export function maskText(text: string): string {
  let shown = ''
  let at = 0
  for (const [from, to] of secretsInUrls(text)) {
    shown += text.slice(at, from) + MASK
    at = to
  }
  return shown + text.slice(at)
}

const KEY = /([\w.-]+)['"]?\s*:(?!\/\/)\s*/g

/** The same for a line of which is not known where values begin and end: rather too much than too little. */
export function secretsInLine(line: string): Range[] {
  for (const { 0: match, 1: key, index } of line.matchAll(KEY)) {
    if (isSecretKey(key)) return [...secretsInUrls(line.slice(0, index)), [index + match.length, line.length]]
  }
  return secretsInUrls(line)
}

/** Does a line, of a text that is no YAML, stand below a key that holds a secret? By its indentation, for there is nothing else. */
export function isBelowSecret(text: string, lineStart: number): boolean {
  let { indent, isItem } = shapeOf(lineAt(text, lineStart))
  for (let end = lineStart - 1; end > 0; ) {
    const start = text.lastIndexOf('\n', end - 1) + 1
    const line = text.slice(start, end)
    end = start - 1
    if (line.trim() === '') continue
    const above = shapeOf(line)
    if (above.indent > indent || (above.indent === indent && !isItem)) continue
    for (const [, key] of line.matchAll(KEY)) if (isSecretKey(key)) return true
    if (above.indent === indent && above.isItem) continue
    ;({ indent, isItem } = above)
    if (indent === 0 && !isItem) return false
  }
  return false
}

function lineAt(text: string, start: number): string {
  const end = text.indexOf('\n', start)
  return text.slice(start, end < 0 ? text.length : end)
}

/** What does not begin with a key belongs to the one above, like `- item`, also without being indented. */
function shapeOf(line: string): { indent: number; isItem: boolean } {
  const indent = line.length - line.trimStart().length
  return { indent, isItem: !/^\s*(['"]?)[\w.-]+\1\s*:(\s|$)/.test(line) }
}
