import { decode, encode } from 'dns-packet'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { answerEmpty, answerError, answerRecord, fitAnswer, isAnswerTo, RCODE, readQuery, STATUS, TYPE } from './message.js'

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'))

// dig +noedns wWw.example A, id 0x1234, RD
const PLAIN = hex('1234 0100 0001 0000 0000 0000 03 775777 07 6578616d706c65 00 0001 0001')
// the same with EDNS0: 4096 bytes, DO, a cookie option
const EDNS = hex(
  '1234 0130 0001 0000 0000 0001 03 775777 07 6578616d706c65 00 0001 0001 00 0029 1000 00 00 8000 000c 000a 0008 0102030405060708',
)

describe('readQuery', () => {
  test('reads header and question', () => {
    expect(readQuery(PLAIN)).toEqual({
      status: STATUS.OK,
      id: 0x1234,
      flags: 0x0100,
      name: 'www.example',
      type: 1,
      class: 1,
      end: 29,
      edns: false,
      udpBytes: 512,
      dnssecOk: false,
    })
  })

  test('finds EDNS0: size and DO', () => {
    expect(readQuery(EDNS)).toMatchObject({ status: STATUS.OK, edns: true, udpBytes: 4096, dnssecOk: true, end: 29 })
  })

  test.each([
    ['shorter than a header', '1234 0100 0001 0000 0000', STATUS.IGNORE],
    ['an answer', '1234 8180 0001 0000 0000 0000 00 0001 0001', STATUS.IGNORE],
    ['STATUS', '1234 1000 0001 0000 0000 0000 00 0001 0001', STATUS.OPCODE],
    ['UPDATE', '1234 2800 0001 0000 0000 0000 00 0006 0001', STATUS.OPCODE],
    ['no question', '1234 0100 0000 0000 0000 0000', STATUS.MALFORMED],
    ['two questions', '1234 0100 0002 0000 0000 0000 00 0001 0001 00 001c 0001', STATUS.MALFORMED],
    ['a pointer in the question', '1234 0100 0001 0000 0000 0000 c00c 0001 0001', STATUS.MALFORMED],
    ['a question cut off', '1234 0100 0001 0000 0000 0000 01 61 00 0001 00', STATUS.MALFORMED],
    ['a record that is not there', '1234 0100 0001 0000 0000 0001 00 0001 0001', STATUS.MALFORMED],
    ['OPT asked for', '1234 0100 0001 0000 0000 0000 00 0029 0001', STATUS.MALFORMED],
    ['OPT twice', '1234 0100 0001 0000 0000 0002 00 0001 0001 00 0029 0400 00000000 0000 00 0029 0400 00000000 0000', STATUS.MALFORMED],
    ['OPT with a name', '1234 0100 0001 0000 0000 0001 00 0001 0001 01 61 00 0029 0400 00000000 0000', STATUS.MALFORMED],
    ['OPT longer than the message', '1234 0100 0001 0000 0000 0001 00 0001 0001 00 0029 0400 00000000 0004 00', STATUS.MALFORMED],
    ['EDNS version 1', '1234 0100 0001 0000 0000 0001 00 0001 0001 00 0029 0400 00 01 0000 0000', STATUS.VERSION],
  ])('%s', (_, bytes, status) => {
    expect(readQuery(hex(bytes)).status).toBe(status)
  })

  test('never throws and never reads past the end', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(255), (noise, flip) => {
        const mutated = EDNS.slice(0, EDNS.length - (flip % 40))
        mutated[flip % mutated.length] ^= flip
        for (const bytes of [noise, mutated]) {
          const { status, end } = readQuery(bytes)
          expect(Object.values(STATUS)).toContain(status)
          expect(status === STATUS.IGNORE || end <= bytes.length).toBe(true)
        }
      }),
      { numRuns: 3000 },
    )
  })

  test('agrees with dns-packet on every query that it writes', () => {
    const label = fc.stringMatching(/^[a-zA-Z0-9_-]{1,20}$/)
    fc.assert(
      fc.property(fc.array(label, { minLength: 1, maxLength: 6 }), fc.nat(0xffff), fc.boolean(), (labels, id, opt) => {
        const name = labels.join('.')
        const additionals = opt ? [{ type: 'OPT' as const, name: '.' as const, udpPayloadSize: 1400, flags: 0, options: [] }] : []
        const query = readQuery(encode({ type: 'query', id, flags: 0x100, questions: [{ type: 'AAAA', name }], additionals } as never))
        expect(query).toMatchObject({
          status: STATUS.OK,
          id,
          name: name.toLowerCase(),
          type: TYPE.AAAA,
          class: 1,
          udpBytes: opt ? 1400 : 512,
        })
      }),
    )
  })
})

describe('answers', () => {
  test('an address: question byte for byte, AA and RA, TTL, no OPT unless asked with', () => {
    const answer = answerRecord(PLAIN, readQuery(PLAIN), TYPE.A, 1, Uint8Array.of(198, 18, 0, 4))
    expect(Buffer.from(answer).toString('hex')).toBe(
      '12348580000100010000000003775777076578616d706c650000010001c00c00010001000000010004c6120004',
    )
    expect(decode(Buffer.from(answer))).toMatchObject({
      flag_aa: true,
      flag_ra: true,
      flag_rd: true,
      questions: [{ name: 'wWw.example' }],
      answers: [{ name: 'wWw.example', type: 'A', ttl: 1, data: '198.18.0.4' }],
      additionals: [],
    })
  })

  test('asked with EDNS0 they have OPT with our size, DO copied, options left out, CD echoed and AD not', () => {
    const answer = answerEmpty(EDNS, readQuery(EDNS))
    expect(Buffer.from(answer).toString('hex')).toBe(
      '12348590000100000000000103775777076578616d706c65000001000100002904d000008000' + '0000',
    )
  })

  test('BADVERS has its upper bits in OPT', () => {
    const query = EDNS.slice()
    query[35] = 1
    expect(decode(Buffer.from(answerError(query, readQuery(query), RCODE.BADVERS)))).toMatchObject({
      rcode: 'NOERROR',
      additionals: [{ extendedRcode: 1, ednsVersion: 0 }],
    })
  })

  test('without a question to echo an error is a header', () => {
    const query = hex('abcd 0100 0000 0000 0000 0000')
    expect(Buffer.from(answerError(query, readQuery(query), RCODE.FORMERR)).toString('hex')).toBe('abcd81810000000000000000')
  })

  test('too long for the client: header, question, OPT and TC', () => {
    const query = readQuery(EDNS)
    const long = answerRecord(EDNS, query, 16, 1, new Uint8Array(600))
    expect(fitAnswer(long, EDNS, query, long.length)).toBe(long)
    const short = decode(Buffer.from(fitAnswer(long, EDNS, query, 512)))
    expect(short).toMatchObject({
      flag_tc: true,
      flag_aa: true,
      answers: [],
      questions: [{ name: 'wWw.example' }],
      additionals: [{ type: 'OPT' }],
    })
  })
})

test('an answer belongs to a query if it repeats its question, in letters of any case', () => {
  const query = readQuery(PLAIN)
  const answer = answerEmpty(PLAIN, query)
  const changed = (at: number, xor: number): Uint8Array => Uint8Array.from(answer, (byte, i) => (i === at ? byte ^ xor : byte))
  expect(isAnswerTo(answer, PLAIN, query)).toBe(true)
  expect(isAnswerTo(changed(14, 0x20), PLAIN, query)).toBe(true)
  for (const [at, xor] of [
    [2, 0x80],
    [5, 1],
    [13, 1],
    [26, 1],
    [28, 2],
  ])
    expect([at, isAnswerTo(changed(at, xor), PLAIN, query)]).toEqual([at, false])
  expect(isAnswerTo(answer.subarray(0, 20), PLAIN, query)).toBe(false)
})
