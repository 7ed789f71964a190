// Other people's programs on both sides of the built example proxy: what an ordinary day brings. Applications run as nobody and know
// one nameserver, which is behind the TUN. DIRECT asks unbound for real addresses; SOCKS5 is dante, which asks nobody but /etc/hosts.

import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findBinary } from '../../scripts/peers.mjs'
import { APP4, APP6, DNS4, HOP4, RESOLVER, Scene, SERVER4, SERVER6, TUN } from './namespace.js'
import { PORTS } from './programs/ports.mjs'
import { describeSystem, PROXY } from './requirements.js'
import { SOCKS_PORT, startCoturn, startDante, startIperf, startNginx, startUnbound } from './servers.js'

const DNS = `dns:
  enable: true
  ipv6: true
  enhanced-mode: fake-ip
  fake-ip-range: 198.19.0.1/16
  fake-ip-range6: fc00::/18
  nameserver: [${DNS4}]
`
const DIRECT = `${DNS}rules:
  - MATCH,DIRECT
`
const SOCKS5 = `${DNS}proxies:
  - { name: dante, type: socks5, server: ${HOP4}, port: ${SOCKS_PORT}, udp: true }
rules:
  - MATCH,dante
`
const BIG = 20_000_000
const PEERS = ['nginx', 'unbound', 'danted', 'curl', 'git', 'dig', 'kdig', 'iperf3', 'turnserver']

const ASK_FOR_ERRORS = `
import errno, socket, sys
to, by = sys.argv[1:]
v6 = ':' in to
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IPV6 if v6 else socket.IPPROTO_IP, 25 if v6 else 11, 1)  # IPV6_RECVERR, IP_RECVERR
s.bind((by, 0)); s.connect((to, 9)); s.settimeout(5); s.send(b'x')
try: s.recv(1)
except OSError as e: print(errno.errorcode.get(e.errno, e))
`

for (const [way, config] of [
  ['DIRECT', DIRECT],
  ['SOCKS5 by dante', SOCKS5],
]) {
  describeSystem(`real programs, ${way}`, { lab: true, built: [PROXY], peers: PEERS }, () => {
    let scene: Scene
    const socks = config === SOCKS5

    beforeAll(async () => {
      scene = await Scene.open({ config })
      const root = await startNginx(scene)
      writeFileSync(join(root, 'big'), Buffer.alloc(BIG, 'tun '))
      await makeRepository(scene, root)
      await startUnbound(scene)
      await startCoturn(scene)
      await scene.serve('udp-server', [SERVER4, SERVER6])
      await startIperf(scene)
      if (socks) await startDante(scene)
    })
    afterAll(() => scene?.close())

    describe('curl', () => {
      it.each([
        ['IPv4', `http://${SERVER4}/`, SERVER4],
        ['IPv6', `http://[${SERVER6}]/`, `[${SERVER6}]`],
      ])('fetches a page by its %s address', async (_, url, host) => {
        scene.watch()
        const page = await scene.app('curl', ['-sS', '--max-time', '10', url])
        expect(page).toMatch(new RegExp(`^hello \\S+, you asked for ${host.replace(/[[\]]/g, '\\$&')}\n$`))
      })

      it.each(['-4', '-6'])('%s: fetches by name, over a fake address', async family => {
        scene.watch()
        const format = '%{remote_ip} %{size_download}\n'
        const said = await scene.app('curl', ['-sS', family, '--max-time', '20', '-o', '/dev/null', '-w', format, 'http://web.test/big'])
        expect(said).toMatch(family === '-4' ? /^198\.19\.\S+ 20000000$/m : /^fc00:\S+ 20000000$/m)
        // The proxy saw a name, and the server somebody who is not behind the TUN.
        expect(scene.proxy.lines.some(line => line.includes('--> web.test:80 match Match using'))).toBe(true)
        expect(await scene.app('curl', ['-sS', '--max-time', '10', family, 'http://web.test/'])).not.toContain(APP4)
      })

      it('is refused at once where nobody listens', async () => {
        scene.watch()
        const done = await scene.apps.run('curl', ['-sS', '--max-time', '10', `http://${SERVER4}:81/`], { nobody: true })
        expect([done.code, done.ms < 3000]).toEqual([7, true]) // CURLE_COULDNT_CONNECT
      })
    })

    it('git clones over HTTP, by name', async () => {
      scene.watch()
      const home = scene.file('home')
      mkdirSync(home)
      chmodSync(home, 0o777)
      const env = { HOME: home, GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_SYSTEM: '/dev/null' }
      await scene.app('git', ['clone', '-q', 'http://web.test/repository.git', join(home, 'clone')], { env })
      expect(await scene.app('git', ['-C', join(home, 'clone'), 'fsck', '--full'], { env })).toBe('')
      expect(await scene.app('git', ['-C', join(home, 'clone'), 'log', '--format=%s'], { env })).toBe('second\nfirst\n')
    })

    describe('DNS', () => {
      const dig = (...args: string[]) => scene.app('dig', ['+tries=1', '+time=5', ...args])
      const kdig = (...args: string[]) => scene.app('kdig', ['+retry=0', '+timeout=5', ...args])

      it.each([
        ['dig over UDP', () => dig('+short', 'web.test')],
        ['dig over UDP to an address nobody has', () => dig('+short', '@192.0.2.77', 'web.test')],
        ['dig over TCP to an address nobody has', () => dig('+short', '+tcp', '@192.0.2.77', 'web.test')],
        ['dig over IPv6', () => dig('+short', '-b', APP6, '@2001:db8:77::53', 'web.test')],
        ['kdig over UDP', () => kdig('+short', `@${RESOLVER}`, 'web.test')],
        ['kdig over TCP', () => kdig('+short', '+tcp', '@192.0.2.78', 'web.test')],
      ])('%s gets the fake address', async (_, ask) => {
        scene.watch()
        expect(await ask()).toMatch(/^198\.19\.\d+\.\d+\n$/)
      })

      it('the same name keeps its address, with a TTL of a second, and each family has its own', async () => {
        scene.watch()
        const first = await dig('+noall', '+answer', 'web.test', 'A', 'web.test', 'AAAA')
        expect(first).toMatch(/^web\.test\.\s+1\s+IN\s+A\s+198\.19\.\S+\nweb\.test\.\s+1\s+IN\s+AAAA\s+fc00:\S+\n$/)
        expect(await dig('+noall', '+answer', 'web.test', 'A', 'web.test', 'AAAA')).toBe(first)
      })

      it('an address leads back to its name', async () => {
        scene.watch()
        const address = (await dig('+short', 'web.test')).trim()
        expect(await dig('+short', '-x', address)).toBe('web.test.\n')
      })

      it('what is not an address is unbound’s, over UDP and TCP', async () => {
        scene.watch()
        expect(await dig('+short', 'web.test', 'MX')).toBe('10 mail.web.test.\n')
        expect(await dig('+short', '+tcp', 'text.test', 'TXT')).toBe('"from unbound"\n')
        expect(await dig('none.test', 'TXT')).toContain('status: NXDOMAIN')
      })

      it('an answer too long for UDP comes over TCP', async () => {
        scene.watch()
        expect(await dig('+ignore', '+bufsize=1232', 'many.test', 'TXT')).toMatch(/flags:[^;]* tc/)
        const lines = (await dig('+short', 'many.test', 'TXT')).trim().split('\n')
        expect(lines.sort()).toEqual(Array.from({ length: 40 }, (_, i) => `"${String(i).padStart(2, '0')}${'x'.repeat(60)}"`))
      })

      it('kdig keeps one TCP connection for several queries', async () => {
        scene.watch()
        const said = await kdig('+tcp', '+keepopen', '+short', '@192.0.2.79', 'web.test', 'A', 'text.test', 'TXT', 'web.test', 'MX')
        expect(said).toMatch(/^198\.19\.\S+\n"from unbound"\n10 mail\.web\.test\.\n$/)
      })
    })

    it.each([
      ['A', APP4],
      ['AAAA', APP6],
    ])('datagrams to a name’s fake address (%s) reach it, and the answer comes from that fake address', async (type, from) => {
      scene.watch()
      const host = (await scene.app('dig', ['+short', 'web.test', type])).trim()
      const answer = await scene.client('udp-client', { op: 'echo', bytes: 3000, host, from })
      expect(answer).toEqual({ same: true, bytes: 3000, from: `${host} ${PORTS.udpEcho}` })
      // A fake address that was never given out. Host unreachable is no error for a UDP socket that does not ask for it: IP_RECVERR in
      // ip(7).
      const nobody = type === 'A' ? '198.19.7.7' : 'fc00::7:7'
      expect((await scene.app('/usr/bin/python3', ['-c', ASK_FOR_ERRORS, nobody, from])).trim()).toBe('EHOSTUNREACH')
    })

    describe('iperf3', () => {
      interface Report {
        end: { sum_received?: { bytes: number; bits_per_second: number }; sum: { lost_percent: number; packets: number; bytes: number } }
      }
      const iperf = async (...args: string[]): Promise<Report> => {
        const before = scene.apps.packets(TUN)
        const report = JSON.parse(await scene.app('iperf3', ['-J', '-c', SERVER4, '-t', '1', ...args], { timeout: 30_000 }))
        const after = scene.apps.packets(TUN)
        expect(Math.min(after.sent - before.sent, after.received - before.received)).toBeGreaterThan(5) // it took the TUN
        return report
      }

      it.each([
        ['up', []],
        ['down', ['-R']],
        ['both ways, four streams', ['--bidir', '-P', '4']],
      ])('TCP %s', async (name, args) => {
        scene.watch()
        const { sum_received } = (await iperf(...args)).end
        figure(`${way}, iperf3 TCP ${name}`, `${Math.round(sum_received!.bits_per_second / 1e6)} Mbit/s`)
        expect(sum_received!.bytes).toBeGreaterThan(1_000_000)
      })

      it.each([
        ['up', []],
        ['down', ['-R']],
      ])('UDP %s, 10 Mbit/s without loss to speak of', { retry: 5 }, async (name, args) => {
        // Again, if it has to be: a machine busy with something else makes kernels drop datagrams, too.
        scene.watch()
        const { sum } = (await iperf('-u', '-b', '10M', '-l', '1200', ...args)).end
        figure(`${way}, iperf3 UDP ${name}`, `${sum.packets} datagrams, ${sum.lost_percent.toFixed(2)} % lost`)
        expect(sum.packets).toBeGreaterThan(750)
        expect(sum.lost_percent).toBeLessThan(2)
      })
    })

    it('STUN: mapping and filtering are endpoint-independent (RFC 5780)', async () => {
      scene.watch()
      const said = await scene.app(findBinary('turnutils_natdiscovery') ?? 'turnutils_natdiscovery', ['-m', '-f', '-L', APP4, SERVER4], {
        timeout: 30_000,
      })
      expect(said).not.toContain('No NAT!') // then it would not have been us
      expect(said).toContain('NAT with Endpoint Independent Mapping!')
      expect(said).toContain('NAT with Endpoint Independent Filtering!')
      figure(`${way}, STUN`, said.match(/Endpoint Independent \w+(?=!)/g)!.join(', '))
    })

    it('the proxy runs on, and nothing made it complain', () => {
      scene.watch()
      expect(scene.proxy.running).toBe(true)
      expect(scene.proxy.lines.filter(line => /level=(warning|error)|TypeError|RangeError|\bat .*\.js:\d+/.test(line))).toEqual([
        ...(socks ? [expect.stringContaining(`dial dante`)] : [expect.stringContaining('dial DIRECT')]), // the refused one
      ])
      expect(scene.apps.packets(TUN).received).toBeGreaterThan(0)
    })
  })
}

/** Figures are for people: no bound holds on every machine. */
function figure(what: string, value: string): void {
  process.stdout.write(`  ${what}: ${value}\n`)
}

/** A bare repository which any web server can serve (gitprotocol-http(5), the dumb protocol). */
async function makeRepository(scene: Scene, root: string): Promise<void> {
  const work = scene.file('work')
  const bare = join(root, 'repository.git')
  mkdirSync(work)
  const env = { GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_SYSTEM: '/dev/null' }
  const git = async (...args: string[]) => {
    const identity = ['-c', 'user.name=test', '-c', 'user.email=test@example.org', '-c', 'init.defaultBranch=main']
    const done = await scene.servers.run('git', ['-C', work, ...identity, ...args], { env })
    if (done.code !== 0) throw new Error(`git ${args.join(' ')}: ${done.stderr}`)
  }
  await git('init', '-q')
  for (const [message, bytes] of [
    ['first', 1_000_000],
    ['second', 2_000_000],
  ] as const) {
    writeFileSync(join(work, message), Buffer.from(Array.from({ length: bytes }, (_, i) => (i * 2654435761) >>> 24)))
    await git('add', '.')
    await git('commit', '-q', '-m', message)
  }
  await git('clone', '-q', '--bare', work, bare)
  await git('--git-dir', bare, 'update-server-info')
}
