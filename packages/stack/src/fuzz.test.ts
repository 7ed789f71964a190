import { describe, expect, test } from 'vitest'
import { CSUM_GOOD, CSUM_PARTIAL, ROW_INVALID } from './memory/packet-batch.js'
import { corpusSeeds } from './testing/corpus.js'
import { connectDevices } from './testing/memory-device.js'
import { packetOk } from './testing/oracle.js'
import { PacketGenerator } from './testing/packets.js'
import { Pair, type TestStream } from './testing/pair.js'
import { Prng } from './testing/prng.js'

/** For how long; `npm test` gives more (scripts/test.mjs). Half of it is the operations test's. */
const SECONDS = Number(process.env.TUN_FUZZ_SECONDS ?? 6) / 2
const FIRST_SEED = Number(process.env.TUN_FIRST_SEED ?? 1)
const PACKETS = 20_000
/** However slow the machine: as many worlds as it takes for every part of the stack to have seen traffic. */
const AT_LEAST = 4

/** Anything an application may do, at any moment. */
function act(prng: Prng, stream: TestStream) {
  const c = stream.connection
  switch (prng.below(9)) {
    case 0:
    case 1:
      return c.accept()
    case 2:
      return c.reject((['refused', 'host-unreachable', 'net-unreachable', 'prohibited', 'drop'] as const)[prng.below(5)])
    case 3:
      return stream.write(new Uint8Array(prng.below(5000)))
    case 4:
      return stream.drain()
    case 5:
      return prng.chance(0.3) ? stream.end() : undefined
    case 6:
      return prng.chance(0.3) ? c.close() : undefined
    case 7:
      return prng.chance(0.2) ? c.reset() : undefined
    case 8:
      return c.setNoDelay(prng.chance(0.5))
  }
}

/** One world of random packets and applications. Throws what is wrong; answers what the stack counted. */
function fuzz(seed: number) {
  const limits = { maxPending: 8, maxTimeWait: 6, maxUdpFlows: 20, rcvBuf: 50_000, pendingTimeout: 5000, receiveBudget: 200_000 }
  const pair = new Pair({ seed, b: limits })
  const prng = new Prng(seed * 6151)
  const { clock, b } = pair
  const { stack } = b
  const live: TestStream[] = []
  const connections = () => live.map(s => s.connection)
  const generator = new PacketGenerator(prng, connections)
  let sent = 0
  b.device.ondeliver = packet => {
    sent++
    if (!packetOk(packet)) throw new Error(`a bad packet was sent`)
  }
  b.onrequest = stream => {
    stream.reading = prng.chance(0.5)
    live.push(stream)
    if (prng.chance(0.6)) act(prng, stream) // from inside the drain
  }
  b.ondatagram = d => {
    if (prng.chance(0.2)) {
      const source = [d.s0, d.s1, d.s2, d.s3, d.srcPort] as const
      const destination = [d.d0, d.d1, d.d2, d.d3, d.dstPort] as const
      if (prng.chance(0.5)) stack.udp.reject(d.v4, source, destination, d.end - d.start, clock.now)
      else stack.udp.send(d.v4, destination, source, new Uint8Array(prng.below(4000)))
    }
  }
  const unserve = stack.udp.serve(53, () => true)
  for (let i = 0; i < PACKETS; i++) {
    let packet = generator.packet()
    if (prng.chance(0.15) && packet.length > 0) {
      packet = packet.slice()
      for (let n = 1 + prng.below(4); n > 0; n--) packet[prng.below(packet.length)] ^= 1 << prng.below(8)
    }
    if (prng.chance(0.03)) packet = packet.slice(0, prng.below(packet.length + 1))
    const gso = { gsoType: prng.below(5), gsoSize: prng.below(3000) - 500, csumStart: prng.below(99), csumOffset: prng.below(99) }
    const flags = prng.chance(0.5) ? 0 : [CSUM_GOOD, CSUM_PARTIAL, ROW_INVALID, CSUM_GOOD][prng.below(4)]
    b.device.inject(packet, flags, prng.chance(0.05) ? gso : null)
    if (!prng.chance(0.3)) continue
    clock.advance(prng.chance(0.02) ? prng.below(20_000) : prng.chance(0.3) ? prng.below(50) : 0)
    if (live.length > 0 && prng.chance(0.3)) {
      act(prng, live[prng.below(live.length)])
      b.driver.wake()
    }
    for (let n = live.length - 1; n >= 0; n--)
      if (live[n].connection.state === 0 && prng.chance(0.2)) live.splice(n, 1)[0].connection.close()
    const { rowsIn, accounted } = stack.stats
    if (accounted !== rowsIn) throw new Error(`packet ${i}: ${rowsIn} rows in, ${JSON.stringify(stack.stats)}`)
    if (stack.tcp.handshake.pending > limits.maxPending || stack.tcp.handshake.pending < 0) throw new Error('pending')
    if (stack.tcp.timeWait.size > limits.maxTimeWait) throw new Error('TIME-WAIT')
    if (stack.udp.flows.size > limits.maxUdpFlows) throw new Error('UDP flows')
    if (stack.tcp.receiveQueued < 0) throw new Error('receiveQueued')
  }
  clock.advance(10)
  const reached = { ...stack.stats, ...stack.stats.drops, sent }
  for (const c of [...stack.tcp.flows]) c.reset()
  for (const stream of live) stream.connection.dropReceived()
  for (const stream of b.accepted) stream.connection.dropReceived()
  unserve()
  clock.advance(1_000_000)
  expect(stack.tcp.flows.size).toBe(0)
  expect(stack.tcp.timeWait.size).toBe(0)
  expect(stack.udp.flows.size).toBe(0)
  expect(stack.tcp.receiveQueued).toBe(0)
  expect(stack.tcp.senders).toBe(0)
  expect(stack.slabs.inUse).toBe(1)
  expect(stack.nextTimeout()).toBe(Infinity)

  connectDevices(pair.a.device, b.device, pair.ab, pair.ba)
  const data = new Uint8Array(100_000).map((_, i) => i * 31)
  b.onrequest = stream => {
    stream.connection.accept()
    stream.write(data)
    stream.end()
  }
  const before = b.accepted.length
  const client = pair.connect()
  client.write(data)
  client.end()
  expect(pair.until(() => client.gone && b.accepted[before]?.gone)).toBe(true)
  expect(Buffer.compare(client.data, data)).toBe(0)
  expect(Buffer.compare(b.accepted[before].data, data)).toBe(0)
  return reached
}

/** What every run is to have seen, whatever its length. */
const DEPTH = {
  tcpAccepted: 100,
  tcpRejected: 100,
  tcpOutOfOrder: 100,
  tcpChallengeAcks: 800,
  udp: 10,
  ipMalformed: 10,
  ipChecksum: 10,
  tcpChecksum: 10,
  martian: 10,
  sent: 1000,
}

test(
  'packets of every kind and of none: nothing throws, all is counted, bounded and given back; the stack still works',
  () => {
    const sum: Record<string, number> = Object.fromEntries(Object.keys(DEPTH).map(what => [what, 0]))
    const until = performance.now() + SECONDS * 1000
    for (let seed = FIRST_SEED; seed < FIRST_SEED + AT_LEAST || performance.now() < until; seed++) {
      try {
        const reached: Record<string, unknown> = fuzz(seed)
        for (const what of Object.keys(sum)) sum[what] += reached[what] as number
      } catch (error) {
        throw new Error(`TUN_FIRST_SEED=${seed} TUN_FUZZ_SECONDS=0: ${(error as Error).message}`, { cause: error })
      }
    }
    for (const [what, n] of Object.entries(sum)) expect(n, what).toBeGreaterThan(DEPTH[what as keyof typeof DEPTH])
  },
  120_000 + SECONDS * 1000,
)

describe('corpus', () => {
  test.each(corpusSeeds('packets'))('seed %i: %s', seed => void fuzz(seed))
})
