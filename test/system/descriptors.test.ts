// A process that may have few descriptors: however many UDP sources there are, TCP can still dial.

import { afterAll, beforeAll, expect, it } from 'vitest'
import { APP4, HOP4, Scene, SERVER4 } from './namespace.js'
import { describeSystem, PROXY } from './requirements.js'
import { SOCKS_PORT, startDante } from './servers.js'

const DESCRIPTORS = 128
const SOURCES = 150

describeSystem(`the proxy with ${DESCRIPTORS} descriptors`, { lab: true, built: [PROXY], peers: ['danted'] }, () => {
  let scene: Scene

  beforeAll(async () => {
    // SOCKS5: each association needs two.
    const config = `proxies:
  - { name: dante, type: socks5, server: ${HOP4}, port: ${SOCKS_PORT}, udp: true }
rules:
  - MATCH,dante
`
    const program = (path: string) => ['sh', '-c', `ulimit -n ${DESCRIPTORS} && exec "$@"`, 'sh', process.execPath, PROXY, '-f', path]
    scene = await Scene.open({ config, program })
    await startDante(scene)
    await scene.serve('udp-server', [SERVER4])
    await scene.serve('tcp-server', [SERVER4])
  })
  afterAll(() => scene?.close())

  it(`${SOURCES} UDP sources are answered, those whose association made room as well, and TCP is carried meanwhile`, async () => {
    scene.watch()
    const sources = scene.client('udp-client', { op: 'sources', host: SERVER4, from: APP4, count: SOURCES })
    const downloads = []
    for (let i = 0; i < 10; i++) {
      downloads.push(await scene.client<{ bytes: number }>('tcp-client', { op: 'download', host: SERVER4, from: APP4, bytes: 10_000 }))
    }
    expect(await sources).toEqual({ answers: [SOURCES, SOURCES] })
    downloads.push(await scene.client<{ bytes: number }>('tcp-client', { op: 'download', host: SERVER4, from: APP4, bytes: 10_000 }))
    expect(downloads.map(({ bytes }) => bytes)).toEqual(Array(11).fill(10_000))
    expect(scene.proxy.lines.filter(line => /EMFILE|too many open files/i.test(line))).toEqual([])
  })
})
