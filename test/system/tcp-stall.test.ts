// A process that stands still – SIGSTOP here; a GC or a busy loop is the same – is not a network that loses packets. What is asserted is
// what the engine thinks before and after, beside the bytes.

import { expect, it } from 'vitest'
import { until } from '../../scripts/lab/lab.mjs'
import { type ConnectionState, Path } from './path.js'
import { patternHash } from './programs/pattern.mjs'
import { DEVICE, describeSystem } from './requirements.js'

const BYTES = 15_000_000
/** About three seconds of it, and no queue overflows: what is lost here, we would have lost. */
const WIRE = { delay: 10, rate: 40e6, queue: 8e6 }
const STANDSTILL = 3000 // ms
const needs = { lab: true, built: [DEVICE] }

/** Numbers that only a loss moves. */
const LOSSES = ['tcpRetransmits', 'tcpFastRetransmits', 'tcpTimeouts'] as const

/** What the engine thinks in the first moment in which it goes on: the question lies there before. */
async function standStill(path: Path): ReturnType<Path['state']> {
  path.host.kill('SIGSTOP')
  await new Promise(resolve => setTimeout(resolve, STANDSTILL))
  const answer = path.state()
  path.host.kill('SIGCONT')
  return await answer
}

/** The one connection, when so many bytes of it are done. */
async function midway(path: Path, done: 'acked' | 'received'): Promise<ConnectionState> {
  let connection: ConnectionState | undefined
  await until('the middle of the transfer', 30_000, async () => {
    connection = (await path.state()).connections.find(c => c[done] > BYTES / 3)
    return connection !== undefined
  })
  return connection!
}

describeSystem('our process stands still for three seconds in mid-transfer', needs, () => {
  it.each(['undo', 'no undo'] as const)('sending, %s: no loss is seen, cwnd, ssthresh and rto are what they were', async undo => {
    // Without undo the driver alone has to notice. The queue on the way fills no further than this: the round-trip time stays what it is.
    const path = await Path.forThisTest({ wire: WIRE, stack: { undo: undo === 'undo', sndBuf: 256 * 1024 } })
    const transfer = path.fromKernel('download', 'IPv4', { bytes: BYTES })
    transfer.catch(() => {}) // if the test fails before its end
    const before = await midway(path, 'acked')
    const { stats } = await path.state()
    const { connections, stats: behind } = await standStill(path)
    const after = connections.find(c => c.remote === before.remote)
    expect(after, 'it is still in transfer').toBeDefined()
    for (const key of LOSSES) expect(behind[key], key).toBe(stats[key])
    expect(after!.ssthresh).toBe(before.ssthresh)
    expect(after!.cwnd).toBeGreaterThanOrEqual(before.cwnd) // the ACKs of what was on the way are good ones
    expect(after!.rto).toBeLessThan(before.rto * 1.5 + 100) // a sample with the standstill in it would be seconds
    expect(await transfer).toMatchObject({ bytes: BYTES, sha: patternHash(BYTES) })
    for (const key of LOSSES) expect((await path.state()).stats[key], key).toBe(stats[key])
  })

  it('receiving: the kernel goes on where it was, and every byte arrives', async () => {
    const path = await Path.forThisTest({ wire: WIRE })
    const transfer = path.fromUs('download', 'IPv6', { bytes: BYTES })
    transfer.catch(() => {})
    await midway(path, 'received')
    await standStill(path)
    expect(await transfer).toMatchObject({ bytes: BYTES, sha: patternHash(BYTES) })
  })
})
