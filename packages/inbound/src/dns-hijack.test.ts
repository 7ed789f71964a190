import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { DnsServer, decodeMessage, encodeReply, frame, readQuery, TcpFramer, writeQuery } from '@tun/dns'
import type { TunSocket } from '@tun/stack'
import { afterEach, describe, expect, test } from 'vitest'
import { DnsStreams } from './dns-hijack.js'
import { closed, connection, frozenTime, readAll, until, type World, world } from './world.test-kit.js'

const nameQuery = (host: string, type: number) => writeQuery(host, type) as Uint8Array

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
    w.send(nameQuery('example.org', A), '192.0.2.53', 53)
    while (addresses((await w.answer()).payload).length === 0); // the answers to the nonsense come first
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
    expect(await w.icmpError()).toEqual({ type: 3, code: 1 })
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
    const pass = frozenTime()
    let second!: () => void
    const both = await nameserver(reply => {
      second = () => reply(['2001:db8::10'])
    })
    const silent = await nameserver(() => {})
    await using one = await world({ dns: { ipv6: true, nameserver: [both] } })
    await using two = await world({ dns: { ipv6: true, nameserver: [silent] } })
    const [v4, v6] = [
      { address: '192.0.2.10', family: 4 },
      { address: '2001:db8::10', family: 6 },
    ]
    const resolved = one.inbound.resolve('example.org')
    await until(() => second !== undefined)
    for (let ms = 0; ms < 40; ms++) await pass(1) // A has come meanwhile
    second()
    expect(await resolved).toEqual([v4, v6])
    let answer: unknown
    void two.inbound.resolve('example.org').then(addresses => {
      answer = addresses
    })
    for (let ms = 0; ms < 1000 && answer === undefined; ms++) await pass(1) // the query itself waits longer
    expect(answer).toEqual([v4])
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

describe('real addresses (redir-host)', () => {
  const handler = (query: Uint8Array) => {
    const { name, type } = readQuery(query)
    return encodeReply(query, { answers: type === A ? [{ type: 'A', name, ttl: 60, data: '203.0.113.7' }] : [] })
  }
  const modes = { 'redir-host': ['www.test', 'dns', true], normal: [undefined, undefined, undefined] } as const

  test.each(Object.entries(modes))(
    '%s: a connection to one that was answered: its name is a hint, the address counts',
    async (mode, expected) => {
      await using w = await world({ ...hijacked, dns: { 'enhanced-mode': mode as keyof typeof modes, handler } })
      expect(await ask(w, 'www.test')).toEqual(['203.0.113.7'])
      const app = w.connect('203.0.113.7', 443)
      const socket = await connection(w.inbound)
      expect([socket.destination.host, socket.hostSource, socket.destination.real]).toEqual(expected)
      expect(socket.destination.address).toBe('203.0.113.7')
      app.destroy()
      const seen: unknown[] = []
      w.inbound.on('datagram', ({ destination }) => seen.push([destination.host, destination.real]))
      w.send('x', '203.0.113.7', 9)
      w.send('x', '203.0.113.8', 9)
      await until(() => seen.length === 2)
      expect(seen).toEqual([
        [expected[0], expected[2]],
        [undefined, undefined],
      ])
    },
  )

  test('names that the filter leaves real are known beside fake ones', async () => {
    await using w = await world({
      ...hijacked,
      dns: { 'fake-ip-filter': ['www.test'], handler: q => (readQuery(q).name === 'www.test' ? handler(q) : null) },
    })
    expect([await ask(w, 'www.test'), await ask(w, 'other.test')]).toEqual([['203.0.113.7'], [expect.stringMatching(/^198\.18\./)]])
    const app = w.connect('203.0.113.7', 443)
    expect((await connection(w.inbound)).destination).toMatchObject({ host: 'www.test', real: true })
    app.destroy()
  })
})

test('dns-hijack: each of its places is answered, over UDP and TCP, and no other', async () => {
  await using w = await world({ tun: { 'dns-hijack': ['192.0.2.53:53', '192.0.2.54:5353'] } })
  w.inbound.on('datagram', d => void d.reply(Buffer.from('not DNS')))
  const [fake] = await ask(w, 'example.org')
  expect(fake).toMatch(/^198\.18\./)
  w.send(nameQuery('example.org', A), '192.0.2.54', 5353)
  expect(addresses((await w.answer()).payload)).toEqual([fake])
  const app = await w.open('192.0.2.54', 5353)
  app.end(frame(nameQuery('example.org', A)))
  expect(new TcpFramer().push(await readAll(app)).flatMap(addresses)).toEqual([fake])
  w.send(nameQuery('example.org', A), '192.0.2.54', 53)
  expect(String((await w.answer()).payload)).toBe('not DNS')
})

describe('dns.listen', () => {
  test('a socket of the host answers as the TUN does, UDP and TCP', async () => {
    await using w = await listening()
    const { port } = w.inbound.dnsAddress as { port: number }
    const [fake] = await ask(w, 'example.org')
    const udp = createSocket('udp4')
    opened.push(udp)
    udp.send(nameQuery('example.org', A), port, '127.0.0.1')
    const [answer] = await once(udp, 'message')
    expect(addresses(answer)).toEqual([fake])
    const tcp = connect({ port, host: '127.0.0.1' })
    tcp.end(Buffer.concat([frame(nameQuery('example.org', A)), frame(nameQuery('example.org', AAAA))]))
    const chunks: Buffer[] = []
    for await (const chunk of tcp) chunks.push(chunk)
    expect(new TcpFramer().push(Buffer.concat(chunks)).map(addresses)).toEqual([[fake], []])
  })

  test('a port that is taken is an error that says which; without enable nobody listens', async () => {
    const taken = createSocket('udp4')
    opened.push(taken)
    taken.bind(0, '127.0.0.1')
    await once(taken, 'listening')
    const listen = `127.0.0.1:${taken.address().port}`
    await expect(world({ dns: { enable: true, listen } })).rejects.toMatchObject({
      code: 'ERR_TUN_DNS_LISTEN',
      message: expect.stringContaining('EADDRINUSE'),
    })
    await using w = await world({ dns: { enable: false, listen } })
    expect(w.inbound.dnsAddress).toBe(undefined)
  })

  /** At a port that is free for both: TCP keeps those of ended connections for a minute. */
  async function listening(): Promise<World> {
    for (;;) {
      const server = createServer().listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as AddressInfo
      await new Promise(resolve => server.close(resolve))
      try {
        return await world({ ...hijacked, dns: { enable: true, listen: `127.0.0.1:${port}` } })
      } catch (error) {
        if (!String(error).includes('EADDRINUSE')) throw error
      }
    }
  }
})

describe('hosts and policy', () => {
  test('hosts are answered before fake addresses, aliases as what they lead to; resolve() knows them, too', async () => {
    const hosts = {
      'router.lan': ['192.0.2.7', '2001:db8::7'],
      '*.cdn.test': '192.0.2.8',
      'www.test': 'router.lan',
      'ext.test': 'example.org',
    }
    await using w = await world({ ...hijacked, dns: { ipv6: true, hosts } })
    expect(await ask(w, 'router.lan')).toEqual(['192.0.2.7'])
    expect(await ask(w, 'Router.LAN', AAAA)).toEqual(['2001:db8::7'])
    expect([await ask(w, 'a.cdn.test'), await ask(w, 'www.test')]).toEqual([['192.0.2.8'], ['192.0.2.7']])
    const [cname, fake] = await ask(w, 'ext.test')
    expect([cname, fake]).toEqual(['example.org', (await ask(w, 'example.org'))[0]])
    expect(await w.inbound.resolve('www.test')).toEqual([
      { address: '192.0.2.7', family: 4 },
      { address: '2001:db8::7', family: 6 },
    ])
  })

  test('fake-ip-filter-mode whitelist: only those names are fake', async () => {
    const dns = { 'fake-ip-filter': ['+.proxied.test'], 'fake-ip-filter-mode': 'whitelist', nameserver: ['rcode://name_error'] } as const
    await using w = await world({
      ...hijacked,
      dns: { ...dns, 'fake-ip-filter': [...dns['fake-ip-filter']], nameserver: [...dns.nameserver] },
    })
    expect([await ask(w, 'a.proxied.test'), await ask(w, 'other.test')]).toEqual([[expect.stringMatching(/^198\.18\./)], []])
  })

  test('the names of proxy servers are asked for at their own nameservers', async () => {
    const at = (data: string) =>
      dnsServer(query => encodeReply(query, { answers: readQuery(query).type === A ? [{ type: 'A', name: 'p.test', ttl: 9, data }] : [] }))
    const [main, own] = [await at('192.0.2.1'), await at('192.0.2.2')]
    await using w = await world({ dns: { nameserver: [`127.0.0.1:${main}`], 'proxy-server-nameserver': [`127.0.0.1:${own}`] } })
    expect([await w.inbound.resolve('p.test'), await w.inbound.resolveServer('p.test')]).toEqual([
      [{ address: '192.0.2.1', family: 4 }],
      [{ address: '192.0.2.2', family: 4 }],
    ])
  })

  async function dnsServer(reply: (query: Uint8Array) => Uint8Array | null): Promise<number> {
    const socket = createSocket('udp4').bind(0, '127.0.0.1')
    opened.push(socket)
    await once(socket, 'listening')
    socket.on('message', (query, from) => socket.send(reply(query) as Uint8Array, from.port, from.address))
    return socket.address().port
  }
})

test('of connections with DNS there are so many at once; for one more, the one that has asked nothing for longest goes', async () => {
  const streams = new DnsStreams(new DnsServer(), 2)
  const server = createServer({ allowHalfOpen: true }, socket => streams.serve(socket, { source: undefined, destination: undefined }))
  opened.push(server.listen(0, '127.0.0.1'), streams)
  await once(server, 'listening')
  const client = async () => {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
    opened.push({ close: () => socket.destroy() })
    const gone = new Promise(resolve => socket.on('error', () => {}).on('close', resolve))
    const ask = async () => {
      socket.write(frame(nameQuery('localhost', A)))
      await once(socket, 'data')
    }
    await ask()
    return { socket, ask, gone }
  }
  const first = await client()
  const second = await client()
  await first.ask()
  await client()
  await second.gone
  await first.ask()
  expect([first.socket.destroyed, second.socket.destroyed]).toEqual([false, true])
})
