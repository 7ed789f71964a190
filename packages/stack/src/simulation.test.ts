import { expect, test } from 'vitest'
import type { Endpoint, PairOptions, TestStream } from './testing/pair.js'
import { Pair } from './testing/pair.js'
import { Prng } from './testing/prng.js'
import { printState } from './wire/print.js'

// A longer run: TUN_SEEDS=2000 npx vitest run --project unit packages/stack/src/simulation.test.ts
const SEEDS = Number(process.env.TUN_SEEDS ?? 150)
const FIRST_SEED = Number(process.env.TUN_FIRST_SEED ?? 1)
const YEAR = 365.25 * 86_400_000
const STARTS = [1000, 2 ** 31 - 5000, 2 ** 32 - 5000, 3 * YEAR]

function bytes(n: number, prng: Prng) {
  const out = new Uint8Array(n)
  for (let i = 0; i < n; i++) out[i] = prng.random32()
  return out
}

function pick<T>(prng: Prng, list: readonly T[]): T {
  return list[prng.below(list.length)]
}

/** What a seed means: a network, two stacks, and how the applications behave. */
function scenario(seed: number) {
  const prng = new Prng(seed * 7919)
  const lossy = prng.chance(0.8)
  const offload = prng.chance(0.5)
  const corrupt = lossy && prng.chance(0.4) ? 0.02 : 0
  const link = {
    delayMs: pick(prng, [0, 1, 20, 150]),
    jitterMs: pick(prng, [0, 0, 5, 50]),
    loss: lossy ? prng.random() * 0.1 : 0,
    reorder: lossy && prng.chance(0.5) ? 0.05 : 0,
    duplicate: lossy && prng.chance(0.5) ? 0.05 : 0,
    corrupt,
    bytesPerSecond: prng.chance(lossy ? 0.3 : 0) ? 200_000 : Infinity,
    queueBytes: 64 * 1024,
  }
  const stack = () => ({
    rcvBuf: pick(prng, [4096, 10_000, 65_536, 1 << 20]),
    sndBuf: pick(prng, [5000, 65_536, 1 << 20]),
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
  return {
    options,
    lossy,
    v6: prng.chance(0.4),
    up: bytes(prng.below(pick(prng, [2, 5000, 100_000, 400_000])), prng),
    down: bytes(prng.below(pick(prng, [2, 5000, 100_000, 400_000])), prng),
    slowReader: prng.chance(0.3),
    /** The NICs refuse to take rows now and then. */
    blocking: prng.chance(0.2),
    noDelay: prng.chance(0.5),
    /** Who ends when: at once behind its text, or only when the other has. */
    clientWaits: prng.chance(0.3),
    serverWaits: prng.chance(0.5),
    prng,
  }
}

/** Watches one direction of the wire, drops nothing: the right edge that `from` advertises never moves left, but by what the scale rounds away. */
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

function checkConnection(stream: TestStream | undefined, written: number) {
  const c = stream?.connection
  if (c === undefined || c.state < 2) return // gone or pending: nothing is numbered
  const nxt = (c.sndNxt - c.sndUna) | 0
  if (((c.sndNxt - c.iss) | 0) > written + 2)
    throw new Error('numbers were sent that stand for nothing: SYN, text and FIN are all there is')
  if (nxt < 0) throw new Error(`SND.UNA ≤ SND.NXT: 0 ${nxt}`)
  if (c.state > 2 && ((c.rcvAdv - c.rcvNxt) | 0) < 0) throw new Error('RCV.NXT is beyond the right edge')
  if (c.rcvQueue.length + (c.reassembly?.bytes ?? 0) > c.tcp.options.rcvBuf + 65_535) throw new Error('more is queued than was offered')
  // Something unacknowledged, or the handshake, always has a timer.
  if (nxt > 0 && c.rexmitAt === Infinity) throw new Error('unacknowledged, and no timer')
  if (c.heapIndex < 0 && c.rexmitAt !== Infinity) throw new Error('a timer that is not in the heap')
}

function heapSize(endpoint: Endpoint): number {
  return (endpoint.stack as unknown as { heap: { size: number } }).heap.size
}

/** At rest: nothing is held, and every row taken in is accounted for. */
function checkAtRest(pair: Pair) {
  for (const { stack } of [pair.a, pair.b]) {
    expect(stack.slabs.inUse, 'slabs').toBe(1)
    expect(stack.tcp.receiveQueued, 'receiveQueued').toBe(0)
    expect(stack.tcp.flows.size, 'flows').toBe(0)
    expect(stack.tcp.handshake.pending, 'pending').toBe(0)
    const { rowsIn, tcp, udp, icmp, fragments, droppedIn } = stack.stats
    expect(tcp + udp + icmp + fragments + droppedIn, 'rows in').toBe(rowsIn)
    expect(stack.tcp.timeWait.size, 'TIME-WAIT').toBe(0)
    expect(stack.nextTimeout(), 'deadlines').toBe(Infinity)
  }
  expect(heapSize(pair.a) + heapSize(pair.b), 'heap').toBe(0)
}

function runSeed(seed: number) {
  const s = scenario(seed)
  const pair = new Pair(s.options)
  const client = pair.connect(s.v6)
  let server: TestStream | undefined
  client.connection.setNoDelay(s.noDelay)
  const slow = (stream: TestStream) => {
    if (!s.slowReader) return
    stream.reading = false
    const step = () => {
      stream.drain()
      if (!stream.gone) pair.clock.after(s.prng.below(300), step)
    }
    step()
  }
  const feed = (stream: TestStream, data: Uint8Array<ArrayBuffer>, waitFor: () => boolean) => {
    let at = 0
    const step = () => {
      const n = Math.min(data.length - at, 1 + s.prng.below(20_000))
      if (n > 0) stream.write(data.subarray(at, at + n))
      at += n
      if (at < data.length || !waitFor()) pair.clock.after(s.prng.below(20), step)
      else stream.end()
    }
    step()
  }
  slow(client)
  pair.b.onrequest = stream => {
    if (server === undefined) {
      server = stream
      pair.clock.after(s.prng.below(50), () => {
        stream.connection.accept()
        pair.b.driver.wake()
        slow(stream)
        feed(stream, s.down, () => !s.serverWaits || stream.ended || stream.gone)
      })
    } else stream.connection.accept() // the first SYN's old duplicate, behind TIME-WAIT
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
  const deadline = pair.clock.now + 1_200_000
  while (!(client.gone && server?.gone)) {
    if (pair.clock.next() > deadline || !pair.clock.runNext()) break
    checkConnection(client, s.up.length)
    checkConnection(server, s.down.length)
  }
  const report = `client ${printState(client.connection.state)} '${client.error}', server ${server && printState(server.connection.state)} '${server?.error}'`
  expect(client.gone && server?.gone, report).toBe(true)
  if (server === undefined) return
  client.drain()
  server.drain()
  expect(client.error, report).toBe('')
  expect(server.error, report).toBe('')
  expect(Buffer.compare(server.data, s.up), `up: ${server.receivedBytes} of ${s.up.length}`).toBe(0)
  expect(Buffer.compare(client.data, s.down), `down: ${client.receivedBytes} of ${s.down.length}`).toBe(0)
  pair.clock.advance(200_000)
  checkAtRest(pair)
  for (const { device, stack } of [pair.a, pair.b]) {
    expect(device.counters.oversized, 'packets above the MTU').toBe(0)
    // A network that loses nothing is never taken for one that does.
    if (!s.lossy && device.counters.overflowed === 0) expect(stack.stats.tcpRetransmits, 'retransmissions').toBe(0)
  }
  return pair
}

test('whatever the network does, both directions arrive whole and in order, both ends end, and nothing is left', () => {
  const sum = { timeouts: 0, fast: 0, retransmits: 0, outOfOrder: 0, challenges: 0 }
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
    try {
      const pair = runSeed(seed)
      for (const { stack } of pair ? [pair.a, pair.b] : []) {
        sum.timeouts += stack.stats.tcpTimeouts
        sum.fast += stack.stats.tcpFastRetransmits
        sum.retransmits += stack.stats.tcpRetransmits
        sum.outOfOrder += stack.stats.tcpOutOfOrder
        sum.challenges += stack.stats.tcpChallengeAcks
      }
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error })
    }
  }
  // Every recovery path was walked.
  for (const [path, n] of Object.entries(sum)) expect(n, path).toBeGreaterThan(0)
}, 60_000)
