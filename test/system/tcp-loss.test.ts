// The kernel's TCP and ours over a way that loses packets: what is asserted is that every byte arrives, in both directions, whoever dials.
// How fast it is on such a way: bench/loss.mjs.

import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { type Family, Path, type PathOptions, type Transfer } from './path.js'
import { patternHash } from './programs/pattern.mjs'
import { DEVICE, describeSystem } from './requirements.js'

// In a hurry: TUN_LOSS_BYTES=1000000 npx vitest run --project system test/system/tcp-loss.test.ts
const BYTES = Number(process.env.TUN_LOSS_BYTES ?? 20_000_000)
const FEW = Math.floor(BYTES / 20)
const LONG = Number(process.env.TUN_LOSS_TIMEOUT ?? 60_000) // ms a transfer may take
const needs = { lab: true, peers: ['nft'], built: [DEVICE] }

const DIALLERS = [
  ['the kernel dials', 'IPv4', 'fromKernel'],
  ['we dial', 'IPv6', 'fromUs'],
] as const

/** Up and down, one behind the other. */
async function bothWays(path: Path, from: 'fromKernel' | 'fromUs', family: Family, bytes: number): Promise<void> {
  const whole = { bytes, sha: patternHash(bytes) }
  const up = await path[from]<Transfer>('upload', family, { bytes }, LONG)
  expect(up).toMatchObject(whole)
  const down = await path[from]<Transfer>('download', family, { bytes }, LONG)
  expect(down).toMatchObject(whole)
  const rate = ({ ms }: Transfer) => `${((bytes * 8) / ms / 1000).toFixed(1)} Mbit/s`
  process.stdout.write(`  ${expect.getState().currentTestName}: up ${rate(up)}, down ${rate(down)}\n`)
}

/** If the test fails, what can be known of the way is told. */
function watch(path: Path): void {
  onTestFinished(async ({ task }) => {
    if (task.result?.state !== 'fail') return
    const state = await path.state().catch(String)
    process.stderr.write(`${JSON.stringify(state)}\n${path.host.tail(15)}\n${JSON.stringify(await path.wire.counters().catch(String))}\n`)
  })
}

describeSystem('TCP over a way that loses packets', needs, () => {
  let path: Path
  beforeAll(async () => {
    path = await Path.open()
  })
  afterAll(() => path?.close())

  describe.each([
    ['1 %', 10, BYTES],
    ['5 %', 50, BYTES],
    ['10 %', 100, FEW],
  ])('%s each way', (_, perThousand, bytes) => {
    beforeAll(() => path.lose(perThousand))

    it.each(DIALLERS)(
      '%s over %s: every byte arrives',
      async (_who, family, from) => {
        watch(path)
        await bothWays(path, from, family, bytes)
        const { toUs, fromUs } = path.dropped
        expect(Math.min(toUs, fromUs)).toBeGreaterThan(0) // or nothing was proven
      },
      120_000,
    )
  })

  it('50 streams at once, half of them up, at 1 %: each carries its own bytes', async () => {
    watch(path)
    path.lose(10)
    const streams = { count: 50, bytes: Math.floor(FEW / 5) }
    expect(await path.fromKernel('together', 'IPv4', streams)).toMatchObject({ right: 50 })
    expect(await path.fromUs('together', 'IPv6', streams)).toMatchObject({ right: 50 })
  }, 120_000)

  it('what the wire itself does – bursts, reordering, duplicates, broken packets – costs time and no byte', async () => {
    watch(path)
    path.lose(0)
    await path.wire.set({ delay: 2, jitter: 1, loss: 0.01, burst: 4, reorder: 0.01, duplicate: 0.01, corrupt: 0.005 })
    await path.wire.counters({ reset: true })
    await bothWays(path, 'fromKernel', 'IPv4', FEW)
    await bothWays(path, 'fromUs', 'IPv6', FEW)
    for (const way of Object.values(await path.wire.counters())) {
      expect(Math.min(way.lost, way.reordered, way.duplicated, way.corrupted)).toBeGreaterThan(0)
    }
  }, 120_000)
})

const off = (...names: string[]) => Object.fromEntries(names.map(name => [`net.ipv4.tcp_${name}`, 0]))

const KERNELS: [name: string, options: PathOptions][] = [
  ['without SACK', { sysctls: off('sack') }],
  ['without timestamps', { sysctls: off('timestamps') }],
  ['without window scaling', { sysctls: off('window_scaling') }],
  ['without any of them', { sysctls: off('sack', 'timestamps', 'window_scaling') }],
  ['with a tiny receive buffer', { sysctls: { 'net.ipv4.tcp_rmem': '4096 8192 16384' } }],
  ['with reno', { congestion: 'reno' }],
  ['with cubic', { congestion: 'cubic' }],
]

describeSystem('TCP at 1 % loss and 2 ms', needs, () => {
  describe.each(KERNELS)('with a kernel %s', (_, options) => {
    it.each(DIALLERS)(
      '%s over %s: every byte arrives',
      async (_who, family, from) => {
        const path = await Path.forThisTest({ ...options, wire: { delay: 1 } })
        watch(path)
        path.lose(10)
        await bothWays(path, from, family, FEW)
      },
      120_000,
    )
  })
})
