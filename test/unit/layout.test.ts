// How V8 lays objects out, by %HaveSameMap, which `--allow-natives-syntax` permits.

import { Duplex } from 'node:stream'
import { setFlagsFromString } from 'node:v8'
import { hasTcpHandles, TcpHandle } from '@tun/device'
import { Stats, type TunSocket } from '@tun/stack'
import { Pair } from '@tun/stack/testing'
import { expect, test } from 'vitest'
import { Pump } from '../../packages/inbound/src/pump.js'
import { ByteQueue } from '../../packages/stack/src/memory/byte-queue.js'

function haveSameMap(a: object, b: object): boolean {
  setFlagsFromString('--allow-natives-syntax')
  const ask = new Function('a', 'b', 'return %HaveSameMap(a, b)')
  setFlagsFromString('--no-allow-natives-syntax')
  return ask(a, b)
}

/** Those of `fields` whose outgrowing 2^31 changes the layout of what `make` makes: compiled code that knows it is thrown away. */
function outgrown(make: () => object, fields: string[]): string[] {
  return fields.filter(field => {
    const small = make()
    const large = make()
    if (!haveSameMap(small, large)) throw new Error(`two as made have not one layout, ${field} apart`)
    if (typeof Reflect.get(large, field) !== 'number') throw new Error(`${field} is no number`)
    Reflect.set(large, field, 2 ** 40)
    return !haveSameMap(small, large)
  })
}

const handles: TcpHandle[] = []

function handle(): TcpHandle {
  const sink = { connected() {}, readable() {}, writable() {}, failed() {} }
  handles.push(new TcpHandle({ address: '127.0.0.1', port: 9, family: 4 }, sink))
  return handles.at(-1) as TcpHandle
}

const COUNTERS: [string, () => object, string[]][] = [
  ['the counters of a stack', () => new Stats(), ['bytesIn', 'bytesOut']],
  ['a connection', () => new Pair().connect().connection, ['bytesReceived', 'bytesSent']],
  ['a queue', () => new ByteQueue(), ['headAt']],
  ['a relay', () => new Pump({} as TunSocket, new Duplex(), 0, () => {}), ['up', 'down']],
]
if (hasTcpHandles()) COUNTERS.push(["a connection of the kernel's", handle, ['bytesReceived', 'bytesSent']])

test.each(COUNTERS)('no compiled code is thrown away when more than 2 GiB have passed: %s', (_, make, fields) => {
  expect(outgrown(make, fields)).toEqual([])
  for (const open of handles) open.close()
})

test('a field that begins as a small integer would be found', () => {
  class Counter {
    bytes = 0
  }
  expect(outgrown(() => new Counter(), ['bytes'])).toEqual(['bytes'])
})
