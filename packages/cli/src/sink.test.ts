import { type ChildProcess, spawnSync } from 'node:child_process'
import { closeSync, constants, mkdtempSync, openSync, readFileSync, readSync, rmSync } from 'node:fs'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { socketpair } from '@tun/native'
import { afterAll, describe, expect, it } from 'vitest'
import { Sink } from './sink.js'

const directory = mkdtempSync(join(tmpdir(), 'tun-sink-'))
afterAll(() => rmSync(directory, { recursive: true }))

describe.skipIf(process.platform !== 'linux')('a sink', () => {
  /** Both ends of a FIFO that nobody reads unless we do. */
  function pipe(name: string) {
    const path = join(directory, name)
    spawnSync('mkfifo', [path])
    const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const writer = openSync(path, constants.O_WRONLY)
    return { reader, writer }
  }
  const drain = (fd: number) => {
    const parts: Buffer[] = []
    const part = Buffer.alloc(1 << 20)
    try {
      for (let n = readSync(fd, part); n > 0; n = readSync(fd, part)) parts.push(Buffer.from(part.subarray(0, n)))
    } catch {} // EAGAIN
    return Buffer.concat(parts)
  }

  it('writes a file in order, whole, by the end', async () => {
    const path = join(directory, 'file')
    const fd = openSync(path, 'w')
    const sink = new Sink(fd, () => {})
    for (let i = 0; i < 1000; i++) expect(sink.write(Buffer.from(`${i}\n`))).toBe(true)
    await sink.end(10_000)
    closeSync(fd)
    expect(readFileSync(path, 'utf8')).toBe(Array.from({ length: 1000 }, (_, i) => `${i}\n`).join(''))
  })

  it('takes no more than its queue from one whom nobody reads, does not wait, and loses nothing of what it took', async () => {
    const { reader, writer } = pipe('slow')
    const sink = new Sink(writer, () => {})
    const taken: Buffer[] = []
    for (let i = 0; i < 400; i++) {
      const part = Buffer.alloc(64 << 10, i)
      if (sink.write(part)) taken.push(part)
    }
    expect(taken).toHaveLength(128) // 8 MiB
    await sleep(50) // the pipe is full, and the loop goes on
    const ended = sink.end(30_000)
    const read: Buffer[] = []
    for (let length = 0; length < 8 << 20; length += read[read.length - 1].length) {
      read.push(drain(reader))
      await sleep(1)
    }
    await ended
    expect(Buffer.concat(read).equals(Buffer.concat(taken))).toBe(true)
    closeSync(reader)
    closeSync(writer)
  })

  it('gives up at the end on one whom nobody reads', async () => {
    const { reader, writer } = pipe('never')
    const sink = new Sink(writer, () => {})
    sink.write(Buffer.alloc(1 << 20))
    expect(await sink.end(50)).toBe(false)
    expect(drain(reader).length).toBeLessThan(1 << 20)
    closeSync(reader)
    closeSync(writer)
  })

  it('waits for the reader of a socket in no thread: the process could not end', async () => {
    const [reader, writer] = socketpair('stream')
    const sink = new Sink(writer, () => {})
    const given = Array.from({ length: 32 }, (_, i) => Buffer.alloc(64 << 10, i))
    for (const part of given) sink.write(part)
    await sleep(50) // it is full
    expect(process.getActiveResourcesInfo()).not.toContain('FSReqCallback')
    const ended = sink.end(30_000)
    const read: Buffer[] = []
    const socket = new Socket({ fd: reader, readable: true }).on('data', part => read.push(part))
    await ended
    while (read.reduce((sum, part) => sum + part.length, 0) < 32 * (64 << 10)) await sleep(1)
    expect(Buffer.concat(read).equals(Buffer.concat(given))).toBe(true)
    socket.pause()

    const second = new Sink(writer, () => {})
    second.write(Buffer.alloc(2 << 20))
    await second.end(50)
    expect(process.getActiveResourcesInfo()).not.toContain('FSReqCallback')
    socket.destroy()
    closeSync(writer)
  })

  describe('to a pipe that it may not open anew', () => {
    const refused = () => undefined

    it('waits in a process of its own, and loses nothing', async () => {
      const { reader, writer } = pipe('others')
      const sink = new Sink(writer, () => {}, refused)
      const given = Array.from({ length: 20 }, (_, i) => Buffer.alloc(64 << 10, i))
      for (const part of given) expect(sink.write(part)).toBe(true)
      let over: boolean | undefined
      void sink.end(30_000).then(whole => {
        over = whole
      })
      const read: Buffer[] = []
      while (over === undefined) {
        read.push(drain(reader))
        await sleep(1)
      }
      read.push(drain(reader))
      expect(over).toBe(true)
      expect(Buffer.concat(read).equals(Buffer.concat(given))).toBe(true)
      closeSync(reader)
      closeSync(writer)
    })

    it('leaves nobody behind who waits for a reader: the process could not end', async () => {
      const { reader, writer } = pipe('stuck')
      const sink = new Sink(writer, () => {}, refused)
      sink.write(Buffer.alloc(2 << 20))
      expect(await sink.end(200)).toBe(false)
      expect(process.getActiveResourcesInfo()).not.toContain('FSReqCallback')
      closeSync(writer)
      // Nobody has the other end open: its end is read behind what is in the pipe.
      await sleep(50)
      const part = Buffer.alloc(1 << 20)
      let total = 0
      for (let n = 1, patience = 2000; n > 0 && patience > 0; patience--) {
        try {
          n = readSync(reader, part)
          total += n
        } catch {
          await sleep(5)
        }
      }
      expect(readSync(reader, part)).toBe(0)
      expect(total).toBeLessThanOrEqual(64 << 10) // what the pipe held: nobody put in more
      closeSync(reader)
    })

    it('and that nobody reads is told, once', async () => {
      const { reader, writer } = pipe('unread')
      closeSync(reader)
      for (const open of [undefined, refused]) {
        const failures: unknown[] = []
        const sink = new Sink(writer, error => failures.push(error.code), open)
        if (open === refused) sink.write(Buffer.from('x'))
        // The first write that fails tells: `cat` has to be gone before the next.
        const inside = sink as unknown as { helper?: ChildProcess }
        const isGone = () => inside.helper !== undefined && (inside.helper.exitCode ?? inside.helper.signalCode) !== null
        while (failures.length === 0 && !isGone()) await sleep(5)
        expect(sink.write(Buffer.from('y'))).toBe(true)
        await sink.end(5000)
        expect(failures).toEqual(['EPIPE'])
      }
      closeSync(writer)
    })
  })

  it('tells once when its reader has gone, and swallows the rest', async () => {
    const { reader, writer } = pipe('gone')
    const failures: unknown[] = []
    const sink = new Sink(writer, error => failures.push(error.code))
    closeSync(reader)
    sink.write(Buffer.from('x'))
    await sleep(20)
    expect(sink.write(Buffer.from('y'))).toBe(true)
    await sink.end(5000)
    expect(failures).toEqual(['EPIPE'])
    closeSync(writer)
  })
})
