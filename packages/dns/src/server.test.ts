import { decode, encode } from 'dns-packet'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeMessage, encodeReply } from './codec.js'
import { DomainSet } from './domain-set.js'
import { FakeIpPool } from './fake-ip.js'
import { TYPE } from './message.js'
import { DnsServer, type DnsServerOptions } from './server.js'

const udp = { transport: 'udp' } as const
const tcp = { transport: 'tcp' } as const

function ask(name: string, type: number, { id = 7, edns = 0, qclass = 1, flags = 0x0100 } = {}): Uint8Array {
  const labels = name === '' ? [] : name.split('.').map(label => Buffer.concat([Buffer.of(label.length), Buffer.from(label)]))
  const header = Buffer.alloc(12)
  for (const [i, value] of [id, flags, 1, 0, 0, edns ? 1 : 0].entries()) header.writeUInt16BE(value, 2 * i)
  const opt = edns ? Buffer.from([0, 0, 41, edns >> 8, edns & 255, 0, 0, 0, 0, 0, 0]) : Buffer.alloc(0)
  return Buffer.concat([header, ...labels, Buffer.of(0, type >> 8, type & 255, qclass >> 8, qclass & 255), opt])
}

type Said = { rcode: string; answers: string[] } | null

async function said(server: DnsServer, query: Uint8Array, from: { transport: 'udp' | 'tcp' } = udp): Promise<Said> {
  const answer = await server.answer(query, from)
  const message = answer && decodeMessage(answer)
  return message ? { rcode: message.rcode, answers: message.answers.map(record => `${record.type} ${record.ttl} ${record.data}`) } : null
}

/** An upstream that answers 203.0.113.5 and remembers what it was asked. */
function upstream(): { resolve: NonNullable<DnsServerOptions['resolve']>; asked: string[] } {
  const asked: string[] = []
  return {
    asked,
    resolve: async query => {
      const { questions } = decode(Buffer.from(query))
      asked.push(`${questions?.[0].type} ${questions?.[0].name}`)
      return encode({
        type: 'response',
        id: 0,
        flags: 0x180,
        questions,
        answers: [{ type: 'A', name: 'real.test', ttl: 300, data: '203.0.113.5' }],
      })
    },
  }
}

const fake = (options: DnsServerOptions = {}): DnsServer =>
  new DnsServer({ fakeIp: new FakeIpPool({ range6: 'fc00::/18' }), filter: new DomainSet(['real.test', '*.lan']), ...options })

describe('fake addresses', () => {
  test('A and AAAA, TTL 1, answered at once and without asking anybody', async () => {
    const { resolve, asked } = upstream()
    const server = fake({ resolve })
    expect(server.answer(ask('a.example', TYPE.A), udp)).toBeInstanceOf(Uint8Array)
    expect(await said(server, ask('a.example', TYPE.A))).toEqual({ rcode: 'NOERROR', answers: ['A 1 198.18.0.2'] })
    expect(await said(server, ask('A.Example', TYPE.AAAA), tcp)).toEqual({ rcode: 'NOERROR', answers: ['AAAA 1 fc00::2'] })
    expect(await said(server, ask('b.example', TYPE.A))).toEqual({ rcode: 'NOERROR', answers: ['A 1 198.18.0.3'] })
    expect(asked).toEqual([])
  })

  test('no real address gets round them: HTTPS answers lose their hints, ANY is the fake A; no upstream, no HTTPS', async () => {
    const { resolve, asked } = upstream()
    expect(await said(fake({ resolve }), ask('a.example', TYPE.ANY))).toEqual({ rcode: 'NOERROR', answers: ['A 1 198.18.0.2'] })
    expect(asked).toEqual([])
    const rdata = Buffer.from('000100000100030268320004000401020304', 'hex') // alpn h2, ipv4hint 1.2.3.4
    const https = async (query: Uint8Array): Promise<Uint8Array> => {
      const { name } = decode(Buffer.from(query)).questions?.[0] ?? { name: '' }
      return encodeReply(query, { answers: [{ name, type: 'UNKNOWN_65', data: rdata }] }) as Uint8Array
    }
    const told = async (server: DnsServer, name: string) =>
      Buffer.from((await server.answer(ask(name, TYPE.HTTPS), udp)) ?? []).toString('hex')
    expect(await told(fake({ resolve: https }), 'a.example')).toMatch(/00010000010003026832$/)
    expect(await told(fake({ resolve: https }), 'real.test')).toMatch(/0268320004000401020304$/)
    expect(await told(fake({ resolve: https, dropAlpn: ['h2'] }), 'real.test')).toMatch(/0001000004000401020304$/)
    for (const server of [
      fake(),
      fake({ resolve: () => Promise.reject(new Error('down')) }),
      fake({ resolve: async () => Uint8Array.of(1) }),
    ]) {
      for (const type of [TYPE.HTTPS, TYPE.SVCB])
        expect(await said(server, ask('a.example', type))).toEqual({ rcode: 'NOERROR', answers: [] })
    }
  })

  test('AAAA is empty without a range and with ipv6: false', async () => {
    for (const server of [fake({ fakeIp: new FakeIpPool() }), fake({ ipv6: false }), new DnsServer({ ipv6: false })]) {
      expect(await said(server, ask('a.example', TYPE.AAAA))).toEqual({ rcode: 'NOERROR', answers: [] })
    }
  })

  test('filtered names and other types go upstream; without one they are refused', async () => {
    const { resolve, asked } = upstream()
    const server = fake({ resolve })
    for (const [name, type] of [
      ['real.test', 1],
      ['nas.lan', 28],
      ['a.example', 16],
      ['', 1],
      ['real.test', 65],
    ] as const)
      await said(server, ask(name, type))
    expect(asked).toEqual(['A real.test', 'AAAA nas.lan', 'TXT a.example', 'A .', 'UNKNOWN_65 real.test'])
    expect(await said(fake(), ask('real.test', TYPE.A))).toEqual({ rcode: 'REFUSED', answers: [] })
  })

  test('all addresses pinned: SERVFAIL and a count', async () => {
    const fakeIp = new FakeIpPool({ range4: '10.0.0.1/30' })
    const server = fake({ fakeIp })
    fakeIp.pin(fakeIp.lookup('a', 4) ?? '')
    expect(await said(server, ask('b', TYPE.A))).toEqual({ rcode: 'SERVFAIL', answers: [] })
    expect(server.stats.exhausted).toBe(1)
  })

  test('PTR inside a range: the name, else NXDOMAIN; outside it goes upstream', async () => {
    const { resolve, asked } = upstream()
    const server = fake({ resolve })
    await said(server, ask('Host.example', TYPE.A))
    expect(await said(server, ask('2.0.18.198.in-addr.arpa', TYPE.PTR))).toEqual({ rcode: 'NOERROR', answers: ['PTR 1 host.example'] })
    expect(await said(server, ask('9.9.18.198.in-addr.arpa', TYPE.PTR))).toEqual({ rcode: 'NXDOMAIN', answers: [] })
    await said(server, ask('1.0.0.10.in-addr.arpa', TYPE.PTR))
    expect(asked).toEqual(['PTR 1.0.0.10.in-addr.arpa'])
  })

  test('localhost is loopback and never leaves', async () => {
    const { resolve, asked } = upstream()
    const server = fake({ resolve })
    expect(await said(server, ask('LocalHost', TYPE.A))).toEqual({ rcode: 'NOERROR', answers: ['A 1 127.0.0.1'] })
    expect(await said(server, ask('a.localhost', TYPE.AAAA))).toEqual({ rcode: 'NOERROR', answers: ['AAAA 1 ::1'] })
    expect(await said(server, ask('localhost', 16))).toEqual({ rcode: 'NOERROR', answers: [] })
    expect(asked).toEqual([])
  })
})

describe('odd queries', () => {
  test.each([
    ['an answer', ask('a', 1, { flags: 0x8180 }), null],
    ['a stump', Buffer.alloc(11), null],
    ['a bare header', Buffer.alloc(12), 'FORMERR'],
    ['UPDATE', ask('a', 6, { flags: 0x2800 }), 'NOTIMP'],
    ['class CHAOS', ask('version.bind', 16, { qclass: 3 }), 'REFUSED'],
    ['class ANY', ask('a', 1, { qclass: 255 }), 'REFUSED'],
    ['a zone transfer', ask('a', 252), 'REFUSED'],
    ['noise behind a header', Buffer.concat([ask('a', 1).subarray(0, 12), Buffer.alloc(20, 0xff)]), 'FORMERR'],
  ])('%s', async (_, query, rcode) => {
    expect((await said(fake(upstream()), query))?.rcode ?? null).toBe(rcode)
  })

  test('no bytes make it throw; what is asked gets one answer with its id and question at most', async () => {
    const server = fake({ resolve: async query => query })
    const base = ask('a.example', TYPE.A, { edns: 4096 })
    const mutation = fc.tuple(fc.nat(base.length - 1), fc.nat(255))
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 60 }),
        fc.array(mutation, { maxLength: 4 }),
        fc.nat(60),
        async (noise, mutations, length) => {
          const mutated = Uint8Array.from(base.subarray(0, length))
          for (const [at, value] of mutations) if (at < mutated.length) mutated[at] = value
          for (const query of [noise, mutated]) {
            const answer = await server.answer(query, udp)
            if (answer === null) continue
            expect(answer[2] & 0x80).toBe(0x80)
            expect(answer.subarray(0, 2)).toEqual(query.subarray(0, 2))
            const questionBytes = decodeMessage(answer)?.questions.length ? answer.indexOf(0, 12) + 5 : 12
            expect(Buffer.from(answer.subarray(12, questionBytes))).toEqual(Buffer.from(query.subarray(12, questionBytes)))
            expect(answer.length).toBeLessThanOrEqual(1232)
          }
        },
      ),
      { numRuns: 2000 },
    )
  })
})

describe('forwarding', () => {
  test('the answer has the id and the letters of the query that was asked', async () => {
    const server = new DnsServer({
      resolve: async query =>
        Uint8Array.from(query, (byte, i) => (i === 0 ? 99 : i === 2 ? 0x81 : byte | (i > 12 && byte > 64 ? 0x20 : 0))),
    })
    const query = ask('rEaL.tEsT', TYPE.A, { id: 0x1234 })
    const answer = await server.answer(query, udp)
    expect(Buffer.from(answer ?? '').subarray(12)).toEqual(Buffer.from(query.subarray(12)))
    expect(answer?.subarray(0, 2)).toEqual(Uint8Array.of(0x12, 0x34))
  })

  test('the query is borrowed: the caller may overwrite it at once', async () => {
    const query = Uint8Array.from(ask('real.test', TYPE.A))
    const answer = new DnsServer(upstream()).answer(query, udp)
    query.fill(0)
    expect(decodeMessage((await answer) ?? new Uint8Array())?.questions).toEqual([{ name: 'real.test', type: 'A' }])
  })

  test.each([
    ['fails', async () => Promise.reject(new Error('no'))],
    [
      'throws',
      () => {
        throw new Error('no')
      },
    ],
    ['answers another question', async () => encode({ type: 'response', id: 7, questions: [{ type: 'A', name: 'evil.test' }] })],
    ['gives nonsense', async () => Uint8Array.of(1, 2, 3)],
    ['gives nothing', async () => undefined as never],
    ['never comes back', () => new Promise<Uint8Array>(() => {})],
  ])('an upstream that %s: SERVFAIL', async (_, resolve) => {
    const server = new DnsServer({ resolve, timeoutMs: 20 })
    expect(await said(server, ask('real.test', TYPE.A))).toEqual({ rcode: 'SERVFAIL', answers: [] })
    expect(server.stats.failed).toBe(1)
  })

  test('an error without its question keeps its rcode', async () => {
    const server = new DnsServer({ resolve: async () => Uint8Array.from([0, 7, 0x81, 0x85, 0, 0, 0, 0, 0, 0, 0, 0]) })
    expect((await said(server, ask('real.test', TYPE.A)))?.rcode).toBe('REFUSED')
  })

  test('on time-out and close the signal is aborted', async () => {
    const signals: AbortSignal[] = []
    const resolve = (_: Uint8Array, { signal }: { signal: AbortSignal }): Promise<Uint8Array> => new Promise(() => signals.push(signal))
    const server = new DnsServer({ resolve, timeoutMs: 10_000 })
    const answer = said(server, ask('real.test', TYPE.A))
    server.close()
    expect((await answer)?.rcode).toBe('SERVFAIL')
    expect(signals.map(signal => signal.aborted)).toEqual([true])
  })

  test('more than maxPending at once: SERVFAIL without asking', async () => {
    const server = new DnsServer({ resolve: () => new Promise(() => {}), maxPending: 2, timeoutMs: 20 })
    const answers = [1, 2, 3].map(() => said(server, ask('real.test', TYPE.A)))
    expect(await answers[2]).toEqual({ rcode: 'SERVFAIL', answers: [] })
    expect(server.stats.overload).toBe(1)
    await Promise.all(answers)
  })

  test.each([
    ['512 without EDNS', 0, udp, 512],
    ["the client's size", 700, udp, 700],
    ['1232 at most', 4096, udp, 1232],
    ['everything over TCP', 0, tcp, 65535],
  ])('over UDP an answer longer than allowed is cut: %s', async (_, edns, from, limit) => {
    for (const extra of [0, 1]) {
      const server = new DnsServer({
        resolve: async query => {
          const answer = new Uint8Array(Math.min(limit, 3000) + extra)
          answer.set(query.subarray(0, 12 + 11 + 4))
          answer.set([0x81, 0x80], 2)
          return answer
        },
      })
      const answer = await server.answer(ask('real.test', 16, { edns }), from)
      const cut = extra === 1 && from === udp
      expect([(answer?.[2] ?? 0) & 2, answer?.length === limit || !cut]).toEqual(cut ? [2, false] : [0, true])
    }
  })
})

describe('an own resolver', () => {
  test('comes first, sees the bytes and who asked', async () => {
    const seen: unknown[] = []
    const server = fake({
      handler: (query, context) => {
        seen.push(decodeMessage(query)?.questions[0].name, context.transport, context.source)
        return encodeReply(query, {
          answers: [
            { name: 'a.example', type: 'A', ttl: 60, data: '192.0.2.1' },
            { name: 'a.example', type: 'TXT', data: 'x' },
          ],
        })
      },
    })
    const answer = await server.answer(ask('a.example', TYPE.A, { edns: 1400 }), { ...tcp, source: '10.0.0.2:5353' })
    expect(seen).toEqual(['a.example', 'tcp', '10.0.0.2:5353'])
    expect(decode(Buffer.from(answer ?? ''))).toMatchObject({
      id: 7,
      answers: [
        { data: '192.0.2.1', ttl: 60 },
        { type: 'TXT', ttl: 1 },
      ],
      additionals: [{ type: 'OPT', udpPayloadSize: 1232 }],
    })
  })

  test('answers nothing: as if it were not there; fails: SERVFAIL', async () => {
    expect(await said(fake({ handler: () => null }), ask('a.example', TYPE.A))).toEqual({ rcode: 'NOERROR', answers: ['A 1 198.18.0.2'] })
    const failing = fake({
      handler: () => {
        throw new Error('no')
      },
    })
    expect(await said(failing, ask('a.example', TYPE.A))).toEqual({ rcode: 'SERVFAIL', answers: [] })
  })
})

test('a query of our own that came back is refused, and nobody is asked for it again', async () => {
  const { resolve, asked } = upstream()
  const server = new DnsServer({ resolve, isOwn: (transport, source, id) => transport === 'udp' && source === 'us' && id === 7 })
  const from = (source: string, id: number) => server.answer(ask('real.test', TYPE.A, { id }), { transport: 'udp', source })
  expect(decodeMessage((await from('us', 7)) as Uint8Array)?.rcode).toBe('REFUSED')
  expect([asked.length, server.stats.loops]).toEqual([0, 1])
  for (const [source, id] of [
    ['us', 8],
    ['them', 7],
  ] as const)
    expect(decodeMessage((await from(source, id)) as Uint8Array)?.rcode).toBe('NOERROR')
})
