// Messages that nobody should send: a server, a cache and everything that looks into an answer take them without an exception, and what
// is answered is an answer. TUN_FUZZ_MESSAGES says how many, TUN_FIRST_SEED which.

import { encode } from 'dns-packet'
import { expect, test } from 'vitest'
import { AnswerCache } from './cache.js'
import { decodeMessage } from './codec.js'
import { DomainSet } from './domain-set.js'
import { FakeIpPool } from './fake-ip.js'
import { TcpFramer } from './frames.js'
import { HostTable } from './hosts.js'
import { askedUpstream, readQuery, STATUS } from './message.js'
import { RecentNames } from './recent-names.js'
import { addressesOf, lifetimeOf } from './records.js'
import { DnsServer } from './server.js'
import { filterSvcb } from './svcb.js'
import { toldTo } from './without-opt.js'

const MESSAGES = Number(process.env.TUN_FUZZ_MESSAGES ?? (process.env.TUN_LONG ? 200_000 : 20_000))
const SEED = Number(process.env.TUN_FIRST_SEED ?? 8)

/** mulberry32: the same seed, the same messages. */
function chance(seed: number): (below: number) => number {
  let state = seed | 0
  return below => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

const SVCB = Buffer.from(
  '0001000000000400010004000100060268320268330003000201bb00040004010203040005000301020300060010'.padEnd(124, '0'),
  'hex',
)
const OPT = { type: 'OPT', name: '.', udpPayloadSize: 4096, options: [{ code: 10, data: Buffer.alloc(8, 1) }] }
const SOA = { mname: 'a.test', rname: 'b.test', serial: 1, refresh: 1, retry: 1, expire: 1, minimum: 30 }

/** Well-formed ones to begin with: queries of every kind, answers with what we look into. */
function corpus(): Uint8Array[] {
  const names = ['example.org', 'real.test', 'host.test', 'localhost', '5.0.18.198.in-addr.arpa', '', 'x'.repeat(63), 'a.b.c.d.e.f.g.h']
  const types = ['A', 'AAAA', 'PTR', 'TXT', 'MX', 'UNKNOWN_65', 'UNKNOWN_64', 'ANY', 'AXFR', 'SOA']
  const queries = names.flatMap(name =>
    types.map((type, i) =>
      encode({ type: 'query', id: i, flags: 0x100, questions: [{ type, name }], additionals: i & 1 ? [OPT] : [] } as never),
    ),
  )
  const answers = names.map((name, i) => {
    const questions = [{ type: i & 1 ? 'A' : 'UNKNOWN_65', name }]
    const records = [
      { type: 'CNAME', name, ttl: 5, data: 'real.test' },
      { type: 'A', name, ttl: 5, data: '203.0.113.5' },
      { type: 'UNKNOWN_65', name, ttl: 5, data: SVCB },
      { type: 'MX', name, ttl: 5, data: { preference: 1, exchange: 'mx.test' } },
    ]
    return encode({
      type: 'response',
      id: i,
      flags: 0x180,
      questions,
      answers: records,
      authorities: [{ type: 'SOA', name, ttl: 9, data: SOA }],
      additionals: [OPT],
    } as never)
  })
  return [...queries, ...answers].map(bytes => new Uint8Array(bytes))
}

test(`${MESSAGES} messages: no exception, every answer answers its query, nothing grows beyond its bound`, {
  timeout: 600_000,
}, async () => {
  const random = chance(SEED)
  const base = corpus()
  const pool = new FakeIpPool({ range4: '198.18.0.1/20', range6: 'fc00::/64', capacity: 512 })
  const cache = new AnswerCache({ maxEntries: 256, maxBytes: 64 * 1024 })
  const recent = new RecentNames({ capacity: 256 })
  const framer = new TcpFramer()
  let upstream: Uint8Array = base[base.length - 1]
  const server = new DnsServer({
    fakeIp: pool,
    filter: new DomainSet(['real.test', '+.in-addr.arpa', '*.c.d.e.f.g.h']),
    hosts: new HostTable({ 'host.test': ['192.0.2.1', '2001:db8::1'], '*.alias.test': 'host.test' }),
    recent,
    dropAlpn: ['h3'],
    cached: (query, asked) => cache.get(`${asked.name} ${asked.type}`, query, asked),
    resolve: async query => {
      const asked = readQuery(query)
      const told = toldTo(upstream, query, asked)
      if (told) cache.put(`${asked.name} ${asked.type}`, told)
      return told ?? upstream
    },
  })

  const mutated = (): Uint8Array => {
    const from = base[random(base.length)]
    const kind = random(8)
    if (kind === 0) return Uint8Array.from({ length: random(64) }, () => random(256))
    let bytes = new Uint8Array(from)
    for (let i = random(6); i > 0; i--) {
      if (bytes.length === 0) break
      const at = random(4) === 0 ? random(Math.min(bytes.length, 12)) : random(bytes.length)
      switch (random(5)) {
        case 0:
          bytes[at] ^= 1 << random(8)
          break
        case 1:
          bytes[at] = [0, 1, 63, 64, 0xc0, 0xff][random(6)]
          break
        case 2:
          bytes = bytes.slice(0, at)
          break
        case 3:
          bytes.copyWithin(at, random(bytes.length))
          break
        default: {
          const other = base[random(base.length)]
          bytes = Uint8Array.from([...bytes.subarray(0, at), ...other.subarray(random(other.length))])
        }
      }
    }
    return bytes
  }

  for (let i = 0; i < MESSAGES; i++) {
    const bytes = mutated()
    try {
      const asked = readQuery(bytes)
      // The server's question, answered by somebody who says what we made up last: for this question, or for whichever.
      if (i & 1) upstream = mutated()
      const transport = i & 2 ? 'udp' : 'tcp'
      const answering = server.answer(bytes, { transport })
      const answer = answering instanceof Promise ? await answering : answering
      if (answer === null) expect(asked.status).toBe(STATUS.IGNORE)
      else {
        if (asked.status === STATUS.IGNORE || (answer[2] & 0x80) === 0) throw new Error('answered what is no query, or by none')
        if (answer[0] !== bytes[0] || answer[1] !== bytes[1]) throw new Error('answered with another id')
        if (transport === 'udp' && answer.length > Math.max(512, Math.min(asked.udpBytes, 1232)))
          throw new Error('longer than the client takes')
      }
      filterSvcb(bytes, { stripHints: true, dropAlpn: new Set(['h2']) })
      addressesOf(bytes)
      if (bytes.length >= 12) lifetimeOf(bytes)
      decodeMessage(bytes)
      if (asked.status === STATUS.OK) toldTo(bytes, askedUpstream(bytes, asked), asked)
      framer.push(bytes)
      if (framer.pending > 65_537) throw new Error('a framer keeps more than a message')
    } catch (error) {
      throw new Error(`message ${i} of seed ${SEED}: ${Buffer.from(bytes).toString('hex')}\n${(error as Error).stack}`)
    }
  }
  expect(cache.size).toBeLessThanOrEqual(256)
  expect(recent.size).toBeLessThanOrEqual(256)
  expect(pool.stats(4).named).toBeLessThanOrEqual(512)
  expect(server.stats.malformed).toBeGreaterThan(MESSAGES / 50)
  expect(server.stats.faked).toBeGreaterThan(MESSAGES / 50)
  expect(server.stats.forwarded).toBeGreaterThan(MESSAGES / 50)
})
