// How the built example proxy begins and ends: a TUN that somebody else has opened, and what SIGTERM and SIGINT leave behind.

import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { findBinary } from '../../scripts/peers.mjs'
import { APP4, programPath, Scene, SERVER4, TUN } from './namespace.js'
import { patternHash } from './programs/pattern.mjs'
import { describeSystem, PROXY } from './requirements.js'

const needs = { lab: true, built: [PROXY] }
const SIDE = { host: SERVER4, from: APP4 }
const STRANGER = '65533' // not nobody: that one's traffic goes into the TUN

const handedOver = (kind: string) =>
  Scene.forThisTest({
    deviceUrl: 'fd://9',
    program: config => [findBinary('python3')!, programPath('hand-over.py'), kind, TUN, STRANGER, process.execPath, PROXY, '-f', config],
  })

/** A connection through the proxy that is up and waits for a word on its stdin. */
async function lingering(world: Scene) {
  const client = world.apps.start(process.execPath, [programPath('tcp-client'), JSON.stringify({ op: 'linger', ...SIDE })])
  await client.waitFor(/^up$/)
  const result = async () => JSON.parse(await client.waitFor(/^\{/)) as Record<string, string>
  return { client, say: (word: string) => client.child.stdin!.write(`${word}\n`), result }
}

async function moves(world: Scene, bytes: number): Promise<void> {
  await world.serve('tcp-server', [SERVER4])
  await world.serve('udp-server', [SERVER4])
  expect(await world.client('tcp-client', { op: 'upload', bytes, ...SIDE })).toMatchObject({ bytes, sha: patternHash(bytes) })
  expect(await world.client('tcp-client', { op: 'download', bytes, ...SIDE })).toMatchObject({ bytes, sha: patternHash(bytes) })
  expect(await world.client('tcp-client', { op: 'refused', ...SIDE })).toMatchObject({ code: 'ECONNREFUSED' })
  expect(await world.client('udp-client', { op: 'echo', bytes: 10_000, ...SIDE })).toMatchObject({ same: true })
}

describeSystem('a TUN that is handed over', { ...needs, peers: ['python3', 'setpriv'] }, () => {
  it.each(['tun', 'tun-vnet'])('fd:// with a %s of another process, run by another user without rights', async kind => {
    const world = await handedOver(kind)
    expect(readFileSync(`/proc/${world.proxy.child.pid}/status`, 'utf8')).toMatch(new RegExp(`^Uid:\\s+${STRANGER}\\s`, 'm'))
    await moves(world, 3_000_000)
    world.proxy.kill('SIGTERM')
    expect(await world.proxy.exited).toEqual({ code: 0, signal: null })
  })

  it.each(['dgram', 'seqpacket'])('fd:// with a %s socket, one packet a message', async kind => {
    const world = await handedOver(kind)
    await moves(world, 1_000_000)
    world.proxy.kill('SIGTERM')
    await world.proxy.waitFor(/the proxy ended with 0$/)
  })

  it('a seqpacket socket whose other end closes ends the proxy, which says so', async () => {
    const world = await handedOver('seqpacket')
    await world.proxy.waitFor(/\[TUN\]/)
    world.proxy.kill('SIGUSR1')
    await world.proxy.waitFor(/the proxy ended with 1$/)
    expect(world.proxy.tail()).toMatch(/the other end was closed/)
  })
})

describeSystem('the end of the proxy', needs, () => {
  it.each(['SIGTERM', 'SIGINT'] as const)('%s: connections may finish, new ones are refused, the NIC goes, exit code 0', async signal => {
    const world = await Scene.forThisTest()
    await world.serve('tcp-server', [SERVER4])
    const connection = await lingering(world)
    const idle = await lingering(world)
    idle.say('wait')
    world.proxy.kill(signal)
    await world.proxy.waitFor(new RegExp(`${signal}: closing`))
    connection.say('bye')
    expect(await connection.result()).toEqual({ echoed: 'bye', refused: 'ECONNREFUSED' })
    expect(await idle.result()).toEqual({ code: 'ECONNRESET' }) // not left hanging
    expect(await world.proxy.exited).toEqual({ code: 0, signal: null })
    expect(world.apps.hasDevice(TUN)).toBe(false)
    expect(world.proxy.lines.filter(line => /level=(warning|error)/.test(line))).toEqual([])
  })

  it('without connections there is nothing to wait for', async () => {
    const world = await Scene.forThisTest()
    const start = performance.now()
    world.proxy.kill('SIGTERM')
    expect(await world.proxy.exited).toEqual({ code: 0, signal: null })
    expect(performance.now() - start).toBeLessThan(400)
  })

  it('the second signal ends it at once', async () => {
    const world = await Scene.forThisTest()
    await world.serve('tcp-server', [SERVER4])
    await lingering(world)
    world.proxy.kill('SIGTERM')
    await world.proxy.waitFor(/SIGTERM: closing/)
    world.proxy.kill('SIGTERM')
    expect(await world.proxy.exited).toEqual({ code: 1, signal: null })
  })

  it('a NIC that was there before stays, with its addresses, and can be opened again', async () => {
    const world = await Scene.forThisTest({ persistent: true })
    await world.serve('tcp-server', [SERVER4])
    world.proxy.kill('SIGTERM')
    expect(await world.proxy.exited).toEqual({ code: 0, signal: null })
    expect(world.apps.ip('-o', 'address', 'show', 'dev', TUN)).toContain(APP4)
    const again = world.apps.start(process.execPath, [PROXY, '-f', world.file('config.yaml')])
    await again.waitFor(/\[TUN\]/)
    const bytes = 1_000_000
    expect(await world.client('tcp-client', { op: 'upload', bytes, ...SIDE })).toMatchObject({ sha: patternHash(bytes) })
    await again.stop()
  })

  it('killed in the middle of a transfer: the next one takes the same NIC, and the application is told that its connection is gone', async () => {
    const world = await Scene.forThisTest({ persistent: true })
    await world.serve('tcp-server', [SERVER4])
    const connection = await lingering(world)
    world.proxy.kill('SIGKILL')
    await world.proxy.exited
    const again = world.apps.start(process.execPath, [PROXY, '-f', world.file('config.yaml')])
    await again.waitFor(/\[TUN\]/)
    connection.say('bye')
    await connection.client.waitFor(/ECONNRESET/)
    expect(await world.client('tcp-client', { op: 'many', count: 20, ...SIDE })).toEqual({ right: 20 })
    expect(again.lines.filter(line => /level=(warning|error)/.test(line))).toEqual([])
    await again.stop()
  })

  it('killed: its own NIC goes with it, and it starts again', async () => {
    const world = await Scene.forThisTest()
    world.proxy.kill('SIGKILL')
    await world.proxy.exited
    expect(world.apps.hasDevice(TUN)).toBe(false)
    const again = world.apps.start(process.execPath, [PROXY, '-f', world.file('config.yaml')])
    await again.waitFor(/\[TUN\]/)
    await again.stop()
  })

  it('a NIC that is deleted ends it with 1 and a line that says so', async () => {
    const world = await Scene.forThisTest()
    world.apps.ip('link', 'del', TUN)
    expect(await world.proxy.exited).toEqual({ code: 1, signal: null })
    expect(world.proxy.tail()).toMatch(/clash-proxy: .*(deleted|gone)/)
  })
})
