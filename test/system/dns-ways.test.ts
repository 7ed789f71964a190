// Which way DNS leaves: through a proxy, by the rules, by nothing but our own resolver; and what happens if our own queries come back.
// What is seen on the uplink is what tcpdump sees there.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Program } from '../../scripts/lab/lab.mjs'
import { findBinary } from '../../scripts/peers.mjs'
import { DNS4, HOP4, Scene, SERVER4, SERVER6 } from './namespace.js'
import { describeSystem, PROXY } from './requirements.js'
import { SOCKS_PORT, startDante, startUnbound } from './servers.js'

const peers = ['unbound', 'dig', 'kdig', 'tcpdump', 'curl']
const OWN = '10.86.0.2'

/** Every DNS packet on the uplink from now on: `FROM > TO: …`, a line each. */
async function tap(scene: Scene): Promise<{ lines(): Promise<string[]> }> {
  const dns = 'port 53 or port 853 or port 5353 or port 5355'
  const tcpdump: Program = scene.apps.start(findBinary('tcpdump') as string, [
    '-i',
    'uplink',
    '-n',
    '-l',
    '-U',
    '--immediate-mode',
    '-Z',
    'root',
    dns,
  ])
  await tcpdump.waitFor(/listening on/)
  return {
    async lines() {
      await new Promise(resolve => setTimeout(resolve, 200)) // what is on its way
      await tcpdump.stop()
      return tcpdump.lines.filter(line => / IP6? /.test(line)).map(line => line.replace(/^\S+ IP6? /, ''))
    },
  }
}

describeSystem('DNS behind a proxy', { lab: true, built: [PROXY], peers: [...peers, 'danted'] }, () => {
  describe.each([
    ['#PROXY', `  nameserver: ['${DNS4}#dante']\n`, ''],
    [
      'respect-rules',
      `  nameserver: ['${DNS4}']\n  respect-rules: true\n  proxy-server-nameserver: ['${DNS4}']\n`,
      `  - IP-CIDR,${DNS4}/32,dante\n`,
    ],
  ])('%s', (_, dns, rule) => {
    let scene: Scene

    beforeAll(async () => {
      const config = `dns:
  enable: true
  fake-ip-filter: [web.test]
${dns}proxies:
  - { name: dante, type: socks5, server: ${HOP4}, port: ${SOCKS_PORT}, udp: true }
rules:
${rule}  - MATCH,DIRECT
`
      scene = await Scene.open({ config })
      await startUnbound(scene)
      await startDante(scene)
    })
    afterAll(() => scene?.close())

    it('queries leave through the proxy, by UDP, and by TCP where the answer is cut: none is on the wire', async () => {
      scene.watch()
      const seen = await tap(scene)
      expect(await scene.app('dig', ['+short', 'web.test', 'A'])).toBe(`${SERVER4}\n`)
      expect(await scene.app('dig', ['+short', 'text.test', 'TXT'])).toBe('"from unbound"\n')
      expect((await scene.app('kdig', ['+short', 'many.test', 'TXT'])).trim().split('\n')).toHaveLength(40)
      expect(await seen.lines()).toEqual([])
    })
  })
})

describeSystem('DNS leaks', { lab: true, built: [PROXY], peers }, () => {
  let scene: Scene

  beforeAll(async () => {
    const config = `log-level: warning
dns: { enable: true, ipv6: true, fake-ip-range6: 'fd00:fa8e::/64', nameserver: ['${DNS4}', 'tcp://${DNS4}'] }
rules:
  - MATCH,DIRECT
`
    scene = await Scene.open({ config })
    await startUnbound(scene)
  })
  afterAll(() => scene?.close())

  it('all traffic goes into the TUN: no DNS packet leaves by the uplink but those of our resolver, and none for a fake address', async () => {
    scene.watch()
    const seen = await tap(scene)
    const everywhere = [SERVER4, '1.1.1.1', '8.8.8.8', SERVER6, '2001:4860:4860::8888', '192.168.1.1', '198.18.0.2']
    for (const server of everywhere) {
      for (const way of ['+notcp', '+tcp']) {
        expect(await scene.app('dig', [`@${server}`, '+short', '+tries=1', '+time=5', way, 'web.test', 'A'])).toMatch(
          /^198\.18\.\d+\.\d+\n$/,
        )
      }
    }
    // A resolver that comes again over TCP, one that asks for AAAA and HTTPS, and what getaddrinfo makes of a name.
    expect((await scene.app('dig', ['@1.1.1.1', '+short', '+noedns', 'many.test', 'TXT'])).trim().split('\n')).toHaveLength(40)
    await scene.app('kdig', ['@8.8.8.8', 'web.test', 'AAAA'])
    await scene.app('kdig', ['@8.8.8.8', 'web.test', 'TYPE65'])
    await scene.apps.run('curl', ['-sS', '--max-time', '3', 'http://nowhere.test/'], { nobody: true })
    await scene.apps.run('getent', ['ahosts', 'other.test'], { nobody: true })
    // What is no DNS, to ports that are: multicast names, DNS over TLS.
    await scene.apps.run('kdig', ['@224.0.0.251', '-p', '5353', '+time=1', '+retry=0', 'printer.local'], { nobody: true })
    const lines = await seen.lines()
    const strangers = lines.filter(line => !new RegExp(`^(${OWN}\\.\\d+ > ${DNS4}\\.53|${DNS4}\\.53 > ${OWN}\\.\\d+):`).test(line))
    expect(strangers).toEqual([])
    // An address is asked for when DIRECT dials the name, not when the application asks for it.
    expect(lines.filter(line => /\b(A|AAAA)\? /.test(line) && !line.includes('nowhere.test'))).toEqual([])
    expect(lines.some(line => line.includes('TXT? many.test'))).toBe(true)
  })

  it('queries of our own that come back by the TUN are refused, with one warning and no storm; the way free again, all is well', async () => {
    scene.watch()
    for (const family of ['-4', '-6']) scene.apps.ip(family, 'rule', 'add', 'pref', '50', 'lookup', '100')
    const before = scene.apps.packets('tun0')
    const started = performance.now()
    for (const name of ['text.test', 'loop.test', 'loop2.test']) {
      const done = await scene.apps.run('dig', ['@1.1.1.1', '+tries=1', '+time=8', name, 'TXT'], { nobody: true })
      expect(done.stdout.toString()).toMatch(/status: (SERVFAIL|REFUSED)/)
    }
    expect(performance.now() - started).toBeLessThan(20_000)
    const after = scene.apps.packets('tun0')
    expect(after.sent - before.sent).toBeLessThan(200)
    expect(scene.proxy.lines.filter(line => line.includes('came back by the TUN'))).toHaveLength(1)
    for (const family of ['-4', '-6']) scene.apps.ip(family, 'rule', 'del', 'pref', '50')
    expect(await scene.app('dig', ['@1.1.1.1', '+short', 'text.test', 'TXT'])).toBe('"from unbound"\n')
  })
})
