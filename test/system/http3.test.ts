// HTTP/3 through the TUN: ngtcp2's client against ngtcp2's server. What arrives is compared with what was served, byte by byte.

import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { HOP4, Scene, SERVER4, SERVER6, TUN } from './namespace.js'
import { pattern } from './programs/pattern.mjs'
import { describeSystem, PROXY } from './requirements.js'
import { SECOND4, SOCKS_PORT, startDante, startQuic } from './servers.js'

const PORT = 4433
const BYTES = 20_000_000
const PEERS = ['gtlsclient', 'gtlsserver', 'openssl', 'danted']

describeSystem('HTTP/3', { lab: true, built: [PROXY], peers: PEERS }, () => {
  let scene: Scene
  let expected: string

  beforeAll(async () => {
    const config = `proxies:
  - { name: dante, type: socks5, server: ${HOP4}, port: ${SOCKS_PORT}, udp: true }
rules:
  - IP-CIDR,${SECOND4}/32,dante,no-resolve
  - MATCH,DIRECT
`
    scene = await Scene.open({ config })
    scene.servers.address(`${SECOND4}/32`, 'lo')
    await startDante(scene)
    const root = await startQuic(scene, PORT)
    const body = Buffer.concat([...pattern(BYTES)])
    writeFileSync(join(root, 'big'), body)
    expected = sha256(body)
  })
  afterAll(() => scene?.close())

  it.each([
    ['DIRECT', SERVER4],
    ['DIRECT over IPv6', SERVER6],
    ['SOCKS5 by dante', SECOND4],
  ])(`${BYTES / 1e6} MB arrive whole, %s`, { timeout: 120_000 }, async (_, host) => {
    scene.watch()
    const directory = scene.file('download')
    mkdirSync(directory)
    chmodSync(directory, 0o777) // the client is nobody
    const before = scene.apps.packets(TUN)
    const authority = host.includes(':') ? `[${host}]` : host
    const flags = ['-q', '--exit-on-all-streams-close', '--timeout=60s', `--download=${directory}`]
    await scene.app('gtlsclient', [...flags, host, String(PORT), `https://${authority}:${PORT}/big`], { timeout: 100_000 })
    const after = scene.apps.packets(TUN)
    expect(sha256(readFileSync(join(directory, 'big')))).toBe(expected)
    expect(after.received - before.received).toBeGreaterThan(300) // by the TUN; a row may be a train of 64 KiB
    const way = host === SECOND4 ? 'dante' : 'DIRECT'
    expect(scene.proxy.lines.some(line => line.includes(`--> ${authority}:${PORT} match`) && line.endsWith(`using ${way}"`))).toBe(true)
    rmSync(directory, { recursive: true })
  })
})

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
