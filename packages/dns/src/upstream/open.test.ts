import { expect, onTestFinished, test, vi } from 'vitest'
import { createResolver } from '../resolver.js'

const system = vi.hoisted(() => ({ servers: ['192.0.2.1'] }))

vi.mock('node:dns', async original => ({
  ...(await original<typeof import('node:dns')>()),
  // What a process is told that asks for the first time; a resolver that exists goes on saying what it read.
  Resolver: class {
    private readonly servers = system.servers
    getServers = () => this.servers
  },
}))

test('system: the servers that resolv.conf has now, not those of the start', async () => {
  const asked: string[] = []
  const made = createResolver({
    nameservers: ['system'],
    rounds: 1,
    cache: false,
    connect: {
      udp: ({ address }) => {
        asked.push(address)
        throw new Error('no')
      },
    },
  })
  onTestFinished(() => made.close())
  const ask = () => expect(made.addresses('a.test', [4])).rejects.toMatchObject({ code: 'ERR_TUN_DNS_TIMEOUT' })
  await ask()
  system.servers = ['192.0.2.2']
  made.networkChanged()
  await ask()
  vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 1000)
  system.servers = ['192.0.2.3']
  await ask()
  expect(asked).toEqual(['192.0.2.1', '192.0.2.2', '192.0.2.3'])
})
