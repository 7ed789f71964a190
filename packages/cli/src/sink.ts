// Owns: bytes to a descriptor that may not take them now. Nobody who reads slowly, or not at all, holds up the traffic: what does not fit
// in the queue is left out. Read first: open(2) O_NONBLOCK, pipe(7), proc_pid_fd(5).

import { closeSync, constants, fstatSync, openSync, write, writeSync } from 'node:fs'
import { sendNow } from '@tun/native'

/** What waits for a reader: some thousand packets of full size. */
const QUEUE_BYTES = 8 << 20
/** One call takes no more: a reader gets something to do early. */
const CHUNK_BYTES = 256 << 10
/** A pipe that was full is tried again. There is no poll for it in Node that does not change the descriptor for the command, too. */
const RETRY = 10 // ms

type Way = 'direct' | 'retried' | 'sent' | 'threaded'

export class Sink {
  /** Not all of what was given has been taken, and never will: EPIPE, ENOSPC… */
  failure: NodeJS.ErrnoException | undefined
  private readonly fd: number
  private readonly way: Way
  private readonly own: boolean
  private queue: Uint8Array[] = []
  private queued = 0
  private working = false
  private ended: (() => void) | undefined
  private readonly onFailure: (error: NodeJS.ErrnoException) => void

  /** @param onFailure called once; what comes after it is swallowed */
  constructor(fd: number, onFailure: (error: NodeJS.ErrnoException) => void) {
    const status = fstatSync(fd)
    const reopened = status.isFIFO() || status.isCharacterDevice() ? reopen(fd) : undefined
    this.fd = reopened ?? fd
    this.own = reopened !== undefined
    this.way = reopened !== undefined ? 'retried' : status.isFile() ? 'direct' : status.isSocket() ? 'sent' : 'threaded'
    this.onFailure = onFailure
  }

  /** Takes the bytes (they must not change any more), or answers false: the queue is full. */
  write(bytes: Uint8Array): boolean {
    if (this.failure !== undefined) return true
    if (this.queued + bytes.length > QUEUE_BYTES) return false
    this.queue.push(bytes)
    this.queued += bytes.length
    if (!this.working) {
      this.working = true
      setImmediate(() => this.pump()) // what a turn brings goes out by one call
    }
    return true
  }

  /** Resolves when all is out or has failed, or after `patience` ms. */
  async end(patience: number): Promise<void> {
    if (this.working) {
      await new Promise<void>(resolve => {
        this.ended = resolve
        setTimeout(resolve, patience)
      })
    }
    if (this.own) closeSync(this.fd)
    this.failure ??= new Error('ended')
  }

  private pump(): void {
    while (this.queue.length > 0 && this.failure === undefined) {
      const chunk = this.chunk()
      if (this.way === 'threaded') {
        // A pipe of another user's: a thread waits there, and the loop does not.
        write(this.fd, chunk, 0, chunk.length, null, (error, written) => {
          if (error) return this.refused(error, chunk)
          this.keep(chunk.subarray(written))
          this.pump()
        })
        return
      }
      try {
        this.keep(chunk.subarray(this.way === 'sent' ? sendNow(this.fd, chunk) : writeSync(this.fd, chunk)))
      } catch (error) {
        return this.refused(error as NodeJS.ErrnoException, chunk)
      }
    }
    this.working = false
    this.ended?.()
  }

  /** Full, or of no use any more. */
  private refused(error: NodeJS.ErrnoException, chunk: Uint8Array): void {
    if (error.code !== 'EAGAIN') return this.fail(error)
    this.keep(chunk)
    setTimeout(() => this.pump(), RETRY)
  }

  private chunk(): Uint8Array {
    let length = 0
    let count = 0
    while (count < this.queue.length && (count === 0 || length + this.queue[count].length <= CHUNK_BYTES))
      length += this.queue[count++].length
    const chunk = count === 1 ? this.queue[0] : Buffer.concat(this.queue.slice(0, count))
    this.queue.splice(0, count)
    this.queued -= length
    return chunk
  }

  /** What was not taken stands first again. */
  private keep(rest: Uint8Array): void {
    if (rest.length === 0 || this.failure !== undefined) return
    this.queue.unshift(rest)
    this.queued += rest.length
  }

  private fail(error: NodeJS.ErrnoException): void {
    if (this.failure !== undefined) return
    this.failure = error
    this.queue = []
    this.queued = 0
    this.working = false
    this.onFailure(error)
    this.ended?.()
  }
}

/** The same pipe or terminal by an open file of its own, so that O_NONBLOCK is ours alone; undefined where that is not permitted. */
function reopen(fd: number): number | undefined {
  try {
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
  } catch {
    return undefined
  }
}
