// The built example proxy on a real TUN, with the Linux kernel's TCP on both sides of it. What is asserted is what the
// application's own socket says: its bytes and its errno.

import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Program } from '../../scripts/lab/lab.mjs'
import { APP4, APP6, HOP4, Scene, type SceneOptions, SERVER4, SERVER6, TUN } from './namespace.js'
import { patternHash } from './programs/pattern.mjs'
import { describeSystem, PROXY } from './requirements.js'

const BULK = 100_000_000
const SOCKS_PORT = 1080

const SOCKS5 = `proxies:
  - { name: hop, type: socks5, server: ${HOP4}, port: ${SOCKS_PORT} }
rules:
  - MATCH,hop
`

const FAMILIES = [
  ['IPv4', { host: SERVER4, from: APP4 }],
  ['IPv6', { host: SERVER6, from: APP6 }],
] as const

const SCENES: [name: string, options: SceneOptions, bulk: number][] = [
  ['DIRECT with offload', { tun: ['gso: true'] }, BULK],
  ['DIRECT without offload', { tun: ['gso: false'] }, BULK],
  ['SOCKS5 with offload', { tun: ['gso: true'], config: SOCKS5 }, BULK / 10],
]

for (const [name, options, bulk] of SCENES) {
  describeSystem(`the kernel's TCP through the proxy, ${name}`, { lab: true, built: [PROXY] }, () => {
    let scene: Scene
    let server: Program

    beforeAll(async () => {
      scene = await Scene.open(options)
      server = await scene.serve('tcp-server', [SERVER4, SERVER6])
      if (options.config === SOCKS5) await scene.serve('socks5-server', [HOP4, String(SOCKS_PORT)])
    })
    afterAll(() => scene?.close())

    it.each(FAMILIES)('%s: every byte up arrives, and the answer comes back after our FIN', async (_, side) => {
      scene.watch()
      const before = scene.apps.packets(TUN).sent
      const answer = await scene.client<{ bytes: number; sha: string }>('tcp-client', { op: 'upload', bytes: bulk, ...side })
      expect(answer).toMatchObject({ bytes: bulk, sha: patternHash(bulk) })
      // What makes the scenes differ: with offload the kernel hands over many segments as one.
      const bytesPerPacket = bulk / (scene.apps.packets(TUN).sent - before)
      if (options.tun?.includes('gso: false')) expect(bytesPerPacket).toBeLessThan(1500)
      else expect(bytesPerPacket).toBeGreaterThan(3000)
    })

    it.each(FAMILIES)('%s: every byte down arrives, and the server hears us after its FIN', async (family, side) => {
      scene.watch()
      const said = `still here, ${family}`
      const got = await scene.client<{ bytes: number; sha: string }>('tcp-client', { op: 'download', bytes: bulk, name: said, ...side })
      expect(got).toMatchObject({ bytes: bulk, sha: patternHash(bulk) })
      await server.waitFor(new RegExp(`after our FIN: ${said}$`))
    })

    it.each(FAMILIES)('%s: a port nobody listens on is ECONNREFUSED, at once', async (_, side) => {
      scene.watch()
      const end = await scene.client<{ code: string; ms: number }>('tcp-client', { op: 'refused', ...side })
      expect(end.code).toBe('ECONNREFUSED')
      expect(end.ms).toBeLessThan(2000)
    })

    it.each(FAMILIES)('%s: a reset by the server is ECONNRESET at the application', async (_, side) => {
      scene.watch()
      expect(await scene.client('tcp-client', { op: 'reset', ...side })).toEqual({ code: 'ECONNRESET' })
    })

    it.each(FAMILIES)('%s: a reset by the application is ECONNRESET at the server', async (family, side) => {
      scene.watch()
      await scene.client('tcp-client', { op: 'abort', name: family, ...side })
      expect(await server.waitFor(new RegExp(`fate of ${family}: `))).toBe(`fate of ${family}: ECONNRESET`)
    })

    it.each(FAMILIES)('%s: 1,000 connections are open at once and each gets its own bytes', async (_, side) => {
      scene.watch()
      expect(await scene.client('tcp-client', { op: 'many', count: 1000, ...side })).toEqual({ right: 1000 })
    })

    // Once is enough: what it stretches are tables, the NIC's queue and repeated SYNs, not the way on.
    if (options === SCENES[0][1]) {
      it('5,000 connections are open at once', async () => {
        scene.watch()
        expect(await scene.client('tcp-client', { op: 'many', count: 5000, host: SERVER4, from: APP4 })).toEqual({ right: 5000 })
      })
    }

    it('is still running, and no packet made it complain', () => {
      scene.watch()
      expect(scene.proxy.running).toBe(true)
      expect(scene.proxy.lines.filter(line => /uncaught|unhandled|TypeError|RangeError|\bat .*\.js:\d+/i.test(line))).toEqual([])
    })
  })
}
