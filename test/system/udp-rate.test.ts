// iperf3's 200 Mbit/s of UDP through the TUN, beside the same without it. Loss is compared, never time.

import { setPriority } from 'node:os'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Scene, SERVER4, TUN } from './namespace.js'
import { describeSystem, PROXY } from './requirements.js'
import { startIperf } from './servers.js'

const RATE = 200e6 // bit/s
const SECONDS = 2
const BYTES = 1200
/** A datagram's receiver has room for 5 ms (net.core.rmem_max): a moment in which either core does something else is no loss of ours. */
const ONE_STALL = 0.005
/** So that a busy machine's other work is not what is measured. */
const HIGH = -15
/** Of what iperf3 sends at that rate. */
const DATAGRAMS = (RATE * SECONDS) / (BYTES * 8)

interface Sum {
  packets: number
  lost_packets: number
  lost_percent: number
}

describeSystem('UDP at 200 Mbit/s', { lab: true, built: [PROXY], peers: ['iperf3'] }, () => {
  let scene: Scene

  beforeAll(async () => {
    scene = await Scene.open()
    for (const { child } of [scene.proxy, await startIperf(scene)]) setPriority(child.pid!, HIGH)
  })
  afterAll(() => scene?.close())

  /** As nobody it goes into the TUN; root's routes lead to the wire. */
  async function iperf(nobody: boolean, args: string[]): Promise<Sum> {
    const before = scene.apps.packets(TUN)
    const argv = ['-J', '-c', SERVER4, '-u', '-b', String(RATE), '-l', String(BYTES), '-t', String(SECONDS), '-O', '1', ...args]
    const program = scene.apps.start('iperf3', argv, { nobody })
    setPriority(program.child.pid!, HIGH)
    const done = await program.finish(40_000, undefined)
    const { end, error } = JSON.parse(done.stdout.toString())
    if (error !== undefined) throw new Error(`iperf3: ${error}`)
    const after = scene.apps.packets(TUN)
    expect(after.sent + after.received - before.sent - before.received > 1000).toBe(nobody)
    return end.sum
  }

  it.each([
    ['up', []],
    ['down', ['-R']],
  ])('%s: no more is lost through the TUN than without it', { retry: 9, timeout: 120_000 }, async (name, args) => {
    // Again, if it has to be: on a machine busy with something else kernels drop datagrams, and not in both runs the same.
    scene.watch()
    const direct = await iperf(false, args)
    const through = await iperf(true, args)
    process.stderr.write(`${name}: ${through.lost_packets} of ${through.packets} lost, without the TUN ${direct.lost_packets}\n`)
    expect(through.packets).toBeGreaterThan(DATAGRAMS * 0.9)
    expect(through.lost_packets).toBeLessThanOrEqual(direct.lost_packets + through.packets * ONE_STALL)
  })
})
