// Owns: rtnetlink messages, bytes ↔ fields, as far as an uplink and a NIC's state ask for them. Everything is checked against its length:
// a message that is cut off ends the reading. rtnetlink(7), netlink(7), <linux/rtnetlink.h>, <linux/if_link.h>.

import { endianness } from 'node:os'
import { formatAddress } from '@tun/stack'

export const RTM = {
  newLink: 16,
  delLink: 17,
  getLink: 18,
  newAddr: 20,
  delAddr: 21,
  getAddr: 22,
  newRoute: 24,
  delRoute: 25,
  getRoute: 26,
} as const
/** Bits of `groups`: RTMGRP_LINK, RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR, RTMGRP_IPV4_ROUTE and RTMGRP_IPV6_ROUTE. */
export const GROUPS = { link: 0x1, address: 0x110, route: 0x440 } as const

const LITTLE = endianness() === 'LE' // netlink speaks as the machine does
const NLMSG_ERROR = 2
const NLMSG_DONE = 3
const NLM_F_REQUEST_DUMP = 0x301
const HEADER = 16
const IFF_UP = 1
const ARPHRD_NONE = 0xfffe // a TUN; a TAP, of the same kind, is ARPHRD_ETHER
const RT_TABLE_MAIN = 254
const RTN_UNICAST = 1
const RTNH_F_DEAD = 1
const IFA_F = { temporary: 0x01, dadFailed: 0x08, deprecated: 0x20, tentative: 0x40 } as const
const SCOPE_GLOBAL = 0
const AF_INET = 2
const AF_INET6 = 10

export interface Link {
  index: number
  name: string
  mtu: number
  up: boolean
  /** A layer-3 TUN, whoever owns it. */
  tun: boolean
}

export interface Address {
  index: number
  family: 4 | 6
  address: string
  /** Of global scope, in use, and not about to leave: fit to be a source. */
  usable: boolean
  /** RFC 8981. */
  temporary: boolean
}

/** A default route of the main table, which leads to a neighbour. */
export interface DefaultRoute {
  family: 4 | 6
  /** The interface it leaves by. */
  index: number
  metric: number
  /** The source address it asks for. */
  source: string | undefined
}

export type Message =
  | { type: 'link'; gone: boolean; link: Link }
  | { type: 'address'; gone: boolean; address: Address }
  | { type: 'route'; gone: boolean; route: DefaultRoute }
  | { type: 'done' | 'error' }

/** The bytes of "all links", "all addresses" or "all routes", please. */
export function dumpRequest(type: number): Uint8Array {
  const bytes = new Uint8Array(HEADER + 16) // room for the longest header behind it, ifinfomsg; zeros ask for all
  const view = new DataView(bytes.buffer)
  view.setUint32(0, bytes.length, LITTLE)
  view.setUint16(4, type, LITTLE)
  view.setUint16(6, NLM_F_REQUEST_DUMP, LITTLE)
  view.setUint32(8, 1, LITTLE)
  return bytes
}

/** The messages of one datagram that say something to us; other tables' routes, routes to networks, and what is not known are left out. */
export function* messages(bytes: Uint8Array): Generator<Message> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  for (let at = 0; at + HEADER <= bytes.length; ) {
    const length = view.getUint32(at, LITTLE)
    if (length < HEADER || length > bytes.length - at) return
    const type = view.getUint16(at + 4, LITTLE)
    const body = new DataView(bytes.buffer, bytes.byteOffset + at + HEADER, length - HEADER)
    const message = read(type, body)
    if (message) yield message
    at += (length + 3) & ~3
  }
}

function read(type: number, body: DataView): Message | null {
  switch (type) {
    case NLMSG_DONE:
      return { type: 'done' }
    case NLMSG_ERROR:
      return { type: 'error' }
    case RTM.newLink:
    case RTM.delLink: {
      const link = readLink(body)
      return link && { type: 'link', gone: type === RTM.delLink, link }
    }
    case RTM.newAddr:
    case RTM.delAddr: {
      const address = readAddress(body)
      return address && { type: 'address', gone: type === RTM.delAddr, address }
    }
    case RTM.newRoute:
    case RTM.delRoute: {
      const route = readRoute(body)
      return route && { type: 'route', gone: type === RTM.delRoute, route }
    }
    default:
      return null
  }
}

/** struct ifinfomsg */
function readLink(body: DataView): Link | null {
  if (body.byteLength < 16) return null
  const arphrd = body.getUint16(2, LITTLE)
  const link = { index: body.getInt32(4, LITTLE), name: '', mtu: 0, up: (body.getUint32(8, LITTLE) & IFF_UP) !== 0, tun: false }
  for (const [type, value] of attributes(body, 16)) {
    if (type === 3) link.name = text(value)
    else if (type === 4 && value.byteLength >= 4) link.mtu = value.getUint32(0, LITTLE)
    else if (type === 18)
      for (const [inner, kind] of attributes(value, 0)) if (inner === 1) link.tun = arphrd === ARPHRD_NONE && text(kind) === 'tun'
  }
  return link
}

/** struct ifaddrmsg */
function readAddress(body: DataView): Address | null {
  if (body.byteLength < 8) return null
  const family = familyOf(body.getUint8(0))
  if (family === undefined) return null
  let flags: number = body.getUint8(2)
  let own: string | undefined
  let address: string | undefined
  for (const [type, value] of attributes(body, 8)) {
    if (type === 1) address = addressText(family, value)
    else if (type === 2)
      own = addressText(family, value) // where `address` is the other end's
    else if (type === 8 && value.byteLength >= 4) flags = value.getUint32(0, LITTLE)
  }
  const told = own ?? address
  if (told === undefined) return null
  const { dadFailed, deprecated, tentative, temporary } = IFA_F
  const usable = body.getUint8(3) === SCOPE_GLOBAL && (family === 4 || (flags & (dadFailed | deprecated | tentative)) === 0)
  // The bit means "secondary" in IPv4.
  return { index: body.getUint32(4, LITTLE), family, address: told, usable, temporary: family === 6 && (flags & temporary) !== 0 }
}

/** struct rtmsg */
function readRoute(body: DataView): DefaultRoute | null {
  if (body.byteLength < 12) return null
  const family = familyOf(body.getUint8(0))
  if (family === undefined || body.getUint8(1) !== 0 || body.getUint8(2) !== 0 || body.getUint8(7) !== RTN_UNICAST) return null
  if (body.getUint32(8, LITTLE) & RTNH_F_DEAD) return null
  let table: number = body.getUint8(4)
  const route: DefaultRoute = { family, index: 0, metric: 0, source: undefined }
  for (const [type, value] of attributes(body, 12)) {
    const word = value.byteLength >= 4 ? value.getUint32(0, LITTLE) : 0
    if (type === 4) route.index = word
    else if (type === 6) route.metric = word
    else if (type === 7) route.source = addressText(family, value)
    else if (type === 15) table = word
    // Several ways: struct rtnexthop, of which the first is as good as any.
    else if (type === 9 && value.byteLength >= 8) route.index = value.getUint32(4, LITTLE)
  }
  return table === RT_TABLE_MAIN && route.index !== 0 ? route : null
}

function* attributes(view: DataView, from: number): Generator<[type: number, value: DataView]> {
  for (let at = from; at + 4 <= view.byteLength; ) {
    const length = view.getUint16(at, LITTLE)
    if (length < 4 || length > view.byteLength - at) return
    yield [view.getUint16(at + 2, LITTLE) & 0x3fff, new DataView(view.buffer, view.byteOffset + at + 4, length - 4)]
    at += (length + 3) & ~3
  }
}

const familyOf = (af: number): 4 | 6 | undefined => (af === AF_INET ? 4 : af === AF_INET6 ? 6 : undefined)

function text(value: DataView): string {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  const end = bytes.indexOf(0)
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end)
}

function addressText(family: 4 | 6, value: DataView): string | undefined {
  if (value.byteLength !== (family === 4 ? 4 : 16)) return undefined
  const word = (i: number) => value.getInt32(i * 4)
  return family === 4 ? formatAddress(0, 0, 0xffff, word(0)) : formatAddress(word(0), word(1), word(2), word(3))
}
