// Owns: the simulation's random worlds: what a seed stands for (network, stacks, applications), how it runs,
// and the invariants it is held to.

import type { StackOptions } from '../options.js'
import { printState } from '../wire/print.js'
import { type Endpoint, Pair, type PairOptions, type TestStream } from './pair.js'
import { Prng } from './prng.js'

const YEAR = 365.25 * 86_400_000
const STARTS = [1000, 2 ** 31 - 5000, 2 ** 32 - 5000, 3 * YEAR]
/** Nothing takes longer, retransmissions at 30 % loss included. */
const LONGEST = 3_600_000 // ms

function bytes(n: number, prng: Prng) {
  const out = new Uint8Array(n)
  for (let i = 0; i < n; i++) out[i] = prng.random32()
  return out
}

function pick<T>(prng: Prng, list: readonly T[]): T {
  return list[prng.below(list.length)]
}

/** What a seed means: a network, two stacks, and how the applications behave. `both` overrides options of both stacks. */
export function scenario(seed: number, both: StackOptions = {}) {
  const prng = new Prng(seed * 7919)
  const lossy = prng.chance(0.8)
  const offload = prng.chance(0.5)
  const corrupt = lossy && prng.chance(0.4) ? 0.02 : 0
  const heavy = lossy && prng.chance(0.2)
  const link = {
    delayMs: pick(prng, [0, 1, 20, 200]),
    jitterMs: pick(prng, [0, 0, 5, 50]),
    loss: lossy ? prng.random() * (heavy ? 0.3 : 0.08) : 0,
    burst: prng.chance(0.3) && !heavy ? 4 : 1,
    reorder: lossy && prng.chance(0.5) ? 0.05 : 0,
    duplicate: lossy && prng.chance(0.5) ? 0.05 : 0,
    corrupt,
    bytesPerSecond: prng.chance(lossy ? 0.3 : 0) ? 200_000 : Infinity,
    queueBytes: pick(prng, [16 * 1024, 64 * 1024]),
  }
  const stack = (): StackOptions => ({
    rcvBuf: pick(prng, [4096, 10_000, 65_536, 1 << 20]),
    sndBuf: pick(prng, [5000, 65_536, 1 << 20]),
    congestion: prng.chance(0.7) ? 'cubic' : 'newreno',
    sack: prng.chance(0.8),
    userTimeout: 900_000, // at 30 % loss two minutes without an answer are no rarity
    timeWait: 600_000, // longer than a FIN backs off
    ...both,
  })
  const options: PairOptions = {
    seed,
    start: pick(prng, STARTS),
    link,
    a: stack(),
    b: stack(),
    // Whole super-segments only where nothing is corrupted: they are trusted, as the kernel's are.
    device: { offload, splitGso: corrupt > 0 || prng.chance(0.5), mtu: pick(prng, [1500, 1500, 1280, 9000]) },
  }
  const most = heavy ? 60_000 : 400_000
  return {
    options,
    lossy,
    v6: prng.chance(0.4),
    up: bytes(prng.below(pick(prng, [2, 5000, 100_000, most])), prng),
    down: bytes(prng.below(pick(prng, [2, 5000, 100_000, most])), prng),
    slowReader: prng.chance(0.3),
    /** The NICs refuse to take rows now and then. */
    blocking: prng.chance(0.2),
    /** Processes stand still now and then. */
    stalling: prng.chance(0.2),
    /** The application resets in the middle. */
    aborting: prng.chance(0.08),
    noDelay: prng.chance(0.5),
    /** Who ends when: at once behind its text, or only when the other has. */
    clientWaits: prng.chance(0.3),
    serverWaits: prng.chance(0.5),
    prng,
  }
}

/**
 * Watches one direction of the wire, drops nothing: the right edge that `from` advertises never moves left,
 * but by what the scale rounds away.
 */
function watchEdge(shiftOf: () => number) {
  let edge: number | null = null
  return (packet: Uint8Array): boolean => {
    const view = new DataView(packet.buffer, packet.byteOffset, packet.length)
    const at = packet[0] >> 4 === 4 ? 20 : 40
    if (packet[packet[0] >> 4 === 4 ? 9 : 6] !== 6) return false
    const flags = view.getUint8(at + 13)
    if (flags & 2) edge = null // SYN: not scaled
    if (flags & 6 || !(flags & 16)) return false
    const shift = shiftOf()
    const right = (view.getInt32(at + 8) + (view.getUint16(at + 14) << shift)) | 0
    if (edge !== null && ((right - edge) | 0) <= -(1 << shift)) throw new Error(`the right edge moved left by ${(edge - right) | 0}`)
    if (edge === null || ((right - edge) | 0) > 0) edge = right
    return false
  }
}

/** What holds between any two events. */
export function checkConnection(stream: TestStream | undefined, written: number): void {
  const c = stream?.connection
  if (c === undefined || c.state < 2) return // gone or pending: nothing is numbered
  const flight = (c.sndNxt - c.sndUna) | 0
  if (((c.sndNxt - c.iss) | 0) > written + 2)
    throw new Error('numbers were sent that stand for nothing: SYN, text and FIN are all there is')
  if (flight < 0) throw new Error(`SND.UNA ≤ SND.NXT: 0 ${flight}`)
  if (c.state > 2 && ((c.rcvAdv - c.rcvNxt) | 0) < 0) throw new Error('RCV.NXT is beyond the right edge')
  if (c.rcvQueue.length + (c.reassembly?.bytes ?? 0) > c.tcp.options.rcvBuf + 65_535) throw new Error('more is queued than was offered')
  // Something unacknowledged, or the handshake, always has a timer.
  if (flight > 0 && c.rexmitAt === Infinity) throw new Error('unacknowledged, and no timer')
  if (c.heapIndex < 0 && c.rexmitAt !== Infinity) throw new Error('a timer that is not in the heap')
  if (c.state < 4) return
  const { scoreboard: sb, congestion: cc } = c
  if (sb.una !== c.sndUna || (!sb.empty && sb.endOf(sb.last) !== c.sndNxt) || sb.empty !== (flight === 0))
    throw new Error('the scoreboard is not what is in flight')
  if (sb.sacked + sb.lost > flight || sb.waiting > sb.lost || Math.min(sb.sacked, sb.lost, sb.rexmit, sb.waiting) < 0)
    throw new Error(`of ${flight} bytes in flight ${sb.sacked} are held, ${sb.lost} lost`)
  if (!(cc.cwnd >= 0 && cc.ssthresh >= 2 * Math.min(c.smss, 536))) throw new Error(`cwnd ${cc.cwnd}, ssthresh ${cc.ssthresh}`)
}

export interface Outcome {
  pair: Pair
  client: TestStream
  server: TestStream | undefined
  aborted: boolean
}

/** Runs a seed's world to its end. `step` is called behind every event. Throws what is wrong. */
export function runScenario(seed: number, both: StackOptions = {}, step: (pair: Pair) => void = () => {}): Outcome {
  const s = scenario(seed, both)
  const pair = new Pair(s.options)
  const client = pair.connect(s.v6)
  let server: TestStream | undefined
  let aborted = false
  client.connection.setNoDelay(s.noDelay)
  const slow = (stream: TestStream) => {
    if (!s.slowReader) return
    stream.reading = false
    const take = () => {
      stream.drain()
      if (!stream.gone) pair.clock.after(s.prng.below(300), take)
    }
    take()
  }
  const feed = (stream: TestStream, data: Uint8Array<ArrayBuffer>, waitFor: () => boolean) => {
    let at = 0
    const write = () => {
      const n = Math.min(data.length - at, 1 + s.prng.below(20_000))
      if (n > 0) stream.write(data.subarray(at, at + n))
      at += n
      if (at < data.length || !waitFor()) pair.clock.after(s.prng.below(20), write)
      else stream.end()
    }
    write()
  }
  slow(client)
  pair.b.onrequest = stream => {
    if (server !== undefined) return stream.connection.accept() // the first SYN's old duplicate, behind TIME-WAIT
    server = stream
    pair.clock.after(s.prng.below(50), () => {
      stream.connection.accept()
      pair.b.driver.wake()
      slow(stream)
      feed(stream, s.down, () => !s.serverWaits || stream.ended || stream.gone)
    })
  }
  feed(client, s.up, () => !s.clientWaits || client.ended || client.gone || s.serverWaits)
  const watchA = watchEdge(() => client.connection.rcvWndShift)
  const watchB = watchEdge(() => server?.connection.rcvWndShift ?? 0)
  pair.ab.drop = packet => watchA(packet)
  pair.ba.drop = packet => watchB(packet)
  const block = () => {
    for (const { device } of [pair.a, pair.b]) device.blockWrites(s.prng.below(6))
    if (!client.gone) pair.clock.after(s.prng.below(40), block)
  }
  if (s.blocking) block()
  const stall = () => {
    ;(s.prng.chance(0.5) ? pair.a : pair.b).freeze(s.prng.below(1500))
    if (!client.gone) pair.clock.after(500 + s.prng.below(4000), stall)
  }
  if (s.stalling) stall()
  if (s.aborting)
    pair.clock.after(s.prng.below(3000), () => {
      aborted = true
      client.reset()
    })
  const deadline = pair.clock.now + LONGEST
  while (!(client.gone && (server?.gone ?? aborted))) {
    if (pair.clock.next() > deadline || !pair.clock.runNext()) break
    checkConnection(client, s.up.length)
    checkConnection(server, s.down.length)
    step(pair)
  }
  const report =
    `client ${printState(client.connection.state)} '${client.error}', ` +
    `server ${server && printState(server.connection.state)} '${server?.error}'`
  // At 30 % loss six SYNs may all be lost, or what answers them.
  const unconnected = s.options.link?.loss !== 0 && !(client.connected && server?.connected)
  if (!aborted && !unconnected) {
    if (!(client.gone && server?.gone)) throw new Error(`it never ended: ${report}`)
    client.drain()
    server.drain()
    if (client.error !== '' || server.error !== '') throw new Error(report)
    if (!same(server.data, s.up)) throw new Error(`up: ${server.receivedBytes} of ${s.up.length}`)
    if (!same(client.data, s.down)) throw new Error(`down: ${client.receivedBytes} of ${s.down.length}`)
  } else {
    client.drain()
    server?.drain()
    if (!same(client.data, s.down.subarray(0, client.receivedBytes))) throw new Error('what arrived is not a prefix of what was sent')
    pair.clock.advance(200_000) // a reset that was lost: the other end finds out by itself
    server?.drain()
    if (server?.connection.state !== undefined && server.connection.state !== 0) server.reset()
  }
  pair.clock.advance(700_000)
  for (const endpoint of [pair.a, pair.b]) {
    checkAtRest(endpoint)
    // A network that loses nothing is never taken for one that does; but nobody can tell it from a peer that stands still, or round trips
    // that double from one to the next.
    const { device, stack } = endpoint
    if (device.counters.oversized > 0) throw new Error('packets above the MTU')
    if (!s.lossy && !s.stalling && s.options.link?.jitterMs !== 50 && !aborted && device.counters.overflowed === 0) {
      const { tcpRetransmits, tcpTimeouts } = stack.stats
      if (tcpRetransmits > 0) throw new Error(`nothing was lost, and ${tcpRetransmits} segments were sent again, ${tcpTimeouts} timeouts`)
    }
  }
  return { pair, client, server, aborted }
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}

/** At rest: nothing is held, and every row taken in is accounted for. */
function checkAtRest({ stack }: Endpoint): void {
  const { rowsIn, accounted } = stack.stats
  const heap = (stack as unknown as { heap: { size: number } }).heap.size
  const held = {
    slabs: stack.slabs.inUse - 1,
    receiveQueued: stack.tcp.receiveQueued,
    senders: stack.tcp.senders,
    flows: stack.tcp.flows.size,
    pending: stack.tcp.handshake.pending,
    'rows in': rowsIn - accounted,
    'TIME-WAIT': stack.tcp.timeWait.size,
    heap,
  }
  for (const [what, n] of Object.entries(held)) if (n !== 0) throw new Error(`at rest, ${what} is off by ${n}`)
  if (stack.nextTimeout() !== Infinity) throw new Error('at rest, a deadline is left')
}
