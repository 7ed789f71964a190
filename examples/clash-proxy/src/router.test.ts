import { Duplex, PassThrough } from 'node:stream'
import type { Destination, Endpoint, Outbound } from '@tun/inbound'
import { describe, expect, test } from 'vitest'
import { createLog, type Level } from './log.js'
import { Problems } from './problems.js'
import { readProxies } from './proxies.js'
import { type Incoming, type Mode, Router, type RouterOptions } from './router.js'
import { readRules } from './rules.js'

const SOURCE: Endpoint = { address: '10.0.0.2', port: 51234, family: 4 }

class FakeSocket extends PassThrough implements Incoming {
  readonly source = SOURCE
  readonly rejected: string[] = []
  private readonly controller = new AbortController()
  readonly signal = this.controller.signal

  constructor(readonly destination: Destination) {
    super()
  }
  reject(reason: string): void {
    this.rejected.push(reason)
    this.destroy()
  }
}

const target = (host?: string): Destination => ({ address: '198.18.0.5', port: 443, family: 4, host })

function setUp(
  rules: string[],
  {
    mode = 'rule' as Mode,
    ipv6 = true,
    level = 'info' as Level,
    relayed = {},
    resolve = async () => [] as { address: string; family: number }[],
  } = {},
) {
  const lines: string[] = []
  const dialled: Destination[] = []
  const direct: Outbound = {
    dial: async destination => {
      dialled.push(destination)
      return new Duplex()
    },
  }
  const problems = new Problems()
  const targets = readProxies([{ name: 's5', type: 'socks5', server: '127.0.0.1', port: 1 }], { direct }, problems)
  const relay: RouterOptions<FakeSocket>['relay'] = async (socket, upstream) => {
    await upstream.dial(socket.destination).catch(() => {})
    return { up: 1, down: 2, reason: 'end', ...relayed }
  }
  const log = createLog(level, line => lines.push(JSON.parse(/msg=(.*)/.exec(line)![1])))
  const router = new Router<FakeSocket>({ mode, rules: readRules(rules, targets, problems), ipv6, targets, log, relay, resolve })
  const route = async (destination: Destination) => {
    const socket = new FakeSocket(destination)
    router.route(socket)
    for (let i = 0; i < 5; i++) await new Promise(setImmediate)
    return socket
  }
  const datagrams = (destination: Destination, source = SOURCE) => router.routeDatagrams(source, destination)
  return { route, datagrams, router, targets, direct, lines, dialled }
}

test('a connection goes where its rule says, and the log says why', async () => {
  const { route, lines, dialled } = setUp(['DOMAIN-SUFFIX,example.org,DIRECT', 'MATCH,REJECT'])
  await route(target('www.example.org'))
  const refused = await route(target())
  expect(dialled).toEqual([target('www.example.org')])
  expect(refused.rejected).toEqual(['refused'])
  expect(lines).toEqual([
    '[TCP] 10.0.0.2:51234 --> www.example.org:443 match DomainSuffix(example.org) using DIRECT',
    '[TCP] 10.0.0.2:51234 --> 198.18.0.5:443 match Match using REJECT',
  ])
})

test('no rule at all is DIRECT', async () => {
  const { route, lines, dialled } = setUp([])
  await route(target())
  expect(dialled).toHaveLength(1)
  expect(lines).toEqual(["[TCP] 10.0.0.2:51234 --> 198.18.0.5:443 doesn't match any rule using DIRECT"])
})

test('mode direct and global pass the rules over', async () => {
  const direct = setUp(['MATCH,REJECT'], { mode: 'direct' })
  await direct.route(target())
  expect(direct.dialled).toHaveLength(1)
  const global = setUp(['MATCH,REJECT'], { mode: 'global' })
  await global.route(target())
  expect(global.lines[0]).toBe('[TCP] 10.0.0.2:51234 --> 198.18.0.5:443 using s5')
})

test('an IP rule before the match asks for the real address', async () => {
  const rules = ['IP-CIDR,192.0.2.0/24,REJECT', 'MATCH,DIRECT']
  const inside = setUp(rules, { resolve: async () => [{ address: '192.0.2.9', family: 4 }] })
  expect((await inside.route(target('a.test'))).rejected).toEqual(['refused'])
  const failing = setUp(rules, { resolve: () => Promise.reject(new Error('no server')) })
  expect((await failing.route(target('a.test'))).rejected).toEqual([])
  expect(failing.dialled).toHaveLength(1)
})

test('an application that gave up during the lookup is not routed', async () => {
  let answer = (_: never[]) => {}
  const { route, dialled } = setUp(['IP-CIDR,192.0.2.0/24,REJECT', 'MATCH,DIRECT'], {
    resolve: () => new Promise(resolve => (answer = resolve)),
  })
  const socket = await route(target('a.test'))
  socket.destroy()
  answer([])
  await new Promise(setImmediate)
  expect([socket.rejected, dialled]).toEqual([[], []])
})

test('a failed dial is a warning; what ends later is for debugging', async () => {
  const failed = setUp([], { level: 'warning', relayed: { reason: 'dial-failed', error: new Error('no route') } })
  await failed.route(target())
  expect(failed.lines).toEqual(['[TCP] dial DIRECT 10.0.0.2:51234 --> 198.18.0.5:443 error: no route'])
  const reset = setUp([], { level: 'debug', relayed: { error: new Error('read ECONNRESET') } })
  await reset.route(target())
  expect(reset.lines[1]).toBe('[TCP] 10.0.0.2:51234 --> 198.18.0.5:443 closed: read ECONNRESET, 1 bytes up, 2 down')
})

test('without ipv6 an IPv6 address is unreachable at once; a name is not its fake address', async () => {
  const { route, dialled } = setUp([], { ipv6: false })
  expect((await route({ address: '2001:db8::1', port: 443, family: 6 })).rejected).toEqual(['net-unreachable'])
  await route({ address: 'fc00::1', port: 443, family: 6, host: 'a.test' })
  expect(dialled).toHaveLength(1)
})

test('datagrams follow the rules too, and the log says which', async () => {
  const { datagrams, lines, direct } = setUp([
    'NETWORK,tcp,REJECT',
    'DOMAIN-KEYWORD,ample,DIRECT',
    'DST-PORT,9,REJECT-DROP',
    'MATCH,REJECT',
  ])
  expect(await datagrams(target('www.example.org'))).toBe(direct)
  expect(await datagrams(target())).toBeNull()
  expect(lines).toEqual([
    '[UDP] 10.0.0.2:51234 --> www.example.org:443 match DomainKeyword(ample) using DIRECT',
    '[UDP] 10.0.0.2:51234 --> 198.18.0.5:443 match Match using REJECT',
  ])
  const sink = await (await datagrams({ ...target(), port: 9 }))!.associate!({ source: SOURCE })
  expect(sink.send(Buffer.from('x'), target())).toBe(true) // REJECT-DROP tells nobody
  sink.close()
  await sink.closed
})

test('rules by source tell applications apart', async () => {
  const { datagrams, route, direct } = setUp(['SRC-IP-CIDR,10.0.0.0/24,DIRECT', 'MATCH,REJECT'])
  expect(await datagrams(target())).toBe(direct)
  expect(await datagrams(target(), { ...SOURCE, address: '10.0.1.2' })).toBeNull()
  expect((await route(target())).rejected).toEqual([])
})

test('a failed association is a warning', () => {
  const { router, lines } = setUp([], { level: 'warning' })
  router.datagramsFailed(SOURCE, target('a.test'), new Error('answered 7'))
  expect(lines).toEqual(['[UDP] 10.0.0.2:51234 --> a.test:443 error: answered 7'])
})

test('a nameserver’s way: a proxy by its name, RULES by the rules; DIRECT, an interface and what nobody knows are not ours', () => {
  const { router, targets } = setUp(['IP-CIDR,192.0.2.0/24,s5', 'DOMAIN,dns.test,REJECT', 'MATCH,DIRECT'])
  const way = (via: string, address = '192.0.2.53', host?: string) =>
    router.forNameserver({ address, port: 53, family: 4, via, ...(host ? { host, real: true as const } : {}) }, 'udp')
  const s5 = targets.get('s5')?.outbound
  expect(s5).toBeDefined()
  expect([way('s5', '8.8.8.8'), way('RULES')]).toEqual([s5, s5])
  expect([way('REJECT'), way('RULES', '8.8.8.8', 'dns.test')]).toEqual([null, null])
  expect([way('DIRECT'), way('RULES', '8.8.8.8'), way('eth0')]).toEqual(['own', 'own', undefined])
  const direct = targets.get('DIRECT')
  if (direct) targets.set('a group', direct)
  expect(way('a group')).toBe('own')
})

describe('a ping', () => {
  const outcome = async (rules: string[], destination: { address: string; host?: string }, failure?: Error, options = {}) => {
    const { router, direct, lines } = setUp(rules, { level: 'warning', ...options })
    direct.ping = async () => true
    const told: string[] = []
    const family = destination.address.includes(':') ? (6 as const) : (4 as const)
    const ping = {
      source: { address: SOURCE.address, family: 4 as const },
      destination: { ...destination, family },
      payload: Buffer.from('x'),
      ttl: 64,
      signal: new AbortController().signal,
      forward: async (carry: unknown) => {
        told.push(carry === direct.ping ? 'forwarded' : 'forwarded elsewhere')
        return failure
      },
      unreachable: (why: string) => void told.push(why),
      ignore: () => void told.push('ignored'),
    }
    await router.routePing(ping)
    await router.routePing(ping)
    return [...new Set(told), ...lines].join('; ')
  }
  const there = { address: '192.0.2.1' }

  test('goes where its rule says; what carries none has it refused, for it must go no other way', async () => {
    expect(await outcome(['MATCH,DIRECT'], there)).toBe('forwarded')
    expect(await outcome([], there)).toBe('forwarded')
    expect(await outcome(['MATCH,s5'], there)).toBe('prohibited')
    expect(await outcome(['MATCH,REJECT'], there)).toBe('prohibited')
    expect(await outcome(['MATCH,REJECT-DROP'], there)).toBe('ignored')
    expect(await outcome(['DOMAIN,a.test,DIRECT', 'MATCH,REJECT'], { address: '198.18.0.9', host: 'a.test' })).toBe('forwarded')
    expect(await outcome(['NETWORK,icmp,DIRECT', 'MATCH,s5'], there)).toBe('forwarded')
  })

  test('has no port, is not UDP, and is refused where IPv6 is', async () => {
    expect(await outcome(['DST-PORT,0-65535,REJECT', 'NETWORK,udp,REJECT', 'MATCH,DIRECT'], there)).toBe('forwarded')
    expect(await outcome([], { address: '2001:db8::1' }, undefined, { ipv6: false })).toBe('net-unreachable')
  })

  test('that this process may not send is a warning, once', async () => {
    const forbidden = Object.assign(new Error('may open no ping socket'), { code: 'ERR_TUN_PERMISSION' })
    expect(await outcome([], there, forbidden)).toBe('forwarded; [ICMP] 10.0.0.2 --> 192.0.2.1 error: may open no ping socket')
    expect(await outcome([], there, Object.assign(new Error('unreachable'), { code: 'EHOSTUNREACH' }))).toBe('forwarded')
  })
})
