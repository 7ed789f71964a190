// Owns: HTTPS and SVCB records made harmless for names with fake addresses: ipv4hint and ipv6hint would lead round them, so they go, and
// `mandatory` is repaired, for a record that calls a missing key mandatory is void. Read first: RFC 9460 §2.2 (wire form), §8 (mandatory).
//   rdata  |priority|target name|key|length|value|key|length|value …|        keys ascend, each at most once

import { TYPE } from './message.js'
import { skipName } from './name.js'
import { namesOf, pointerOf, targetOf } from './record-names.js'
import { type RecordAt, readRecords } from './records.js'

const MANDATORY = 0
const ALPN = 1
const NO_DEFAULT_ALPN = 2
const IPV4HINT = 4
const IPV6HINT = 6

export interface SvcbRules {
  /** Takes `ipv4hint` and `ipv6hint` out. */
  stripHints: boolean
  /** Protocols not to be offered, e.g. `h3` where UDP goes nowhere. A record left without any goes as a whole. */
  dropAlpn?: ReadonlySet<string>
}

/**
 * The answer with its HTTPS and SVCB records so changed; void ones (RFC 9460 §2.2) go. A changed answer has no authority and additional
 * section but for OPT: they are a courtesy, may have addresses, and their names point at what has moved. null: the message is broken, or
 * changing it would break a pointer of an answer: better none than one that leads astray.
 */
export function filterSvcb(bytes: Uint8Array, rules: SvcbRules): Uint8Array | null {
  const records = readRecords(bytes)
  if (records === null) return null
  const parts: Uint8Array[] = []
  let answers = 0
  let opt = 0
  let firstChange = bytes.length
  for (const record of records) {
    const { section, type, at, end } = record
    if (section > 0) {
      if (type === TYPE.OPT) parts.push(bytes.subarray(at, end))
      if (type === TYPE.OPT) opt++
      else if (rules.stripHints && (type === TYPE.A || type === TYPE.AAAA)) firstChange = Math.min(firstChange, at)
      continue
    }
    const rdata = type === TYPE.HTTPS || type === TYPE.SVCB ? filterRdata(bytes.subarray(record.rdata, end), rules) : undefined
    if (rdata !== null) {
      answers++
      if (firstChange < at && pointsBehind(bytes, record, rdata !== undefined, firstChange)) return null
      parts.push(bytes.subarray(at, rdata === undefined ? end : record.rdata - 2))
      if (rdata !== undefined) parts.push(Uint8Array.of(rdata.length >> 8, rdata.length & 255), rdata)
    }
    if (rdata !== undefined) firstChange = Math.min(firstChange, at)
  }
  if (firstChange === bytes.length) return bytes
  const out = Uint8Array.from(Buffer.concat([bytes.subarray(0, records[0].at), ...parts]))
  out[3] &= ~0x20 // AD: nobody has vouched for this
  for (const [i, count] of [answers, 0, opt].entries()) {
    out[6 + 2 * i] = count >> 8
    out[7 + 2 * i] = count & 255
  }
  return out
}

/** Does a name of the record that stays as it is, or the owner's of one that is changed, lead to what moves? */
function pointsBehind(bytes: Uint8Array, record: RecordAt, isChanged: boolean, limit: number): boolean {
  const names = isChanged ? [record.at] : namesOf(bytes, record)
  return names.some(name => {
    const pointer = pointerOf(bytes, name)
    return pointer >= 0 && targetOf(bytes, pointer) >= limit
  })
}

/** The rdata as it may stay; undefined: nothing to change; null: the record goes. */
function filterRdata(rdata: Uint8Array, { stripHints, dropAlpn }: SvcbRules): Uint8Array | null | undefined {
  const params = readParams(rdata)
  if (params === null) return null
  const kept: Param[] = []
  let changed = false
  for (const param of params) {
    if (stripHints && (param.key === IPV4HINT || param.key === IPV6HINT)) changed = true
    else if (param.key === ALPN && dropAlpn && dropAlpn.size > 0) {
      const value = filterAlpn(param.value, dropAlpn)
      if (value === null) return null
      changed ||= value.length !== param.value.length
      if (value.length > 0) kept.push({ key: ALPN, value })
    } else kept.push(param)
  }
  if (!changed) return undefined
  const keys = new Set(kept.map(({ key }) => key))
  // Without any protocol of its own, and without the default one, there is no way to use it (§7.1.2).
  if (!keys.has(ALPN) && keys.has(NO_DEFAULT_ALPN)) return null
  if (kept[0]?.key === MANDATORY) {
    const left = keysOf(kept[0].value).filter(key => keys.has(key))
    if (left.length === 0) kept.shift()
    else kept[0].value = Uint8Array.from(left.flatMap(key => [key >> 8, key & 255]))
  }
  const head = rdata.subarray(0, skipName(rdata, 2))
  return Uint8Array.from(
    Buffer.concat([
      head,
      ...kept.flatMap(({ key, value }) => [Uint8Array.of(key >> 8, key & 255, value.length >> 8, value.length & 255), value]),
    ]),
  )
}

interface Param {
  key: number
  value: Uint8Array
}

/** null: void. An alias (priority 0) has no parameters that count (§2.4.2). */
function readParams(rdata: Uint8Array): Param[] | null {
  let at = rdata.length < 3 ? -1 : skipName(rdata, 2)
  if (at < 0 || pointerOf(rdata, 2) >= 0) return null // compressed: §2.2 forbids it
  const params: Param[] = []
  let last = -1
  while (at < rdata.length) {
    if (at + 4 > rdata.length) return null
    const key = (rdata[at] << 8) | rdata[at + 1]
    const length = (rdata[at + 2] << 8) | rdata[at + 3]
    const end = at + 4 + length
    if (end > rdata.length || key <= last) return null
    last = key
    params.push({ key, value: rdata.subarray(at + 4, end) })
    at = end
  }
  const keys = new Set(params.map(({ key }) => key))
  const mandatory = params[0]?.key === MANDATORY ? keysOf(params[0].value) : []
  return mandatory.includes(MANDATORY) || mandatory.some(key => !keys.has(key)) ? null : params
}

function keysOf(value: Uint8Array): number[] {
  return Array.from({ length: value.length >> 1 }, (_, i) => (value[2 * i] << 8) | value[2 * i + 1])
}

/** What is left of a list of protocols: each is a byte of length and its name. null: it is none. */
function filterAlpn(value: Uint8Array, drop: ReadonlySet<string>): Uint8Array | null {
  const kept: number[] = []
  for (let at = 0; at < value.length; at += 1 + value[at]) {
    const end = at + 1 + value[at]
    if (value[at] === 0 || end > value.length) return null
    if (!drop.has(Buffer.from(value.subarray(at + 1, end)).toString('latin1'))) kept.push(...value.subarray(at, end))
  }
  return Uint8Array.from(kept)
}
