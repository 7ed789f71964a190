// How a nameserver is written, and what stands behind its #: the way it is asked by, and parameters.

import { connect } from 'node:net'
import { describe, expect, test } from 'vitest'
import { decodeMessage, encodeReply } from './codec.js'
import { readQuery } from './message.js'
import { createResolver } from './resolver.js'
import { answerTo, PATIENT, QUERY, resolver, steadyTime, tcpServer, udpServer, until } from './resolver.test-kit.js'
import type { UpstreamDatagrams } from './upstream/exchange.js'

test.each([
  ['10.0.0.1', 'udp 10.0.0.1 53'],
  ['10.0.0.1:5353', 'udp 10.0.0.1 5353'],
  ['2001:db8::1', 'udp 2001:db8::1 53'],
  ['[2001:db8::1]:54', 'udp 2001:db8::1 54'],
  ['udp://1.2.3.4:53', 'udp 1.2.3.4 53'],
  ['TCP://[::1]', 'tcp ::1 53'],
  ['tls://1.1.1.1', 'tls 1.1.1.1 853'],
  ['tls://dns.example:8853', 'tls dns.example 8853'],
  ['https://1.1.1.1/dns-query', 'https 1.1.1.1 443'],
  ['https://dns.example', 'https dns.example 443'],
  ['system', 'system  0'],
  ['rcode://refused', 'rcode  0'],
  ['rcode://nonsense', 'ERR_TUN_DNS_ADDRESS'],
  ['dns.example', 'udp dns.example 53'],
  ['quic://1.1.1.1', 'ERR_TUN_DNS_SCHEME'],
  ['1.2.3.256', 'ERR_TUN_DNS_ADDRESS'],
  ['1.2.3.4:0', 'ERR_TUN_DNS_ADDRESS'],
  ['1.2.3.4:65536', 'ERR_TUN_DNS_ADDRESS'],
  ['8.8.8.8#eth0', 'udp 8.8.8.8 53'],
  ['8.8.8.8#eth0&nonsense=1', 'ERR_TUN_DNS_ADDRESS'],
  ['8.8.8.8#ecs=1.2.3.4/33', 'ERR_TUN_DNS_ADDRESS'],
  ['', 'ERR_TUN_DNS_ADDRESS'],
])('nameserver %j is %s', (text, expected) => {
  const parse = (): string => {
    try {
      const [{ transport, address, port }] = createResolver({ nameservers: [text] }).servers
      return `${transport} ${address} ${port}`
    } catch (error) {
      return (error as { code: string }).code
    }
  }
  expect(parse()).toBe(expected)
})

describe('behind a nameserver’s #', () => {
  /** A proxy's datagrams: what was sent, and a way to answer. */
  function line() {
    const sent: Uint8Array[] = []
    let receive = (_: Uint8Array) => {}
    let end = (_?: Error) => {}
    const state = { sent, opened: 0, answer: (bytes: Uint8Array) => receive(bytes), end: (error?: Error) => end(error), closed: false }
    const open = (): UpstreamDatagrams => {
      state.opened++
      return {
        send: query => sent.push(query) > 0,
        onMessage: fn => {
          receive = fn
        },
        closed: new Promise(resolve => {
          end = resolve
        }),
        close: () => {
          state.closed = true
          end()
        },
      }
    }
    return { state, open }
  }

  test('a proxy: datagrams of one association, many at once, told apart by id; what is not asked for is passed over', async () => {
    const { state, open } = line()
    const vias: unknown[] = []
    const made = resolver(['192.0.2.53#s5'], {
      ...PATIENT,
      connect: {
        datagrams: to => {
          vias.push(to.via, to.address)
          return open()
        },
      },
    })
    const asked = ['a.test', 'b.test', 'c.test'].map(name => made.addresses(name, [4]))
    await until(() => state.sent.length === 3)
    expect(new Set(state.sent.map(query => readQuery(query).id)).size).toBe(3)
    state.answer(Uint8Array.of(1))
    for (const query of [...state.sent].reverse()) {
      const wrong = new Uint8Array(query)
      wrong[2] |= 0x80
      wrong[13] ^= 1 // another name
      state.answer(wrong)
      state.answer(
        encodeReply(query, { answers: [{ name: readQuery(query).name, type: 'A', data: `203.0.113.${query[13] - 96}` }] }) as Uint8Array,
      )
    }
    expect(await Promise.all(asked)).toEqual([['203.0.113.1'], ['203.0.113.2'], ['203.0.113.3']])
    expect([state.opened, vias, made.stats.mismatched]).toEqual([1, ['s5', '192.0.2.53'], 4])
    made.close()
    await until(() => state.closed)
  })

  test('a proxy: an association that ends is made anew, a cut answer is asked for over the proxy’s TCP', async () => {
    const { state, open } = line()
    const tcp = await tcpServer(0, query => answerTo(query, '203.0.113.9'))
    const made = resolver(['192.0.2.53#s5'], { ...PATIENT, connect: { datagrams: open, tcp: () => connect(tcp, '127.0.0.1') } })
    const first = made.resolve(QUERY)
    await until(() => state.sent.length === 1)
    state.end(new Error('the proxy has gone'))
    await until(() => state.sent.length === 2)
    expect(state.opened).toBe(2)
    const cut = encodeReply(state.sent[1]) as Uint8Array
    cut[2] |= 2
    state.answer(cut)
    expect(decodeMessage(await first)?.answers[0].data).toBe('203.0.113.9')
  })

  test('a proxy: another network, or silence, has the next query ask by a new association', async () => {
    steadyTime()
    const { state, open } = line()
    const made = resolver(['192.0.2.53#s5'], { attemptMs: 400, connect: { datagrams: open } })
    const answer = async (count: number) => {
      await until(() => state.sent.length === count)
      state.answer(answerTo(state.sent[count - 1], '203.0.113.9'))
    }
    const [first] = await Promise.all([made.resolve(QUERY), answer(1)])
    expect(decodeMessage(first)?.answers[0].data).toBe('203.0.113.9')
    made.networkChanged()
    await until(() => state.closed)
    await Promise.all([made.resolve(QUERY), answer(2)])
    expect(state.opened).toBe(2)
    made.flush()
    await Promise.all([made.resolve(QUERY), answer(4)]) // the third has no answer
    expect(state.opened).toBe(3)
    made.close()
  })

  test('nothing but a socket of our own leads there: that is used; a way that is refused fails the query', async () => {
    const port = await udpServer((query, from, socket) => socket.send(answerTo(query, '203.0.113.5'), from.port, from.address))
    const made = resolver([`127.0.0.1:${port}#DIRECT`], { ...PATIENT, connect: { datagrams: () => undefined, tcp: () => undefined } })
    expect(decodeMessage(await made.resolve(QUERY))?.answers[0].data).toBe('203.0.113.5')
    const refuse = () => Promise.reject(new Error('no'))
    const none = resolver([`127.0.0.1:${port}#REJECT`], { rounds: 1, connect: { datagrams: refuse } })
    await expect(none.resolve(QUERY)).rejects.toMatchObject({ cause: { message: 'no' } })
  })

  test('via is for all but the bootstrap servers and those that have their own', async () => {
    const vias: unknown[] = []
    const port = await udpServer((query, from, socket) => {
      socket.send(
        encodeReply(query, { answers: [{ name: 'dns.test', type: 'A', data: '127.0.0.1' }] }) as Uint8Array,
        from.port,
        from.address,
      )
    })
    const made = resolver([`udp://dns.test:${port}`, `127.0.0.1:${port}#own`], {
      ...PATIENT,
      via: 'RULES',
      bootstrap: [`127.0.0.1:${port}`],
      connect: {
        udp: to => {
          vias.push(`${to.host ?? ''} ${to.via}`)
          return undefined
        },
      },
    })
    await made.resolve(QUERY)
    expect(vias.slice(0, 2)).toEqual([' undefined', 'dns.test RULES'])
    expect(made.servers.map(({ via }) => via)).toEqual(['RULES', 'own'])
  })

  test('types that are not asked for are empty, a client subnet goes along (RFC 7871)', async () => {
    const seen: string[] = []
    const port = await udpServer((query, from, socket) => {
      seen.push(query.subarray(readQuery(query).end).toString('hex'))
      socket.send(answerTo(query, '203.0.113.5'), from.port, from.address)
    })
    const made = resolver([`127.0.0.1:${port}#disable-ipv6=true&ecs=192.0.2.255/20`], PATIENT)
    expect(await made.addresses('real.test', [4, 6])).toEqual(['203.0.113.5'])
    expect(seen).toEqual(['0000290' + '4d00000000' + '0000b' + '00080007' + '00011400' + 'c00000'])
  })
})
