// Owns: situations of an active open. RFC 9293 §3.10.7.3 (SYN-SENT), figure 7 (simultaneous open).

import type { Situation } from '../player.js'

export const ACTIVE_OPEN: Situation[] = [
  {
    name: 'connect, with every option agreed on',
    rule: 'RFC 9293 §3.10.7.3',
    async play(p) {
      await p.app('connect')
      await p.recv('SA 0:0 ack 1 win 65535 <mss 1460, sackOK, ts 0, wscale 7>')
      await p.app('write 100')
      await p.recv('PA 1:101 ack 101')
      await p.app('read')
    },
  },
  {
    name: 'connect, with no option agreed on',
    rule: 'RFC 7323 §2.2 and §3.2',
    async play(p) {
      await p.app('connect')
      await p.recv('SA 0:0 ack 1 win 65535 <>')
      await p.app('write 600', 2)
      await p.recv('PA 1:101 ack 601')
      await p.app('read')
    },
  },
  {
    name: 'connect, refused',
    rule: 'RFC 9293 §3.10.7.3 second',
    async play(p) {
      await p.app('connect')
      await p.recv('RA 0:0 ack 1')
      await p.app('read')
    },
  },
  {
    name: 'RST without ACK in SYN-SENT',
    rule: 'RFC 9293 §3.10.7.3 second: dropped',
    async play(p) {
      await p.app('connect')
      await p.recv('R 0:0')
      await p.recv('RA 0:0 ack 5')
      await p.recv('SA 0:0 ack 1 win 65535 <mss 1460>')
      await p.app('write 10')
    },
  },
  {
    name: 'SYN-ACK of something else in SYN-SENT',
    rule: 'RFC 9293 §3.10.7.3 first: a reset',
    async play(p) {
      await p.app('connect')
      await p.recv('SA 0:0 ack 1000 win 65535 <mss 1460>')
      await p.recv('SA 0:0 ack 0 win 65535 <mss 1460>')
      await p.recv('SA 0:0 ack 1 win 65535 <mss 1460>')
    },
  },
  {
    name: 'ACK alone in SYN-SENT',
    rule: 'RFC 9293 §3.10.7.3: a stale connection of the peer; the right number is dropped, a wrong one reset',
    async play(p) {
      await p.app('connect')
      await p.recv('A 500:500 ack 700')
      await p.recv('A 500:500 ack 1')
      await p.recv('SA 0:0 ack 1 win 65535 <mss 1460>')
    },
  },
  {
    name: 'FIN, and nothing at all, in SYN-SENT',
    rule: 'RFC 9293 §3.10.7.3 fifth: dropped',
    async play(p) {
      await p.app('connect')
      await p.recv('F 0:0')
      await p.recv('- 0:0')
      await p.recv('SA 0:0 ack 1 win 65535 <mss 1460>')
    },
  },
  {
    name: 'simultaneous open, their ACK comes alone',
    rule: 'RFC 9293 figure 7',
    async play(p) {
      await p.app('connect')
      await p.recv('S 0:0 win 65535 <mss 1460>')
      await p.recv('A 1:1 ack 1')
      await p.recv('PA 1:101 ack 1')
      await p.app('read')
    },
  },
  {
    name: 'simultaneous open, their SYN-ACK comes',
    rule: 'RFC 9293 figure 7',
    async play(p) {
      await p.app('connect')
      await p.recv('S 0:0 win 65535 <mss 1460, sackOK, ts 0, wscale 7>')
      await p.recv('SA 0:0 ack 1 win 65535 <mss 1460, sackOK, ts 1, wscale 7>')
      await p.recv('PA 1:101 ack 1')
      await p.app('read')
    },
  },
  {
    name: 'RST in SYN-RECEIVED of a simultaneous open',
    rule: 'RFC 9293 §3.10.7.4 second: refused',
    async play(p) {
      await p.app('connect')
      await p.recv('S 0:0 win 65535 <mss 1460>')
      await p.recv('R 1:1')
      await p.app('read')
    },
  },
  {
    name: 'SYN-ACK with data',
    rule: 'RFC 9293 §3.10.7.3 fourth',
    async play(p) {
      await p.app('connect')
      await p.recv('SA 0:10 ack 1 win 65535 <mss 1460>')
      await p.recv('PA 1:11 ack 1')
      await p.app('read')
    },
  },
  {
    name: 'our SYN lost',
    rule: 'RFC 6298 §2: again behind a second',
    async play(p) {
      await p.app('connect')
      await p.wait(1400, 1)
      await p.recv('SA 0:0 ack 1 win 65535 <mss 1460>')
    },
  },
  {
    name: 'connect over IPv6',
    rule: 'RFC 9293 §3.10.7.3',
    options: { v6: true },
    async play(p) {
      await p.app('connect')
      await p.recv('SA 0:0 ack 1 win 65535 <mss 1440, sackOK, ts 0, wscale 7>')
      await p.app('write 100')
    },
  },
]
