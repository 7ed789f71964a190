// Owns: which packets: the expression after `tun dump --filter`, in the words of pcap-filter(7), and `name`, which that one lacks.
//
//   or     = and { "or" and }
//   and    = not { ["and"] not }
//   not    = "not" not | "(" or ")" | primitive
//   primitive = tcp | udp | icmp | icmp6 | ip | ip6 | [src | dst] ( host ADDRESS | net PREFIX | port N[-M] | name NAME )

import { type AddressWords, isMapped, parseAddress } from '@tun/stack'
import { ICMP, ICMPV6, type PacketFacts, TCP, UDP } from './packet-facts.js'
import type { DnsSeen, PacketNames } from './packet-names.js'

/** `dns`: what PacketNames.learn() answered for this packet. */
export type PacketFilter = (packet: PacketFacts, names: PacketNames, dns: DnsSeen | undefined) => boolean

type Side = 'src' | 'dst' | undefined

const MAX_WORDS = 1000
const WORDS: Readonly<Record<string, PacketFilter>> = {
  tcp: packet => packet.protocol === TCP,
  udp: packet => packet.protocol === UDP,
  icmp: packet => packet.protocol === ICMP || packet.protocol === ICMPV6,
  icmp6: packet => packet.protocol === ICMPV6,
  ip: packet => packet.version === 4,
  ip6: packet => packet.version === 6,
}

/** @throws TypeError that names the word at fault */
export function parsePacketFilter(text: string): PacketFilter {
  const words = text.match(/[()!]|[^\s()!]+/g) ?? []
  if (words.length === 0) throw new TypeError('the filter is empty')
  if (words.length > MAX_WORDS) throw new TypeError(`the filter has more than ${MAX_WORDS} words`)
  const parser = new Parser(words)
  const filter = parser.or()
  if (!parser.done) throw new TypeError(`filter: '${parser.next()}' closes nothing`)
  return filter
}

class Parser {
  private at = 0

  constructor(private readonly words: readonly string[]) {}

  get done(): boolean {
    return this.at === this.words.length
  }

  next(): string | undefined {
    return this.words[this.at++]
  }

  or(): PacketFilter {
    const parts = [this.and()]
    while (this.takes('or', '||')) parts.push(this.and())
    return parts.length === 1 ? parts[0] : (...args) => parts.some(part => part(...args))
  }

  private and(): PacketFilter {
    const parts = [this.not()]
    while (!this.done && !this.isNext('or', '||', ')')) {
      this.takes('and', '&&')
      parts.push(this.not())
    }
    return parts.length === 1 ? parts[0] : (...args) => parts.every(part => part(...args))
  }

  private not(): PacketFilter {
    if (this.takes('not', '!')) {
      const part = this.not()
      return (...args) => !part(...args)
    }
    if (!this.takes('(')) return this.primitive()
    const part = this.or()
    if (!this.takes(')')) throw new TypeError("filter: a ')' is missing")
    return part
  }

  private primitive(): PacketFilter {
    const word = this.next()
    if (word === undefined) throw new TypeError('filter: it ends where something is expected')
    if (Object.hasOwn(WORDS, word)) return WORDS[word]
    if (word !== 'src' && word !== 'dst') return this.qualified(word, undefined)
    const what = this.next()
    if (what === undefined) throw new TypeError(`filter: ${word} what? host, net, port or name`)
    return this.qualified(what, word)
  }

  private qualified(what: string, side: Side): PacketFilter {
    const read = Object.hasOwn(PRIMITIVES, what) ? PRIMITIVES[what] : undefined
    if (read === undefined) {
      throw new TypeError(`filter: '${what}' is not understood; there is tcp udp icmp ip ip6 host net port name src dst and or not ( )`)
    }
    const value = this.next()
    if (value === undefined) throw new TypeError(`filter: ${what} needs a value`)
    return read(value, side)
  }

  private isNext(...words: string[]): boolean {
    return words.includes(this.words[this.at])
  }

  private takes(...words: string[]): boolean {
    const found = this.isNext(...words)
    if (found) this.at++
    return found
  }
}

const PRIMITIVES: Readonly<Record<string, (value: string, side: Side) => PacketFilter>> = {
  host(value, side) {
    const words = parseAddress(value)
    if (words === null) throw new TypeError(`filter: host ${value}: not an IP address; for a name: name ${value}`)
    return either(
      side,
      packet => matches(packet.source, words, 128),
      packet => matches(packet.destination, words, 128),
    )
  },
  net(value, side) {
    const [address, bits] = value.split('/')
    const words = parseAddress(address)
    const v4 = words !== null && isMapped(words[0], words[1], words[2])
    const most = v4 ? 32 : 128
    if (words === null || !/^\d{1,3}$/.test(bits ?? '') || Number(bits) > most) {
      throw new TypeError(`filter: net ${value}: not a prefix like 198.18.0.0/16`)
    }
    const length = Number(bits) + 128 - most
    return either(
      side,
      packet => matches(packet.source, words, length),
      packet => matches(packet.destination, words, length),
    )
  },
  port(value, side) {
    const [, low, high = low] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(value) ?? []
    if (low === undefined || Number(low) < 1 || Number(high) > 65535 || Number(low) > Number(high)) {
      throw new TypeError(`filter: port ${value}: not a port, nor a range like 8000-8099`)
    }
    const within = (port: number) => port >= Number(low) && port <= Number(high)
    return either(
      side,
      packet => within(packet.sourcePort),
      packet => within(packet.destinationPort),
    )
  },
  name(value, side) {
    const wanted = value.toLowerCase().replace(/\.$/, '')
    const called = (name: string | undefined) => name !== undefined && (name === wanted || name.endsWith(`.${wanted}`))
    const sides = either(
      side,
      (packet, names) => called(names.of(packet.sourceText)),
      (packet, names) => called(names.of(packet.destinationText)),
    )
    return (packet, names, dns) => sides(packet, names, dns) || (side === undefined && called(dns?.question))
  },
}

function either(side: Side, source: PacketFilter, destination: PacketFilter): PacketFilter {
  if (side === 'src') return source
  if (side === 'dst') return destination
  return (...args) => source(...args) || destination(...args)
}

/** The first `length` bits are the same. */
function matches(address: AddressWords, prefix: AddressWords, length: number): boolean {
  for (let i = 0, left = length; left > 0; i++, left -= 32) {
    const mask = left >= 32 ? -1 : ~(0xffffffff >>> left)
    if (((address[i] ^ prefix[i]) & mask) !== 0) return false
  }
  return true
}
