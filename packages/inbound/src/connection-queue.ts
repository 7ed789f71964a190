// Owns: 'connection' as an async iterable: while nobody asks for the next one, SYNs stay pending (and their bound is the stack's).

import type { TunSocket } from '@tun/stack'
import type { TunInbound } from './tun-inbound.js'

/** Ends when the inbound closes. Whoever leaves the loop earlier refuses what waits. */
export async function* connectionsOf(inbound: TunInbound): AsyncGenerator<TunSocket, void, void> {
  const queue: TunSocket[] = []
  let wake = () => {}
  let over = false
  const onConnection = (socket: TunSocket) => {
    queue.push(socket)
    socket.once('close', () => {
      const i = queue.indexOf(socket)
      if (i >= 0) queue.splice(i, 1)
    })
    wake()
  }
  const onClose = () => {
    over = true
    wake()
  }
  inbound.on('connection', onConnection).on('close', onClose)
  try {
    while (!over) {
      const socket = queue.shift()
      if (socket) yield socket
      else
        await new Promise<void>(resolve => {
          wake = resolve
        })
    }
  } finally {
    inbound.off('connection', onConnection).off('close', onClose)
    for (const socket of queue.splice(0)) socket.reject('refused')
  }
}
