// Owns: bytes to a descriptor that may not take them now. Nobody who reads slowly, or not at all, holds up the traffic: what does not fit
// in the queue is left out. Read first: open(2) O_NONBLOCK, pipe(7), proc_pid_fd(5).

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, constants, fstatSync, openSync, writeSync } from 'node:fs'
import { sendNow } from '@tun/native'

/** What waits for a reader: some thousand packets of full size. */
const QUEUE_BYTES = 8 << 20
/** One call takes no more: a reader gets something to do early. */
const CHUNK_BYTES = 256 << 10
/** A pipe that was full is tried again. There is no poll for it in Node that does not change the descriptor for the command, too. */
const RETRY = 10 // ms

type Way = 'direct' | 'retried' | 'sent' | 'helped'

export class Sink {
  /** Not all of what was given has been taken, and never will: EPIPE, ENOSPC… */
  failure: NodeJS.ErrnoException | undefined
  private readonly fd: number
  private readonly way: Way
  private readonly own: boolean
  private queue: Uint8Array[] = []
  private queued = 0
  private working = false
  private helper: ChildProcess | undefined
  private ended: (() => void) | undefined
  private readonly onFailure: (error: NodeJS.ErrnoException) => void

  /** @param onFailure called once; what comes after it is swallowed */
  constructor(fd: number, onFailure: (error: NodeJS.ErrnoException) => void, open: Reopen = reopen) {
    const status = fstatSync(fd)
    this.onFailure = onFailure
    const reopened = status.isFIFO() || status.isCharacterDevice() ? open(fd) : undefined
    this.fd = typeof reopened === 'number' ? reopened : fd
    this.own = typeof reopened === 'number'
    this.way = this.own ? 'retried' : status.isFile() ? 'direct' : status.isSocket() ? 'sent' : 'helped'
    if (reopened === 'unread') setImmediate(() => this.fail(unread()))
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

  /** Resolves when all is out or has failed, or after `patience` ms; false: nobody took the end in that time. */
  async end(patience: number): Promise<boolean> {
    const late = new AbortController()
    const timer = setTimeout(() => late.abort(), patience)
    if (this.working) await Promise.race([new Promise<void>(resolve => (this.ended = resolve)), once(late.signal, 'abort')])
    let whole = this.failure !== undefined || !this.working
    this.failure ??= new Error('ended')
    const { helper } = this
    if (helper !== undefined && helper.exitCode === null && helper.signalCode === null) {
      const exited = once(helper, 'exit')
      helper.stdin?.end()
      if (whole) whole = (await Promise.race([exited.then(() => true), once(late.signal, 'abort').then(() => false)])) as boolean
      helper.kill('SIGKILL')
      helper.unref()
    }
    clearTimeout(timer)
    if (this.own) closeSync(this.fd)
    return whole
  }

  private pump(): void {
    while (this.queue.length > 0 && this.failure === undefined) {
      const chunk = this.chunk()
      if (this.way === 'helped') {
        this.help().stdin?.write(chunk, error => {
          if (error) this.fail(unread(error))
          else this.pump()
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

  /**
   * A pipe of another user's: somebody has to wait in write(2). A thread of ours could not be left when this process ends. In a session of
   * its own, so that Ctrl-C does not reach it before what is queued is out; with us its input ends.
   */
  private help(): ChildProcess {
    if (this.helper !== undefined) return this.helper
    this.helper = spawn('cat', [], { stdio: ['pipe', this.fd, 'ignore'], detached: true })
    this.helper.on('error', error => this.fail(error))
    this.helper.stdin?.on('error', error => this.fail(unread(error)))
    return this.helper
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

type Reopen = (fd: number) => number | 'unread' | undefined

/**
 * The same pipe or terminal by an open file of its own, so that O_NONBLOCK is ours alone; undefined where that is not permitted, 'unread'
 * if the pipe has no reader any more.
 */
function reopen(fd: number): ReturnType<Reopen> {
  try {
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENXIO' ? 'unread' : undefined
  }
}

const unread = (cause?: Error): NodeJS.ErrnoException => Object.assign(new Error('nobody reads', { cause }), { code: 'EPIPE' })
