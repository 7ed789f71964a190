import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readQuery, TYPE } from './message.js'
import { readRecords } from './records.js'
import { filterSvcb } from './svcb.js'

const HEX = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'))
const NAME = '076578616d706c6503636f6d00'
/** An answer to `example.com HTTPS` with these records in its answer section, and others behind it. */
function answer(records: string[], authority: string[] = [], additional: string[] = []): Uint8Array {
  const count = (list: string[]) => list.length.toString(16).padStart(4, '0')
  const all = [records, authority, additional]
  return HEX(`1234 81a0 0001 ${all.map(count).join(' ')} ${NAME} 0041 0001 ${all.flat().join('')}`)
}
const record = (rdata: string, type = '0041', owner = 'c00c') =>
  `${owner} ${type} 0001 0000012c ${(rdata.replaceAll(/\s/g, '').length / 2).toString(16).padStart(4, '0')} ${rdata}`

const HEAD = '0001 00' // priority 1, target '.'
const MANDATORY_ALPN_HINT = '0000 0004 0001 0004'
const ALPN_H2_H3 = '0001 0006 02 6832 02 6833'
const PORT = '0003 0002 01bb'
const HINT4 = '0004 0004 01020304'
const ECH = '0005 0003 aabbcc'
const HINT6 = '0006 0010 20010db8000000000000000000000001'
const OPT = '00 0029 04d0 00000000 0000'

const strip = { stripHints: true }
const shown = (bytes: Uint8Array | null) => bytes && Buffer.from(bytes).toString('hex')

describe('an HTTPS answer for a faked name', () => {
  test('loses its hints, keeps alpn, port and ech byte for byte, and AD is no longer claimed', () => {
    const before = answer([record(`${HEAD} ${ALPN_H2_H3} ${PORT} ${HINT4} ${ECH} ${HINT6}`)], [], [OPT])
    const after = answer([record(`${HEAD} ${ALPN_H2_H3} ${PORT} ${ECH}`)], [], [OPT])
    after[3] &= ~0x20
    expect(shown(filterSvcb(before, strip))).toBe(shown(after))
  })

  test('mandatory is repaired: keys that went are taken out of it, and it goes when none is left (RFC 9460 §8)', () => {
    const one = filterSvcb(answer([record(`${HEAD} ${MANDATORY_ALPN_HINT} ${ALPN_H2_H3} ${HINT4}`)]), strip)
    expect(shown(one)).toContain(shown(HEX(`${HEAD} 0000 0002 0001 ${ALPN_H2_H3}`)))
    const none = filterSvcb(answer([record(`${HEAD} 0000 0002 0004 ${ALPN_H2_H3} ${HINT4}`)]), strip)
    expect(shown(none)?.endsWith(shown(HEX(`${HEAD} ${ALPN_H2_H3}`)) ?? '')).toBe(true)
  })

  test('addresses in the additional section go with everything there but OPT', () => {
    const a = record('01020304', '0001')
    const changed = filterSvcb(answer([record(`${HEAD} ${ALPN_H2_H3}`)], [record('c00c', '0002')], [a, OPT]), strip)
    expect(readRecords(changed ?? HEX(''))?.map(({ type }) => type)).toEqual([TYPE.HTTPS, TYPE.OPT])
  })

  test('one without hints, and an alias, are the same bytes', () => {
    const bytes = answer([record(`${HEAD} ${ALPN_H2_H3} ${ECH}`), record(`0000 ${NAME}`)], [record('c00c', '0002')])
    expect(filterSvcb(bytes, strip)).toBe(bytes)
  })

  test('void records go: keys out of order or twice, a mandatory key that is not there, a length beyond the end', () => {
    for (const params of [`${HINT4} ${ALPN_H2_H3}`, `${PORT} ${PORT}`, `0000 0002 0005 ${PORT}`, '0001 0009 02', '0000 0002 0000', '00']) {
      const after = filterSvcb(answer([record(`${HEAD} ${params}`), record(`${HEAD} ${PORT}`)]), strip)
      expect(readRecords(after ?? HEX('')), params).toHaveLength(1)
    }
  })

  test('a name that points at what has moved is no answer, one that points before it is', () => {
    const hinted = record(`0001 03777777${NAME} ${HINT4}`)
    expect(filterSvcb(answer([hinted, record(`${HEAD} ${PORT}`, '0041', 'c029')]), strip)).toBe(null)
    expect(filterSvcb(answer([hinted, record(`${HEAD} ${PORT}`)]), strip)).not.toBe(null)
  })
})

describe('a protocol that is not wanted', () => {
  const dropAlpn = new Set(['h3'])
  test('goes, hints stay', () => {
    const after = filterSvcb(answer([record(`${HEAD} ${ALPN_H2_H3} ${HINT4}`)]), { stripHints: false, dropAlpn })
    expect(shown(after)?.endsWith(shown(HEX(`${HEAD} 0001 0003 02 6832 ${HINT4}`)) ?? '')).toBe(true)
  })

  test('the last one takes alpn with it, and the record where there is no default one', () => {
    const h3 = '0001 0003 02 6833'
    expect(shown(filterSvcb(answer([record(`${HEAD} ${h3} ${PORT}`)]), { stripHints: false, dropAlpn }))).toContain(
      shown(HEX(`${HEAD} ${PORT}`)),
    )
    const gone = filterSvcb(answer([record(`${HEAD} ${h3} 0002 0000 ${PORT}`)]), { stripHints: false, dropAlpn })
    expect(readRecords(gone ?? HEX(''))).toEqual([])
  })
})

test('any bytes: never throws, and what comes out is whole and without hints', () => {
  const whole = answer(
    [record(`${HEAD} ${MANDATORY_ALPN_HINT} ${ALPN_H2_H3} ${HINT4} ${ECH} ${HINT6}`), record(`${HEAD} ${PORT}`)],
    [],
    [OPT],
  )
  const mutation = fc.tuple(fc.nat(whole.length - 1), fc.nat(255))
  fc.assert(
    fc.property(fc.array(mutation, { maxLength: 6 }), fc.nat(whole.length), (mutations, cut) => {
      const bytes = Uint8Array.from(whole.subarray(0, cut < 20 ? whole.length : cut))
      for (const [at, value] of mutations) if (at < bytes.length) bytes[at] = value
      const after = filterSvcb(bytes, strip)
      if (after === null) return
      expect(readRecords(after)).not.toBe(null)
      expect(filterSvcb(after, strip)).toBe(after)
      readQuery(after)
    }),
    { numRuns: 3000 },
  )
})
