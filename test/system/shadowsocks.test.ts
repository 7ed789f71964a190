// The built example proxy and ss-server of shadowsocks-libev. It answers a FIN by closing both ways, so nothing here half-closes.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Program, until } from '../../scripts/lab/lab.mjs'
import { findBinary } from '../../scripts/peers.mjs'
import { APP4, APP6, DNS4, HOP4, Scene, SERVER4, SERVER6 } from './namespace.js'
import { patternHash } from './programs/pattern.mjs'
import { PORTS } from './programs/ports.mjs'
import { describeSystem, PROXY } from './requirements.js'
import { SECOND4, SS_LARGEST, SS_PASSWORD, startCoturn, startNginx, startShadowsocks, startUnbound } from './servers.js'

const THIRD4 = '203.0.113.12'
const WRONG4 = '203.0.113.13'
const GONE4 = '203.0.113.14'
const BIG = 20_000_000
const proxy = (name: string, port: number, cipher: string, password = SS_PASSWORD) =>
  `  - { name: ${name}, type: ss, server: ${HOP4}, port: ${port}, cipher: ${cipher}, password: ${password}, udp: true }\n`
const CONFIG = `dns:
  enable: true
  enhanced-mode: fake-ip
  fake-ip-range: 198.19.0.1/16
  nameserver: [${DNS4}]
proxies:
${proxy('small', 8388, 'aes-128-gcm')}${proxy('large', 8389, 'aes-256-gcm')}${proxy('chacha', 8390, 'chacha20-ietf-poly1305')}${[
  proxy('wrong', 8389, 'aes-256-gcm', 'guess'),
  proxy('gone', 9, 'aes-256-gcm'),
].join('')}rules:
  - DOMAIN-SUFFIX,test,chacha
  - IP-CIDR,${SERVER4}/32,small
  - IP-CIDR,${SECOND4}/32,small
  - IP-CIDR,${THIRD4}/32,large
  - IP-CIDR6,${SERVER6}/128,chacha
  - IP-CIDR,${WRONG4}/32,wrong
  - IP-CIDR,${GONE4}/32,gone
  - MATCH,REJECT
`
const CIPHERS = [
  ['aes-128-gcm', { host: SERVER4, from: APP4 }],
  ['aes-256-gcm', { host: THIRD4, from: APP4 }],
  ['chacha20-ietf-poly1305, over IPv6', { host: SERVER6, from: APP6 }],
] as const

describeSystem(
  'Shadowsocks by ss-server',
  { lab: true, built: [PROXY], peers: ['ss-server', 'nginx', 'unbound', 'dig', 'curl', 'turnserver'] },
  () => {
    let scene: Scene
    let chacha: Program

    beforeAll(async () => {
      scene = await Scene.open({ config: CONFIG })
      for (const address of [THIRD4, WRONG4, GONE4]) scene.servers.address(`${address}/32`, 'lo')
      await startShadowsocks(scene, 8388, 'aes-128-gcm')
      await startShadowsocks(scene, 8389, 'aes-256-gcm')
      chacha = await startShadowsocks(scene, 8390, 'chacha20-ietf-poly1305')
      writeFileSync(join(await startNginx(scene), 'big'), Buffer.alloc(BIG, 'tun '))
      await startUnbound(scene)
      await startCoturn(scene)
      await scene.serve('tcp-server', [SERVER4, THIRD4, SERVER6])
      await scene.serve('udp-server', [SERVER4, THIRD4, SERVER6])
    })
    afterAll(() => scene?.close())

    it.each(CIPHERS)('%s: 8 MB go there and back, every byte', async (_, side) => {
      scene.watch()
      const bytes = 8_000_000
      expect(await scene.client('tcp-client', { op: 'echo', bytes, ...side })).toEqual({ bytes, sha: patternHash(bytes) })
    })

    it.each(CIPHERS)('%s: datagrams from empty to the largest that ss-server takes, and from another port', async (_, side) => {
      scene.watch()
      for (const bytes of [0, 100, SS_LARGEST]) {
        const answer = await scene.client('udp-client', { op: 'echo', bytes, ...side })
        expect(answer).toEqual({ same: true, bytes, from: `${side.host} ${PORTS.udpEcho}` })
      }
      expect(await scene.client('udp-client', { op: 'elsewhere', ...side })).toEqual({ from: `${side.host} ${PORTS.udpOther}` })
    })

    it('a name goes to the server as a name, for both: it asks, not we', async () => {
      scene.watch()
      const format = '%{remote_ip} %{size_download}\n'
      const said = await scene.app('curl', ['-sS', '-4', '--max-time', '20', '-o', '/dev/null', '-w', format, 'http://web.test/big'])
      expect(said).toMatch(/^198\.19\.\S+ 20000000$/m)
      await chacha.waitFor(/connect to web\.test:80/)
      const host = (await scene.app('dig', ['+short', 'web.test'])).trim()
      const answer = await scene.client('udp-client', { op: 'echo', bytes: 1000, host, from: APP4 })
      expect(answer).toEqual({ same: true, bytes: 1000, from: `${host} ${PORTS.udpEcho}` })
      await chacha.waitFor(new RegExp(`\\[udp\\].*web\\.test:${PORTS.udpEcho}`))
    })

    it('STUN: mapping and filtering are endpoint-independent (RFC 5780)', async () => {
      scene.watch()
      const natdiscovery = findBinary('turnutils_natdiscovery') ?? 'turnutils_natdiscovery'
      const said = await scene.app(natdiscovery, ['-m', '-f', '-L', APP4, SERVER4], { timeout: 30_000 })
      expect(said).not.toContain('No NAT!') // then it would not have been us
      expect(said).toContain('NAT with Endpoint Independent Mapping!')
      expect(said).toContain('NAT with Endpoint Independent Filtering!')
      process.stdout.write(`  Shadowsocks, STUN: ${said.match(/Endpoint Independent \w+(?=!)/g)?.join(', ')}\n`)
    })

    it('another password: silence, which is what the server has for strangers, until the application gives up; then nothing is left', async () => {
      scene.watch()
      const done = await scene.apps.run('curl', ['-sS', '--max-time', '2', `http://${WRONG4}/`], { nobody: true })
      expect([done.code, done.stdout.toString()]).toEqual([28, '']) // CURLE_OPERATION_TIMEDOUT
      await until('the connection to the server to end', 5000, async () => {
        const { stdout } = await scene.apps.run('ss', ['-Htn', 'state', 'established', 'dport', '=', ':8389'])
        return stdout.length === 0
      })
    })

    it('a server that is not there: ECONNREFUSED, and the log says which', async () => {
      scene.watch()
      const end = await scene.client<{ code: string }>('tcp-client', { op: 'refused', port: 'echo', host: GONE4, from: APP4 })
      expect(end.code).toBe('ECONNREFUSED')
      await scene.proxy.waitFor(new RegExp(`level=warning .*dial gone .* error: Shadowsocks server ${HOP4}:9 cannot be reached: `))
    })

    it('the proxy runs on, nothing else made it complain, and it never says a password', () => {
      scene.watch()
      expect(scene.proxy.running).toBe(true)
      expect(scene.proxy.lines.filter(line => /level=(warning|error)|TypeError|RangeError|\bat .*\.js:\d+/.test(line))).toEqual([
        expect.stringContaining('dial gone'),
      ])
      expect(scene.proxy.lines.join('\n')).not.toMatch(new RegExp(`guess|${SS_PASSWORD}`))
    })
  },
)
