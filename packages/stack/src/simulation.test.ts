import { expect, test } from 'vitest'
import { Pair } from './testing/pair.js'
import { Prng } from './testing/prng.js'

function bytes(n: number, seed = 7) {
  const prng = new Prng(seed)
  const out = new Uint8Array(n)
  for (let i = 0; i < n; i++) out[i] = prng.random32()
  return out
}

test('a clean link carries data both ways and both sides end', () => {
  const pair = new Pair()
  const client = pair.connect()
  const up = bytes(300_000)
  const down = bytes(200_000, 9)
  client.write(up)
  client.end()
  pair.b.onrequest = s => {
    s.connection.accept()
    s.write(down)
    s.end()
  }
  expect(pair.until(() => client.gone && pair.b.accepted[0]?.gone)).toBe(true)
  const server = pair.b.accepted[0]
  expect(server.data).toEqual(up)
  expect(client.data).toEqual(down)
  expect(client.error + server.error).toBe('')
})
