// What the built example proxy does with the rest of its configuration: credentials, rules by network, source and keyword, the log.

import { afterAll, beforeAll, expect, it } from 'vitest'
import { APP4, APP6, HOP4, Scene, SERVER4, SERVER6 } from './namespace.js'
import { PORTS } from './programs/ports.mjs'
import { describeSystem, PROXY } from './requirements.js'
import { SOCKS_PORT } from './servers.js'

const needs = { lab: true, built: [PROXY] }
const CREDENTIALS = { username: 'käthe', password: 'p:ss wörd' }
const proxy = (name: string, password: string) =>
  `  - { name: ${name}, type: socks5, server: ${HOP4}, port: ${SOCKS_PORT}, username: ${CREDENTIALS.username}, password: '${password}' }\n`

describeSystem('the example proxy and a SOCKS5 proxy with a password', needs, () => {
  let scene: Scene

  beforeAll(async () => {
    const config = `proxies:
${proxy('right', CREDENTIALS.password)}${proxy('wrong', 'guess')}rules:
  - IP-CIDR,${SERVER4}/32,right
  - MATCH,wrong
`
    scene = await Scene.open({ config })
    await scene.serve('tcp-server', [SERVER4, SERVER6])
    await scene.serve('socks5-server', [HOP4, String(SOCKS_PORT), `${CREDENTIALS.username}:${CREDENTIALS.password}`])
  })
  afterAll(() => scene?.close())

  it('is let in with the right one', async () => {
    scene.watch()
    expect(await scene.client('tcp-client', { op: 'many', count: 50, host: SERVER4, from: APP4 })).toEqual({ right: 50 })
  })

  it('with a wrong one the application is told, and the log says why without showing it', async () => {
    scene.watch()
    const end = await scene.client<{ code: string }>('tcp-client', { op: 'refused', port: 'echo', host: SERVER6, from: APP6 })
    expect(end.code).toBe('EACCES')
    const said = await scene.proxy.waitFor(/level=warning/)
    expect(said).toMatch(/dial wrong .* error: SOCKS5 proxy .* does not accept this user name and password/)
    expect(said).not.toContain('guess')
  })
})

describeSystem('the example proxy and its rules', needs, () => {
  let scene: Scene

  beforeAll(async () => {
    const config = `log-level: info
rules:
  - DST-PORT,${PORTS.closed},REJECT
  - SRC-IP-CIDR,${APP6}/128,REJECT
  - NETWORK,udp,REJECT
  - NETWORK,tcp,DIRECT
`
    scene = await Scene.open({ config })
    await scene.serve('tcp-server', [SERVER4, SERVER6])
    await scene.serve('udp-server', [SERVER4])
  })
  afterAll(() => scene?.close())

  it('by network: TCP passes, UDP does not', async () => {
    scene.watch()
    expect(await scene.client('tcp-client', { op: 'many', count: 3, host: SERVER4, from: APP4 })).toEqual({ right: 3 })
    expect(await scene.client('udp-client', { op: 'refused', host: SERVER4, from: APP4 })).toMatchObject({ code: 'ECONNREFUSED' })
    expect(await scene.client('tcp-client', { op: 'refused', host: SERVER4, from: APP4 })).toMatchObject({ code: 'ECONNREFUSED' })
  })

  it('by source: the application at the IPv6 address is refused', async () => {
    scene.watch()
    expect(await scene.client('tcp-client', { op: 'refused', port: 'echo', host: SERVER6, from: APP6 })).toMatchObject({
      code: 'ECONNREFUSED',
    })
  })

  it('every connection and every UDP destination has its line, in Clash’s form', () => {
    const said = scene.proxy.lines.map(line => /^time="[^"]+" level=info msg="(\[(?:TCP|UDP)\] .*)"$/.exec(line)?.[1]).filter(Boolean)
    const counts = new Map<string, number>()
    for (const line of said) {
      const way = line!.replace(/(198\.18\.0\.1|\[fd00:198:18::1\]):\d+/, '$1')
      counts.set(way, (counts.get(way) ?? 0) + 1)
    }
    expect(Object.fromEntries(counts)).toEqual({
      [`[TCP] ${APP4} --> ${SERVER4}:${PORTS.echo} match Network(tcp) using DIRECT`]: 3,
      [`[UDP] ${APP4} --> ${SERVER4}:${PORTS.udpClosed} match Network(udp) using REJECT`]: 1,
      [`[TCP] ${APP4} --> ${SERVER4}:${PORTS.closed} match DstPort(${PORTS.closed}) using REJECT`]: 1,
      [`[TCP] [${APP6}] --> [${SERVER6}]:${PORTS.echo} match SrcIPCIDR(${APP6}/128) using REJECT`]: 1,
    })
  })
})

describeSystem('the example proxy and its log', needs, () => {
  it.each(['silent', 'error', 'warning'])('log-level %s: no line for what goes well', async level => {
    const scene = await Scene.forThisTest({ config: `log-level: ${level}\nrules: ['MATCH,DIRECT']\n` })
    await scene.serve('tcp-server', [SERVER4])
    const side = { host: SERVER4, from: APP4 }
    expect(await scene.client('tcp-client', { op: 'many', count: 3, ...side })).toEqual({ right: 3 })
    await scene.client('tcp-client', { op: 'refused', ...side })
    if (level === 'warning') await scene.proxy.waitFor(/dial DIRECT/)
    expect(scene.proxy.lines.length).toBe(level === 'warning' ? 1 : 0)
  })
})
