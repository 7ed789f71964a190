// The bad line itself, between two kernels: what scripts/lab/middlebox.mjs does to packets, and that it does nothing else.

import { afterAll, beforeAll, expect, it } from 'vitest'
import { Lab, type Namespace } from '../../scripts/lab/lab.mjs'
import { type SlowWire, slowWire, type WireFaults } from '../../scripts/lab/slow-wire.mjs'
import { programPath } from './namespace.js'
import { patternHash } from './programs/pattern.mjs'
import { DEVICE, describeSystem } from './requirements.js'

const HERE = '10.86.0.1'
const THERE = '10.86.0.2'
const GOOD: WireFaults = { delay: 0, jitter: 0, loss: 0, burst: 1, reorder: 0, duplicate: 0, corrupt: 0, rate: 'Infinity' }

describeSystem('a wire with a middlebox', { lab: true, built: [DEVICE] }, () => {
  const lab = new Lab()
  let here: Namespace
  let wire: SlowWire

  beforeAll(async () => {
    here = lab.namespace('here')
    const there = lab.namespace('there')
    wire = await slowWire(lab, here, [`${HERE}/24`], there, [`${THERE}/24`], { seed: 7 })
    for (const server of ['tcp-server', 'udp-server']) {
      await there.start(process.execPath, [programPath(server), THERE]).waitFor(/^listening/)
    }
  })
  afterAll(() => lab.close())

  async function client<T>(name: string, request: object): Promise<T> {
    const done = await here.run(process.execPath, [programPath(name), JSON.stringify({ host: THERE, from: HERE, ...request })])
    if (done.code !== 0) throw new Error(`${name}: ${done.stderr}`)
    return JSON.parse(done.stdout.toString()) as T
  }

  it('carries every packet once, whole and at once, where nothing is asked of it', async () => {
    await wire.set(GOOD)
    await wire.counters({ reset: true })
    expect(await client('udp-client', { op: 'many', count: 1000 })).toEqual({ sent: 1000, back: 1000 })
    expect(await client('tcp-client', { op: 'upload', bytes: 3_000_000 })).toMatchObject({ sha: patternHash(3_000_000) })
    for (const way of Object.values(await wire.counters())) {
      const { sent, delivered, late: _, ...rest } = way
      expect(delivered).toBe(sent)
      expect(Object.values(rest).every(n => n === 0)).toBe(true)
    }
  })

  it('delays each way: no answer is there before both delays are over', async () => {
    await wire.set({ ...GOOD, ab: { delay: 30 }, ba: { delay: 50 } })
    const { code, ms } = await client<{ code: string; ms: number }>('udp-client', { op: 'refused' })
    expect(code).toBe('ECONNREFUSED')
    expect(ms).toBeGreaterThanOrEqual(80)
  })

  it('is as slow as it is told: a megabyte at 8 Mbit/s takes a second', async () => {
    await wire.set({ ...GOOD, ab: { rate: '8m', queue: '50k' } })
    const { bytes, ms } = await client<{ bytes: number; ms: number }>('tcp-client', { op: 'upload', bytes: 1_000_000 })
    expect(bytes).toBe(1_000_000)
    expect(ms).toBeGreaterThanOrEqual(950) // 50 kB may be under way when the clock starts
    await wire.set({ ab: { rate: 'Infinity' } })
  })

  it('loses its part of the packets, alone or in bursts, in the way that is told, and counts every one', async () => {
    for (const burst of [1, 3]) {
      await wire.set({ ...GOOD, burst, ba: { loss: 0.05 } })
      await wire.counters({ reset: true })
      expect(await client('tcp-client', { op: 'download', bytes: 3_000_000 })).toMatchObject({ sha: patternHash(3_000_000) })
      const { ab, ba } = await wire.counters()
      expect(ab.lost).toBe(0)
      expect(ba.lost / ba.sent).toBeGreaterThan(0.015) // of some 2,100: 0.05 ± 0.005 alone, twice that in bursts
      expect(ba.lost / ba.sent).toBeLessThan(0.085)
      for (const way of [ab, ba]) expect(way.sent + way.duplicated).toBe(way.delivered + way.lost + way.overflowed)
    }
  })

  it('reorders, doubles and breaks packets, and TCP gets over it', async () => {
    await wire.set({ ...GOOD, delay: 1, jitter: 1, reorder: 0.05, duplicate: 0.05, corrupt: 0.02 })
    await wire.counters({ reset: true })
    expect(await client('tcp-client', { op: 'download', bytes: 1_000_000 })).toMatchObject({ sha: patternHash(1_000_000) })
    const { ba } = await wire.counters()
    expect(Math.min(ba.reordered, ba.duplicated, ba.corrupted)).toBeGreaterThan(0)
  })

  it('says what is wrong with what it is told, and goes on', async () => {
    wire.program.child.stdin!.write('{"loss": 3}\n')
    expect(await wire.program.waitFor(/^middlebox: /)).toBe('middlebox: {"loss": 3}: loss is 3: expected a number from 0 to 1')
    expect((await wire.counters()).ab.sent).toBeGreaterThan(0)
  })
})
