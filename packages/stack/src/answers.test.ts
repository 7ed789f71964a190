// What strangers can make the stack say: nothing they send is answered by more than itself. RFC 5358's lesson for UDP, RFC 4443 §2.4(e)
// and (f).

import { expect, test } from 'vitest'
import { CSUM_GOOD } from './memory/packet-batch.js'
import type { StackOptions } from './options.js'
import { corpusPackets } from './testing/corpus.js'
import { packetOk } from './testing/oracle.js'
import { PacketGenerator } from './testing/packets.js'
import { Endpoint } from './testing/pair.js'
import { Prng } from './testing/prng.js'
import { VirtualClock } from './testing/virtual-clock.js'
import { printPacket } from './wire/print.js'

const SECONDS = Number(process.env.TUN_FUZZ_SECONDS ?? 6) / 3
const FIRST_SEED = Number(process.env.TUN_FIRST_SEED ?? 1)
const AT_LEAST = 6
const PACKETS = 4000
const REASONS = ['refused', 'host-unreachable', 'net-unreachable', 'prohibited', 'drop'] as const
const CORPUS = corpusPackets().map(({ bytes }) => bytes)

function optionsOf(prng: Prng): StackOptions {
  return {
    multicast: prng.chance(0.5),
    maxPending: 1 + prng.below(8),
    synCookies: ([true, false, 'auto'] as const)[prng.below(3)],
    maxUdpFlows: 1 + prng.below(20),
    icmpErrorRate: prng.chance(0.5) ? 1000 : 1_000_000,
    udpFilter: prng.chance(0.5) ? 'endpoint-independent' : 'address-and-port-dependent',
  }
}

/** Bytes as they come: noise, packets that are almost right, known troublemakers; some with bits flipped, cut, or longer than they say. */
function bytesFrom(prng: Prng, generator: PacketGenerator): Uint8Array<ArrayBuffer> {
  const kind = prng.below(10)
  let packet = kind < 6 ? generator.packet() : new Uint8Array(CORPUS[prng.below(CORPUS.length)])
  if (kind === 9) packet = Uint8Array.from({ length: prng.below(400) }, () => prng.below(256))
  if (prng.chance(0.3) && packet.length > 0) {
    packet = packet.slice()
    for (let n = 1 + prng.below(8); n > 0; n--) packet[prng.below(packet.length)] ^= 1 << prng.below(8)
  }
  if (prng.chance(0.05)) packet = packet.slice(0, prng.below(packet.length + 1))
  if (prng.chance(0.05)) packet = Uint8Array.of(...packet, ...new Uint8Array(prng.below(50)))
  return packet
}

/** That the rest of a datagram never came: the only answer there may be later. RFC 1122 §3.3.2, RFC 8200 §4.5. */
const tellsOfFragments = (packet: Uint8Array) => /ICMP(6 type 3| type 11) code 1,/.test(printPacket(packet))

/** One world of strangers. No connection is accepted: what an established one sends is its own affair. Answers how many were answered. */
function world(seed: number): number {
  const prng = new Prng(seed * 7919)
  const clock = new VirtualClock(1000)
  const end = new Endpoint(clock, prng.fork(), optionsOf(prng))
  const { stack } = end
  const generator = new PacketGenerator(prng, () => [...stack.tcp.flows])
  let sent: Uint8Array[] = []
  end.device.ondeliver = packet => void sent.push(packet)
  end.onrequest = ({ connection }) => {
    if (prng.chance(0.7)) connection.reject(REASONS[prng.below(REASONS.length)]) // else it stays pending
  }
  end.ondatagram = d => {
    const source = [d.s0, d.s1, d.s2, d.s3, d.srcPort] as const
    const destination = [d.d0, d.d1, d.d2, d.d3, d.dstPort] as const
    const what = prng.below(3)
    if (what === 0) stack.udp.reject(d.v4, source, destination, d.end - d.start, clock.now)
    if (what === 1) stack.udp.send(d.v4, destination, source, new Uint8Array(prng.below(1000)))
  }
  const own = prng.chance(0.5)
  stack.local = () => own // every ping is answered, or refused
  let answered = 0
  let late = 0
  for (let i = 0; i < PACKETS; i++) {
    const packet = bytesFrom(prng, generator)
    sent = []
    end.device.inject(packet, prng.chance(0.7) ? CSUM_GOOD : 0)
    clock.advance(0)
    if (sent.length > 1)
      throw new Error(`packet ${i}: ${printPacket(packet)} was answered by ${sent.map(p => printPacket(p)).join(' and ')}`)
    answered += sent.length
    for (const answer of sent) if (!packetOk(answer)) throw new Error(`packet ${i}: a bad answer, ${printPacket(answer)}`)
    const { rowsIn, accounted, drops } = stack.stats
    if (rowsIn !== i + 1 || accounted !== rowsIn)
      throw new Error(`packet ${i}: ${rowsIn} rows in, ${accounted} accounted for: ${JSON.stringify(drops)}`)
    if (!prng.chance(0.1)) continue
    sent = []
    clock.advance(prng.below(prng.chance(0.1) ? 70_000 : 100))
    const unasked = sent.find(answer => !tellsOfFragments(answer))
    if (unasked !== undefined) throw new Error(`packet ${i}: later, unasked: ${printPacket(unasked)}`)
    late += sent.length
  }
  sent = []
  clock.advance(1_000_000)
  late += sent.length
  expect(sent.filter(answer => !tellsOfFragments(answer))).toEqual([])
  expect([stack.stats.fragmentsWaiting, stack.stats.accounted, stack.nextTimeout()]).toEqual([0, PACKETS, Infinity])
  expect(late).toBeLessThanOrEqual(stack.stats.drops.fragments) // each about one that had no answer yet
  return answered
}

test(
  'any bytes, in any order: at most one packet answers each, at once, nothing throws, and every row is in one counter',
  () => {
    let answered = 0
    const until = performance.now() + SECONDS * 1000
    for (let seed = FIRST_SEED; seed < FIRST_SEED + AT_LEAST || performance.now() < until; seed++) {
      try {
        answered += world(seed)
      } catch (error) {
        throw new Error(`TUN_FIRST_SEED=${seed} TUN_FUZZ_SECONDS=0: ${(error as Error).message}`, { cause: error })
      }
    }
    expect(answered).toBeGreaterThan(AT_LEAST * 200)
  },
  120_000 + SECONDS * 1000,
)
