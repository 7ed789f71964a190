import { expect, onTestFinished, test } from 'vitest'
import { type RedisClient, SharedFakeIpPool } from './fake-ip-redis.js'

/** A Redis that answers when it is told to; other questions than for slots of names are not of interest. */
function slowRedis() {
  const waiting: ((slot: unknown) => void)[] = []
  const client: RedisClient = {
    eval: (script, keys, ...args) =>
      script.includes('HSET') && args.length === keys + 3
        ? new Promise(resolve => void waiting.push(resolve))
        : new Promise(resolve => void waiting.push(() => resolve(null))),
    on: () => {},
    disconnect: () => {},
  }
  const pool = new SharedFakeIpPool(client, { range4: '10.0.0.0/8' })
  onTestFinished(() => pool.close())
  return { pool, waiting }
}

test('so many names, and addresses, wait for Redis: one more is answered as if it were away, and later there is room again', async () => {
  const { pool, waiting } = slowRedis()
  const names = Array.from({ length: 4096 }, (_, i) => pool.lookup(`n${i}.test`, 4))
  const asked = waiting.length
  expect(await pool.lookup('beyond.test', 4)).toBeNull()
  expect(waiting).toHaveLength(asked)
  const same = pool.lookup('n7.test', 4) // is waited for already
  void pool.nameOf('10.0.200.3') // addresses have a bound of their own
  expect(waiting).toHaveLength(asked + 1)
  for (const [i, answer] of waiting.splice(0).entries()) answer(i)
  expect(await same).toBe(await names[7])
  await Promise.all(names)
  const late = pool.lookup('beyond.test', 4)
  expect(waiting).toHaveLength(1)
  waiting[0](5000)
  expect(await late).toMatch(/^10\./)
  for (let i = 0; i < 5000; i++) void pool.nameOf(`10.0.${100 + (i >> 8)}.${i & 255}`)
  expect(waiting).toHaveLength(1 + 4096)
  expect(await pool.nameOf('10.0.201.1')).toBeUndefined()
})
