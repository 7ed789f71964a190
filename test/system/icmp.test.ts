// Pings, hop limits and unknown protocols through the built example proxy. What is asserted is what the kernel tells the application's
// own socket: the answer's bytes, its errno, and who reported it.

import { afterAll, beforeAll, expect, it } from 'vitest'
import { until } from '../../scripts/lab/lab.mjs'
import { findBinary } from '../../scripts/peers.mjs'
import { APP4, APP6, programPath, Scene, SERVER4, SERVER6 } from './namespace.js'
import { describeSystem, PROXY, ROOT } from './requirements.js'

const INBOUND = `${ROOT}packages/inbound/dist/index.js`

/** The router that the inbound is, by its defaults. */
const GATEWAY4 = '192.0.0.8'
const GATEWAY6 = 'fe80::1'
const FAMILIES = [
  ['IPv4', { host: SERVER4, from: APP4 }],
  ['IPv6', { host: SERVER6, from: APP6 }],
] as const
const needs = { lab: true, built: [PROXY], peers: ['python3', 'ping'] }

async function ask(scene: Scene, op: string, target: string, from: string, number = 56) {
  const done = await scene.apps.run(findBinary('python3')!, [programPath('pings.py'), op, target, from, String(number)])
  if (done.code !== 0) throw new Error(done.stderr)
  return JSON.parse(String(done.stdout))
}

/** What iputils' ping prints, as an application. */
async function ping(scene: Scene, ...args: string[]) {
  const { code, stdout } = await scene.apps.run(findBinary('ping')!, ['-n', '-c', '1', '-W', '2', ...args], { nobody: true })
  return { code, text: String(stdout) }
}

async function open(config: string): Promise<Scene> {
  const scene = await Scene.open({ config })
  scene.apps.sysctl('net.ipv4.ping_group_range', '0 0') // root may ping without raw sockets
  return scene
}

describeSystem("the kernel's pings, faked", needs, () => {
  let scene: Scene
  beforeAll(async () => {
    scene = await open('icmp: fake\nrules:\n  - MATCH,REJECT\n')
  })
  afterAll(() => scene?.close())

  it.each(FAMILIES)('%s: 56 bytes, and 8,000 in fragments, come back as they were', async (family, { host, from }) => {
    scene.watch()
    const type = family === 'IPv4' ? 0 : 129
    expect(await ask(scene, 'echo', host, from)).toEqual({ type, sequence: 7, same: true })
    expect(await ask(scene, 'echo', host, from, 8000)).toEqual({ type, sequence: 7, same: true })
  })

  it('65,507 bytes, the most there are', async () => {
    scene.watch()
    expect(await ask(scene, 'echo', SERVER4, APP4, 65_507)).toMatchObject({ same: true })
  })

  it.each(FAMILIES)('%s: ping prints the answer, to 56 and to 8,000 bytes', async (_, { host }) => {
    scene.watch()
    expect(await ping(scene, host)).toMatchObject({ code: 0, text: expect.stringContaining(`64 bytes from ${host}: icmp_seq=1 ttl=64`) })
    expect(await ping(scene, '-s', '8000', host)).toMatchObject({ code: 0, text: expect.stringContaining(`8008 bytes from ${host}`) })
  })

  it.each(FAMILIES)('%s: traceroute sees one hop, the gateway, and then what the rules say of the host', async (family, { host, from }) => {
    scene.watch()
    const hops = await ask(scene, 'probe', host, from)
    expect(hops).toEqual(
      family === 'IPv4'
        ? [
            { code: 'EHOSTUNREACH', type: 11, icmp: 0, by: GATEWAY4 },
            { code: 'ECONNREFUSED', type: 3, icmp: 3, by: host },
          ]
        : [
            { code: 'EHOSTUNREACH', type: 3, icmp: 0, by: GATEWAY6 },
            { code: 'ECONNREFUSED', type: 1, icmp: 4, by: host },
          ],
    )
  })

  it.each(FAMILIES)('%s: a protocol that nobody speaks is told at once', async (family, { host, from }) => {
    scene.watch()
    expect(await ask(scene, 'raw', host, from, 253)).toEqual(
      family === 'IPv4' ? { code: 'ENOPROTOOPT', type: 3, icmp: 2, by: host } : { code: 'EPROTO', type: 4, icmp: 1, by: host },
    )
  })
})

describeSystem("the kernel's pings, refused", needs, () => {
  let scene: Scene
  beforeAll(async () => {
    scene = await open('rules:\n  - MATCH,DIRECT\n')
  })
  afterAll(() => scene?.close())

  it('by default is an error at once: EHOSTUNREACH over IPv4, EACCES over IPv6', async () => {
    scene.watch()
    expect(await ask(scene, 'echo', SERVER4, APP4)).toEqual({ code: 'EHOSTUNREACH' })
    expect(await ask(scene, 'echo', SERVER6, APP6)).toEqual({ code: 'EACCES' })
  })

  it('ping prints who refused', async () => {
    scene.watch()
    expect((await ping(scene, SERVER4)).text).toContain(`From ${SERVER4} icmp_seq=1 Packet filtered`)
    expect((await ping(scene, SERVER6)).text).toContain(`From ${SERVER6} icmp_seq=1 Destination unreachable: Administratively prohibited`)
  })

  it('the gateway answers for itself', async () => {
    scene.watch()
    expect(await ask(scene, 'echo', GATEWAY4, APP4)).toMatchObject({ type: 0, same: true })
  })
})

describeSystem("the kernel's pings, dropped", needs, () => {
  let scene: Scene
  beforeAll(async () => {
    scene = await open('icmp: drop\nrules:\n  - MATCH,DIRECT\n')
  })
  afterAll(() => scene?.close())

  it.each(FAMILIES)('%s: ping prints nothing but its loss', async (_, { host }) => {
    scene.watch()
    const { code, text } = await ping(scene, host)
    expect(code).toBe(1)
    expect(text).not.toContain('From')
    expect(text).toContain('1 packets transmitted, 0 received, 100% packet loss')
  })
})

describeSystem('an answer that the application does not take', { ...needs, built: [INBOUND] }, () => {
  const [other4, other6] = ['192.0.2.99', '2001:db8::99']
  let scene: Scene
  beforeAll(async () => {
    const program = [process.execPath, programPath('answer-by-others'), other4, other6]
    scene = await Scene.open({ program: () => program })
  })
  afterAll(() => scene?.close())

  it.each([
    ['IPv4', SERVER4, APP4, other4, 3, 3],
    ['IPv6', SERVER6, APP6, other6, 1, 4],
  ] as const)(
    '%s: a connected socket gets its own, the other is told to the flow, which goes on',
    async (_, host, from, other, type, code) => {
      scene.watch()
      const before = scene.proxy.lines.length
      const script = `const s = require('dgram').createSocket('udp${host.includes(':') ? 6 : 4}').bind(0, '${from}', () => s.connect(7, '${host}', () => s.send('a')))
let n = 0
s.on('message', data => (console.log(String(data)), ++n < 2 ? setTimeout(() => s.send('b'), 100) : s.close()))`
      expect(String((await scene.apps.run(process.execPath, ['-e', script])).stdout)).toBe('a\nb\n')
      await until('the kernel to refuse both', 10_000, () => scene.proxy.lines.length >= before + 2)
      const refused = JSON.stringify({ from: `${other} 7`, type, code })
      expect(scene.proxy.lines.slice(before)).toEqual([refused, refused])
    },
  )
})
