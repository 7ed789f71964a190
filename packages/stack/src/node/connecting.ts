// Owns: the question whether a stream that is still connecting will connect: net.Socket, tls.TLSSocket, and whoever looks like them.

import type { Duplex, Writable } from 'node:stream'

interface Connecting {
  connecting?: boolean
  encrypted?: boolean
  secureConnecting?: boolean
}

/** Not connected yet; TLS counts its handshake. */
export function isConnecting(stream: Duplex | Writable | NodeJS.WritableStream): boolean {
  const { connecting, secureConnecting } = stream as Connecting
  return connecting === true || secureConnecting === true
}

/**
 * Calls `settled` once: with null when the stream has connected (`secureConnect` for TLS), with its error when it failed, or with
 * undefined when it closed without one. Answers the undo. 'error' is only looked at: who owns the stream listens to it.
 */
export function whenConnected(stream: Duplex | Writable, settled: (error: Error | null | undefined) => void): () => void {
  const event = (stream as Connecting).encrypted ? 'secureConnect' : 'connect'
  const undo = () => {
    stream.off(event, onConnect).off('close', onClose)
  }
  const onConnect = () => {
    undo()
    settled(null)
  }
  const onClose = () => {
    undo()
    settled(stream.errored ?? undefined)
  }
  stream.on(event, onConnect).on('close', onClose)
  return undo
}
