// What sockets of one thread may do to each other: they share a descriptor, a wake-up and the memory they receive into. Over loopback.

import { setTimeout as sleep } from 'node:timers/promises'
import { hasUdpSockets } from '@tun/native'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { UdpBatchSocket } from './udp-batch-socket.js'
import { UdpPeer } from './udp-peer.js'
import type { UdpHandlers } from './udp-socket.js'

const opened: UdpBatchSocket[] = []
afterEach(() => {
  for (const socket of opened.splice(0)) socket.close()
})

function open(handlers: Partial<UdpHandlers> = {}) {
  const socket = new UdpBatchSocket({ family: 4, localAddress: '127.0.0.1' }, { datagram() {}, error() {}, ...handlers })
  opened.push(socket)
  return socket
}

function sendToAll(sockets: UdpBatchSocket[]) {
  const sender = open()
  for (const socket of sockets) sender.send(Buffer.from('x'), UdpPeer.parse('127.0.0.1', socket.address()!.port)!)
  sender.flush()
}

describe.skipIf(!hasUdpSockets())('sockets that are ready at once', () => {
  test('are all told, although the handlers throw, and each exception is thrown later', async () => {
    const thrown: unknown[] = []
    const later = vi.spyOn(globalThis, 'queueMicrotask').mockImplementation(fn => {
      try {
        fn()
      } catch (error) {
        thrown.push(error)
      }
    })
    let turns = 0
    let counting = false
    const fails = (i: number) => () => {
      if (!counting) setImmediate(() => turns++)
      counting = true
      throw new Error(`of ${i}, turn ${turns}`)
    }
    sendToAll([0, 1, 2].map(i => open({ datagram: fails(i) })))
    for (let wait = 0; thrown.length < 3 && wait < 400; wait++) await sleep(5)
    later.mockRestore()
    expect(thrown.map(error => (error as Error).message).sort()).toEqual(['of 0, turn 0', 'of 1, turn 0', 'of 2, turn 0'])
  })

  test('are told nothing any more when one of them closes the others, and one that it opens hears nothing of theirs', async () => {
    let heard = 0
    let strange = 0
    const sockets = [0, 1, 2].map(() =>
      open({
        datagram: () => {
          heard++
          for (const socket of sockets) socket.close()
          for (let i = 0; i < 3; i++) open({ datagram: () => void strange++, unreachable: () => void strange++ })
        },
      }),
    )
    sendToAll(sockets)
    for (let wait = 0; heard === 0 && wait < 400; wait++) await sleep(5)
    await sleep(20)
    expect([heard, strange]).toEqual([1, 0])
  })
})
