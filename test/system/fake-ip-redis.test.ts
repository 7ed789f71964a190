import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { decodeMessage } from '../../packages/dns/src/codec.js'
import { openRedis, type RedisClient, SharedFakeIpPool } from '../../packages/dns/src/fake-ip-redis.js'
import { TYPE, writeQuery } from '../../packages/dns/src/message.js'
import { DnsServer } from '../../packages/dns/src/server.js'
import { findBinary } from '../../scripts/peers.mjs'
import { describeSystem } from './requirements.js'

/** A server of its own for the test; `stop` ends it before the test does. */
async function startRedis(): Promise<{ url: string; stop(): Promise<void> }> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  probe.close()
  const child = spawn(
    findBinary('redis-server') ?? 'redis-server',
    ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'],
    {
      stdio: 'ignore',
    },
  )
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'close')
  }
  onTestFinished(stop)
  for (let i = 0; ; i++) {
    const up = await new Promise(resolve => {
      const socket = connect({ port, host: '127.0.0.1' }, () => resolve(true)).on('error', () => resolve(false))
      socket.on('connect', () => socket.destroy())
    })
    if (up) return { url: `redis://127.0.0.1:${port}`, stop }
    if (i > 300) throw new Error('redis-server does not start')
    await new Promise(resolve => setTimeout(resolve, 30))
  }
}

async function gateway(
  url: string,
  range4 = '10.0.0.1/24',
  warnings: string[] = [],
): Promise<{ pool: SharedFakeIpPool; client: RedisClient }> {
  const client = await openRedis(url)
  const pool = new SharedFakeIpPool(client, { range4, range6: 'fc00::1/64', onWarning: message => warnings.push(message) })
  onTestFinished(() => pool.close())
  return { pool, client }
}

describeSystem('fake IPs in Redis', { peers: ['redis-server'] }, () => {
  test('what one gateway hands out the others understand, whatever address their own NIC has', async () => {
    const { url } = await startRedis()
    const a = (await gateway(url)).pool
    const b = (await gateway(url, '10.0.0.9/24')).pool
    const v4 = (await a.lookup('Example.org.', 4)) as string
    const v6 = (await a.lookup('example.org', 6)) as string
    expect([await b.nameOf(v4), await b.nameOf(`::ffff:${v4}`), await b.nameOf(v6)]).toEqual(['example.org', 'example.org', 'example.org'])
    expect([await b.lookup('example.org', 4), await b.nameOf('10.0.0.200'), b.contains('10.0.0.200')]).toEqual([v4, undefined, true])
    expect(a.lookup('example.org', 4)).toBe(v4) // known: without asking
  })

  test('allocation is atomic: many names at many gateways at once, no address twice, one address for a name', async () => {
    const { url } = await startRedis()
    const pools = await Promise.all([1, 2, 3].map(async i => (await gateway(url, `10.0.0.${i}/22`)).pool))
    for (const [i, pool] of pools.entries()) await pool.lookup(`ready-${i}`, 4) // their own addresses are reserved by then
    const names = Array.from({ length: 300 }, (_, i) => `n${i}`)
    const given = await Promise.all(pools.map(pool => Promise.all(names.map(name => pool.lookup(name, 4)))))
    expect(given[1]).toEqual(given[0])
    expect(given[2]).toEqual(given[0])
    expect(new Set(given[0]).size).toBe(300)
    for (const own of ['10.0.0.1', '10.0.0.2', '10.0.0.3']) expect(given[0]).not.toContain(own)
  })

  test('an address used within a minute is not given to another name: then there is none, with one warning; later the oldest goes', async () => {
    const { url } = await startRedis()
    const warnings: string[] = []
    const { pool, client } = await gateway(url, '10.0.0.1/29', warnings)
    const given = [] as (string | null)[]
    for (let i = 0; i < 7; i++) given.push(await pool.lookup(`n${i}`, 4))
    expect(given.slice(5)).toEqual([null, null])
    expect(warnings).toEqual([expect.stringContaining('all 5 fake IPv4 addresses are in use')])
    const slot = [...'01234'].find(s => given[0]?.endsWith(String(2 + Number(s)))) as string
    await client.eval("return redis.call('ZADD', KEYS[1], 1, ARGV[1])", 1, 'tun:fake-ip:{10.0.0.0/29}:used', slot)
    expect(await pool.lookup('late', 4)).toBe(given[0])
    const other = (await gateway(url, '10.0.0.1/29')).pool
    expect([await other.nameOf(given[0] as string), await other.lookup('n0', 4)]).toEqual(['late', null])
  })

  test('a service’s addresses are taken back everywhere; flush keeps what is in use', async () => {
    const { url } = await startRedis()
    const [a, b] = [(await gateway(url)).pool, (await gateway(url)).pool]
    const first = (await a.lookup('first', 4)) as string
    b.reserve(first)
    b.reserve('10.0.0.0/28')
    b.reserve('10.0.0.0/8')
    await b.lookup('behind', 4) // commands keep their order: the reservations are through
    const c = (await gateway(url)).pool
    expect(await c.nameOf(first)).toBe(undefined)
    expect(Number(((await c.lookup('second', 4)) as string).split('.')[3])).toBeGreaterThan(15)
  })

  test('without Redis known names stay as they are, new ones are SERVFAIL, and there is one warning', async () => {
    const { url, stop } = await startRedis()
    const warnings: string[] = []
    const { pool } = await gateway(url, undefined, warnings)
    const known = (await pool.lookup('known', 4)) as string
    const server = new DnsServer({ fakeIp: pool })
    const ask = async (name: string) =>
      decodeMessage((await server.answer(writeQuery(name, TYPE.A) as Uint8Array, { transport: 'udp' })) as Uint8Array)
    expect((await ask('other'))?.answers).toHaveLength(1)
    await stop()
    expect([(await ask('known'))?.answers[0]?.data, (await ask('new'))?.rcode]).toEqual([known, 'SERVFAIL'])
    expect(await pool.nameOf('10.0.0.77')).toBe(undefined)
    expect(await pool.nameOf(known)).toBe('known')
    expect(warnings).toEqual([expect.stringMatching(/^fake IPs: Redis cannot be reached/)])
  })
})
