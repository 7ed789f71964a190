import { createSocket, type Socket } from 'node:dgram'
import { getServers } from 'node:dns'
import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { type DnsOptions, parseDns } from '@tun/config'
import { encodeReply, readQuery } from '@tun/dns'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { NameService } from './name-service.js'
import type { NameserverOutbound } from './nameserver-ways.js'
import type { Destination, Outbound } from './outbound.js'
import { steadyTime } from './world.test-kit.js'

const opened: (() => void)[] = []
beforeEach(steadyTime) // a query that is asked again is counted
afterEach(() => {
  for (const close of opened.splice(0)) close()
})

const reply = (query: Uint8Array, data: string) =>
  encodeReply(query, { answers: [{ name: readQuery(query).name, type: 'A', ttl: 60, data }] }) as Uint8Array

/** A nameserver on loopback that says the same of all names, and what it was asked. */
async function nameserver(data: string): Promise<{ at: string; asked: string[] }> {
  const socket: Socket = createSocket('udp4')
  const asked: string[] = []
  socket.on('message', (query, from) => {
    asked.push(readQuery(query).name)
    socket.send(reply(query, data), from.port, from.address)
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  opened.push(() => socket.close())
  return { at: `127.0.0.1:${socket.address().port}`, asked }
}

/** Carries datagrams to nobody, and answers them itself. */
function proxy(data: string): { outbound: Outbound; sent: Destination[] } {
  const sent: Destination[] = []
  let receive = (_payload: Buffer, _from: Destination) => {}
  const outbound: Outbound = {
    dial: async () => new PassThrough(),
    associate: async () => ({
      send: (query, to) => {
        sent.push(to)
        receive(Buffer.from(reply(query, data)), to)
        return true
      },
      onMessage: fn => {
        receive = fn
      },
      closed: new Promise(() => {}),
      close: () => {},
    }),
  }
  return { outbound, sent }
}

function service(dns: Partial<DnsOptions>, outbound?: NameserverOutbound): NameService {
  const names = new NameService(parseDns(dns), { answers: true, outbound, onWarning: () => {} })
  opened.push(() => names.close())
  return names
}

const addresses = (found: { address: string }[]) => found.map(({ address }) => address)

test('#proxy: the nameserver is asked through it; others are asked from here, and nobody is asked about them', async () => {
  const plain = await nameserver('203.0.113.1')
  const { outbound, sent } = proxy('203.0.113.2')
  const vias: string[] = []
  const options = { nameserver: ['192.0.2.53#s5'], 'nameserver-policy': { '+.here.test': plain.at } }
  const names = service(options, ({ via, address }, network) => {
    vias.push(`${via} ${address} ${network}`)
    return outbound
  })
  expect(addresses(await names.resolve('far.test'))).toEqual(['203.0.113.2'])
  expect(addresses(await names.resolve('a.here.test'))).toEqual(['203.0.113.1'])
  expect([vias, sent, plain.asked]).toEqual([['s5 192.0.2.53 udp'], [{ address: '192.0.2.53', port: 53, family: 4 }], ['a.here.test']])
})

test('respect-rules: RULES is asked about each but those of proxy servers and DIRECT names, which have their own', async () => {
  const [main, ofProxies, ofDirect] = [await nameserver('203.0.113.1'), await nameserver('203.0.113.2'), await nameserver('203.0.113.3')]
  const vias: string[] = []
  const names = service(
    {
      nameserver: [main.at],
      'respect-rules': true,
      'proxy-server-nameserver': [ofProxies.at],
      'direct-nameserver': [ofDirect.at],
      'nameserver-policy': { 'policy.test': main.at },
    },
    ({ via }) => void vias.push(via),
  )
  expect(addresses(await names.resolve('a.test'))).toEqual(['203.0.113.1'])
  expect(new Set(vias)).toEqual(new Set(['RULES']))
  vias.length = 0
  expect(addresses(await names.resolveServer('proxy.test'))).toEqual(['203.0.113.2'])
  expect(addresses(await names.resolveDirect('policy.test'))).toEqual(['203.0.113.3'])
  expect(vias).toEqual([])
  expect([main.asked, ofProxies.asked, ofDirect.asked]).toEqual([['a.test'], ['proxy.test'], ['policy.test']])
})

test('direct-nameserver-follow-policy: the policy comes before direct-nameserver', async () => {
  const [direct, own] = [await nameserver('203.0.113.1'), await nameserver('203.0.113.2')]
  const names = service({
    'direct-nameserver': [direct.at],
    'direct-nameserver-follow-policy': true,
    'nameserver-policy': { 'policy.test': [own.at] },
  })
  expect(addresses(await names.resolveDirect('policy.test'))).toEqual(['203.0.113.2'])
  expect(addresses(await names.resolveDirect('a.test'))).toEqual(['203.0.113.1'])
})

test('without proxy-server-nameserver a proxy’s name is asked for at those that no proxy leads to', async () => {
  const [plain, bootstrap] = [await nameserver('203.0.113.1'), await nameserver('203.0.113.2')]
  const never: NameserverOutbound = () => {
    throw new Error('asked through a proxy')
  }
  const both = service({ nameserver: ['192.0.2.53#s5', plain.at], 'default-nameserver': [bootstrap.at] }, never)
  expect(addresses(await both.resolveServer('proxy.test'))).toEqual(['203.0.113.1'])
  const one = service({ nameserver: ['192.0.2.53#s5'], 'default-nameserver': [bootstrap.at] }, never)
  expect(addresses(await one.resolveServer('proxy.test'))).toEqual(['203.0.113.2'])
})

test('#interface: its address is where the query comes from; what is neither proxy nor interface fails the query', async () => {
  const server = await nameserver('203.0.113.1')
  expect(addresses(await service({ nameserver: [`${server.at}#lo`] }).resolve('a.test'))).toEqual(['203.0.113.1'])
  await expect(service({ nameserver: [`${server.at}#nowhere`] }).resolve('a.test')).rejects.toMatchObject({
    cause: { message: "there is no proxy and no interface 'nowhere'" },
  })
  await expect(service({ nameserver: [`${server.at}#REJECT`] }, () => null).resolve('a.test')).rejects.toMatchObject({
    cause: { code: 'ECONNREFUSED' },
  })
})

test("a group that leads to DIRECT is no interface: 'own' is a socket of this machine", async () => {
  const server = await nameserver('203.0.113.1')
  expect(addresses(await service({ nameserver: [`${server.at}#a group`] }, () => 'own').resolve('a.test'))).toEqual(['203.0.113.1'])
})

test('system#proxy: the servers of the system are asked through it, too', async () => {
  const { outbound, sent } = proxy('203.0.113.2')
  expect(addresses(await service({ nameserver: ['system#s5'] }, () => outbound).resolve('a.test'))).toEqual(['203.0.113.2'])
  expect(sent.map(({ address }) => address)).toEqual(getServers().slice(0, 1))
})

test('a policy or a fallback through a proxy is not asked for the proxy’s own name; a plain policy is', async () => {
  const [plain, corp] = [await nameserver('203.0.113.1'), await nameserver('203.0.113.3')]
  const never: NameserverOutbound = () => {
    throw new Error('asked through a proxy')
  }
  const names = service(
    { nameserver: [`${plain.at}#disable-ipv6=true`], 'nameserver-policy': { '+.far.test': '192.0.2.53#s5', '+.corp.test': [corp.at] } },
    never,
  )
  expect(addresses(await names.resolveServer('proxy.far.test'))).toEqual(['203.0.113.1'])
  expect(addresses(await names.resolveServer('proxy.corp.test'))).toEqual(['203.0.113.3'])
  await expect(names.resolve('a.far.test')).rejects.toThrow()
})

test('another network: the answers of direct-nameserver are forgotten, too', async () => {
  const direct = await nameserver('203.0.113.1')
  const names = service({ 'direct-nameserver': [direct.at] })
  await names.resolveDirect('a.test')
  names.networkChanged()
  await names.resolveDirect('a.test')
  expect(direct.asked).toEqual(['a.test', 'a.test'])
})
