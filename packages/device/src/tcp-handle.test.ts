// TcpHandle: what the kernel tells once and a stream would hide. Each case was a relay that hung.

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { dial } from './dialed-socket.js'
import { hasTcpHandles, TcpHandle, type TcpSink } from './tcp-handle.js'
import { until } from './until.test-kit.js'

class Log implements TcpSink {
  handle!: TcpHandle
  text = ''
  ends = 0
  failures: number[] = []
  reads = true
  connected(): void {}
  readable(): void {
    const bytes = new Uint8Array(64 * 1024)
    while (this.reads && this.handle.canReceive) {
      const length = this.handle.receive(bytes, 0, bytes.length)
      if (length > 0) this.text += Buffer.from(bytes.subarray(0, length)).toString('latin1')
      else if (length === 0) this.ends++
    }
  }
  writable(): void {}
  failed(errno: number): void {
    this.failures.push(errno)
    this.handle.close()
  }
}

function open(port: number, reads = true): Log {
  const log = new Log()
  log.reads = reads
  log.handle = new TcpHandle({ address: '127.0.0.1', port, family: 4 }, log)
  return log
}

async function serve(handle: (socket: Socket) => void): Promise<{ port: number; close(): void }> {
  const server = createServer({ allowHalfOpen: true }, socket => handle(socket.on('error', () => {})))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: (server.address() as AddressInfo).port, close: () => server.close() }
}

/** node:net cannot send urgent data. */
const URGENT = `
import socket, time
s = socket.create_server(('127.0.0.1', 0))
print(s.getsockname()[1], flush=True)
c, _ = s.accept()
c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
c.send(b'abc'); c.send(b'x', socket.MSG_OOB); c.send(b'def')
time.sleep(20)
`
const hasPython = spawnSync('python3', ['--version']).status === 0

describe.runIf(hasTcpHandles())('TcpHandle', () => {
  test.runIf(hasPython)('urgent data, before which recv(2) stops, is received in its place, and what lies behind it', async () => {
    const server = spawn('python3', ['-c', URGENT], { stdio: ['ignore', 'pipe', 'inherit'] })
    try {
      const [line] = (await once(server.stdout, 'data')) as [Buffer]
      const log = open(Number(line), false)
      await sleep(300) // all of it has come, and was told
      log.reads = true
      log.handle.receiveLater()
      await until(() => log.text.length >= 7)
      expect(log.text).toBe('abcxdef')
      log.handle.close()
    } finally {
      server.kill()
    }
  })

  test('a reset behind a FIN that nobody has read yet is told when the end is', async () => {
    let peer!: Socket
    const server = await serve(socket => {
      peer = socket.end('bye')
    })
    const log = open(server.port, false)
    const told = log.handle as unknown as { ending: boolean; isBroken: boolean }
    await until(() => told.ending)
    peer.resetAndDestroy()
    await until(() => told.isBroken)
    expect(log.handle.canReceive).toBe(true)
    log.reads = true
    log.handle.receiveLater()
    await until(() => log.failures.length > 0)
    expect([log.text, log.ends, log.failures.length]).toEqual(['bye', 1, 1])
    server.close()
  })

  test("a DialedSocket that is detached in a 'data' listener takes nothing more, not even the end", async () => {
    const server = await serve(socket => void socket.end('answer'))
    const socket = dial({ address: '127.0.0.1', port: server.port, family: 4 })
    const log = new Log()
    socket.once('connect', () => {
      const end = performance.now() + 100
      while (performance.now() < end); // answer and FIN come with the same event
    })
    socket.once('data', () => {
      log.handle = socket.detach(log) as TcpHandle
      log.handle.receiveLater()
    })
    await until(() => log.ends > 0)
    expect(log.ends).toBe(1)
    expect(socket.readableEnded).toBe(false)
    socket.destroy()
    server.close()
  })
})
