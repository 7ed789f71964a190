import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { decodeMessage, encodeReply, frame, readQuery, TcpFramer } from '@tun/dns'
import type { TunSocket } from '@tun/stack'
import { afterEach, describe, expect, test } from 'vitest'
import { nameQuery } from './name-query.js'
import { closed, connection, readAll, until, type World, world } from './world.test-kit.js'

const A = 1
const AAAA = 28
const hijacked = { tun: { 'dns-listen': '0.0.0.0:53' } }

const opened: { close(): void }[] = []
afterEach(() => {
  for (const one of opened.splice(0)) one.close()
})

/** What a query over UDP is answered with, as addresses. */
async function ask(w: World, host: string, type = A, server = '192.0.2.53'): Promise<string[]> {
  w.send(nameQuery(host, type), server, 53)
  const { payload, from } = await w.answer()
  expect(from).toEqual({ address: server, port: 53 })
  return addresses(payload)
}

const addresses = (message: Uint8Array) => (decodeMessage(message)?.answers ?? []).map(record => String(record.data))

describe('hijacked DNS', () => {
  test('any address at that port is answered, in both families, and makes no flow', async () => {
    await using w = await world({ ...hijacked, dns: { ipv6: true, 'fake-ip-range6': 'fc00::/18' } })
    let events = 0
    w.inbound.on('datagram', () => events++).on('flow', () => events++)
    const [fake] = await ask(w, 'example.org')
    expect(fake).toMatch(/^198\.18\./)
    expect(await ask(w, 'Example.ORG', A, '2001:db8::53')).toEqual([fake])
    expect((await ask(w, 'example.org', AAAA))[0]).toMatch(/^fc00:/)
    expect([events, w.inbound.stats().udpFlows]).toEqual([0, 0])
  })

  test('goes before listen and listenDatagrams; a concrete address hijacks only that one', async () => {
    await using w = await world({ tun: { 'dns-listen': '192.0.2.53:53' } })
    w.inbound.listenDatagrams({ port: 53 }, d => void d.reply(Buffer.from('service')))
    w.inbound.listen({ port: 53 }, socket => void socket.end('service'))
    expect((await ask(w, 'example.org')).length).toBe(1)
    w.send('x', '192.0.2.54', 53)
    expect(String((await w.answer()).payload)).toBe('service')
    expect(String(await readAll(w.connect('192.0.2.54', 53)))).toBe('service')
  })

  test('nonsense is answered or dropped, never an exception; the next query works', async () => {
    await using w = await world(hijacked)
    for (const bytes of [[], [1], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], Array(600).fill(0xff), Array(12).fill(0)]) {
      w.send(Uint8Array.from(bytes), '192.0.2.53', 53)
    }
    await until(() => (w.inbound.stats().dns?.queries ?? 0) >= 5)
    await new Promise(resolve => setTimeout(resolve, 5))
    w.answers.length = 0
    expect((await ask(w, 'example.org')).length).toBe(1)
  })

  test('over TCP: frames cut anywhere, many in one segment, answers for all, then the end', async () => {
    await using w = await world(hijacked)
    const app = await w.open('192.0.2.53', 53)
    const queries = Array.from({ length: 300 }, (_, i) => frame(nameQuery(`host${i}.example`, A)))
    const all = Buffer.concat(queries)
    for (const at of [0, 1, 2, 3, 30]) {
      app.write(all.subarray(at, at === 30 ? all.length : at === 3 ? 30 : at + 1))
      await new Promise(resolve => setTimeout(resolve, 2))
    }
    app.end()
    const answers = new TcpFramer().push(await readAll(app))
    expect(new Set(answers.flatMap(addresses)).size).toBe(300)
    await until(() => w.inbound.stats().connections === 0)
  })

  test('a handler that answers late: pipelined queries wait, a client that reads nothing is not listened to for ever', async () => {
    let asked = 0
    const big = 'x'.repeat(200)
    await using w = await world({
      ...hijacked,
      limits: { sndBuf: 20_000, rcvBuf: 20_000 },
      dns: {
        handler: async query => {
          asked++
          await new Promise(setImmediate)
          const { name } = readQuery(query)
          return encodeReply(query, { answers: Array.from({ length: 40 }, () => ({ type: 'TXT', name, ttl: 1, data: big })) as never })
        },
      },
    })
    const app = await w.open('192.0.2.53', 53)
    const query = frame(nameQuery('txt.example', 16))
    const many = 4000
    for (let i = 0; i < many; i++) app.write(query)
    let settled = -1
    while (settled !== asked) {
      settled = asked
      await new Promise(resolve => setTimeout(resolve, 50))
    }
    expect(asked).toBeLessThan(many / 2)
    app.end()
    const answers = new TcpFramer().push(await readAll(app))
    expect(answers.length).toBe(many)
  })
})

describe('fake addresses', () => {
  test('a connection to one carries its name; a service’s address is never given to a name', async () => {
    await using w = await world({ ...hijacked, dns: { 'fake-ip-range': '198.18.0.1/29' } })
    w.inbound.listen({ address: '198.18.0.2' }, socket => void socket.end('service'))
    const [fake] = await ask(w, 'example.org')
    expect(fake).not.toBe('198.18.0.2')
    const app = w.connect(fake, 443)
    const socket = await connection(w.inbound)
    expect(socket.destination).toEqual({ address: fake, port: 443, family: 4, host: 'example.org' })
    expect(socket.hostSource).toBe('fake-ip')
    app.destroy()
    expect(String(await readAll(w.connect('198.18.0.2', 80)))).toBe('service')
  })

  test('one that nobody was told is unreachable, for TCP and UDP; a real address has no name', async () => {
    await using w = await world(hijacked)
    const seen: TunSocket[] = []
    w.inbound.on('connection', socket => seen.push(socket.accept()))
    w.inbound.on('datagram', () => seen.push(null as never))
    w.connect('198.18.7.7', 80)
    expect(await w.icmpError()).toEqual({ type: 3, code: 1 })
    w.send('x', '198.18.7.7', 9)
    expect((await w.icmpError()).type).toBe(3)
    await w.open('192.0.2.1', 80)
    expect(seen.map(socket => socket.destination.host)).toEqual([undefined])
    expect(seen[0].hostSource).toBe(undefined)
  })

  test('datagrams and flows know the name, and answers come from the fake address', async () => {
    await using w = await world(hijacked)
    const [fake] = await ask(w, 'example.org')
    w.inbound.on('flow', flow => {
      flow.on('message', (payload, to) => void flow.send(Buffer.from(`${payload} for ${to.host}`), to))
    })
    w.send('hi', fake, 443)
    const { payload, from } = await w.answer()
    expect([String(payload), from]).toEqual(['hi for example.org', { address: fake, port: 443 }])
  })

  test('an address with a live connection or flow keeps its name when the range is exhausted; afterwards it is free', async () => {
    await using w = await world({ ...hijacked, dns: { 'fake-ip-range': '198.18.0.1/29' } })
    w.inbound.on('connection', socket => void socket.accept().resume())
    w.inbound.on('flow', flow => void flow.on('message', () => {}))
    const names = Array.from({ length: 12 }, (_, i) => `n${i}.example`)
    const [tcp] = await ask(w, 'tcp.example')
    const [udp] = await ask(w, 'udp.example')
    const app = await w.open(tcp, 80)
    w.send('x', udp, 9)
    await until(() => w.inbound.flows().length === 2)
    for (const name of names) {
      const [address] = await ask(w, name)
      expect([tcp, udp]).not.toContain(address)
    }
    expect([await ask(w, 'tcp.example'), await ask(w, 'udp.example')]).toEqual([[tcp], [udp]])
    app.resetAndDestroy()
    await until(() => w.inbound.stats().connections === 0)
    const given = new Set<string>()
    for (const name of names) given.add((await ask(w, name))[0])
    expect([given.has(tcp), given.has(udp)]).toEqual([true, false])
  })

  test('without dns-listen nobody learns a fake address: the range is like any other', async () => {
    await using w = await world()
    const app = w.connect('198.18.0.9', 80)
    const socket = await connection(w.inbound)
    socket.reject()
    expect(await closed(app)).toBe('ECONNREFUSED')
  })
})

describe('resolve', () => {
  /** A nameserver on loopback that answers A at once; AAAA as it is told. */
  async function nameserver(aaaa: (answer: (addresses: string[]) => void) => void, a: string[] = ['192.0.2.10']): Promise<string> {
    const socket = createSocket('udp4').bind(0, '127.0.0.1')
    await once(socket, 'listening')
    opened.push(socket)
    socket.on('message', (query, from) => {
      const { name, type } = readQuery(query)
      const reply = (list: string[]) =>
        socket.send(
          encodeReply(query, {
            answers: list.map(data => ({ type: type === A ? 'A' : 'AAAA', name, ttl: 1, data })) as never,
          }) as Uint8Array,
          from.port,
          from.address,
        )
      if (type === A) reply(a)
      else aaaa(reply)
    })
    return `127.0.0.1:${(socket.address() as AddressInfo).port}`
  }

  test('both families; a family that is silent delays nobody (RFC 8305 §3)', async () => {
    const both = await nameserver(reply => setTimeout(() => reply(['2001:db8::10']), 1))
    const silent = await nameserver(() => {})
    await using one = await world({ dns: { ipv6: true, nameserver: [both] } })
    await using two = await world({ dns: { ipv6: true, nameserver: [silent] } })
    expect(await one.inbound.resolve('example.org')).toEqual([
      { address: '192.0.2.10', family: 4 },
      { address: '2001:db8::10', family: 6 },
    ])
    const late = new Promise(resolve => setTimeout(resolve, 1000, 'late')) // the query itself waits longer
    expect(await Promise.race([two.inbound.resolve('example.org'), late])).toEqual([{ address: '192.0.2.10', family: 4 }])
  })

  test('no A: the other family is waited for; neither: ENOTFOUND; an address is its own answer', async () => {
    const late = await nameserver(reply => setTimeout(() => reply(['2001:db8::10']), 120), [])
    await using w = await world({ dns: { ipv6: true, nameserver: [late] } })
    expect(await w.inbound.resolve('example.org')).toEqual([{ address: '2001:db8::10', family: 6 }])
    await using none = await world({ dns: { nameserver: [late] } }) // ipv6: false asks for A only
    await expect(none.inbound.resolve('example.org')).rejects.toMatchObject({ code: 'ENOTFOUND' })
    expect(await none.inbound.resolve('2001:db8::7')).toEqual([{ address: '2001:db8::7', family: 6 }])
    for (const bad of ['', 'a..b', `${'x'.repeat(64)}.org`, `${'x.'.repeat(140)}org`])
      await expect(none.inbound.resolve(bad)).rejects.toThrow(RangeError)
  })

  test('the signal ends it', async () => {
    const silent = await nameserver(() => {}, [])
    await using w = await world({ dns: { ipv6: true, nameserver: [silent] } })
    await expect(w.inbound.resolve('example.org', AbortSignal.timeout(20))).rejects.toMatchObject({ name: 'TimeoutError' })
  })
})
