// Owns: situations of the sending half without loss: segmentation, Nagle, windows. RFC 9293 §3.7, §3.8.6; RFC 6928.

import type { Situation } from '../player.js'

const RTT = 100 // ms: so that no timer of the subject runs out in the middle of a step

export const SENDING: Situation[] = [
  {
    name: 'a write of less than a segment',
    rule: 'RFC 9293 §3.9.1.2: PSH',
    async play(p) {
      await p.establish({ rtt: RTT })
      await p.app('write 100')
      await p.recv('A 1:1 ack 101')
    },
  },
  {
    name: 'a write of two and a half segments',
    rule: 'RFC 9293 §3.9.1.2: PSH on the last',
    async play(p) {
      await p.establish({ options: 'mss 1000', rtt: RTT })
      await p.app('write 2500', 3)
      await p.recv('A 1:1 ack 2501')
    },
  },
  {
    name: 'Nagle',
    rule: 'RFC 9293 §3.7.4: one small segment in flight',
    async play(p) {
      await p.establish({ rtt: RTT })
      await p.app('nodelay 0', 0)
      await p.app('write 100')
      await p.app('write 100')
      await p.app('write 100')
      await p.recv('A 1:1 ack 101')
      await p.recv('A 1:1 ack 301')
    },
  },
  {
    name: 'Nagle, with a full segment to send',
    rule: 'RFC 9293 §3.7.4',
    async play(p) {
      await p.establish({ options: 'mss 1000', rtt: RTT })
      await p.app('nodelay 0', 0)
      await p.app('write 100')
      await p.app('write 1500')
      await p.recv('A 1:1 ack N')
      await p.recv('A 1:1 ack 1601')
    },
  },
  {
    name: 'Nagle, and the FIN',
    rule: 'RFC 9293 §3.7.4',
    async play(p) {
      await p.establish({ rtt: RTT })
      await p.app('nodelay 0', 0)
      await p.app('write 100')
      await p.app('write 100')
      await p.app('shutdown')
    },
  },
  {
    name: 'no Nagle',
    rule: 'RFC 9293 §3.7.4: it can be turned off',
    async play(p) {
      await p.establish({ rtt: RTT })
      await p.app('write 100', 1)
      await p.app('write 100', 1)
      await p.recv('A 1:1 ack 201')
    },
  },
  {
    name: 'the initial window',
    rule: 'RFC 6928 §2: ten segments',
    async play(p) {
      await p.establish({ rtt: RTT })
      await p.app('write 29200', 30)
    },
  },
  {
    name: 'slow start',
    rule: 'RFC 5681 §3.1: a segment more for each acknowledged',
    async play(p) {
      await p.establish({ options: 'mss 1000', rtt: RTT })
      await p.app('write 30000', 10)
      await p.recv('A 1:1 ack 2001')
      await p.recv('A 1:1 ack 4001')
    },
  },
  {
    name: 'a window smaller than what is to be sent',
    rule: 'RFC 9293 §3.8.6',
    async play(p) {
      await p.establish({ options: 'mss 1000', win: 2000, rtt: RTT })
      await p.app('write 5000', 2)
      await p.recv('A 1:1 ack 2001 win 2000')
      await p.recv('A 1:1 ack 4001 win 2000')
      await p.recv('A 1:1 ack 5001 win 2000')
    },
  },
  {
    name: 'a window smaller than a segment',
    rule: 'RFC 9293 §3.8.6.2.1 (3): half of the largest window',
    async play(p) {
      await p.establish({ options: 'mss 1000', win: 500, rtt: RTT })
      await p.app('write 1200', 1)
      await p.recv('A 1:1 ack 501 win 500')
      await p.recv('A 1:1 ack 1001 win 500')
    },
  },
  {
    name: 'a window of one segment',
    rule: 'RFC 9293 §3.8.6.2.1',
    async play(p) {
      await p.establish({ options: 'mss 1000', win: 1000, rtt: RTT })
      await p.app('write 2000')
      await p.recv('A 1:1 ack 1001 win 1000')
      await p.recv('A 1:1 ack 2001 win 1000')
    },
  },
  {
    name: 'a silly window',
    rule: 'RFC 9293 §3.8.6.2.1: not filled at once',
    async play(p) {
      await p.establish({ options: 'mss 1000', win: 4000, rtt: RTT })
      await p.app('write 10000', 4)
      await p.recv('A 1:1 ack 4001 win 100')
      await p.recv('A 1:1 ack 4001 win 4000')
    },
  },
  {
    name: 'a silly window, in which time goes by',
    rule: 'RFC 9293 §3.8.6.2.1 (4): an override timer',
    async play(p) {
      await p.establish({ options: 'mss 1000', win: 4000, rtt: RTT })
      await p.app('write 10000', 4)
      await p.recv('A 1:1 ack 4001 win 100')
      await p.wait(900, 1)
      await p.recv('A 1:1 ack N win 2000')
    },
  },
  {
    name: 'a window closed from the beginning',
    rule: 'RFC 9293 §3.8.6.1: a probe, and on when it opens',
    async play(p) {
      await p.establish({ win: 0, rtt: RTT })
      await p.app('write 100')
      await p.wait(900, 1)
      await p.recv('A 1:1 ack 1 win 0')
      await p.recv('A 1:1 ack 1 win 5000')
      await p.recv('A 1:1 ack 101')
    },
  },
  {
    name: 'a window that closes and opens',
    rule: 'RFC 9293 §3.8.6',
    async play(p) {
      await p.establish({ options: 'mss 1000', win: 3000, rtt: RTT })
      await p.app('write 5000', 3)
      await p.recv('A 1:1 ack 3001 win 0')
      await p.recv('A 1:1 ack 3001 win 5000')
      await p.recv('A 1:1 ack 5001')
    },
  },
  {
    name: 'a window shrunk below what is in flight',
    rule: 'RFC 9293 §3.8.6 SHLD-16: nothing new, no less',
    async play(p) {
      await p.establish({ options: 'mss 1000', win: 4000, rtt: RTT })
      await p.app('write 8000', 4)
      await p.recv('A 1:1 ack 1001 win 1000')
      await p.recv('A 1:1 ack 4001 win 4000')
    },
  },
  {
    name: 'an old window',
    rule: 'RFC 9293 §3.10.7.4 fifth: SND.WL1 and SND.WL2',
    async play(p) {
      await p.establish({ options: 'mss 1000', win: 0, rtt: RTT })
      await p.recv('PA 1:11 ack 1 win 0')
      await p.app('write 1000')
      await p.recv('A 1:1 ack 1 win 5000')
      await p.recv('A 11:11 ack 1 win 5000')
    },
  },
  {
    name: 'a FIN into a closed window',
    rule: 'RFC 9293 §3.8.6.1',
    async play(p) {
      await p.establish({ win: 0, rtt: RTT })
      await p.app('shutdown')
      await p.recv('A 1:1 ack 1 win 0')
      await p.recv('A 1:1 ack 1 win 1000')
    },
  },
  {
    name: 'a scaled window',
    rule: 'RFC 7323 §2.3',
    async play(p) {
      await p.establish({ options: 'mss 1000, wscale 3', win: 250, rtt: RTT })
      await p.app('write 5000', 2)
      await p.recv('A 1:1 ack 2001 win 375')
    },
  },
  {
    name: 'a smaller window and nothing else new',
    rule: 'RFC 9293 §3.10.7.4 fifth: SND.WL1 = SEG.SEQ and SND.WL2 =< SEG.ACK',
    async play(p) {
      await p.establish({ options: 'mss 1000', win: 5000, rtt: RTT })
      await p.recv('A 1:1 ack 1 win 2000')
      await p.app('write 5000', 5)
      await p.recv('A 1:1 ack N win 5000')
    },
  },
  {
    name: 'the rest of a window, smaller than a segment',
    rule: 'RFC 9293 §3.8.6.2.1',
    async play(p) {
      await p.establish({ options: 'mss 1000', win: 2300, rtt: RTT })
      await p.app('write 5000', 3)
      await p.recv('A 1:1 ack N win 2300')
    },
  },
]
