// Owns: names of addresses, learned from the DNS answers that pass by, fake ones like real ones. RFC 1035 §4; UDP port 53 only.
// Never throws, whatever the bytes; bounded in names and in work.

import { formatAddress } from '@tun/stack'
import { type PacketFacts, UDP } from './packet-facts.js'

const DNS = 53
const A = 1
const CNAME = 5
const AAAA = 28
const TYPES = new Map([
  [A, 'A'],
  [2, 'NS'],
  [CNAME, 'CNAME'],
  [6, 'SOA'],
  [12, 'PTR'],
  [15, 'MX'],
  [16, 'TXT'],
  [AAAA, 'AAAA'],
  [33, 'SRV'],
  [64, 'SVCB'],
  [65, 'HTTPS'],
])
const MAX_NAMES = 65_536
const MAX_RECORDS = 64
const MAX_NAME = 255 // RFC 1035 §3.1

export interface DnsSeen {
  question: string
  /** e.g. AAAA, or TYPE99. */
  type: string
  response: boolean
  addresses: string[]
}

export class PacketNames {
  private readonly names = new Map<string, string>()
  private readonly onName: (address: string, name: string) => void

  /** @param onName an address has got a name, or another one */
  constructor(onName: (address: string, name: string) => void = () => {}) {
    this.onName = onName
  }

  of(address: string): string | undefined {
    return this.names.get(address)
  }

  /** If it is a DNS message, what it says; the addresses of an answer are called after its question from now on. */
  learn(facts: PacketFacts): DnsSeen | undefined {
    if (facts.protocol !== UDP || (facts.sourcePort !== DNS && facts.destinationPort !== DNS)) return undefined
    const seen = readMessage(facts.bytes.subarray(facts.payload + 8))
    if (seen === undefined || facts.sourcePort !== DNS) return seen
    for (const address of seen.addresses) {
      if (this.names.get(address) === seen.question) continue
      this.names.delete(address) // to the end: the oldest is forgotten first
      this.names.set(address, seen.question)
      if (this.names.size > MAX_NAMES) this.names.delete(this.names.keys().next().value as string)
      this.onName(address, seen.question)
    }
    return seen
  }
}

function readMessage(bytes: Uint8Array): DnsSeen | undefined {
  if (bytes.length < 17) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const response = (view.getUint8(2) & 0x80) !== 0
  if (view.getUint16(4) !== 1) return undefined // questions
  const [question, end] = readName(bytes, 12)
  if (question === undefined || end + 4 > bytes.length) return undefined
  const type = view.getUint16(end)
  const addresses: string[] = []
  let at = end + 4
  const records = response ? Math.min(view.getUint16(6), MAX_RECORDS) : 0
  for (let i = 0; i < records; i++) {
    at = skipName(bytes, at)
    if (at + 10 > bytes.length) break
    const kind = view.getUint16(at)
    const length = view.getUint16(at + 8)
    const data = at + 10
    at = data + length
    if (at > bytes.length) break
    if (kind === A && length === 4) addresses.push(formatAddress(0, 0, 0xffff, view.getInt32(data)))
    if (kind === AAAA && length === 16) {
      const word = (n: number) => view.getInt32(data + 4 * n)
      addresses.push(formatAddress(word(0), word(1), word(2), word(3)))
    }
  }
  return { question, type: TYPES.get(type) ?? `TYPE${type}`, response, addresses }
}

/** The question's name; it stands first and cannot be compressed. What is not printable is written as RFC 1035 §5.1 has it. */
function readName(bytes: Uint8Array, from: number): [name: string | undefined, end: number] {
  const labels: string[] = []
  let at = from
  while (at < bytes.length && at - from <= MAX_NAME) {
    const length = bytes[at++]
    if (length === 0) return [labels.length === 0 ? '.' : labels.join('.'), at]
    if (length > 63 || at + length > bytes.length) break
    labels.push(label(bytes.subarray(at, at + length)))
    at += length
  }
  return [undefined, at]
}

function label(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) {
    const character = String.fromCharCode(byte)
    if (byte <= 0x20 || byte >= 0x7f) text += `\\${String(byte).padStart(3, '0')}`
    else text += character === '.' || character === '\\' ? `\\${character}` : character.toLowerCase()
  }
  return text
}

function skipName(bytes: Uint8Array, from: number): number {
  let at = from
  while (at < bytes.length) {
    const length = bytes[at]
    if (length === 0) return at + 1
    if (length >= 0xc0) return at + 2
    at += 1 + length
  }
  return at
}
