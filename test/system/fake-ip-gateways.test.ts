// Two gateways, a process each in a network of its own, that share their fake addresses in one redis-server: what is resolved at one is
// understood at the other. The hosts behind a gateway ask the other one's DNS, as they do behind one anycast address.

import { writeFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Lab, type Namespace, type Program } from '../../scripts/lab/lab.mjs'
import { findBinary } from '../../scripts/peers.mjs'
import { describeSystem, PROXY } from './requirements.js'

const WEB = '203.0.113.10'

interface Gateway {
  namespace: Namespace
  proxy: Program
}

describeSystem(
  'two gateway processes and Redis',
  { lab: true, built: [PROXY], peers: ['redis-server', 'unbound', 'dig', 'curl', 'python3'] },
  () => {
    const lab = new Lab()
    let a: Gateway
    let b: Gateway
    let redis: Program

    async function gateway(label: string, servers: Namespace, net: string): Promise<Gateway> {
      const namespace = lab.namespace(label, { resolver: '198.51.100.53' })
      lab.wire(namespace, [`${net}.2/24`], servers, [`${net}.1/24`], `wire-${label}`)
      namespace.ip('route', 'add', WEB, 'via', `${net}.1`)
      const config = `tun: { enable: true, device-url: 'dev://tun0', dns-listen: '0.0.0.0:53' }
dns: { enable: true, fake-ip-store: 'redis://${net}.1:6379', nameserver: ['${net}.1'] }
rules:
  - DOMAIN,web.test,DIRECT
  - DOMAIN,other.test,DIRECT
  - MATCH,REJECT
`
      const path = `${lab.directory}/${label}.yaml`
      writeFileSync(path, config)
      const proxy = namespace.start(process.execPath, [PROXY, '-f', path])
      await proxy.waitFor(/\[TUN\]/, 30_000)
      namespace.address('198.18.0.1/16', 'tun0')
      namespace.ip('link', 'set', 'tun0', 'up')
      namespace.ip('route', 'add', '198.51.100.0/24', 'dev', 'tun0')
      return { namespace, proxy }
    }

    beforeAll(async () => {
      const servers = lab.namespace('servers')
      servers.address(`${WEB}/32`, 'lo')
      redis = servers.start(findBinary('redis-server') as string, [
        '--bind',
        '0.0.0.0',
        '--protected-mode',
        'no',
        '--save',
        '',
        '--appendonly',
        'no',
        '--dir',
        lab.directory,
      ])
      await servers.listening(6379)
      const unbound = `${lab.directory}/unbound.conf`
      writeFileSync(
        unbound,
        `server: { chroot: "" username: "" directory: "${lab.directory}" pidfile: "" use-syslog: no do-daemonize: no
  interface: 0.0.0.0 access-control: 0.0.0.0/0 allow module-config: "iterator" local-zone: "test." static
  local-data: 'web.test. 60 IN A ${WEB}' local-data: 'other.test. 60 IN A ${WEB}' }
remote-control: { control-enable: no }
`.replaceAll(/[{}]/g, ''),
      )
      servers.start(findBinary('unbound') as string, ['-d', '-c', unbound])
      await servers.listening(53)
      servers.start(findBinary('python3') as string, ['-m', 'http.server', '80', '--bind', WEB, '--directory', lab.directory])
      await servers.listening(80)
      a = await gateway('a', servers, '10.71.1')
      b = await gateway('b', servers, '10.71.2')
    })
    afterAll(() => lab.close())

    const resolved = async ({ namespace }: Gateway, name: string) => {
      const { stdout } = await namespace.run('dig', ['@198.51.100.53', '+short', '+tries=2', name, 'A'])
      return stdout.toString().trim()
    }
    const status = async ({ namespace }: Gateway, name: string, address: string) => {
      const args = [
        '-sS',
        '-o',
        '/dev/null',
        '-w',
        '%{http_code}',
        '--max-time',
        '10',
        '--resolve',
        `${name}:80:${address}`,
        `http://${name}/`,
      ]
      const done = await namespace.run('curl', args)
      return done.code === 0 ? done.stdout.toString() : done.stderr
    }

    it('a name resolved at A: the connection arrives at B, which knows it by name and carries it on', async () => {
      const fake = await resolved(a, 'web.test')
      expect(fake).toMatch(/^198\.18\./)
      expect(await status(b, 'web.test', fake)).toBe('200')
      expect(b.proxy.lines.join('\n')).toMatch(/--> web\.test:80/)
      expect(await resolved(b, 'web.test')).toBe(fake)
    })

    it('many names asked for at both at once: one address a name, no address twice', async () => {
      const names = Array.from({ length: 40 }, (_, i) => `n${i}.example`)
      const all = async (gateway: Gateway) =>
        (await gateway.namespace.run('dig', ['@198.51.100.53', '+short', ...names])).stdout.toString().trim().split('\n')
      const [at, bt] = await Promise.all([all(a), all(b)])
      expect(at).toEqual(bt)
      expect(new Set(at).size).toBe(40)
    })

    it('A dies and Redis stays: B goes on with what A handed out; Redis gone: known names go on, new ones are SERVFAIL', async () => {
      const fake = await resolved(a, 'other.test')
      a.proxy.kill('SIGKILL')
      await a.proxy.exited
      expect(await status(b, 'other.test', fake)).toBe('200')
      redis.kill('SIGKILL')
      await redis.exited
      expect(await status(b, 'other.test', fake)).toBe('200')
      const { stdout } = await b.namespace.run('dig', ['@198.51.100.53', '+tries=1', '+time=5', 'new.test', 'A'])
      expect(stdout.toString()).toContain('status: SERVFAIL')
      expect(b.proxy.lines.filter(line => /Redis cannot be reached/.test(line))).toHaveLength(1)
    })
  },
)
