// Owns: a packet as one line of text, as tcpdump prints it: for logs, failing tests and scripts alike. Never throws, whatever the bytes.
// Read first: tcpdump(1) under "TCP Packets".

import { formatAddress } from './address.js'
import { IP_OK, IpPacket, PROTO_ICMP, PROTO_ICMPV6, PROTO_TCP, PROTO_UDP, readIp } from './ip.js'
import { ACK, FIN, PSH, RST, readSegment, Segment, SYN, URG } from './tcp.js'

/** Names of the states of tcp/states.ts, in their order. */
const STATES = [
  'CLOSED',
  'SYN-PENDING',
  'SYN-SENT',
  'SYN-RECEIVED',
  'ESTABLISHED',
  'FIN-WAIT-1',
  'FIN-WAIT-2',
  'CLOSE-WAIT',
  'CLOSING',
  'LAST-ACK',
]

export const printState = (state: number): string => STATES[state] ?? `state ${state}`

/** Words of tcpdump for what everybody looks for: RFC 792, RFC 4443 §4. */
const ECHO4: Readonly<Record<number, string>> = { 8: 'echo request', 0: 'echo reply' }
const ECHO6: Readonly<Record<number, string>> = { 128: 'echo request', 129: 'echo reply' }

const ip = new IpPacket()
const seg = new Segment()

/** The packet bytes[start, end) as a line: `IP 10.0.0.1.4000 > 10.0.0.2.80: Flags [S], seq 7, win 65535, options [mss 1460], length 0`. */
export function printPacket(bytes: Uint8Array, start = 0, end = bytes.length): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset + start, end - start)
  const length = view.byteLength
  const status = readIp(view, 0, length, false, ip)
  if (status !== IP_OK) return `malformed packet (${status}) of ${length} bytes: ${printHex(bytes, start, Math.min(end, start + 24))}`
  const from = formatAddress(ip.s0, ip.s1, ip.s2, ip.s3)
  const to = formatAddress(ip.d0, ip.d1, ip.d2, ip.d3)
  const family = ip.v4 ? 'IP' : 'IP6'
  if (ip.fragment && ip.fragmentOffset > 0) return `${family} ${from} > ${to}: ${printFragment()}`
  const room = ip.end - ip.payload
  const ported = (ip.proto === PROTO_TCP || ip.proto === PROTO_UDP) && room >= 8
  const line = ported
    ? `${family} ${from}.${view.getUint16(ip.payload)} > ${to}.${view.getUint16(ip.payload + 2)}: ${printTransport(view, bytes, start)}`
    : `${family} ${from} > ${to}: ${printTransport(view, bytes, start)}`
  return ip.fragment ? `${line}, ${printFragment()}` : line
}

/** `bytes` as hex pairs. */
export function printHex(bytes: Uint8Array, start = 0, end = bytes.length): string {
  let text = ''
  for (let i = start; i < end; i++) text += (i > start ? ' ' : '') + bytes[i].toString(16).padStart(2, '0')
  return text
}

/** Flags in tcpdump's letters: `S`, `S.`, `P.`, `F.`, `R`, `none`. */
export function printFlags(flags: number): string {
  let text = ''
  if (flags & SYN) text += 'S'
  if (flags & FIN) text += 'F'
  if (flags & RST) text += 'R'
  if (flags & PSH) text += 'P'
  if (flags & URG) text += 'U'
  if (flags & ACK) text += '.'
  return text || 'none'
}

function printFragment(): string {
  const end = ip.moreFragments ? '+' : ''
  return `frag (id ${ip.identification >>> 0}, offset ${ip.fragmentOffset}${end}, length ${ip.end - ip.payload})`
}

function printTransport(view: DataView, bytes: Uint8Array, start: number): string {
  const room = ip.end - ip.payload
  if (ip.proto === PROTO_UDP && room >= 8) return `UDP, length ${view.getUint16(ip.payload + 4) - 8}`
  if (ip.proto === PROTO_TCP && readSegment(view, ip.payload, ip.end, seg)) return printTcp(view)
  if ((ip.proto === PROTO_ICMP || ip.proto === PROTO_ICMPV6) && room >= 8) {
    const name = ip.proto === PROTO_ICMP ? 'ICMP' : 'ICMP6'
    const type = view.getUint8(ip.payload)
    const echo = ip.proto === PROTO_ICMP ? ECHO4[type] : ECHO6[type]
    if (echo !== undefined) {
      return `${name} ${echo}, id ${view.getUint16(ip.payload + 4)}, seq ${view.getUint16(ip.payload + 6)}, length ${room}`
    }
    const line = `${name} type ${type} code ${view.getUint8(ip.payload + 1)}, length ${room}`
    const error = ip.proto === PROTO_ICMP ? type === 3 : type === 1
    return error ? `${line}, about (${printQuoted(bytes, start + ip.payload + 8, start + ip.end)})` : line
  }
  return `protocol ${ip.proto}, length ${room}`
}

/** The beginning of a packet that an ICMP error quotes: its addresses, and ports if it has any, as far as they are there. */
function printQuoted(bytes: Uint8Array, start: number, end: number): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset + start, end - start)
  if (end - start < 28) return printHex(bytes, start, end)
  const v4 = view.getUint8(0) >> 4 === 4
  const at = v4 ? 12 : 8
  const size = v4 ? 4 : 16
  const ports = v4 ? (view.getUint8(0) & 15) * 4 : 40
  if (end - start < ports + 4) return printHex(bytes, start, end)
  const text = (from: number) =>
    v4
      ? formatAddress(0, 0, 0xffff, view.getInt32(from))
      : formatAddress(view.getInt32(from), view.getInt32(from + 4), view.getInt32(from + 8), view.getInt32(from + 12))
  const proto = view.getUint8(v4 ? 9 : 6)
  if (proto !== PROTO_TCP && proto !== PROTO_UDP) return `${text(at)} > ${text(at + size)}`
  return `${text(at)}.${view.getUint16(ports)} > ${text(at + size)}.${view.getUint16(ports + 2)}`
}

function printTcp(view: DataView): string {
  const text = seg.end - seg.data
  let line = `Flags [${printFlags(seg.flags)}], seq ${seg.seq >>> 0}`
  if (text > 0) line += `:${(seg.seq + text) >>> 0}`
  if (seg.flags & ACK) line += `, ack ${seg.ack >>> 0}`
  line += `, win ${seg.wnd}`
  const options = printOptions(view, ip.payload + 20, seg.data)
  if (options !== '') line += `, options [${options}]`
  return `${line}, length ${text}`
}

/** The TCP options view[from, end), in the order they stand there. */
export function printOptions(view: DataView, from: number, end: number): string {
  const names: string[] = []
  for (let at = from; at < end; ) {
    const kind = view.getUint8(at)
    if (kind === 0) {
      names.push('eol')
      break
    }
    if (kind === 1) {
      names.push('nop')
      at++
      continue
    }
    const length = at + 2 <= end ? view.getUint8(at + 1) : 0
    if (length < 2 || at + length > end) {
      names.push(`bad ${kind}`)
      break
    }
    names.push(printOption(view, at, kind, length))
    at += length
  }
  return names.join(',')
}

function printOption(view: DataView, at: number, kind: number, length: number): string {
  if (kind === 2 && length === 4) return `mss ${view.getUint16(at + 2)}`
  if (kind === 3 && length === 3) return `wscale ${view.getUint8(at + 2)}`
  if (kind === 4 && length === 2) return 'sackOK'
  if (kind === 8 && length === 10) return `TS val ${view.getUint32(at + 2)} ecr ${view.getUint32(at + 6)}`
  if (kind === 5 && length >= 10 && (length - 2) % 8 === 0) {
    const blocks: string[] = []
    for (let i = at + 2; i < at + length; i += 8) blocks.push(`{${view.getUint32(i)}:${view.getUint32(i + 4)}}`)
    return `sack ${blocks.length} ${blocks.join('')}`
  }
  return `unknown-${kind}`
}
