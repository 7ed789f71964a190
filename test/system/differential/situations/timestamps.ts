// Owns: situations of RFC 7323 §3, §4.3 and §5: timestamps, what they echo, PAWS.

import type { Situation } from '../player.js'

const TS = { options: 'mss 1460, ts 1000' }

export const TIMESTAMPS: Situation[] = [
  {
    name: 'data with an old timestamp',
    rule: 'RFC 7323 §5.3 R1: an ACK, no data',
    async play(p) {
      await p.establish(TS)
      await p.recv('PA 1:11 ack 1 <ts 1002>')
      await p.recv('PA 11:21 ack 1 <ts 900>')
      await p.app('read')
      await p.recv('PA 11:21 ack 1 <ts 1002>')
      await p.app('read')
    },
  },
  {
    name: 'an ACK with an old timestamp',
    rule: 'RFC 7323 §5.3 R1: an ACK; nothing is acknowledged',
    async play(p) {
      await p.establish({ ...TS, rtt: 100 })
      await p.app('write 10', 1)
      await p.recv('A 1:1 ack 11 <ts 900>')
      await p.recv('A 1:1 ack 11 <ts 1003>')
    },
  },
  {
    name: 'FIN with an old timestamp',
    rule: 'RFC 7323 §5.3 R1',
    async play(p) {
      await p.establish(TS)
      await p.recv('FA 1:1 ack 1 <ts 900>')
      await p.app('read')
    },
  },
  {
    name: 'RST with an old timestamp',
    rule: 'RFC 7323 §5.2: RSTs are not subject to PAWS',
    async play(p) {
      await p.establish(TS)
      await p.recv('R 1:1 <ts 900>')
      await p.app('read')
    },
  },
  {
    name: 'SYN with an old timestamp',
    rule: 'RFC 7323 §5.3 R1, RFC 5961 §4.2',
    async play(p) {
      await p.establish(TS)
      await p.recv('S 100:100 <mss 1460, ts 900>')
      await p.recv('PA 1:11 ack 1')
    },
  },
  {
    name: 'data without a timestamp where they were agreed on',
    rule: 'RFC 7323 §3.2: should be dropped in silence',
    async play(p) {
      await p.establish(TS)
      await p.recv('PA 1:11 ack 1 <>')
      await p.app('read')
    },
  },
  {
    name: 'RST without a timestamp where they were agreed on',
    rule: 'RFC 7323 §3.2: taken',
    async play(p) {
      await p.establish(TS)
      await p.recv('R 1:1 <>')
      await p.app('read')
    },
  },
  {
    name: 'timestamps nobody agreed on',
    rule: 'RFC 7323 §3.2: ignored',
    async play(p) {
      await p.establish()
      await p.recv('PA 1:11 ack 1 <ts 5>')
      await p.app('read')
    },
  },
  {
    name: 'what an ACK in order echoes',
    rule: 'RFC 7323 §4.3: the earliest unacknowledged segment',
    async play(p) {
      await p.establish(TS)
      const at = await p.converse(1)
      const data = (i: number, ts: number) => `PA ${at + 10 * i}:${at + 10 * i + 10} ack ${at} <ts ${ts}>`
      await p.quick(data(0, 2010))
      await p.quick(data(1, 2020))
      await p.quick(data(2, 2030))
      await p.wait(300)
      await p.recv(data(3, 2040), 250)
    },
  },
  {
    name: 'what an ACK of a gap echoes',
    rule: 'RFC 7323 §4.3 (B) and (C)',
    async play(p) {
      await p.establish({ options: 'mss 1460, sackOK, ts 1000' })
      await p.recv('PA 1:11 ack 1 <ts 1010>')
      await p.recv('PA 21:31 ack 1 <ts 1030>')
      await p.recv('PA 31:41 ack 1 <ts 1040>')
      await p.recv('PA 11:21 ack 1 <ts 1020>')
    },
  },
  {
    name: 'what a duplicate and what lies beyond the window may set',
    rule: 'RFC 7323 §4.3 (2), §5.3 R2 and R3',
    async play(p) {
      await p.establish(TS)
      await p.recv('PA 1:11 ack 1 <ts 1010>')
      await p.recv('PA 1:11 ack 1 <ts 1020>')
      await p.recv('PA E+100:E+110 ack 1 <ts 5000>')
      await p.recv('PA 11:21 ack 1 <ts 1030>')
      await p.app('read')
    },
  },
  {
    name: 'SYN again with a newer timestamp',
    rule: 'RFC 7323 §4.3',
    async play(p) {
      await p.recv('S 0:0 win 65535 <mss 1460, ts 1000>')
      await p.recv('S 0:0 win 65535 <mss 1460, ts 2000>')
      await p.recv('A 1:1 ack 1')
      await p.recv('PA 1:11 ack 1')
    },
  },
  {
    name: 'third segment of the handshake with an old timestamp',
    rule: 'RFC 7323 §5.3 R1',
    async play(p) {
      await p.recv('S 0:0 win 65535 <mss 1460, ts 1000>')
      await p.recv('A 1:1 ack 1 <ts 500 ecr syn>')
      await p.recv('A 1:1 ack 1 <ts 1001 ecr syn>')
      await p.app('accept')
    },
  },
  {
    name: 'third segment of the handshake without a timestamp',
    rule: 'RFC 7323 §3.2',
    async play(p) {
      await p.recv('S 0:0 win 65535 <mss 1460, ts 1000>')
      await p.recv('A 1:1 ack 1 <>')
      await p.app('accept')
    },
  },
]
