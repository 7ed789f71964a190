// Owns: situations a blind attacker or a peer gone mad makes: resets, SYNs and ACKs that fit or do not. RFC 5961 §3, §4, §5; RFC 9293
// §3.10.7.4.

import type { Situation } from '../player.js'

const probe = 'PA 1:11 ack 1'

/** One segment at an established connection, then whether it lives. */
const one = (name: string, rule: string, ...lines: string[]): Situation => ({
  name,
  rule,
  async play(p) {
    await p.establish({ options: 'mss 1460, sackOK' })
    for (const line of lines) await p.recv(line)
    await p.recv(probe)
    await p.app('read')
  },
})

export const ATTACKS: Situation[] = [
  one('RST with the exact number', 'RFC 5961 §3.2', 'R 1:1'),
  one('RST and ACK with the exact number', 'RFC 5961 §3.2', 'RA 1:1 ack 1'),
  one('RST with the exact number and an ACK never due', 'RFC 9293 §3.10.7.4 second comes before fifth', 'RA 1:1 ack 9999'),
  one('RST with text', 'RFC 9293 §3.10.7.4 second', 'R 1:11'),
  one('RST in the window', 'RFC 5961 §3.2: a challenge ACK', 'R 100:100'),
  one('RST at the right edge of the window', 'RFC 5961 §3.2', 'R E:E'),
  one('RST at the last number of the window', 'RFC 5961 §3.2', 'R E-1:E-1'),
  one('RST beyond the window', 'RFC 5961 §3.2: dropped', 'R E+1:E+1'),
  one('RST behind the window', 'RFC 5961 §3.2: dropped', 'R 0:0'),
  one('SYN in the window', 'RFC 5961 §4.2: a challenge ACK', 'S 100:100'),
  one('SYN with the exact number', 'RFC 5961 §4.2: a challenge ACK', 'S 1:1'),
  one('SYN beyond the window', 'RFC 5961 §4.2: a challenge ACK', 'S E+1000:E+1000'),
  one('the SYN of this connection again', 'RFC 5961 §4.2: a challenge ACK', 'S 0:0 win 65535 <mss 1460, sackOK>'),
  one('SYN and ACK in the window', 'RFC 5961 §4.2: a challenge ACK', 'SA 100:100 ack 1'),
  one('SYN and RST in the window', 'RFC 5961 §3.2', 'SR 100:100'),
  one('SYN with text and the exact number', 'RFC 5961 §4.2: a challenge ACK, no data', 'S 1:11'),
  one('two SYNs in the window', 'RFC 5961 §7: throttled', 'S 100:100', 'S 200:200'),
  one('two RSTs in the window', 'RFC 5961 §7: throttled', 'R 100:100', 'R 200:200'),
  one('an ACK of what was never sent', 'RFC 9293 §3.10.7.4 fifth: an ACK', 'A 1:1 ack 1000'),
  one('data with an ACK of what was never sent', 'RFC 9293 §3.10.7.4 fifth: an ACK, no data', 'PA 1:11 ack 1000'),
  one('FIN with an ACK of what was never sent', 'RFC 9293 §3.10.7.4 fifth: an ACK, no FIN', 'FA 1:1 ack 1000'),
  one('an ACK far too old', 'RFC 5961 §5.2: a challenge ACK', 'A 1:1 ack -100000'),
  one('data with an ACK far too old', 'RFC 5961 §5.2: a challenge ACK, no data', 'PA 1:11 ack -100000'),
  one('an ACK a little old', 'RFC 5961 §5.2: nothing', 'A 1:1 ack -1000'),
  one('data with an ACK a little old', 'RFC 5961 §5.2: data is taken', 'PA 1:11 ack -1000'),
  {
    name: 'RST at the edge of what is out of order',
    rule: 'RFC 5961 §3.2; a Linux invention: the RST of a peer whose data was lost',
    async play(p) {
      await p.establish({ options: 'mss 1460, sackOK' })
      await p.recv('PA 101:201 ack 1')
      await p.recv('R 201:201')
      await p.recv('PA 1:101 ack 1')
      await p.app('read')
    },
  },
  {
    name: 'RST with data waiting to be read',
    rule: 'RFC 9293 §3.10.7.4 second',
    async play(p) {
      await p.establish()
      await p.recv('PA 1:101 ack 1')
      await p.recv('R 101:101')
      await p.app('read')
      await p.app('read')
    },
  },
  {
    name: 'RST in CLOSE-WAIT',
    rule: 'RFC 9293 §3.10.7.4 second',
    async play(p) {
      await p.establish()
      await p.recv('FA 1:1 ack 1')
      await p.recv('R 2:2')
      await p.app('write 10')
      await p.recv('A 2:2 ack 1')
    },
  },
  {
    name: 'RST with the number of the FIN in CLOSE-WAIT',
    rule: 'RFC 5961 §3.2; Linux takes it, for a peer that does not count its FIN',
    async play(p) {
      await p.establish()
      await p.recv('FA 1:1 ack 1')
      await p.recv('R 1:1')
      await p.recv('A 2:2 ack 1')
      await p.app('write 10')
    },
  },
  {
    name: 'an ACK of what was never sent in CLOSE-WAIT',
    rule: 'RFC 9293 §3.10.7.4 fifth',
    async play(p) {
      await p.establish()
      await p.recv('FA 1:1 ack 1')
      await p.recv('A 2:2 ack 1000')
      await p.app('write 10')
    },
  },
  {
    name: 'SYN in CLOSE-WAIT',
    rule: 'RFC 5961 §4.2',
    async play(p) {
      await p.establish()
      await p.recv('FA 1:1 ack 1')
      await p.recv('S 5000:5000 win 65535 <mss 1460>')
      await p.app('write 10')
    },
  },
]
