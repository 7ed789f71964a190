// Owns: situations of a passive open. RFC 9293 §3.5, §3.7.1, §3.10.7.2 and, for SYN-RECEIVED, §3.10.7.4; RFC 7323 §2 and §3; RFC 2018 §2.

import { ALL_OPTIONS, type Situation } from '../player.js'

const OFFERS: [name: string, options: string][] = [
  ['no option', ''],
  ['MSS alone', 'mss 1000'],
  ['SACK', 'mss 1460, sackOK'],
  ['timestamps', 'mss 1460, ts 0'],
  ['window scale', 'mss 1460, wscale 7'],
  ['every option', ALL_OPTIONS],
  ['an unknown option', 'mss 1460, raw fd0411223344'],
  ['an option cut off', 'mss 1460, raw 080a0000'],
]

export const HANDSHAKE: Situation[] = [
  ...OFFERS.map(
    ([name, options]): Situation => ({
      name: `SYN with ${name}, then data both ways`,
      rule: 'RFC 9293 §3.5, RFC 7323 §2.2 and §3.2, RFC 2018 §2: options only where they were offered',
      async play(p) {
        await p.establish({ options })
        await p.recv('PA 1:101 ack 1')
        await p.app('read')
        await p.app('write 100')
        await p.recv('A 101:101 ack 101')
      },
    }),
  ),
  {
    name: 'SYN with data',
    rule: 'RFC 9293 §3.10.7.2: it may be left to be sent again',
    async play(p) {
      await p.recv('S 0:5 win 65535 <mss 1460>')
      await p.recv('PA 1:6 ack 1')
      await p.app('accept')
      await p.app('read')
    },
  },
  {
    name: 'SYN again',
    rule: 'RFC 9293 §3.8.1: the SYN-ACK was lost',
    async play(p) {
      await p.recv('S 0:0 win 65535 <mss 1460>')
      await p.recv('S 0:0 win 65535 <mss 1460>')
      await p.recv('A 1:1 ack 1')
      await p.app('accept')
    },
  },
  {
    name: 'SYN-ACK lost and nobody repeats the SYN',
    rule: 'RFC 6298 §2: again behind a second',
    async play(p) {
      await p.recv('S 0:0 win 65535 <mss 1460>')
      await p.wait(1400, 1)
      await p.recv('A 1:1 ack 1')
      await p.app('accept')
    },
  },
  {
    name: 'ACK of something else in SYN-RECEIVED',
    rule: 'RFC 9293 §3.10.7.4 fifth: a reset, and the connection stays',
    async play(p) {
      await p.recv('S 0:0 win 65535 <mss 1460>')
      await p.recv('A 1:1 ack 5')
      await p.recv('A 1:1 ack 0')
      await p.recv('A 1:1 ack 1')
      await p.app('accept')
    },
  },
  {
    name: 'RST in SYN-RECEIVED',
    rule: 'RFC 9293 §3.10.7.4 second: back to LISTEN',
    async play(p) {
      await p.recv('S 0:0 win 65535 <mss 1460>')
      await p.recv('R 1:1')
      await p.recv('A 1:1 ack 1')
    },
  },
  {
    name: 'RST beyond the window in SYN-RECEIVED',
    rule: 'RFC 5961 §3.2',
    async play(p) {
      await p.recv('S 0:0 win 65535 <mss 1460>')
      await p.recv('R E+1000:E+1000')
      await p.recv('A 1:1 ack 1')
      await p.app('accept')
    },
  },
  {
    name: 'RST in the window but not exact in SYN-RECEIVED',
    rule: 'RFC 5961 §3.2',
    async play(p) {
      await p.recv('S 0:0 win 65535 <mss 1460>')
      await p.recv('R 1000:1000')
      await p.recv('A 1:1 ack 1')
      await p.app('accept')
    },
  },
  {
    name: 'SYN with another number in SYN-RECEIVED',
    rule: 'RFC 9293 §3.10.7.4 fourth, RFC 5961 §4.2',
    async play(p) {
      await p.recv('S 0:0 win 65535 <mss 1460>')
      await p.recv('S 5000:5000 win 65535 <mss 1460>')
      await p.recv('A 1:1 ack 1')
      await p.app('accept')
    },
  },
  {
    name: 'data with the third segment of the handshake',
    rule: 'RFC 9293 §3.10.7.4 fifth and seventh',
    async play(p) {
      await p.recv('S 0:0 win 65535 <mss 1460>')
      await p.recv('PA 1:101 ack 1')
      await p.app('accept')
      await p.app('read')
    },
  },
  {
    name: 'FIN with the third segment of the handshake',
    rule: 'RFC 9293 §3.10.7.4 eighth',
    async play(p) {
      await p.recv('S 0:0 win 65535 <mss 1460>')
      await p.recv('FA 1:1 ack 1')
      await p.app('accept')
      await p.app('read')
      await p.app('close')
    },
  },
  {
    name: 'text without ACK in SYN-RECEIVED',
    rule: 'RFC 9293 §3.10.7.4 fifth: dropped',
    async play(p) {
      await p.recv('S 0:0 win 65535 <mss 1460>')
      await p.recv('P 1:11')
      await p.recv('PA 1:11 ack 1')
      await p.app('accept')
      await p.app('read')
    },
  },
  {
    name: 'data out of order before the third segment of the handshake',
    rule: 'RFC 9293 §3.10.7.4: its ACK establishes',
    async play(p) {
      await p.recv('S 0:0 win 65535 <mss 1460, sackOK>')
      await p.recv('PA 101:201 ack 1')
      await p.recv('PA 1:101 ack 1')
      await p.app('accept')
      await p.app('read')
    },
  },
  {
    name: 'ECN offered',
    rule: 'RFC 3168 §6.1.1',
    async play(p) {
      await p.recv('SEC 0:0 win 65535 <mss 1460>')
      await p.recv('A 1:1 ack 1')
    },
  },
  ...(['', 'mss 0', 'mss 1', 'mss 100'] as const).map(
    (options): Situation => ({
      name: `longest segment for ${options || 'no MSS option'}`,
      rule: 'RFC 9293 §3.7.1',
      async play(p) {
        await p.establish({ options, rtt: 100 })
        await p.app('write 1200', 30)
        await p.recv('A 1:1 ack 1201')
      },
    }),
  ),
  {
    name: 'longest segment for no MSS option over IPv6',
    rule: 'RFC 9293 §3.7.1: 1220',
    options: { v6: true },
    async play(p) {
      await p.establish({ options: '', rtt: 100 })
      await p.app('write 1300', 2)
      await p.recv('A 1:1 ack 1301')
    },
  },
  {
    name: 'longest segment where timestamps take their 12 bytes',
    rule: 'RFC 6691 §2',
    async play(p) {
      await p.establish({ options: 'mss 1000, ts 0', rtt: 100 })
      await p.app('write 2000', 3)
      await p.recv('A 1:1 ack 2001')
    },
  },
  {
    name: 'window scale 15 counts as 14',
    rule: 'RFC 7323 §2.3',
    async play(p) {
      await p.establish({ options: 'mss 1024, wscale 15', rtt: 100 })
      await p.app('write 10240', 10)
      await p.recv('A 1:1 ack 10241 win 1')
      await p.app('write 20480', 30)
      await p.recv('A 1:1 ack N')
    },
  },
]
