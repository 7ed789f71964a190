// Owns: the pcapng file: one section, one interface of raw IP packets, names and comments. Pure: blocks go to a function.
// Read first: draft-ietf-opsawg-pcapng §4.1 to §4.6; numbers in parentheses are its option codes.

import { type AddressWords, isMapped, parseAddress } from '@tun/stack'

const SECTION = 0x0a0d0d0a
const INTERFACE = 1
const NAMES = 4
const STATISTICS = 5
const PACKET = 6
const BYTE_ORDER = 0x1a2b3c4d
const LINKTYPE_RAW = 101
const UNKNOWN_LENGTH = 0xffffffff // both words of a section's length: -1

const COMMENT = 1
const INBOUND = 1
const OUTBOUND = 2

export interface PcapngOptions {
  /** The program that writes it (4), and the interface (2), e.g. tun0. */
  application: string
  interfaceName: string
}

export interface PacketNotes {
  comment?: string
  /** From the applications; undefined: not known. */
  outgoing?: boolean
}

type Option = readonly [code: number, value: Uint8Array]

const text = (value: string) => new TextEncoder().encode(value)
const padded = (length: number) => (length + 3) & ~3

/** Every call is one call of `write`, of a whole block, whose bytes are its own. */
export class PcapngWriter {
  private readonly write: (block: Uint8Array) => void

  constructor(write: (block: Uint8Array) => void, { application, interfaceName }: PcapngOptions) {
    this.write = write
    const section = new Uint8Array(16)
    const view = new DataView(section.buffer)
    view.setUint32(0, BYTE_ORDER, true)
    view.setUint16(4, 1, true) // version 1.0
    view.setUint32(8, UNKNOWN_LENGTH, true)
    view.setUint32(12, UNKNOWN_LENGTH, true)
    this.block(SECTION, section, [[4, text(application)]])
    const description = new Uint8Array(8) // snap length 0: no bound
    new DataView(description.buffer).setUint16(0, LINKTYPE_RAW, true)
    this.block(INTERFACE, description, [[2, text(interfaceName)]])
  }

  /** @param at milliseconds since 1970 */
  packet(bytes: Uint8Array, at: number, { comment, outgoing }: PacketNotes = {}): void {
    const body = new Uint8Array(20 + padded(bytes.length))
    const view = new DataView(body.buffer)
    setTime(view, 4, at)
    view.setUint32(12, bytes.length, true)
    view.setUint32(16, bytes.length, true)
    body.set(bytes, 20)
    const options: Option[] = []
    if (comment !== undefined) options.push([COMMENT, text(comment)])
    if (outgoing !== undefined) options.push([2, word(outgoing ? OUTBOUND : INBOUND)])
    this.block(PACKET, body, options)
  }

  /** The address is called so from here on. What is no address is passed over. */
  name(address: string, name: string): void {
    const words = parseAddress(address)
    if (words === null) return
    const v4 = isMapped(words[0], words[1], words[2])
    const value = new Uint8Array([...addressBytes(words).subarray(v4 ? 12 : 0), ...text(name), 0])
    const body = new Uint8Array(4 + padded(value.length) + 4) // and the end of the records, 0 and 0
    const view = new DataView(body.buffer)
    view.setUint16(0, v4 ? 1 : 2, true)
    view.setUint16(2, value.length, true)
    body.set(value, 4)
    this.block(NAMES, body, [])
  }

  /** For the end: packets seen (4), and of these the ones left out (5). */
  statistics(at: number, seen: number, dropped: number): void {
    const body = new Uint8Array(12)
    setTime(new DataView(body.buffer), 4, at)
    this.block(STATISTICS, body, [
      [4, long(seen)],
      [5, long(dropped)],
    ])
  }

  private block(type: number, body: Uint8Array, options: readonly Option[]): void {
    const optionsLength = options.length === 0 ? 0 : options.reduce((sum, [, value]) => sum + 4 + padded(value.length), 4)
    const length = 12 + body.length + optionsLength
    const block = new Uint8Array(length)
    const view = new DataView(block.buffer)
    view.setUint32(0, type, true)
    view.setUint32(4, length, true)
    block.set(body, 8)
    let at = 8 + body.length
    for (const [code, value] of options) {
      view.setUint16(at, code, true)
      view.setUint16(at + 2, value.length, true)
      block.set(value, at + 4)
      at += 4 + padded(value.length)
    }
    view.setUint32(length - 4, length, true)
    this.write(block)
  }
}

/** Microseconds, the default resolution, as two words, the high one first. */
function setTime(view: DataView, at: number, millis: number): void {
  const micros = Math.max(0, Math.round(millis * 1000))
  view.setUint32(at, Math.floor(micros / 2 ** 32), true)
  view.setUint32(at + 4, micros % 2 ** 32, true)
}

function word(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value, true)
  return bytes
}

function long(value: number): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true)
  return bytes
}

function addressBytes(words: AddressWords): Uint8Array {
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  for (const [i, value] of words.entries()) view.setInt32(4 * i, value)
  return bytes
}
