// What the resolver remembers, for how long, and what of it is told to whom. RFC 2308, RFC 8767.

import { encode } from 'dns-packet'
import { describe, expect, test } from 'vitest'
import { decodeMessage, encodeReply } from './codec.js'
import { KeptAnswer } from './kept-answer.js'
import { readQuery } from './message.js'
import type { ResolverOptions } from './resolver.js'
import { answerTo, first, PATIENT, QUERY, resolver, udpServer } from './resolver.test-kit.js'
import { toldTo } from './without-opt.js'

describe('what is remembered', () => {
  test('is told as it was when it came: every TTL, the client’s letters, OPT for who sent one; wherever the answer has its own OPT', () => {
    const record = (name: string, ttl: number) => ({ type: 'A', name, ttl, data: '203.0.113.5' })
    const opt = { type: 'OPT', name: '.', udpPayloadSize: 1400, extendedRcode: 0 }
    for (const additionals of [[], [opt], [opt, record('more.test', 7)], [record('more.test', 7), opt]]) {
      const answers = [record('real.test', 60), record('real.test', 5)]
      const questions = [{ type: 'A', name: 'real.test' }]
      const answer = encode({ type: 'response', id: 9, flags: 0x180, questions, answers, additionals } as never)
      for (const withOpt of [false, true]) {
        const query = encode({
          type: 'query',
          id: 77,
          flags: 0x100,
          questions: [{ type: 'A', name: 'ReaL.test' }],
          additionals: withOpt ? [opt] : [],
        } as never)
        const asked = readQuery(query)
        const kept = KeptAnswer.of(answer)
        expect(decodeMessage(kept?.tell(query, asked, 0, 0) as Uint8Array)).toEqual(
          decodeMessage(toldTo(answer, query, asked) as Uint8Array),
        )
        const later = decodeMessage(kept?.tell(query, asked, 6, 0) as Uint8Array)
        expect(later?.answers.map(({ ttl }) => ttl)).toEqual([54, 0])
        expect(later?.additionals.filter(({ type }) => type === 'A').map(({ ttl }) => ttl)).toEqual(additionals.length > 1 ? [1] : [])
      }
    }
    expect(KeptAnswer.of(Uint8Array.of(1, 2, 3))).toBe(null)
  })

  const counting = async (reply: (query: Uint8Array) => Uint8Array, options: Partial<ResolverOptions> = {}) => {
    let now = 0
    let asked = 0
    const port = await udpServer((query, from, socket) => {
      asked++
      socket.send(reply(query), from.port, from.address)
    })
    const { cache = {}, ...others } = options
    const made = resolver([`127.0.0.1:${port}`], { ...PATIENT, cache: cache && { now: () => now, ...cache }, ...others })
    return { made, asked: () => asked, pass: (seconds: number) => (now += 1000 * seconds) }
  }

  test('an answer for its TTL, which counts down; then it is asked for again', async () => {
    const { made, asked, pass } = await counting(query => answerTo(query, '203.0.113.5')) // TTL 9
    const ttl = async () => decodeMessage(await made.resolve(QUERY))?.answers[0]?.ttl
    expect([await ttl(), asked()]).toEqual([9, 1])
    pass(4)
    expect([await ttl(), asked()]).toEqual([5, 1])
    pass(5)
    expect([await ttl(), asked()]).toEqual([9, 2])
    made.flush()
    expect([await ttl(), asked()]).toEqual([9, 3])
  })

  test('that a name does not exist, as long as its SOA says (RFC 2308); without one, and SERVFAIL, never', async () => {
    const soa = (minimum: number) => ({ mname: 'a.test', rname: 'b.test', serial: 1, refresh: 1, retry: 1, expire: 1, minimum })
    const nxdomain =
      (authorities: object[], rcode = 3) =>
      (query: Uint8Array) =>
        encode({
          type: 'response',
          id: (query[0] << 8) | query[1],
          flags: 0x180 | rcode,
          questions: [{ type: 'A', name: 'real.test' }],
          authorities,
        } as never)
    const record = { type: 'SOA', name: 'test', ttl: 60, data: soa(30) }
    for (const [reply, after29, after30] of [
      [nxdomain([record]), 1, 2],
      [nxdomain([record], 0), 1, 2],
      [nxdomain([]), 2, 3],
      [nxdomain([record], 2), 2, 3],
    ] as const) {
      const { made, asked, pass } = await counting(reply, { rounds: 1 })
      await made.resolve(QUERY)
      pass(29)
      await made.resolve(QUERY)
      expect(asked()).toBe(after29)
      pass(1)
      await made.resolve(QUERY)
      expect(asked()).toBe(after30)
    }
  })

  test('stale answers only where wanted, when nobody answers, with TTL 30 (RFC 8767)', async () => {
    let up = true
    const reply = (query: Uint8Array) => (up ? answerTo(query, '203.0.113.5') : Buffer.alloc(1))
    const { made, pass } = await counting(reply, { cache: { staleSeconds: 100 }, timeoutMs: 100 })
    const without = await counting(reply, { timeoutMs: 100 })
    for (const one of [made, without.made]) await one.resolve(QUERY)
    up = false
    pass(50)
    without.pass(50)
    expect(decodeMessage(await made.resolve(QUERY))?.answers).toMatchObject([{ ttl: 30, data: '203.0.113.5' }])
    await expect(without.made.resolve(QUERY)).rejects.toMatchObject({ code: 'ERR_TUN_DNS_TIMEOUT' })
    pass(60)
    await expect(made.resolve(QUERY)).rejects.toMatchObject({ code: 'ERR_TUN_DNS_TIMEOUT' })
  })

  test('is bounded', async () => {
    const { made, asked } = await counting(
      query => encodeReply(query, { answers: [{ name: readQuery(query).name, type: 'A', ttl: 60, data: '1.1.1.1' }] }) as Uint8Array,
      {
        cache: { maxEntries: 3 },
      },
    )
    for (const name of ['a', 'b', 'c', 'd', 'd', 'c', 'b']) await made.addresses(name, [4])
    expect(asked()).toBe(4)
    await made.addresses('a', [4])
    expect(asked()).toBe(5)
  })

  test('who asks the same at once asks once; one who goes away takes nobody along, the last one ends it', async () => {
    let release = () => {}
    const gate = new Promise<void>(resolve => (release = resolve))
    let sent = 0
    const port = await udpServer(async (query, from, socket) => {
      sent++
      await gate
      socket.send(answerTo(query, '203.0.113.5'), from.port, from.address)
    })
    const made = resolver([`127.0.0.1:${port}`], PATIENT)
    const controller = new AbortController()
    const left = made.resolve(QUERY, { signal: controller.signal })
    const stays = [1, 2, 3].map(() => made.resolve(QUERY))
    controller.abort(new Error('gone'))
    await expect(left).rejects.toThrow('gone')
    release()
    for (const answer of await Promise.all(stays)) expect(first(answer)).toBe('203.0.113.5')
    expect([sent, made.stats.joined]).toEqual([1, 3])
  })

  test('the client’s EDNS0 is the client’s: asked with ours, told with OPT only to who sent one', async () => {
    const sizes: number[] = []
    const { made } = await counting(query => {
      sizes.push(readQuery(query).udpBytes)
      return encodeReply(query, { answers: [{ name: 'real.test', type: 'A', ttl: 60, data: '203.0.113.5' }] }) as Uint8Array
    })
    const withOpt = encode({
      type: 'query',
      id: 1,
      flags: 0x100,
      questions: [{ type: 'A', name: 'real.test' }],
      additionals: [{ type: 'OPT', name: '.', udpPayloadSize: 4096 } as never],
    })
    for (const [query, count] of [
      [QUERY, 0],
      [withOpt, 1],
      [QUERY, 0],
    ] as const) {
      expect(decodeMessage(await made.resolve(query))).toMatchObject({ answers: [{ data: '203.0.113.5' }], additionals: { length: count } })
    }
    expect(sizes).toEqual([1232])
  })
})
