// Owns: how a handshake with a proxy reads exactly its own bytes from a fresh connection: what came behind them – data, and the end –
// stays in the stream, which is not flowing and has none of our listeners when the handshake lets go.

import { Buffer } from 'node:buffer'
import type { Socket } from 'node:net'
import { DialedSocket, type TcpHandle, type TcpSink } from '@tun/device'

/** Whose handshake it is. It may let go within any of these. */
export interface Talker {
  /** Bytes of the next piece; 0: it wants no more. */
  readonly wanted: number
  /** A piece of that length, lent for the call. */
  take(piece: Buffer): void
  /** The connection has ended, or failed with `error`. */
  lost(error: NodeJS.ErrnoException | undefined): void
}

export interface Talk {
  write(bytes: Buffer): void
  /** The connection is its stream's again. */
  letGo(): void
}

export function talk(socket: DialedSocket | Socket, talker: Talker): Talk {
  if (!(socket instanceof DialedSocket)) return new StreamTalk(socket, talker)
  const handleTalk = new HandleTalk(socket, talker)
  const handle = socket.detach(handleTalk)
  if (handle === null) return new StreamTalk(socket, talker) // destroyed: 'close' tells
  handleTalk.handle = handle
  return handleTalk
}

/**
 * It listens to 'readable' and not to 'data': that leaves `flowing` undecided, so that whoever attaches 'data' or pipes later starts the
 * flow.
 */
class StreamTalk implements Talk {
  private readonly onReadable = () => this.read()
  private readonly onEnd = () => this.talker.lost(undefined)
  private readonly onError = (error: NodeJS.ErrnoException) => this.talker.lost(error)

  constructor(
    private readonly socket: DialedSocket | Socket,
    private readonly talker: Talker,
  ) {
    socket.on('error', this.onError)
    socket.on('end', this.onEnd)
    socket.on('close', this.onEnd) // destroyed by somebody else: no 'end', no 'error'
    socket.on('readable', this.onReadable)
  }

  write(bytes: Buffer): void {
    if (this.socket.destroyed) return this.talker.lost(this.socket.errored ?? undefined) // 'close' may have been told already
    this.socket.write(bytes)
  }

  letGo(): void {
    const { socket } = this
    socket.off('readable', this.onReadable).off('end', this.onEnd).off('close', this.onEnd).off('error', this.onError)
  }

  private read(): void {
    while (this.talker.wanted > 0) {
      const { wanted } = this.talker
      const piece: Buffer | null = this.socket.read(wanted)
      if (piece === null || piece.length < wanted) return // less: it ended, and 'end' follows
      this.talker.take(piece)
    }
  }
}

/** Answers are some bytes long; more than fits in here waits in the kernel. */
const scratch = Buffer.alloc(4096)
const NOTHING = Buffer.alloc(0)

/** The same without the stream. */
class HandleTalk implements Talk, TcpSink {
  handle!: TcpHandle
  private readonly socket: DialedSocket
  private readonly talker: Talker
  /** Received and not taken yet. */
  private bytes: Buffer = NOTHING
  /** Not yet sent. */
  private rest: Buffer = NOTHING
  private hasLetGo = false
  private readonly onClose = () => this.talker.lost(this.socket.errored ?? undefined)

  constructor(socket: DialedSocket, talker: Talker) {
    this.socket = socket
    this.talker = talker
    socket.on('close', this.onClose)
  }

  write(bytes: Buffer): void {
    if (this.handle.hasEnded) return this.talker.lost(undefined) // as the stream has read before us: we are not told again
    this.rest = this.rest.length === 0 ? bytes : Buffer.concat([this.rest, bytes])
    this.writable()
  }

  letGo(): void {
    if (this.hasLetGo) return
    this.hasLetGo = true
    this.socket.off('close', this.onClose)
    this.socket.attach(this.bytes.length > 0 ? Buffer.from(this.bytes) : null)
  }

  connected(): void {}

  writable(): void {
    const { handle, rest } = this
    if (rest.length === 0 || handle.isBlocked) return
    const sent = handle.send(rest, 0, rest.length)
    if (sent < 0) this.failed(-sent)
    else this.rest = rest.subarray(sent)
  }

  readable(): void {
    const { handle, talker } = this
    while (!this.hasLetGo && handle.canReceive) {
      const kept = this.bytes.copy(scratch)
      const received = handle.receive(scratch, kept, scratch.length)
      if (received === -1) return
      if (received <= 0) return received === 0 ? talker.lost(undefined) : this.failed(-received)
      this.bytes = scratch.subarray(0, kept + received)
      this.offer()
      if (!this.hasLetGo) this.bytes = Buffer.from(this.bytes) // others use the scratch
    }
  }

  private offer(): void {
    while (!this.hasLetGo && this.talker.wanted > 0 && this.bytes.length >= this.talker.wanted) {
      const piece = this.bytes.subarray(0, this.talker.wanted)
      this.bytes = this.bytes.subarray(piece.length)
      this.talker.take(piece)
    }
  }

  failed(errno: number): void {
    this.talker.lost(this.socket.systemError(errno, 'read'))
  }
}
