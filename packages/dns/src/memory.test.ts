// Names that nobody asks for again, a million with TUN_LONG: what is remembered of them has a bound, and the heap with it.

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { AnswerCache } from './cache.js'
import { encodeReply } from './codec.js'
import { FakeIpPool } from './fake-ip.js'
import { readQuery, TYPE, writeQuery } from './message.js'
import { RecentNames } from './recent-names.js'
import { DnsServer } from './server.js'

const NAMES = process.env.TUN_LONG ? 1_000_000 : 250_000
/** Behind these all tables are full. */
const FULL = 150_000
/** So many of them go to a nameserver, too. */
const FORWARDED = 20_000

test(`${NAMES} distinct names: fake IPs, cache and recent names keep to their bounds, and so does the heap`, {
  timeout: 300_000,
}, async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const used = () => {
    collect()
    return process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers
  }
  const pool = new FakeIpPool({ range6: 'fc00::/18' })
  const recent = new RecentNames({ capacity: 1024 })
  const cache = new AnswerCache({ maxEntries: 1024 })
  let told = 0
  const server = new DnsServer({
    fakeIp: pool,
    recent,
    cached: (query, { name }) => cache.get(name, query, readQuery(query)),
    // What a nameserver would say, kept as the resolver keeps it.
    resolve: async query => {
      told++
      const answer = encodeReply(query, {
        answers: [{ name: readQuery(query).name, type: 'TXT', ttl: 3600, data: 'x'.repeat(100) }],
      }) as Uint8Array
      cache.put(readQuery(query).name, answer)
      return answer
    },
  })
  const ask = (from: number, to: number) => {
    for (let i = from; i < to; i++) {
      const query = writeQuery(`name-${i}.some-site-that-is-asked-for-once.test`, i & 1 ? TYPE.A : TYPE.AAAA) as Uint8Array
      const answer = server.answer(query, { transport: 'udp' })
      if (answer instanceof Promise || answer === null || (answer[3] & 15) !== 0 || answer[7] !== 1)
        throw new Error(`name ${i} has no address`)
    }
  }
  ask(0, FULL)
  const before = used()
  ask(FULL, NAMES)
  for (let i = 0; i < FORWARDED; i++) await server.answer(writeQuery(`text-${i}.test`, 16) as Uint8Array, { transport: 'udp' })
  expect(used() - before).toBeLessThan(16 << 20)
  expect([pool.stats(4).named, pool.stats(6).named, told]).toEqual([65_533, 65_536, FORWARDED])
  expect([cache.size, recent.size]).toEqual([1024, 0])
})
