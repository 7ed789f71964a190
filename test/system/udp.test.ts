// The kernel's UDP through the built example proxy. What is asserted is what the application's own socket says.

import { afterAll, beforeAll, expect, it } from 'vitest'
import { APP4, APP6, HOP4, Scene, SERVER4, SERVER6, TUN } from './namespace.js'
import { PORTS } from './programs/ports.mjs'
import { describeSystem, PROXY } from './requirements.js'
import { SOCKS_PORT, startDante } from './servers.js'

const SOCKS5 = `proxies:
  - { name: dante, type: socks5, server: ${HOP4}, port: ${SOCKS_PORT}, udp: true }
rules:
  - MATCH,dante
`
const FAMILIES = [
  ['IPv4', { host: SERVER4, from: APP4 }],
  ['IPv6', { host: SERVER6, from: APP6 }],
] as const

for (const [way, config, largest] of [
  ['DIRECT', undefined, 65_507],
  ['SOCKS5 by dante', SOCKS5, 60_000], // dante's own bound; RFC 1928's header leaves 65,497
] as const) {
  describeSystem(`the kernel's UDP through the proxy, ${way}`, { lab: true, built: [PROXY], peers: config ? ['danted'] : [] }, () => {
    let scene: Scene

    beforeAll(async () => {
      scene = await Scene.open({ config })
      await scene.serve('udp-server', [SERVER4, SERVER6])
      if (config) await startDante(scene)
    })
    afterAll(() => scene?.close())

    it.each(FAMILIES)('%s: a datagram is answered from where it went', async (_, side) => {
      scene.watch()
      const answer = await scene.client('udp-client', { op: 'echo', bytes: 100, ...side })
      expect(answer).toEqual({ same: true, bytes: 100, from: `${side.host} ${PORTS.udpEcho}` })
    })

    it.each(FAMILIES)('%s: an empty one, too', async (_, side) => {
      scene.watch()
      expect(await scene.client('udp-client', { op: 'echo', bytes: 0, ...side })).toMatchObject({ same: true, bytes: 0 })
    })

    it.each(FAMILIES)(`%s: ${largest} bytes, in fragments, go both ways`, async (_, side) => {
      scene.watch()
      const answer = await scene.client('udp-client', { op: 'echo', bytes: largest, ...side })
      expect(answer).toEqual({ same: true, bytes: largest, from: `${side.host} ${PORTS.udpEcho}` })
    })

    // Around a packet, a fragment more, 64 KiB of IPv4 and of IPv6 with their headers.
    const sizes = [1, 1452, 1453, 1472, 1473, 2952, 3000, 8972, 9001, 32_768, 65_467, 65_487, 65_488, 65_506].filter(
      size => size <= largest,
    )
    it.each(FAMILIES)('%s: so do all sizes on the way there', async (_, side) => {
      scene.watch()
      expect(await scene.client('udp-client', { op: 'sizes', sizes, ...side })).toEqual({ lost: [] })
    })

    it.each(FAMILIES)('%s: an answer from another port arrives, and bears that port', async (_, side) => {
      scene.watch()
      const answer = await scene.client('udp-client', { op: 'elsewhere', ...side })
      expect(answer).toEqual({ from: `${side.host} ${PORTS.udpOther}` })
    })

    it.each(FAMILIES)('%s: 20 at once before anything is set up, then 5,000 more: all come back', async (_, side) => {
      scene.watch()
      expect(await scene.client('udp-client', { op: 'many', count: 5020, ...side })).toEqual({ sent: 5020, back: 5020 })
    })

    if (!config) {
      it.each(FAMILIES)('%s: a closed port at the far end is ECONNREFUSED at the application', async (_, side) => {
        scene.watch()
        expect(await scene.client('udp-client', { op: 'refused', ...side })).toMatchObject({ code: 'ECONNREFUSED' })
      })
    }

    it('is still running, and no datagram made it complain', () => {
      scene.watch()
      expect(scene.proxy.running).toBe(true)
      expect(scene.proxy.lines.filter(line => /level=(warning|error)|\bat .*\.js:\d+/.test(line))).toEqual([])
    })
  })
}

/** Datagrams of one socket as the kernel hands over and takes several at once (USO, Linux 6.2), and one by one. */
for (const [name, tun, config] of [
  ['DIRECT with offload', 'gso: true', undefined],
  ['DIRECT without offload', 'gso: false', undefined],
  ['SOCKS5 with offload', 'gso: true', SOCKS5],
] as const) {
  describeSystem(`trains of datagrams, ${name}`, { lab: true, built: [PROXY], peers: config ? ['danted'] : [] }, () => {
    let scene: Scene

    beforeAll(async () => {
      scene = await Scene.open({ tun: [tun], config })
      await scene.serve('udp-server', [SERVER4, SERVER6])
      if (config) await startDante(scene)
    })
    afterAll(() => scene?.close())

    it.each(FAMILIES.flatMap(([family, side]) => [true, false].map(offload => ({ family, side, offload }))))(
      '$family, an application with offload $offload: every datagram comes back as it went',
      async ({ side, offload }) => {
        scene.watch()
        const before = scene.apps.packets(TUN)
        const bursts = 24
        const sent = 1 + (bursts - 1) * 30
        const end = await scene.client<{ behind: number }>('udp-trains', { ...side, offload, bursts })
        expect(end).toMatchObject({ sent, back: sent })
        expect(end.behind).toBeLessThan(sent / 5)
        // What makes the scenes differ: a train is one packet on a NIC that takes it.
        const packets = scene.apps.packets(TUN).sent - before.sent
        if (offload && tun === 'gso: true') expect(packets).toBeLessThan(sent / 2)
        else expect(packets).toBeGreaterThanOrEqual(sent)
      },
    )
  })
}

describeSystem(`the kernel's UDP, refused`, { lab: true, built: [PROXY] }, () => {
  let scene: Scene

  beforeAll(async () => {
    const config = `proxies:
  - { name: gone, type: socks5, server: ${HOP4}, port: 9, udp: true }
  - { name: without, type: socks5, server: ${HOP4}, port: 9 }
rules:
  - IP-CIDR,203.0.113.1/32,gone
  - IP-CIDR,203.0.113.2/32,without
  - IP-CIDR,203.0.113.3/32,REJECT-DROP
  - NETWORK,udp,REJECT
`
    scene = await Scene.open({ config })
  })
  afterAll(() => scene?.close())

  it.each([
    ['REJECT', SERVER4, APP4],
    ['REJECT over IPv6', SERVER6, APP6],
    ['a proxy that is out of reach', '203.0.113.1', APP4],
    ['a proxy without udp', '203.0.113.2', APP4],
  ])('%s is ECONNREFUSED at the application, at once', async (_, host, from) => {
    scene.watch()
    const end = await scene.client<{ code: string; ms: number }>('udp-client', { op: 'refused', host, from })
    expect(end.code).toBe('ECONNREFUSED')
    expect(end.ms).toBeLessThan(2000)
  })

  it('REJECT-DROP is silence', async () => {
    scene.watch()
    expect(await scene.client('udp-client', { op: 'refused', host: '203.0.113.3', from: APP4 })).toMatchObject({ code: 'ETIMEDOUT' })
  })

  it('the log says why', () => {
    const said = scene.proxy.lines.join('\n')
    expect(said).toContain('203.0.113.10:7109 match Network(udp) using REJECT')
    expect(said).toMatch(/level=warning msg="\[UDP\] \S+ --> 203\.0\.113\.1:7109 error: SOCKS5 proxy \S+ cannot be reached/)
    expect(said).toMatch(/level=warning msg="\[UDP\] \S+ --> 203\.0\.113\.2:7109 error: this outbound carries no UDP/)
  })
})
