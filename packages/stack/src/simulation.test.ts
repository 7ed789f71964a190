import { describe, expect, test } from 'vitest'
import type { Stats } from './stats.js'
import type { TcpConnection } from './tcp/connection.js'
import { OPEN } from './tcp/states.js'
import { corpusSeeds } from './testing/corpus.js'
import { Pair, type TestStream } from './testing/pair.js'
import { runScenario } from './testing/scenario.js'

// A longer run: TUN_SEEDS=5000 npx vitest run --project unit packages/stack/src/simulation.test.ts
const SEEDS = Number(process.env.TUN_SEEDS ?? 300)
const FIRST_SEED = Number(process.env.TUN_FIRST_SEED ?? 1)

/** Recovery paths and how often 300 seeds must walk each at least. */
const PATHS = {
  tcpTimeouts: 50,
  tcpFastRetransmits: 50,
  tcpRetransmits: 1000,
  tcpLossProbes: 50,
  tcpUndos: 20,
  tcpSpuriousTimeouts: 3,
  tcpDsacks: 50,
  tcpOutOfOrder: 1000,
  tcpChallengeAcks: 1,
} satisfies Partial<Record<keyof Stats, number>>

test('whatever the network does, both directions arrive whole and in order, both ends end, and nothing is left', () => {
  const sum = Object.fromEntries(Object.keys(PATHS).map(path => [path, 0])) as Record<keyof typeof PATHS, number>
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
    try {
      const { pair } = runScenario(seed)
      for (const { stack } of [pair.a, pair.b])
        for (const path of Object.keys(PATHS) as (keyof typeof PATHS)[]) sum[path] += stack.stats[path]
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error })
    }
  }
  for (const [path, n] of Object.entries(sum)) expect(n, path).toBeGreaterThanOrEqual(PATHS[path as keyof typeof PATHS])
}, 300_000)

/** Every number and flag of the control block and of what hangs on it. */
function fieldsOf(c: TcpConnection): Record<string, unknown> {
  const out: Record<string, unknown> = {}
  const take = (prefix: string, object: object) => {
    for (const [key, value] of Object.entries(object))
      if (typeof value !== 'object' && typeof value !== 'function') out[prefix + key] = value
  }
  take('', c)
  for (const part of ['rtt', 'congestion', 'scoreboard', 'rack', 'sndQueue', 'rcvQueue'] as const) take(`${part}.`, c[part])
  return out
}

test('header prediction changes nothing: event by event, every field of both control blocks is the same without it', () => {
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS / 5; seed++) {
    const run = (prediction: boolean) => {
      const history: string[] = []
      let n = 0
      runScenario(seed, { prediction }, pair => {
        if (n++ % 7 > 0) return
        for (const { stack } of [pair.a, pair.b]) for (const c of stack.tcp.flows) history.push(JSON.stringify(fieldsOf(c)))
      })
      return history
    }
    const [on, off] = [run(true), run(false)]
    const at = on.findIndex((line, i) => line !== off[i])
    if (at >= 0) throw new Error(`seed ${seed}, record ${at}:\n${on[at]}\n${off[at]}`)
    expect(on.length, `seed ${seed}`).toBe(off.length)
  }
}, 300_000)

describe('a process that stands still is no network that loses', () => {
  const bulk = 4_000_000

  function stalled(who: 'a' | 'b', ms: number, undo: boolean) {
    const stack = { undo, congestion: 'cubic' as const }
    const pair = new Pair({ link: { delayMs: 2, bytesPerSecond: 20_000_000, queueBytes: 8 << 20 }, a: stack, b: stack })
    const client = pair.connect()
    let server: TestStream | undefined
    pair.b.onrequest = stream => {
      server = stream
      stream.connection.accept()
    }
    client.write(new Uint8Array(bulk))
    pair.until(() => (server?.receivedBytes ?? 0) > bulk / 2)
    const c = client.connection
    const before = { ssthresh: c.congestion.ssthresh, cwnd: c.congestion.cwnd, rto: c.rtt.rto }
    pair[who].freeze(ms)
    expect(pair.until(() => server?.receivedBytes === bulk)).toBe(true)
    return { c, before, stats: pair.a.stack.stats }
  }

  test.each([60, 500, 3000])('the sender for %i ms: cwnd, ssthresh and rto are what they were, with undo switched off', ms => {
    const { c, before, stats } = stalled('a', ms, false)
    expect([c.phase, stats.tcpRetransmits, stats.tcpTimeouts]).toEqual([OPEN, 0, 0])
    expect(c.congestion.ssthresh).toBe(before.ssthresh)
    expect(c.congestion.cwnd).toBeGreaterThanOrEqual(before.cwnd)
    expect(c.rtt.rto).toBeLessThanOrEqual(before.rto * 1.5)
  })

  test('the receiver: the sender cannot know better, but takes it back', () => {
    const { c, before, stats } = stalled('b', 3000, true)
    expect(stats.tcpTimeouts).toBeGreaterThan(0)
    expect(stats.tcpUndos).toBeGreaterThan(0)
    expect(c.congestion.ssthresh).toBe(before.ssthresh)
    expect(c.congestion.cwnd).toBeGreaterThanOrEqual(before.cwnd)
  })
})

describe('corpus', () => {
  test.each(corpusSeeds('simulation'))('seed %i: %s', seed => void runScenario(seed))
})
