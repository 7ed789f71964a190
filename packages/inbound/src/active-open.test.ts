import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { APP, APP6, until, world } from './world.test-kit.js'

test.each([
  [APP, '198.18.0.2'],
  [APP6, 'fdfe:dcba:9876::2'],
])('a connection to %s: bytes both ways, half-closed, and whom the peer sees', async (host, local) => {
  await using w = await world()
  const accepted = w.accepting()
  const socket = w.inbound.connect({ host, port: 22 })
  expect([socket.connecting, socket.undecided, socket.readyState]).toEqual([true, false, 'opening'])
  socket.end('hello')
  const app = await accepted
  await once(socket, 'connect')
  expect([app.remoteAddress, app.localPort]).toEqual([local, 22])
  expect([socket.remoteAddress, socket.remotePort, socket.localAddress]).toEqual([host, 22, local])
  expect(socket.localPort).toBeGreaterThanOrEqual(32_768)
  const [said] = await once(app, 'data')
  expect(String(said)).toBe('hello')
  app.end('back')
  expect(await text(socket)).toBe('back')
  await until(() => w.inbound.flows().length === 0)
})

test('refused: ECONNREFUSED, as connect(2) says it', async () => {
  await using w = await world()
  w.refusing()
  const socket = w.inbound.connect({ host: APP, port: 9 })
  const [error] = await once(socket, 'error')
  expect(error.code).toBe('ECONNREFUSED')
})

test('aborted while it is being made, and behind close()', async () => {
  await using w = await world()
  const controller = new AbortController()
  const socket = w.inbound.connect({ host: APP, port: 9, signal: controller.signal })
  controller.abort(new Error('enough'))
  const [error] = await once(socket, 'error')
  expect(error.message).toBe('enough')
  await w.inbound.close()
  expect(() => w.inbound.connect({ host: APP, port: 9 })).toThrow(expect.objectContaining({ code: 'ERR_TUN_CLOSED' }))
})

test('ends no connection can have are told at once', async () => {
  await using w = await world()
  const codeOf = (options: object) => {
    try {
      w.inbound.connect({ host: APP, port: 9, ...options })
      return 'none'
    } catch (error) {
      return (error as { code?: string }).code
    }
  }
  expect(codeOf({ host: 'localhost' })).toBe('ERR_TUN_ADDRESS')
  expect(codeOf({ host: '224.0.0.1' })).toBe('ERR_TUN_ADDRESS')
  expect(codeOf({ host: '0.0.0.0' })).toBe('ERR_TUN_ADDRESS')
  expect(codeOf({ localAddress: APP6 })).toBe('ERR_TUN_ADDRESS')
  expect(codeOf({ host: '198.18.0.2' })).toBe('ERR_TUN_ADDRESS') // whom we pretend to be by default
  expect(codeOf({ port: 0 })).toBe('ERR_TUN_PORT')
  expect(codeOf({ localPort: 70_000 })).toBe('ERR_TUN_PORT')
  expect(codeOf({ localPort: 5 })).toBe('none')
  expect(codeOf({ localPort: 5 })).toBe('EADDRINUSE')
})
