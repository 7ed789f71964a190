import { describe, expect, test } from 'vitest'
import { corpusSeeds } from './testing/corpus.js'
import { Pair, type TestStream } from './testing/pair.js'
import { Prng } from './testing/prng.js'
import { printState } from './wire/print.js'

const SEEDS = Number(process.env.TUN_SEEDS ?? 30)
/** For how long besides; `npm test` gives more (scripts/test.mjs). Half of it is the fuzz test's. */
const SECONDS = Number(process.env.TUN_FUZZ_SECONDS ?? 6) / 2
const FIRST_SEED = Number(process.env.TUN_FIRST_SEED ?? 1)

/** Byte `i` of what a stream with `salt` writes. */
const byteAt = (salt: number, i: number) => (i * 13 + (i >> 8) * 5 + salt) & 0xff

class Actor {
  readonly stream: TestStream
  readonly salt: number
  peer: Actor | null = null
  written = 0
  private checked = 0

  constructor(stream: TestStream, salt: number) {
    this.stream = stream
    this.salt = salt
  }

  write(n: number) {
    if (this.stream.connection.finQueued) return
    const bytes = new Uint8Array(n)
    for (let i = 0; i < n; i++) bytes[i] = byteAt(this.salt, this.written + i)
    this.written += n
    this.stream.write(bytes)
  }

  /** What arrived is a prefix of what the other side wrote. */
  check() {
    const { received } = this.stream
    for (; received.length > 0; received.shift()) {
      const chunk = received[0]
      for (let i = 0; i < chunk.length; i++) {
        if (chunk[i] !== byteAt(this.peer?.salt ?? -1, this.checked + i)) throw new Error(`byte ${this.checked + i} is wrong`)
      }
      this.checked += chunk.length
    }
    if (this.checked > (this.peer?.written ?? 0)) throw new Error('more arrived than was written')
    const c = this.stream.connection
    if (c.state < 2) return
    const nxt = (c.sndNxt - c.sndUna) | 0
    if (nxt < 0) throw new Error(`SND.UNA ≤ SND.NXT: 0 ${nxt} in ${printState(c.state)}`)
    if (((c.sndNxt - c.iss) | 0) > this.written + 2) throw new Error('numbers were sent that stand for nothing')
    if (nxt > 0 && c.rexmitAt === Infinity) throw new Error(`unacknowledged, and no timer, in ${printState(c.state)}`)
  }
}

function act(prng: Prng, actor: Actor) {
  const { stream } = actor
  const c = stream.connection
  switch (prng.below(12)) {
    case 0:
    case 1:
      return c.accept()
    case 2:
      return prng.chance(0.1) ? c.reject((['refused', 'host-unreachable', 'prohibited', 'drop'] as const)[prng.below(4)]) : c.accept()
    case 3:
    case 4:
    case 5:
      return actor.write(prng.below(8000))
    case 6:
    case 7:
      return stream.drain()
    case 8:
      return prng.chance(0.3) ? stream.end() : undefined
    case 9:
      return prng.chance(0.1) ? c.close() : undefined
    case 10:
      return prng.chance(0.05) ? c.reset() : undefined
    case 11:
      return void (stream.reading = prng.chance(0.7))
  }
}

function run(seed: number) {
  const prng = new Prng(seed * 104_729)
  const link = { delayMs: prng.below(30), loss: prng.random() * 0.08, reorder: 0.03, duplicate: 0.03 }
  const small = () => ({
    rcvBuf: 3000 + prng.below(60_000),
    sndBuf: 3000 + prng.below(60_000),
    maxPending: 4,
    synCookies: seed % 2 === 0,
    maxTimeWait: 5,
    timeWait: 2000,
  })
  const pair = new Pair({
    seed,
    link,
    a: { ...small(), userTimeout: 30_000 },
    b: { ...small(), userTimeout: 30_000 },
    start: 2 ** 31 - 20_000,
  })
  const actors: Actor[] = []
  const clients = new Map<number, Actor>()
  pair.b.onrequest = stream => {
    const actor = new Actor(stream, prng.below(256))
    const client = clients.get(stream.connection.remotePort)
    // An old duplicate of a SYN makes a connection whose peer has gone: nothing can arrive on it.
    // But a SYN dropped in silence comes again.
    if (client !== undefined && (!client.stream.connected || stream.connection.cookie)) {
      actor.peer = client
      client.peer = actor
    }
    actors.push(actor)
    for (let n = prng.below(3); n > 0; n--) act(prng, actor) // from inside the drain
  }
  for (let i = 0; i < 12; i++) {
    const actor = new Actor(pair.connect(prng.chance(0.5)), prng.below(256))
    clients.set(actor.stream.connection.localPort, actor)
    actors.push(actor)
  }
  for (let step = 0; step < 1500; step++) {
    const next = pair.clock.now + prng.below(15)
    while (pair.clock.next() <= next) {
      pair.clock.runNext()
      for (const actor of actors) actor.check()
    }
    act(prng, actors[prng.below(actors.length)])
    pair.a.driver.wake()
    pair.b.driver.wake()
  }
  for (const { stream } of actors) {
    stream.reading = true
    stream.drain()
    if (prng.chance(0.5)) stream.connection.close()
    else stream.connection.reset()
  }
  pair.a.driver.wake()
  pair.b.driver.wake()
  pair.clock.advance(400_000)
  for (const actor of actors) actor.stream.connection.dropReceived()
  for (const { stack } of [pair.a, pair.b]) {
    expect(stack.tcp.flows.size, 'flows').toBe(0)
    expect(stack.tcp.timeWait.size, 'TIME-WAIT').toBe(0)
    expect(stack.tcp.handshake.pending, 'pending').toBe(0)
    expect(stack.tcp.handshake.admission.undecided, 'undecided').toBe(0)
    expect(stack.tcp.handshake.admission.sources, 'sources').toBe(0)
    expect(stack.tcp.receiveQueued, 'receiveQueued').toBe(0)
    expect(stack.tcp.senders, 'senders').toBe(0)
    expect(stack.slabs.inUse, 'slabs').toBe(1)
    expect(stack.nextTimeout(), 'deadlines').toBe(Infinity)
    const { rowsIn, accounted } = stack.stats
    expect(accounted, 'rows in').toBe(rowsIn)
  }
  return pair.b.stack.stats.tcpCookiesAccepted
}

test(
  'applications do anything at any moment: every byte is right, numbers stay in order, nothing is left behind',
  () => {
    const until = performance.now() + SECONDS * 1000
    let cookies = 0
    for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS || performance.now() < until; seed++) {
      try {
        cookies += run(seed)
      } catch (error) {
        throw new Error(`TUN_FIRST_SEED=${seed} TUN_SEEDS=1 TUN_FUZZ_SECONDS=0: ${(error as Error).message}`, { cause: error })
      }
    }
    expect(cookies).toBeGreaterThan(SEEDS)
  },
  120_000 + SECONDS * 1000,
)

describe('corpus', () => {
  test.each(corpusSeeds('operations'))('seed %i: %s', seed => void run(seed))
})
