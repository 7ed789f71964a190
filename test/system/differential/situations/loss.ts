// Owns: situations of loss recovery. Which segments go again and in what order, not when. RFC 5681 §3.2, RFC 6675, RFC 6298 §5, RFC 8985.

import type { Player, Situation } from '../player.js'

const RTT = 100 // ms: so that tail loss probe (2 RTT) and retransmission timer (RTT + 200 ms) do not come in the middle of a step

async function flight(p: Player, options: string, segments: number): Promise<void> {
  await p.establish({ options: ['mss 1000', options].filter(Boolean).join(', '), rtt: RTT })
  await p.app(`write ${segments * 1000}`, Math.min(segments, 10))
}

const DUPLICATE = 'A 1:1 ack 1'
const sacked = (from: number, to: number) => `A 1:1 ack 1 <sack ${from * 1000 + 1}:${to * 1000 + 1}>`

export const LOSS: Situation[] = [
  {
    name: 'three duplicate ACKs, without SACK',
    rule: 'RFC 5681 §3.2',
    async play(p) {
      await flight(p, '', 10)
      await p.quick(DUPLICATE)
      await p.quick(DUPLICATE)
      await p.quick(DUPLICATE)
      await p.quick('A 1:1 ack 10001')
    },
  },
  {
    name: 'two duplicate ACKs with more to send',
    rule: 'RFC 3042: limited transmit',
    async play(p) {
      await flight(p, '', 14)
      await p.quick(DUPLICATE)
      await p.quick(DUPLICATE)
      await p.quick(DUPLICATE)
    },
  },
  {
    name: 'a partial ACK, without SACK',
    rule: 'RFC 6582 §3.2',
    async play(p) {
      await flight(p, '', 10)
      await p.burst(DUPLICATE, DUPLICATE, DUPLICATE)
      await p.quick('A 1:1 ack 3001')
      await p.quick('A 1:1 ack 10001')
    },
  },
  {
    name: 'three duplicate ACKs that bring a window or data',
    rule: 'RFC 5681 §2: no duplicates',
    async play(p) {
      await flight(p, '', 10)
      await p.quick('A 1:1 ack 1 win 50000')
      await p.quick('PA 1:11 ack 1 win 50000')
      await p.quick('A 11:11 ack 1 win 40000')
      await p.quick('A 11:11 ack 1 win 50000')
    },
  },
  {
    name: 'SACK of three segments, one by one',
    rule: 'RFC 6675 §5',
    async play(p) {
      await flight(p, 'sackOK', 10)
      await p.recv(sacked(1, 2))
      await p.quick(sacked(1, 3))
      await p.quick(sacked(1, 4))
      await p.quick('A 1:1 ack 10001')
    },
  },
  {
    name: 'SACK of three segments in one ACK',
    rule: 'RFC 6675 §5: more than DupThresh segments above',
    async play(p) {
      await flight(p, 'sackOK', 10)
      await p.quick(sacked(1, 5))
      await p.quick('A 1:1 ack 10001')
    },
  },
  {
    name: 'two holes in one SACK',
    rule: 'RFC 6675 §5: both go again, nothing else',
    async play(p) {
      await flight(p, 'sackOK', 10)
      await p.quick('A 1:1 ack 1 <sack 3001:10001 1001:2001>')
      await p.quick('A 1:1 ack 2001 <sack 3001:10001>')
      await p.quick('A 1:1 ack 10001')
    },
  },
  {
    name: 'two holes in one SACK, the lower block first',
    rule: 'RFC 6675 §5: both go again, nothing else',
    async play(p) {
      await flight(p, 'sackOK', 10)
      await p.quick('A 1:1 ack 1 <sack 1001:2001 3001:10001>')
      await p.quick('A 1:1 ack 2001 <sack 3001:10001>')
      await p.quick('A 1:1 ack 10001')
    },
  },
  {
    name: 'SACK of what was never sent',
    rule: 'RFC 2018 §8: ignored',
    async play(p) {
      await flight(p, 'sackOK', 10)
      await p.quick('A 1:1 ack 1 <sack 20001:30001>')
      await p.quick('A 1:1 ack 10001')
    },
  },
  {
    name: 'a duplicate ACK that reports a duplicate',
    rule: 'RFC 2883 §5: no sign of loss',
    async play(p) {
      await flight(p, 'sackOK', 10)
      await p.quick('A 1:1 ack 3001')
      await p.burst('A 1:1 ack 3001 <sack 1:1001>', 'A 1:1 ack 3001 <sack 1001:2001>', 'A 1:1 ack 3001 <sack 2001:3001>')
    },
  },
  {
    name: 'nothing is acknowledged of one segment',
    rule: 'RFC 6298 §5.4',
    async play(p) {
      await flight(p, '', 1)
      await p.wait(900, 1)
      await p.recv('A 1:1 ack 1001')
    },
  },
  {
    name: 'nothing is acknowledged of three segments, without SACK',
    rule: 'RFC 6298 §5.4 and §5.5: the first, by itself',
    async play(p) {
      await flight(p, '', 3)
      await p.wait(900, 1)
      await p.quick('A 1:1 ack 1001')
      await p.quick('A 1:1 ack 3001')
    },
  },
  {
    name: 'nothing is acknowledged of three segments, with SACK',
    rule: 'RFC 8985 §7: a probe with the last segment',
    async play(p) {
      await flight(p, 'sackOK', 3)
      await p.wait(900, 1)
      await p.quick('A 1:1 ack 3001')
    },
  },
  {
    name: 'the probe of the tail brings a SACK',
    rule: 'RFC 8985 §7.4',
    async play(p) {
      await flight(p, 'sackOK', 3)
      await p.unrecorded(() => p.wait(900, 1))
      await p.quick('A 1:1 ack 1 <sack 2001:3001>')
      await p.unrecorded(() => p.wait(200))
      await p.quick('A 1:1 ack 3001')
      await p.app('write 100')
    },
  },
  {
    name: 'a write behind a timeout',
    rule: 'RFC 6298 §5',
    async play(p) {
      await flight(p, '', 1)
      await p.wait(900, 1)
      await p.recv('A 1:1 ack 1001')
      await p.app('write 1000', 1)
      await p.recv('A 1:1 ack 2001')
    },
  },
]
