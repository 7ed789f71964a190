// Owns: a stream on which nothing is said any more but its end, as that of a SOCKS5 association (RFC 1928 §6) is after its handshake.

import type { Socket } from 'node:net'
import { DialedSocket, type TcpHandle, type TcpSink } from '@tun/device'

/** What comes all the same is looked at this far before others have their turn. */
const MAX_READS = 16
/** Nobody reads it. */
const rubbish = new Uint8Array(4096)

/** `over` is told when it has ended, or failed with an error: once or more. The stream must not be read; destroying it is the caller's. */
export function onceOver(stream: DialedSocket | Socket, over: (error?: Error) => void): void {
  stream.on('error', over)
  stream.on('close', () => over()) // destroyed by whoever got hold of it
  const sink = stream instanceof DialedSocket ? new EndSink(stream, over) : null
  const handle = sink === null ? null : (stream as DialedSocket).detach(sink)
  if (sink !== null && handle !== null) {
    sink.handle = handle
    return
  }
  stream.on('end', () => over())
  stream.resume()
}

/** A stream's own ways of reading would cost more than the rest of the association. */
class EndSink implements TcpSink {
  handle!: TcpHandle

  constructor(
    private readonly stream: DialedSocket,
    private readonly over: (error?: Error) => void,
  ) {}

  connected(): void {}
  writable(): void {}

  readable(): void {
    const { handle } = this
    for (let reads = 0; handle.canReceive; reads++) {
      if (reads === MAX_READS) return handle.receiveLater()
      const received = handle.receive(rubbish, 0, rubbish.length)
      if (received === 0) return this.over()
      if (received < -1) return this.failed(-received)
    }
  }

  failed(errno: number): void {
    this.over(this.stream.systemError(errno, 'read'))
  }
}
