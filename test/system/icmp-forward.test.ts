// `icmp: forward` and hop limits through the built example proxy, with the programs people use: ping, traceroute, tracepath. Behind the
// proxy are two routers and a host (namespace.ts); what the programs print must be what is there.

import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { findBinary } from '../../scripts/peers.mjs'
import { APP4, APP6, DNS4, FAR4, FAR6, HOP4, HOP6, Scene, SECOND4, SECOND6 } from './namespace.js'
import { describeSystem, PROXY } from './requirements.js'

const needs = { lab: true, built: [PROXY], peers: ['ping', 'traceroute', 'tracepath'] }
/** The router that the inbound is; Linux prints the zone of a link-local address. */
const GATEWAY4 = '192.0.0.8'
const GATEWAY6 = 'fe80::1%tun0'
const MTU = 1400 // of the last wire
const FAMILIES = [
  ['IPv4', { host: FAR4, hops: [GATEWAY4, HOP4, SECOND4, FAR4], from: APP4, nobody: '10.88.0.77' }],
  ['IPv6', { host: FAR6, hops: [GATEWAY6, HOP6, SECOND6, FAR6], from: APP6, nobody: 'fd00:88::77' }],
] as const
const CONFIG = `icmp: forward
rules:
  - IP-CIDR,10.88.0.66/32,REJECT
  - IP-CIDR,10.88.0.67/32,REJECT-DROP
  - IP-CIDR,10.88.0.68/32,elsewhere
  - MATCH,DIRECT
proxies:
  - {name: elsewhere, type: socks5, server: ${HOP4}, port: 1080, udp: true}
`

async function run(scene: Scene, program: string, args: string[], root = false): Promise<string> {
  const { stdout, stderr } = await scene.apps.run(findBinary(program)!, args, { nobody: !root, timeout: 40_000 })
  return String(stdout) + stderr
}

const ping = (scene: Scene, ...args: string[]) => run(scene, 'ping', ['-n', '-c', '1', '-W', '6', ...args])

/** Who was seen at each distance. */
const hopsOf = (text: string) => [...text.matchAll(/^ ?(\d+) +([^ ]+) +[\d.]+ ms/gm)].map(([, hop, who]) => [Number(hop), who])

describeSystem('pings, forwarded by a ping socket', needs, () => {
  let scene: Scene
  beforeAll(async () => {
    scene = await Scene.open({ config: CONFIG, routers: {}, pingGroups: '0 65534' })
  })
  afterAll(() => scene?.close())

  it.each(FAMILIES)('%s: the real host answers, over as many hops as there are; 8,000 bytes in fragments', async (_, { host }) => {
    scene.watch()
    expect(await ping(scene, host)).toContain(`64 bytes from ${host}: icmp_seq=1 ttl=61 `) // two routers, and we
    expect(await ping(scene, '-s', '8000', host)).toContain(`8008 bytes from ${host}: icmp_seq=1 ttl=61 `)
  })

  it.each(FAMILIES)('%s: a hop limit ends where it does, and is told by who it ended at', async (_, { host, hops }) => {
    scene.watch()
    for (const [i, hop] of hops.slice(0, -1).entries())
      expect(await ping(scene, '-t', String(i + 1), host)).toMatch(
        new RegExp(`^From ${hop} icmp_seq=1 Time (to live exceeded|exceeded: Hop)`, 'm'),
      )
    expect(await ping(scene, '-t', String(hops.length), host)).toContain('1 received')
  })

  it.each(FAMILIES)('%s: that nobody has the address is told by the router that knows', async (_, { nobody, hops }) => {
    scene.watch()
    expect(await ping(scene, nobody)).toMatch(new RegExp(`^From ${hops[2]} icmp_seq=1 Destination (Host U|u)nreachable`, 'm'))
  })

  it('many at once, from several askers, come back to who asked', async () => {
    scene.watch()
    const askers = [FAR4, SECOND4, HOP4, FAR4].map(host => run(scene, 'ping', ['-n', '-c', '20', '-i', '0.01', '-W', '6', host]))
    for (const text of await Promise.all(askers)) expect(text).toContain('20 packets transmitted, 20 received, 0% packet loss')
  })

  it('rules hold for pings: refused, dropped, and refused too where a proxy would have to carry them', async () => {
    scene.watch()
    expect(await ping(scene, '10.88.0.66')).toContain('From 10.88.0.66 icmp_seq=1 Packet filtered')
    expect(await run(scene, 'ping', ['-n', '-c', '1', '-W', '1', '10.88.0.67'])).not.toContain('From')
    expect(await ping(scene, '10.88.0.68')).toContain('From 10.88.0.68 icmp_seq=1 Packet filtered')
  })

  it.each(FAMILIES)('%s: traceroute does not lie, whether it sends datagrams or pings', async (family, { host, hops, from }) => {
    scene.watch()
    const args = [...(family === 'IPv6' ? ['-6'] : []), '-n', '-q', '1', '-w', '5', '-m', '8']
    const there = hops.map((hop, i) => [i + 1, hop])
    expect(hopsOf(await run(scene, 'traceroute', [...args, host]))).toEqual(there)
    expect(hopsOf(await run(scene, 'traceroute', [...args, '-I', '-s', from, host], true))).toEqual(there)
  })
})

describeSystem('pings to a fake IP, forwarded', needs, () => {
  let scene: Scene
  beforeAll(async () => {
    const dns = `dns: { enable: true, enhanced-mode: fake-ip, fake-ip-range: 198.19.0.1/16, nameserver: ['${DNS4}'] }\n`
    scene = await Scene.open({ config: `${dns}icmp: forward\nrules:\n  - DOMAIN,far.test,DIRECT\n  - MATCH,REJECT\n`, routers: {} })
    scene.servers.address(`${DNS4}/32`, 'lo')
    const server = fileURLToPath(new URL('../../scripts/lab/dns-server.mjs', import.meta.url))
    await scene.servers.start(process.execPath, [server, DNS4, `far.test=${FAR4}`, `gone.test=${FAR4}`]).waitFor(/^listening/)
  })
  afterAll(() => scene?.close())

  it('go where the name leads and come back from the fake IP; the routers on the way are real', async () => {
    scene.watch()
    const answer = /64 bytes from (198\.19\.\d+\.\d+): icmp_seq=1 ttl=61 /.exec(await ping(scene, 'far.test'))
    const fake = answer?.[1]
    expect(hopsOf(await run(scene, 'traceroute', ['-n', '-q', '1', '-w', '5', '-m', '8', 'far.test']))).toEqual([
      [1, GATEWAY4],
      [2, HOP4],
      [3, SECOND4],
      [4, fake],
    ])
    expect(await ping(scene, 'gone.test')).toContain('Packet filtered')
  })
})

describeSystem('pings, forwarded by a raw socket, over a narrow wire', needs, () => {
  let scene: Scene
  beforeAll(async () => {
    scene = await Scene.open({ config: CONFIG, routers: { mtu: MTU }, pingGroups: '65534 65534' }) // the proxy is in group 0
  })
  afterAll(() => scene?.close())

  it.each(FAMILIES)('%s: answers, hop limits and unreachable hosts are told as by a ping socket', async (_, { host, hops, nobody }) => {
    scene.watch()
    expect(await ping(scene, host)).toContain(`64 bytes from ${host}: icmp_seq=1 ttl=61 `)
    expect(await ping(scene, '-t', '3', host)).toMatch(new RegExp(`^From ${hops[2]} icmp_seq=1 Time`, 'm'))
    expect(await ping(scene, nobody)).toMatch(new RegExp(`^From ${hops[2]} icmp_seq=1 Destination`, 'm'))
  })

  it('IPv6: a ping that a router cannot pass on is told its MTU, and the next one arrives', async () => {
    scene.watch()
    expect(await ping(scene, '-s', '1440', FAR6)).toContain(`From ${SECOND6} icmp_seq=1 Packet too big: mtu=${MTU}`)
    expect(await ping(scene, '-s', '1440', FAR6)).toContain(`1448 bytes from ${FAR6}`)
  })

  it.each(FAMILIES)('%s: tracepath finds the hops, the MTU of the narrow wire, and as many hops back', async (family, { host, hops }) => {
    scene.watch()
    const text = await run(scene, 'tracepath', [...(family === 'IPv6' ? ['-6'] : []), '-n', '-m', '8', host])
    for (const [i, hop] of hops.entries()) expect(text).toMatch(new RegExp(`^ ${i + 1}: +${hop} `, 'm'))
    expect(text).toContain(`Resume: pmtu ${MTU} hops 4 back 4`)
  })
})
