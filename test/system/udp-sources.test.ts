// Where an answer comes from, as the application sees it: the fake address it wrote to, or the true source of a peer it never wrote to.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { APP4, DNS4, HOP4, Scene, SERVER4 } from './namespace.js'
import { describeSystem, PROXY } from './requirements.js'
import { SOCKS_PORT, SS_PASSWORD, startDante, startShadowsocks, startUnbound, TWINS } from './servers.js'

const SS_PORT = 8388
const PEERS = 200
/** Each way has its names and its net of peers. */
const WAYS = [
  ['DIRECT', 'direct', '10.87.1'],
  ['SOCKS5 by dante', 'dante', '10.87.2'],
  ['Shadowsocks by ss-server', 'ss', '10.87.3'],
] as const

describeSystem('the sources of datagrams', { lab: true, built: [PROXY], peers: ['danted', 'ss-server', 'unbound', 'dig'] }, () => {
  let scene: Scene

  beforeAll(async () => {
    const config = `dns:
  enable: true
  enhanced-mode: fake-ip
  fake-ip-range: 198.19.0.1/16
  nameserver: [${DNS4}]
proxies:
  - { name: dante, type: socks5, server: ${HOP4}, port: ${SOCKS_PORT}, udp: true }
  - { name: ss, type: ss, server: ${HOP4}, port: ${SS_PORT}, cipher: chacha20-ietf-poly1305, password: ${SS_PASSWORD}, udp: true }
rules:
  - DOMAIN-SUFFIX,dante.test,dante
  - DOMAIN-SUFFIX,ss.test,ss
  - DOMAIN-SUFFIX,direct.test,DIRECT
  - IP-CIDR,10.87.1.0/24,DIRECT,no-resolve
  - IP-CIDR,10.87.2.0/24,dante,no-resolve
  - IP-CIDR,10.87.3.0/24,ss,no-resolve
  - MATCH,REJECT
`
    scene = await Scene.open({ config })
    scene.servers.ip('route', 'add', 'local', '10.87.0.0/16', 'dev', 'lo')
    await startUnbound(scene)
    await startDante(scene)
    await startShadowsocks(scene, SS_PORT, 'chacha20-ietf-poly1305')
    await scene.serve('udp-server', [SERVER4])
    await scene.serve('udp-peers', [String(PEERS), ...WAYS.map(([, , net]) => net)])
  })
  afterAll(() => scene?.close())

  describe.each(WAYS)('%s', (_, way, net) => {
    it('one socket, two names of one machine, answers out of order: each bears the fake address that its question went to', async () => {
      scene.watch()
      const hosts = await Promise.all(TWINS(way).map(async name => (await scene.app('dig', ['+short', name])).trim()))
      expect(new Set(hosts.filter(host => host.startsWith('198.19.'))).size).toBe(2)
      const answer = await scene.client('udp-client', { op: 'reversed', hosts, host: hosts[0], from: APP4, count: 4 })
      expect(answer).toEqual({ answers: 40, right: 40 })
    })

    it(`one socket, ${PEERS} peers: also those it never wrote to arrive with their true source, and all see one mapping`, async () => {
      scene.watch()
      const answer = await scene.client('udp-client', { op: 'peers', host: net, from: APP4, count: PEERS })
      const all = { sources: PEERS, true: PEERS, mappings: 1 }
      expect(answer).toEqual({ strangers: all, spokenTo: all })
    })
  })
})
