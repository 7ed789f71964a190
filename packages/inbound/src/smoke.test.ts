import { once } from 'node:events'
import { expect, test } from 'vitest'
import { bytes, closed, connection, established, readAll, world } from './world.test-kit.js'

test('smoke', async () => {
  await using w = await world()
  const { app, socket } = await established(w)
  const data = bytes(100e6)
  const t = performance.now()
  app.end(data)
  const got = await readAll(socket)
  console.log(performance.now() - t)
  expect(got.equals(data)).toBe(true)
  socket.end('bye')
  expect((await readAll(app)).toString()).toBe('bye')
})
