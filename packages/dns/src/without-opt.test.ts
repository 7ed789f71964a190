import { decode, encode } from 'dns-packet'
import { expect, test } from 'vitest'
import { KeptAnswer } from './kept-answer.js'
import { askedUpstream, readQuery } from './message.js'
import { toldTo, withoutOpt } from './without-opt.js'

const bytesOf = (hex: string) => Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'))
const QUESTION = '047265616c 0474657374 00 0001 0001' // real.test A; its name is at 12, test at 17
const OPT = '00 0029 04d0 00 00 0000 0000'
const A = (owner: string, last: string) => `${owner} 0001 0001 0000003c 0004 cb0071${last}`
/** An answer with these additional records behind one of real.test: they begin at 43. */
const answer = (...additional: string[]) =>
  bytesOf(`0009 8180 0001 0001 0000 000${additional.length} ${QUESTION} ${A('c00c', '05')} ${additional.join(' ')}`)
const MORE = '046d6f7265 c011' // more.test

const query = encode({ type: 'query', id: 77, flags: 0x100, questions: [{ type: 'A', name: 'real.test' }] })
const asked = readQuery(query)
const withEdns = askedUpstream(query, asked)
const named = (bytes: Uint8Array | null | undefined) =>
  decode(Buffer.from(bytes as Uint8Array)).additionals?.map(record => `${record.type} ${record.name}`)

test('RFC 6891 §6.1.1: OPT may stand anywhere: names behind it that are pointed at there move with it', () => {
  // OPT at 43, more.test at 54, whose name the last records have by a pointer; MX has it in its rdata, too.
  const odd = answer(OPT, A(MORE, '06'), A('c036', '07'), 'c036 000f 0001 0000003c 0004 000a c036')
  const rest = ['A more.test', 'A more.test', 'MX more.test']
  expect(named(withoutOpt(odd)?.bytes)).toEqual(rest)
  expect(named(toldTo(odd, query, asked))).toEqual(rest)
  expect(named(toldTo(odd, withEdns, readQuery(withEdns)))).toEqual([...rest, 'OPT .'])
  const kept = KeptAnswer.of(odd)
  expect(named(kept?.tell(query, asked, 0, 0))).toEqual(rest)
  const later = decode(Buffer.from(kept?.tell(withEdns, readQuery(withEdns), 20, 0) as Uint8Array))
  expect(later.additionals?.map(record => (record as { ttl?: number }).ttl)).toEqual([40, 40, 40, undefined])
  expect(later.additionals?.[2]).toMatchObject({ data: { exchange: 'more.test' } })
})

test('two OPT records, one that is no additional record, or a name that leads into one: such an answer is neither told nor kept', () => {
  const inAnswers = bytesOf(`0009 8180 0001 0001 0000 0000 ${QUESTION} ${OPT}`)
  for (const bad of [answer(OPT, OPT), answer(OPT, A(MORE, '06'), OPT), inAnswers, answer(OPT, A('c02d', '06'))]) {
    expect([withoutOpt(bad), toldTo(bad, query, asked), KeptAnswer.of(bad)]).toEqual([null, null, null])
  }
})

test('the upper bits of the rcode are kept, wherever OPT stands', () => {
  const badVersion = OPT.replace('04d0 00', '04d0 01')
  for (const one of [answer(badVersion), answer(badVersion, A(MORE, '06'))]) expect(withoutOpt(one)?.extendedRcode).toBe(1)
  expect(withoutOpt(answer())?.extendedRcode).toBe(0)
})
