// Owns: how a situation writes the peer's segments, and how what a subject sent is written down so that two TCPs can be compared.
//
// `FLAGS SEQ:END [ack N] [win N] [urg N] [<options>]`, FLAGS of `FSRPAUEC` or `-`. All numbers are relative: the peer's to its SYN, the
// subject's to its own; END − SEQ is the text. `E` is the right edge of the subject's window, `N` its SND.NXT, `M` a number that the
// situation has marked; `E-10`, `N+1` count from there.

import type { Bytes } from '@tun/stack'
import { fillChecksums, layoutOf, packetOk, patternByte } from '@tun/stack/testing'

export const FLAGS: Record<string, number> = { S: 2, F: 1, R: 4, P: 8, U: 32, A: 16, E: 64, C: 128 }
export const [SYN, FIN, RST, ACK] = [FLAGS.S, FLAGS.F, FLAGS.R, FLAGS.A]

/** A segment of the peer; sequence and acknowledgment numbers are relative still. */
export interface Line {
  flags: number
  seq: number
  end: number
  ack: number
  win: number | null
  urg: number
  /** Null: none given; the player adds timestamps where they were negotiated. */
  options: string | null
}

/** What `E`, `N` and `M` stand for. */
export type Symbols = Record<'E' | 'N' | 'M', number>

export function parseLine(text: string, symbols: Symbols): Line {
  const term = '[ENM]?[-+]?\\d*'
  const match = new RegExp(`^([FSRPAUEC]+|-) (${term}):(${term})(?: ack (${term}))?(?: win (\\d+))?(?: urg (\\d+))?(?: <(.*)>)?$`).exec(
    text,
  )
  if (match === null) throw new Error(`'${text}' is not: FLAGS SEQ:END [ack N] [win N] [urg N] [<options>]`)
  const number = (part: string): number => {
    const symbol = /^[ENM]/.exec(part)?.[0] as keyof Symbols | undefined
    return symbol === undefined ? Number(part) : symbols[symbol] + Number(part.slice(1) || 0)
  }
  let flags = 0
  if (match[1] !== '-') for (const letter of match[1]) flags |= FLAGS[letter]
  return {
    flags,
    seq: number(match[2]),
    end: number(match[3]),
    ack: match[4] === undefined ? 0 : number(match[4]),
    win: match[5] === undefined ? null : Number(match[5]),
    urg: Number(match[6] ?? 0),
    options: match[7] ?? null,
  }
}

/** What relative numbers count from. */
export interface Bases {
  peerIss: number
  ownIss: number
  /** The peer's TS values count from here. */
  peerTs: number
  /** The subject's last TS value, and that of its SYN. */
  ownTs: number
  ownSynTs: number
}

/** `mss N`, `wscale N`, `sackOK`, `ts VAL` (echoes the subject's last), `ts VAL ecr syn` (its SYN's), `sack A:B …`, `nop`, `raw HEX`; padded with end-of-list. */
export function encodeOptions(text: string, bases: Bases): number[] {
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
    else if (name === 'ts') {
      out.push(8, 10)
      word(first + bases.peerTs)
      word(args[2] === 'syn' ? bases.ownSynTs : bases.ownTs)
    } else if (name === 'sack') {
      out.push(5, 2 + 4 * args.length)
      for (const arg of args) word(Number(arg) + bases.ownIss)
    } else if (name === 'raw') for (const byte of args[0].match(/../g) ?? []) out.push(Number.parseInt(byte, 16))
    else throw new Error(`option '${part}' is unknown`)
  }
  while (out.length % 4 !== 0) out.push(0)
  return out
}

/** Both ends of a situation's connection: the peer is the script, `own` the subject. Addresses as bytes, 4 or 16. */
export interface Ends {
  peer: Bytes
  own: Bytes
  peerPort: number
  ownPort: number
}

export function buildPacket(line: Line, options: number[], win: number, ends: Ends, bases: Bases): Bytes {
  const v6 = ends.peer.length === 16
  const at = v6 ? 40 : 20
  const text = Math.max(0, line.end - line.seq)
  const packet = new Uint8Array(at + 20 + options.length + text)
  const view = new DataView(packet.buffer)
  if (v6) {
    view.setUint32(0, 0x60000000)
    view.setUint16(4, packet.length - 40)
    view.setUint16(6, 0x0640)
  } else {
    view.setUint16(0, 0x4500)
    view.setUint16(2, packet.length)
    view.setUint16(6, 0x4000) // don't fragment
    view.setUint16(8, 0x4006)
  }
  packet.set(ends.peer, v6 ? 8 : 12)
  packet.set(ends.own, v6 ? 24 : 16)
  view.setUint16(at, ends.peerPort)
  view.setUint16(at + 2, ends.ownPort)
  view.setInt32(at + 4, line.seq + bases.peerIss)
  view.setInt32(at + 8, line.flags & ACK ? line.ack + bases.ownIss : 0)
  view.setUint8(at + 12, (20 + options.length) << 2)
  view.setUint8(at + 13, line.flags)
  view.setUint16(at + 14, win)
  view.setUint16(at + 18, line.urg)
  packet.set(options, at + 20)
  const from = line.seq - (line.flags & SYN ? 0 : 1)
  for (let i = 0; i < text; i++) packet[at + 20 + options.length + i] = patternByte(from + i)
  return fillChecksums(packet)
}

/** A segment of the subject, as it travelled. */
export interface Seen {
  flags: number
  seq: number
  ack: number
  win: number
  mss: number
  wscale: number
  sackOk: boolean
  ts: { val: number; ecr: number } | null
  sack: number[]
  text: Bytes
}

/** Null: no TCP, or a checksum that is wrong. */
export function readPacket(packet: Bytes): Seen | null {
  const { transport: at, protocol, end } = layoutOf(packet)
  if (protocol !== 6 || !packetOk(packet)) return null
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length)
  const data = at + (view.getUint8(at + 12) >> 4) * 4
  const seen: Seen = {
    flags: view.getUint8(at + 13),
    seq: view.getInt32(at + 4),
    ack: view.getInt32(at + 8),
    win: view.getUint16(at + 14),
    mss: 0,
    wscale: -1,
    sackOk: false,
    ts: null,
    sack: [],
    text: packet.subarray(data, end),
  }
  for (let i = at + 20; i < data && packet[i] !== 0; i += packet[i] === 1 ? 1 : Math.max(2, packet[i + 1])) {
    const kind = packet[i]
    if (kind === 2) seen.mss = view.getUint16(i + 2)
    else if (kind === 3) seen.wscale = packet[i + 2]
    else if (kind === 4) seen.sackOk = true
    else if (kind === 8) seen.ts = { val: view.getInt32(i + 2), ecr: view.getInt32(i + 6) }
    else if (kind === 5) for (let k = i + 2; k < i + packet[i + 1]; k += 4) seen.sack.push(view.getInt32(k))
  }
  return seen
}

/**
 * What is compared: not windows but whether they are closed, not clocks but what they echo, no ISN.
 * PSH counts where all that was written ends, at `written`: where else is a matter of how the text was cut. `marked` is printed as `M`.
 */
export function printSeen(seen: Seen, bases: Bases, written: number, marked: number | null): string {
  let text = ''
  const last = ((seen.seq - bases.ownIss) | 0) + seen.text.length === written + 1
  const flags = last ? seen.flags : seen.flags & ~FLAGS.P
  for (const [letter, bit] of Object.entries(FLAGS)) if (flags & bit) text += letter
  // A reset of a flow nobody knows has the number 0 as it stands: RFC 9293 §3.10.7.1.
  const seq = seen.flags & RST && seen.seq === 0 ? 0 : (seen.seq - bases.ownIss) | 0
  text = `${text || '-'} ${seq}:${seq + seen.text.length}`
  if (seen.flags & ACK) {
    const ack = (seen.ack - bases.peerIss) | 0
    const behind = ack - (marked ?? 0)
    text += marked === null ? ` ack ${ack}` : ` ack M${behind > 0 ? '+' : ''}${behind || ''}`
  }
  if (!(seen.flags & RST)) text += seen.win === 0 ? ' win 0' : ' win +'
  const options: string[] = []
  if (seen.mss > 0) options.push(`mss ${seen.mss}`)
  if (seen.wscale >= 0) options.push('wscale')
  if (seen.sackOk) options.push('sackOK')
  if (seen.ts) options.push(seen.ts.ecr === 0 ? 'ts' : `ts ecr ${(seen.ts.ecr - bases.peerTs) | 0}`)
  const blocks = seen.sack.map(edge => (edge - bases.peerIss) | 0)
  if (blocks.length > 0) options.push(`sack${blocks.map((edge, i) => (i % 2 ? `:${edge}` : ` ${edge}`)).join('')}`)
  if (options.length > 0) text += ` <${options.join(', ')}>`
  const first = seen.text.findIndex((byte, i) => byte !== patternByte(seq - 1 + i))
  return first < 0 ? text : `${text} with wrong text at ${first}`
}
