// Floods of the example proxy, short ones (bench/flood.mjs has the long ones): what they leave in memory, and whether anybody else is
// served.

import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Flood, FloodedProxy } from '../../scripts/lab/flood.mjs'
import { describeSystem, PROXY } from './requirements.js'

const FLOODS: [what: string, flood: Flood][] = [
  ['random and broken packets', { kind: 'noise', count: 30_000, rate: 20_000 }],
  ['fragments whose rest never comes', { kind: 'fragments', count: 4000, rate: 4000 }],
  ['UDP sources without a socket', { kind: 'sources', count: 4000, rate: 4000 }],
  // All that is open to the application is full by then, and its dials hang: without cookies nobody would get in.
  ['SYNs that are repeated, to where dials hang', { kind: 'syn', count: 72_000, rate: 8000, honestAfter: 4500 }],
]
const MOST = 300 // MB

describeSystem('a flood', { lab: true, built: [PROXY], peers: ['python3'] }, () => {
  let proxy: FloodedProxy

  beforeAll(async () => {
    proxy = await FloodedProxy.open(PROXY)
  })
  afterAll(() => proxy?.close())

  it.each(FLOODS)(
    'of %s: memory is bounded, and TCP and UDP of others are served in the midst of it',
    { timeout: 120_000 },
    async (_, flood) => {
      const { before, peak, tcp, udp } = await proxy.flood(flood)
      expect(peak - before).toBeLessThan(MOST)
      for (const served of [tcp, udp]) {
        expect(served.during, JSON.stringify(served)).toBeGreaterThan(0)
        // One whose ACK was what the NIC had no room for, perhaps.
        expect(served.asked - served.answered, JSON.stringify(served)).toBeLessThanOrEqual(1)
      }
      expect(proxy.proxy?.running).toBe(true)
    },
  )
})
