// Owns: situations of the receiving half. RFC 9293 §3.8.6 and §3.10.7.4 first and seventh; RFC 5681 §4.2 (when to ACK); RFC 2018, RFC
// 2883 (SACK).

import type { Player, Situation } from '../player.js'

const SACK = { options: 'mss 1460, sackOK' }

/** Sends what nobody reads until the window has room for `left` bytes; `M` is the peer's next number then. */
async function fill(p: Player, left = 0): Promise<void> {
  await p.unrecorded(async () => {
    let at = 1
    for (let i = 0; i < 200 && p.symbols.E - left > at; i++) {
      const end = Math.min(at + 1460, p.symbols.E - left)
      await p.recv(`PA ${at}:${end} ack 1`, p.symbols.E - left === end ? 60 : 1)
      at = end
    }
    p.mark(at)
  })
}

export const RECEIVING: Situation[] = [
  {
    name: 'the first segment of a connection',
    rule: 'RFC 9293 §3.8.6.3: an ACK may be delayed',
    async play(p) {
      await p.establish()
      await p.quick('PA 1:101 ack 1')
      await p.wait(100)
    },
  },
  {
    name: 'a small segment in a conversation',
    rule: 'RFC 9293 §3.8.6.3: its ACK is delayed',
    async play(p) {
      await p.establish()
      p.mark(await p.converse(1))
      await p.quick('PA M:M+10 ack N')
      await p.wait(300)
    },
  },
  {
    name: 'an answer to a small segment',
    rule: 'RFC 9293 §3.8.6.3: the ACK travels with it',
    async play(p) {
      await p.establish()
      p.mark(await p.converse(1))
      await p.quick('PA M:M+10 ack N')
      await p.app('write 10')
    },
  },
  {
    name: 'full segments in a conversation',
    rule: 'RFC 5681 §4.2: every second one',
    async play(p) {
      await p.establish()
      p.mark(await p.converse(1))
      await p.burst('A M:M+1460 ack N', 'A M+1460:M+2920 ack N', 'A M+2920:M+4380 ack N', 'A M+4380:M+5840 ack N')
      await p.quick('A M+5840:M+7300 ack N')
      await p.wait(300)
    },
  },
  {
    name: 'a gap and its filling, without SACK',
    rule: 'RFC 5681 §4.2: at once',
    async play(p) {
      await p.establish()
      await p.quick('PA 101:201 ack 1')
      await p.quick('PA 201:301 ack 1')
      await p.quick('PA 1:101 ack 1')
      await p.app('read')
    },
  },
  {
    name: 'a gap and its filling, with SACK',
    rule: 'RFC 2018 §4',
    async play(p) {
      await p.establish(SACK)
      await p.quick('PA 101:201 ack 1')
      await p.quick('PA 201:301 ack 1')
      await p.quick('PA 1:101 ack 1')
      await p.app('read')
    },
  },
  {
    name: 'segments out of order back to back',
    rule: 'RFC 5681 §4.2: a duplicate ACK each',
    async play(p) {
      await p.establish(SACK)
      await p.burst('PA 101:201 ack 1', 'PA 201:301 ack 1', 'PA 301:401 ack 1', 'PA 401:501 ack 1')
      await p.recv('PA 1:101 ack 1')
      await p.app('read')
    },
  },
  {
    name: 'five gaps',
    rule: 'RFC 2018 §3 and §4: four blocks, the newest first',
    async play(p) {
      await p.establish(SACK)
      for (const at of [201, 401, 601, 801, 1001]) await p.quick(`PA ${at}:${at + 100} ack 1`)
      await p.quick('PA 501:601 ack 1')
      await p.quick('PA 1:201 ack 1')
      await p.app('read')
    },
  },
  {
    name: 'five gaps, with timestamps',
    rule: 'RFC 2018 §3: room for three blocks',
    async play(p) {
      await p.establish({ options: 'mss 1460, sackOK, ts 0' })
      for (const at of [201, 401, 601, 801, 1001]) await p.quick(`PA ${at}:${at + 100} ack 1`)
    },
  },
  {
    name: 'a gap over IPv6',
    rule: 'RFC 2018 §4',
    options: { v6: true },
    async play(p) {
      await p.establish(SACK)
      await p.quick('PA 101:201 ack 1')
      await p.quick('PA 1:101 ack 1')
      await p.app('read')
    },
  },
  {
    name: 'overlapping segments',
    rule: 'RFC 9293 §3.10.7.4 seventh',
    async play(p) {
      await p.establish(SACK)
      await p.recv('PA 1:101 ack 1')
      await p.recv('PA 51:151 ack 1')
      await p.app('read')
    },
  },
  {
    name: 'overlapping segments out of order',
    rule: 'RFC 9293 §3.10.7.4 seventh, RFC 2883 §4',
    async play(p) {
      await p.establish(SACK)
      await p.recv('PA 101:201 ack 1')
      await p.recv('PA 151:301 ack 1')
      await p.recv('PA 1:401 ack 1')
      await p.app('read')
    },
  },
  {
    name: 'a duplicate, without SACK',
    rule: 'RFC 9293 §3.10.7.4 first',
    async play(p) {
      await p.establish()
      await p.recv('PA 1:101 ack 1')
      await p.quick('PA 1:101 ack 1')
      await p.app('read')
    },
  },
  {
    name: 'a duplicate, with SACK',
    rule: 'RFC 2883 §4.1: reported once',
    async play(p) {
      await p.establish(SACK)
      await p.recv('PA 1:101 ack 1')
      await p.quick('PA 1:101 ack 1')
      await p.recv('PA 101:201 ack 1')
      await p.app('read')
    },
  },
  {
    name: 'a duplicate of what is out of order',
    rule: 'RFC 2883 §4.2',
    async play(p) {
      await p.establish(SACK)
      await p.quick('PA 101:201 ack 1')
      await p.quick('PA 101:201 ack 1')
    },
  },
  {
    name: 'text at the right edge of the window',
    rule: 'RFC 9293 §3.10.7.4 first: an ACK',
    async play(p) {
      await p.establish(SACK)
      await p.recv('PA E:E+10 ack 1')
    },
  },
  {
    name: 'text beyond the window',
    rule: 'RFC 9293 §3.10.7.4 first: an ACK',
    async play(p) {
      await p.establish(SACK)
      await p.recv('PA E+1000:E+1010 ack 1')
      await p.recv('PA 1:101 ack 1')
      await p.app('read')
    },
  },
  {
    name: 'an ACK beyond the window',
    rule: 'RFC 9293 §3.10.7.4 first: an ACK',
    async play(p) {
      await p.establish()
      await p.recv('A E+1000:E+1000 ack 1')
    },
  },
  {
    name: 'text of which the end lies beyond the window',
    rule: 'RFC 9293 §3.10.7.4 first: trimmed to the window',
    options: { rcvBuf: 8192 },
    async play(p) {
      await p.establish()
      await fill(p, 100)
      await p.recv('PA M:M+110 ack 1')
      await p.recv('PA M:M+100 ack 1')
    },
  },
  {
    name: 'a window that is full, and probes',
    rule: 'RFC 9293 §3.8.6.1: each is answered',
    options: { rcvBuf: 8192 },
    async play(p) {
      await p.establish()
      await fill(p)
      await p.recv('A M-1:M-1 ack 1')
      await p.wait(600)
      await p.recv('PA M:M+1 ack 1')
    },
  },
  {
    name: 'RST at a window that is full',
    rule: 'RFC 9293 §3.10.7.4 first: valid RSTs are taken all the same',
    options: { rcvBuf: 8192 },
    async play(p) {
      await p.establish()
      await fill(p)
      await p.recv('R M:M')
      await p.recv('A M:M ack 1')
    },
  },
  {
    name: 'an ACK at a window that is full',
    rule: 'RFC 9293 §3.10.7.4 first: valid ACKs are taken all the same',
    options: { rcvBuf: 8192 },
    async play(p) {
      await p.establish()
      await fill(p)
      await p.app('write 10')
      await p.recv('A M:M ack 11')
      await p.wait(400)
    },
  },
  {
    name: 'a window that was full is read',
    rule: 'RFC 9293 §3.8.6.2.2: the news is told at once',
    options: { rcvBuf: 8192 },
    async play(p) {
      await p.establish()
      await fill(p)
      await p.app('read')
      await p.recv('PA M:M+10 ack 1')
    },
  },
  {
    name: 'a keepalive probe',
    rule: 'RFC 9293 §3.8.4',
    async play(p) {
      await p.establish()
      await p.recv('A 0:0 ack 1')
      await p.recv('PA 1:101 ack 1')
      await p.recv('A 100:101 ack 1')
    },
  },
  {
    name: 'text without ACK',
    rule: 'RFC 9293 §3.10.7.4 fifth: dropped',
    async play(p) {
      await p.establish()
      await p.recv('P 1:11')
      await p.recv('- 1:11')
      await p.recv('PA 1:11 ack 1')
      await p.app('read')
    },
  },
  {
    name: 'urgent data in line',
    rule: 'RFC 6093 §3',
    async play(p) {
      await p.establish()
      await p.app('oobinline')
      await p.recv('UPA 1:11 ack 1 urg 5')
      await p.recv('UPA 11:21 ack 1 urg 100')
      await p.recv('PA 21:31 ack 1')
      await p.app('read')
    },
  },
  {
    name: 'urgent data, the application has asked for nothing',
    rule: 'RFC 6093 §3',
    async play(p) {
      await p.establish()
      await p.recv('UPA 1:11 ack 1 urg 5')
      await p.app('read')
    },
  },
  {
    name: 'reserved bits and a congestion mark nobody agreed on',
    rule: 'RFC 9293 §3.1, RFC 3168 §6.1',
    async play(p) {
      await p.establish()
      await p.recv('PAEC 1:11 ack 1')
      await p.app('read')
    },
  },
]
