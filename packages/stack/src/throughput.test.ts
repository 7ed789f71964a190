import { expect, test } from 'vitest'
import { Pair, type TestStream } from './testing/pair.js'

const MSS = 1448 // 1500 less 20, 20 and 12
const SECONDS = 20
const RATE = 1_250_000 // bytes/s, 10 Mbit/s

interface Cell {
  loss: number
  rtt: number
  congestion: 'cubic' | 'newreno'
}

/** Mbit/s of one bulk stream in virtual time, behind two seconds of slow start. */
function throughput({ loss, rtt, congestion }: Cell): number {
  const stack = { congestion, rcvBuf: 8 << 20, sndBuf: 8 << 20 }
  const link = { delayMs: rtt / 2, bytesPerSecond: RATE, queueBytes: (RATE * rtt) / 1000 + 30_000 }
  const pair = new Pair({ seed: 7, link: { ...link, loss }, back: link, a: stack, b: stack, device: { offload: false } })
  let server: TestStream | undefined
  pair.b.onrequest = stream => {
    server = stream
    stream.connection.accept()
  }
  const client = pair.connect()
  const chunk = new Uint8Array(1 << 20)
  const feed = () => {
    if (client.connection.sndQueue.length < 2 << 20) client.write(chunk)
    if (server) server.received.length = 0
    pair.clock.after(50, feed)
  }
  feed()
  pair.clock.advance(2000)
  const from = server?.receivedBytes ?? 0
  pair.clock.advance(SECONDS * 1000)
  return (((server?.receivedBytes ?? 0) - from) * 8) / SECONDS / 1e6
}

/** Mathis et al. 1997: MSS/RTT · C/√p with C = √(3/2), an ACK for every segment or so; in Mbit/s, up to the wire's rate. */
const mathis = (rtt: number, loss: number) => Math.min(10, (((MSS * 8) / (rtt / 1000)) * Math.sqrt(1.5)) / Math.sqrt(loss) / 1e6)

/** RFC 9438 §5.2 figure 10: 1.054 · RTT^¾ / p^¾ segments a round trip, where that is above Reno's. */
function responseFunction(rtt: number, loss: number): number {
  const segments = (1.054 * (rtt / 1000) ** 0.75) / loss ** 0.75
  return Math.min(10, Math.max((segments * MSS * 8) / (rtt / 1000) / 1e6, mathis(rtt, loss)))
}

test('throughput, loss × round trip × congestion control: as it was, and as theory has it', () => {
  const lines: string[] = []
  for (const loss of [0, 0.002, 0.01, 0.05]) {
    for (const rtt of [10, 100]) {
      const cells = (['cubic', 'newreno'] as const).map(congestion => throughput({ loss, rtt, congestion }))
      lines.push(`${loss * 100} % ${rtt} ms: cubic ${cells[0].toFixed(1)}, newreno ${cells[1].toFixed(1)}`)
      if (loss === 0) {
        // All but the headers' share.
        for (const got of cells) expect(got, lines.at(-1)).toBeGreaterThan(9.3)
        continue
      }
      const theory = [responseFunction(rtt, loss), mathis(rtt, loss)]
      for (const i of [0, 1]) {
        expect(cells[i] / theory[i], `${lines.at(-1)}; theory ${theory[i].toFixed(1)}`).toBeGreaterThan(0.5)
        expect(cells[i] / theory[i], `${lines.at(-1)}; theory ${theory[i].toFixed(1)}`).toBeLessThan(2)
      }
    }
  }
  expect(lines.join('\n')).toMatchInlineSnapshot(`
    "0 % 10 ms: cubic 9.7, newreno 9.7
    0 % 100 ms: cubic 9.7, newreno 9.7
    0.2 % 10 ms: cubic 9.7, newreno 9.6
    0.2 % 100 ms: cubic 3.8, newreno 3.2
    1 % 10 ms: cubic 9.3, newreno 8.7
    1 % 100 ms: cubic 1.5, newreno 1.2
    5 % 10 ms: cubic 4.2, newreno 3.9
    5 % 100 ms: cubic 0.6, newreno 0.6"
  `)
}, 300_000)
