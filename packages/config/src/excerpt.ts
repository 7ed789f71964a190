// Owns: a line of the file as a message may show it: without secrets and comments, cut to a window, and how far the mark goes.

import { MASK } from './secrets.js'

export interface Excerpt {
  text: string
  /** Cells of a terminal before the mark, and how many it covers, at least 1. */
  at: number
  width: number
}

const WINDOW = 116 // cells: what fits into 120 columns behind a line number

interface Piece {
  text: string
  cells: number
  /** Where it stood in the line. */
  from: number
}

/** The line with a mark from `from` to `to` (offsets in it); `hidden` are ranges that are not shown. */
export function excerptOf(line: string, from: number, to: number, hidden: readonly (readonly [number, number])[] = []): Excerpt {
  const pieces = [...piecesOf(line, hidden)]
  const first = Math.max(
    pieces.findLastIndex(piece => piece.from <= from),
    0,
  )
  const last = Math.max(
    pieces.findLastIndex(piece => piece.from < to),
    first,
  )
  const cells = (low: number, high: number) => pieces.slice(low, high).reduce((sum, piece) => sum + piece.cells, 0)
  let begin = 0
  if (cells(0, pieces.length) > WINDOW) {
    while (cells(begin, first) > WINDOW / 3) begin++
  }
  let end = begin
  for (let room = WINDOW; end < pieces.length && pieces[end].cells <= room; end++) room -= pieces[end].cells
  const cutFront = begin > 0 ? '…' : ''
  const cutBack = end < pieces.length ? '…' : ''
  const text = pieces.slice(begin, end).map(piece => piece.text)
  const at = cells(begin, first) + cutFront.length
  const width = cells(first, Math.min(last + 1, end))
  return { text: `${cutFront}${text.join('')}${cutBack}`.trimEnd(), at, width: Math.max(width, 1) }
}

function* piecesOf(line: string, hidden: readonly (readonly [number, number])[]): Generator<Piece> {
  let masked = false
  let at = 0
  for (const character of line) {
    const from = at
    at += character.length
    const secret = hidden.some(([low, high]) => from >= low && from < high)
    if (!secret) yield { text: printable(character), cells: cellsOf(character), from }
    else if (!masked) yield { text: MASK, cells: MASK.length, from }
    masked = secret
  }
}

/** A terminal must not be told what to do by a file. */
function printable(character: string): string {
  if (character === '\t') return ' '
  return /[\p{Cc}\p{Cs}\u202a-\u202e\u2066-\u2069]/u.test(character) ? '\uFFFD' : character
}

/** East Asian Wide and emoji are two cells, what joins the character before it none: UAX #11, as far as terminals agree. */
function cellsOf(character: string): number {
  const code = character.codePointAt(0) ?? 0
  if (code < 0x300) return 1
  if (/\p{Mn}|\p{Me}|\p{Cf}|\p{Variation_Selector}/u.test(character)) return 0
  return WIDE.some(([low, high]) => code >= low && code <= high) ? 2 : 1
}

const WIDE = [
  [0x1100, 0x115f],
  [0x2e80, 0xa4cf],
  [0xac00, 0xd7a3],
  [0xf900, 0xfaff],
  [0xfe30, 0xfe6f],
  [0xff00, 0xff60],
  [0xffe0, 0xffe6],
  [0x1f300, 0x1faff],
  [0x20000, 0x3fffd],
] as const
