// Owns: situations of the end of a connection, all but TIME-WAIT. RFC 9293 §3.6, §3.10.4, §3.10.5 and §3.10.7.4 eighth; RFC 2525 §2.17.

import type { Player, Situation } from '../player.js'

const established = (name: string, rule: string, play: (p: Player) => Promise<void>): Situation => ({
  name,
  rule,
  async play(p) {
    await p.establish()
    await play(p)
  },
})

export const CLOSING: Situation[] = [
  established('the peer ends first', 'RFC 9293 §3.6 case 2', async p => {
    await p.recv('FA 1:1 ack 1')
    await p.app('read')
    await p.app('close')
    await p.recv('A 2:2 ack 2')
    await p.recv('A 2:2 ack 2')
  }),
  established('we end first', 'RFC 9293 §3.6 case 1', async p => {
    await p.app('close')
    await p.recv('A 1:1 ack 2')
    await p.recv('FA 1:1 ack 2')
    await p.recv('FA 1:1 ack 2')
  }),
  established('we end first and the FIN comes with the ACK', 'RFC 9293 §3.10.7.4 eighth, FIN-WAIT-1', async p => {
    await p.app('close')
    await p.recv('FA 1:1 ack 2')
  }),
  established('both end at once', 'RFC 9293 §3.6 case 3, figure 13', async p => {
    await p.app('close')
    await p.recv('FA 1:1 ack 1')
    await p.recv('A 2:2 ack 2')
    await p.recv('FA 1:1 ack 2')
  }),
  established('a FIN again in CLOSING', 'RFC 9293 §3.10.7.4 eighth', async p => {
    await p.app('close')
    await p.recv('FA 1:1 ack 1')
    await p.recv('FA 1:1 ack 1')
  }),
  established('FIN with data', 'RFC 9293 §3.10.7.4 eighth', async p => {
    await p.recv('FPA 1:11 ack 1', 250)
    await p.app('read')
    await p.app('read')
  }),
  established('FIN out of order', 'RFC 9293 §3.10.7.4 eighth', async p => {
    await p.recv('FPA 11:21 ack 1')
    await p.app('read')
    await p.recv('PA 1:11 ack 1')
    await p.app('read')
  }),
  {
    name: 'FIN out of order, with SACK',
    rule: 'RFC 2018 §4: the FIN counts',
    async play(p) {
      await p.establish({ options: 'mss 1460, sackOK' })
      await p.recv('FPA 11:21 ack 1')
      await p.recv('PA 1:11 ack 1')
      await p.app('read')
    },
  },
  established('FIN alone out of order', 'RFC 9293 §3.10.7.4 eighth', async p => {
    await p.recv('FA 11:11 ack 1')
    await p.recv('PA 1:11 ack 1')
    await p.app('read')
  }),
  established('FIN again in CLOSE-WAIT', 'RFC 9293 §3.10.7.4 eighth', async p => {
    await p.recv('FA 1:1 ack 1')
    await p.recv('FA 1:1 ack 1')
    await p.app('read')
  }),
  established('data behind the FIN', 'RFC 9293 §3.10.7.4 seventh: ignored', async p => {
    await p.recv('FA 1:1 ack 1')
    await p.recv('PA 2:12 ack 1')
    await p.app('read')
  }),
  established('an earlier FIN than the one before', 'RFC 9293 §3.10.7.4 eighth', async p => {
    await p.recv('FPA 11:21 ack 1')
    await p.recv('FPA 1:6 ack 1')
    await p.app('read')
  }),
  established('half-closed, the peer goes on', 'RFC 9293 §3.6: FIN-WAIT-2 receives', async p => {
    await p.app('shutdown')
    await p.recv('A 1:1 ack 2')
    await p.recv('PA 1:101 ack 2')
    await p.app('read')
    await p.recv('FPA 101:201 ack 2')
    await p.app('read')
    await p.recv('FPA 101:201 ack 2')
  }),
  established('half-closed, data comes before the FIN is acknowledged', 'RFC 9293 §3.10.7.4 seventh: FIN-WAIT-1', async p => {
    await p.app('shutdown')
    await p.recv('PA 1:101 ack 1')
    await p.app('read')
    await p.recv('A 101:101 ack 2')
  }),
  established('half-closed by the peer, we go on', 'RFC 9293 §3.6: CLOSE-WAIT sends', async p => {
    await p.recv('FA 1:1 ack 1')
    await p.app('write 100')
    await p.recv('A 2:2 ack 101')
    await p.app('close')
    await p.recv('A 2:2 ack 102')
    await p.recv('A 2:2 ack 102')
  }),
  established('data behind a close, in FIN-WAIT-1', 'RFC 9293 §3.6.1: a reset', async p => {
    await p.app('close')
    await p.recv('PA 1:11 ack 1')
    await p.recv('PA 11:21 ack 1')
  }),
  established('data behind a close, in FIN-WAIT-2', 'RFC 9293 §3.6.1: a reset', async p => {
    await p.app('close')
    await p.recv('A 1:1 ack 2')
    await p.recv('PA 1:11 ack 2')
    await p.recv('PA 11:21 ack 2')
  }),
  established('data and FIN behind a close', 'RFC 9293 §3.6.1: a reset', async p => {
    await p.app('close')
    await p.recv('A 1:1 ack 2')
    await p.recv('FPA 1:11 ack 2')
    await p.recv('A 12:12 ack 2')
  }),
  established('data out of order behind a close', 'RFC 9293 §3.6.1: a reset', async p => {
    await p.app('close')
    await p.recv('A 1:1 ack 2')
    await p.recv('PA 101:111 ack 2')
    await p.recv('A 1:1 ack 2')
  }),
  established('old data behind a close', 'RFC 9293 §3.10.7.4 first: an ACK', async p => {
    await p.recv('PA 1:11 ack 1')
    await p.app('read')
    await p.app('close')
    await p.recv('PA 1:11 ack 1')
    await p.recv('A 11:11 ack 2')
  }),
  established('close with data unread', 'RFC 2525 §2.17: a reset', async p => {
    await p.recv('PA 1:11 ack 1')
    await p.app('close')
    await p.recv('PA 11:21 ack 1')
  }),
  established('close with data and FIN unread', 'RFC 2525 §2.17: a reset', async p => {
    await p.recv('FPA 1:11 ack 1')
    await p.app('close')
    await p.recv('A 12:12 ack 1')
  }),
  established('abort', 'RFC 9293 §3.10.5', async p => {
    await p.app('abort')
    await p.recv('A 1:1 ack 1')
  }),
  established('abort in CLOSE-WAIT', 'RFC 9293 §3.10.5', async p => {
    await p.recv('FA 1:1 ack 1')
    await p.app('abort')
    await p.recv('A 2:2 ack 1')
  }),
  {
    name: 'abort with data in flight and more queued',
    rule: 'RFC 9293 §3.10.5: <SEQ=SND.NXT>',
    async play(p) {
      await p.establish({ win: 100, rtt: 100 })
      await p.app('write 300', 1)
      await p.app('abort')
    },
  },
  {
    name: 'abort with timestamps',
    rule: 'RFC 7323 §3.2: a RST may carry them',
    async play(p) {
      await p.establish({ options: 'mss 1460, ts 0' })
      await p.app('abort')
    },
  },
  {
    name: 'close with data queued',
    rule: 'RFC 9293 §3.10.4: the FIN follows it',
    async play(p) {
      await p.establish({ options: 'mss 1000', win: 2000, rtt: 100 })
      await p.app('write 2500', 2)
      await p.app('close', 0)
      await p.recv('A 1:1 ack 2001 win 2000')
      await p.recv('A 1:1 ack 2502')
      await p.recv('FA 1:1 ack 2502')
    },
  },
  established('our FIN lost', 'RFC 6298: sent again', async p => {
    await p.app('close')
    await p.wait(600, 1)
    await p.recv('A 1:1 ack 2')
  }),
  established('an ACK of what was never sent in FIN-WAIT-1', 'RFC 9293 §3.10.7.4 fifth', async p => {
    await p.app('close')
    await p.recv('A 1:1 ack 100')
    await p.recv('A 1:1 ack 2')
  }),
  established('RST in FIN-WAIT-1', 'RFC 9293 §3.10.7.4 second', async p => {
    await p.app('close')
    await p.recv('R 1:1')
    await p.recv('A 1:1 ack 2')
  }),
  established('RST in FIN-WAIT-2', 'RFC 9293 §3.10.7.4 second', async p => {
    await p.app('close')
    await p.recv('A 1:1 ack 2')
    await p.recv('R 1:1')
    await p.recv('A 1:1 ack 2')
  }),
  established('RST in LAST-ACK', 'RFC 9293 §3.10.7.4 second', async p => {
    await p.recv('FA 1:1 ack 1')
    await p.app('close')
    await p.recv('R 2:2')
    await p.recv('A 2:2 ack 2')
  }),
  established('RST in CLOSING', 'RFC 9293 §3.10.7.4 second', async p => {
    await p.app('close')
    await p.recv('FA 1:1 ack 1')
    await p.recv('R 2:2')
    await p.recv('A 2:2 ack 2')
  }),
  established('SYN in LAST-ACK', 'RFC 5961 §4.2', async p => {
    await p.recv('FA 1:1 ack 1')
    await p.app('close')
    await p.recv('S 5000:5000 win 65535 <mss 1460>')
  }),
  established('SYN in FIN-WAIT-2', 'RFC 5961 §4.2', async p => {
    await p.app('close')
    await p.recv('A 1:1 ack 2')
    await p.recv('S 100:100 win 65535 <mss 1460>')
  }),
]
