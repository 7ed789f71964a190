// Owns: the notation of scripts: a segment as a line of text, and back. Close to packetdrill's.
//
// `FLAGS SEQ:END [ack N] [win N] [urg N] [<options>]`
// FLAGS of `FSRPAUEC`, or `-` for none. END − SEQ is the length of the text, SYN and FIN not counted. Numbers of the peer are those of its
// SYN on, ours count from our ISS: our SYN is 0. `win` is the field as it travels, unscaled.

import type { Bytes } from '../memory/slab.js'

export const LETTERS: Record<string, number> = { F: 1, S: 2, R: 4, P: 8, A: 16, U: 32, E: 64, C: 128 }

/** Byte `i` of either side's stream: what `recv` puts into segments, `write` queues and `sent` and `read` expect. */
export const patternByte = (i: number): number => (i * 7 + (i >> 8) * 13 + 1) & 0xff

/** Bytes [from, to) of the pattern. */
export function pattern(from: number, to: number): Bytes {
  const bytes = new Uint8Array(to - from)
  for (let i = from; i < to; i++) bytes[i - from] = patternByte(i)
  return bytes
}

/** What a line like `PA 1001:1101 ack 1 win 500 <nop>` says. Missing parts are null. */
export interface Line {
  flags: number
  seq: number
  end: number
  ack: number | null
  win: number | null
  urg: number
  options: string | null
}

/**
 * Options: `mss N`, `wscale N`, `sackOK`, `TS val N ecr N`, `sack A:B C:D`, `nop`, `raw HEX`. Our TS values count milliseconds since the
 * script began. `recv` without options adds timestamps as soon as both SYNs had them; `<>` adds none. `sent` compares what its line
 * mentions; `*` in a TS stands for any value; with `<…>` the options must be exactly those (padding aside).
 */
export function parseLine(text: string): Line {
  const match = /^([FSRPAUEC]+|-) (-?\d+):(-?\d+)(?: ack (-?\d+))?(?: win (\d+))?(?: urg (\d+))?(?: <(.*)>)?$/.exec(text.trim())
  if (match === null) throw new Error(`'${text}' is not: FLAGS SEQ:END [ack N] [win N] [urg N] [<options>]`)
  let flags = 0
  if (match[1] !== '-') for (const letter of match[1]) flags |= LETTERS[letter]
  const number = (part: string | undefined) => (part === undefined ? null : Number(part))
  return {
    flags,
    seq: Number(match[2]),
    end: Number(match[3]),
    ack: number(match[4]),
    win: number(match[5]),
    urg: Number(match[6] ?? 0),
    options: match[7] ?? null,
  }
}

/** The same options, in any order, padding aside; `*` stands for any number. */
export function sameOptions(expected: string, got: string): boolean {
  const list = (text: string) =>
    text
      .split(',')
      .map(p => p.trim())
      .filter(p => p !== '' && p !== 'nop')
      .sort()
  const a = list(expected)
  const b = list(got)
  if (a.length !== b.length) return false
  return a.every((want, i) => {
    const pattern = new RegExp(`^${want.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '\\d+')}$`)
    return pattern.test(b[i])
  })
}

/** Option bytes, padded. `tsBase` is what our TS echo and `seqBase` what SACK edges count from. */
export function encodeOptions(text: string, tsBase: number, seqBase: number): number[] {
  const out: number[] = []
  const word = (n: number) => out.push((n >>> 24) & 255, (n >>> 16) & 255, (n >>> 8) & 255, n & 255)
  for (const part of text.split(',').map(p => p.trim())) {
    const [name, ...args] = part.split(/[\s:]+/)
    const first = Number(args[0])
    if (name === '') continue
    else if (name === 'nop') out.push(1)
    else if (name === 'mss') out.push(2, 4, first >> 8, first & 255)
    else if (name === 'wscale') out.push(3, 3, first)
    else if (name === 'sackOK') out.push(4, 2)
    else if (name === 'TS') {
      out.push(8, 10)
      word(Number(args[1]))
      word(Number(args[3]) + tsBase)
    } else if (name === 'sack') {
      out.push(5, 2 + 4 * args.length)
      for (const arg of args) word(Number(arg) + seqBase)
    } else if (name === 'raw') for (const byte of args[0].match(/../g) ?? []) out.push(Number.parseInt(byte, 16))
    else throw new Error(`option '${part}' is unknown`)
  }
  while (out.length % 4 !== 0) out.push(0)
  return out
}
