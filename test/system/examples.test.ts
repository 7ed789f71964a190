// Each example is started as its header says, on a TUN in a namespace, and does what it promises.

import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { APP4, DNS4, HOP4, Scene, SERVER4, TUN } from './namespace.js'
import { PORTS } from './programs/ports.mjs'
import { describeSystem, PROXY, ROOT } from './requirements.js'
import { SOCKS_PORT, startDante, startNginx, startUnbound } from './servers.js'
import { anywhere } from './unprivileged.js'

const NAMES = ['echo', 'http-anywhere', 'own-resolver', 'direct', 'socks5', 'hand-over']
const example = (name: string) => `${ROOT}examples/${name}/${name}.js`
const needs = { lab: true, built: [PROXY, `${ROOT}packages/inbound/dist/index.js`] }

const run = (name: string, ...args: string[]) => Scene.forThisTest({ program: () => [process.execPath, example(name), ...args] })

it.each(NAMES)('%s has at most 25 lines of code below its header', name => {
  const lines = readFileSync(example(name), 'utf8').split('\n')
  const code = lines.filter(line => line.trim() !== '' && !line.startsWith('//'))
  expect(code.length).toBeLessThanOrEqual(25)
  expect(lines.every(line => line.length < 140)).toBe(true)
  expect(lines.join('\n')).toContain(`node examples/${name}/${name}.js`)
})

describeSystem('examples', needs, () => {
  it('echo: any address and port gives back what it gets; Ctrl-C takes the NIC away', async () => {
    const { apps, proxy } = await run('echo')
    for (const [host, port] of [
      ['198.18.0.2', 7],
      ['192.0.2.99', 12_345],
    ] as const) {
      const script = `const s = require('net').connect({ host: '${host}', port: ${port}, localAddress: '${APP4}', allowHalfOpen: true })
let n = 0
s.on('data', data => (n += data.length)).on('end', () => console.log(n)).end('hello'.repeat(1000))`
      expect((await apps.run(process.execPath, ['-e', script])).stdout.toString()).toBe('5000\n')
    }
    proxy.kill('SIGINT')
    expect(await proxy.exited).toEqual({ code: 0, signal: null })
    expect(apps.hasDevice(TUN)).toBe(false)
  })
})

describeSystem('examples with setpriv', { ...needs, peers: ['setpriv'] }, () => {
  it('hand-over: a process without rights serves a NIC that another has opened, which goes with it', async () => {
    const user = '65533'
    const world = await Scene.forThisTest({
      program: config => anywhere(dirname(config), [process.execPath, 'examples/hand-over/hand-over.js', user]),
    })
    const { apps, proxy } = world
    await proxy.waitFor(new RegExp(`^echoing on ${TUN}, user ${user}$`))
    const script = `const s = require('net').connect({ host: '192.0.2.99', port: 12345, localAddress: '${APP4}', allowHalfOpen: true })
let n = 0
s.on('data', data => (n += data.length)).on('end', () => console.log(n)).end(Buffer.alloc(300_000))`
    expect((await apps.run(process.execPath, ['-e', script])).stdout.toString()).toBe('300000\n')
    proxy.kill('SIGINT')
    expect(await proxy.exited).toEqual({ code: 0, signal: null })
    expect(apps.hasDevice(TUN)).toBe(false)
  })
})

describeSystem('README', needs, () => {
  it('its fifteen lines do what it says below them', async () => {
    const code = /## Fifteen lines\n\n```js\n([\s\S]*?)```/.exec(readFileSync(`${ROOT}README.md`, 'utf8'))?.[1] ?? ''
    // From a file within the repository, as it says; this one goes with the test.
    const file = `${ROOT}examples/echo/.readme-${process.pid}.mjs`
    writeFileSync(file, code)
    onTestFinished(() => rmSync(file))
    const world = await Scene.forThisTest({ program: () => [process.execPath, file] })
    await world.serve('tcp-server', [SERVER4])
    const echo = await world.client('udp-client', { op: 'echo', host: '203.0.113.9', from: APP4, bytes: 5 })
    expect(echo).toEqual({ same: true, bytes: 5, from: `203.0.113.9 ${PORTS.udpEcho}` })
    expect(await world.client('tcp-client', { op: 'many', count: 3, host: SERVER4, from: APP4 })).toEqual({ right: 3 })
    const script = `require('net').connect({ host: '203.0.113.9', port: 443, localAddress: '${APP4}' }).on('error', e => console.log(e.code))`
    expect((await world.apps.run(process.execPath, ['-e', script])).stdout.toString()).toBe('ECONNREFUSED\n') // no SOCKS proxy there
  })
})

describeSystem('examples with curl', { ...needs, peers: ['curl'] }, () => {
  it('http-anywhere: a web page from an address that nobody has', async () => {
    const world = await run('http-anywhere')
    expect(await world.app('curl', ['-sS', '--max-time', '5', 'http://198.18.0.2/'])).toBe(`198.18.0.2 greets ${APP4}\n`)
    const other = await world.apps.run('curl', ['-sS', '--max-time', '5', 'http://198.18.0.2:81/'], { nobody: true })
    expect(other.code).toBe(7)
  })
})

describeSystem('examples with dig', { ...needs, peers: ['dig'] }, () => {
  it('own-resolver: whoami.test over UDP and TCP, and nothing else', async () => {
    const world = await run('own-resolver')
    const dig = (...args: string[]) => world.app('dig', ['+tries=1', '+time=5', ...args])
    expect(await dig('+short', '@198.18.0.53', 'WhoAmI.test')).toBe(`${APP4}\n`)
    expect(await dig('+short', '@192.0.2.1', 'whoami.test', 'TXT')).toBe(`"you are ${APP4}, I am 192.0.2.1, over udp"\n`)
    expect(await dig('+short', '+tcp', '@192.0.2.1', 'whoami.test', 'TXT')).toBe(`"you are ${APP4}, I am 192.0.2.1, over tcp"\n`)
    expect(await dig('@198.18.0.53', 'whoami.test', 'MX')).toMatch(/status: NOERROR[\s\S]*ANSWER: 0/)
    expect(await dig('@198.18.0.53', 'example.org')).toContain('status: NXDOMAIN')
  })
})

describeSystem('examples with servers', { ...needs, peers: ['nginx', 'unbound', 'danted', 'curl'] }, () => {
  it.each([
    ['direct', [DNS4]],
    ['socks5', [`socks5://${HOP4}:${SOCKS_PORT}`]],
  ])('%s: a page by name, a page by address, datagrams, a refusal', async (name, args) => {
    const world = await run(name, ...args)
    await startNginx(world)
    await startUnbound(world)
    await startDante(world)
    await world.serve('udp-server', [SERVER4])
    expect(await world.app('curl', ['-sS', '--max-time', '5', 'http://web.test/'])).toMatch(/you asked for web\.test/)
    expect(await world.app('curl', ['-sS', '--max-time', '5', `http://${SERVER4}/`])).toMatch(/you asked for 203/)
    const echo = await world.client('udp-client', { op: 'echo', host: SERVER4, from: APP4, bytes: 3000 })
    expect(echo).toEqual({ same: true, bytes: 3000, from: `${SERVER4} ${PORTS.udpEcho}` })
    expect((await world.apps.run('curl', ['-sS', '--max-time', '5', 'http://web.test:81/'], { nobody: true })).code).toBe(7)
    world.proxy.kill('SIGINT')
    expect(await world.proxy.exited).toEqual({ code: 0, signal: null })
  })
})
