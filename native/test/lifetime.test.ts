// Devices that are closed, collected, or die with their worker. No root needed.

import { execFile, execFileSync } from 'node:child_process'
import { writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import * as model from './packets.mjs'
import { bytes, Rows, udp } from './packets.mjs'
import { A4, B4, index, pair } from './socket.test-kit.js'

describe('lifetime', () => {
  it('may be closed in its own callback, twice, and answers GONE afterwards', async () => {
    const { tun, peer } = pair()
    writeSync(peer, udp([A4, 1], [B4, 2], bytes(10)))
    let calls = 0
    tun.watch(1, () => {
      calls++
      tun.close()
      tun.close()
    })
    await sleep(30)
    expect(calls).toBe(1)
    const rows = new Rows()
    expect([rows.read(tun), rows.status]).toEqual([0, model.GONE])
    expect([rows.add(new Uint8Array(20)).write(tun), rows.status]).toEqual([0, model.GONE])
    tun.watch(1, () => {})
    tun.ref()
    tun.unref()
  })

  it('gives an exception of the callback to uncaughtException, and goes on', async () => {
    const program = `
      const native = require(${JSON.stringify(index)})
      const [a, b] = native.socketpair('dgram')
      const tun = native.open({ fd: a })
      let calls = 0
      process.on('uncaughtException', error => { process.stdout.write(error.message); if (calls === 2) tun.close() })
      tun.watch(1, () => { throw new Error('thrown' + ++calls) })
      require('node:fs').writeSync(b, 'x')`
    expect(execFileSync(process.execPath, ['-e', program]).toString()).toBe('thrown1thrown2')
  })

  it('is collected with its descriptor when nobody holds it, and lets the process end when unreferenced', async () => {
    const program = `
      const native = require(${JSON.stringify(index)})
      const { readdirSync } = require('node:fs')
      const count = () => readdirSync('/proc/self/fd').length
      const before = count()
      for (let i = 0; i < 50; i++) {
        const tun = native.open({ fd: native.socketpair()[0] })
        tun.watch(1, () => {})
        tun.watch(0)
      }
      const kept = native.open({ fd: native.socketpair()[0] })
      kept.watch(1, () => {})
      kept.unref()
      setTimeout(() => { gc(); setTimeout(() => console.log(count() - before), 20) }, 20)`
    const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', '-e', program], { timeout: 10_000 })
    // The 51 other ends and `kept`.
    expect(Number(stdout)).toBe(52)
  })

  it('survives a worker that is terminated within a call, where no exception can be thrown any more', async () => {
    for (const call of ['open', 'isolate', 'openNetlink', 'openPing']) {
      const program = `
        const native = require(${JSON.stringify(index)})
        const { parentPort } = require('node:worker_threads')
        native.${call}(new Proxy({}, { get() { parentPort.postMessage('within'); for (;;) {} } }))`
      const worker = new Worker(program, { eval: true })
      await new Promise(resolve => worker.once('message', resolve))
      await worker.terminate()
    }
  })

  it('survives workers that end, or are terminated, while they poll', async () => {
    const program = `
      const native = require(${JSON.stringify(index)})
      const [a, b] = native.socketpair('dgram')
      const tun = native.open({ fd: a })
      tun.watch(1, () => { require('node:worker_threads').parentPort.postMessage('called') })
      require('node:fs').writeSync(b, 'x')`
    for (const end of ['terminate', 'exit']) {
      const worker = new Worker(end === 'exit' ? `${program}; setTimeout(() => process.exit(0), 20)` : program, { eval: true })
      await new Promise(resolve => worker.once('message', resolve))
      if (end === 'terminate') await worker.terminate()
      else await new Promise(resolve => worker.once('exit', resolve))
    }
  })
})
