// Owns: situations in TIME-WAIT. RFC 9293 §3.10.7.4 as far as it concerns it, RFC 6191 (a new connection), RFC 1337 (a reset).

import type { Player, Situation } from '../player.js'

const inTimeWait = (name: string, rule: string, options: string, play: (p: Player) => Promise<void>): Situation => ({
  name: `${name} in TIME-WAIT`,
  rule,
  async play(p) {
    await p.establish({ options })
    await p.app('close')
    await p.recv('FA 1:1 ack 2')
    await play(p)
  },
})

const PLAIN = 'mss 1460'
const TS = 'mss 1460, ts 1000'

export const TIME_WAIT: Situation[] = [
  inTimeWait('FIN again', 'RFC 9293 §3.10.7.4 eighth: an ACK', PLAIN, async p => {
    await p.recv('FA 1:1 ack 2')
    await p.recv('FA 1:1 ack 2')
  }),
  inTimeWait('an ACK that fits', 'RFC 9293 §3.10.7.4: nothing to say', PLAIN, async p => {
    await p.recv('A 2:2 ack 2')
  }),
  inTimeWait('an old ACK', 'RFC 9293 §3.10.7.4 first', PLAIN, async p => {
    await p.recv('A 1:1 ack 1')
  }),
  inTimeWait('data', 'RFC 9293 §3.10.7.4 seventh: should not occur', PLAIN, async p => {
    await p.recv('PA 2:12 ack 2')
  }),
  inTimeWait('text without ACK', 'RFC 9293 §3.10.7.4 fifth: dropped', PLAIN, async p => {
    await p.recv('P 1:11')
  }),
  inTimeWait('an ACK beyond the window', 'RFC 9293 §3.10.7.4 first', PLAIN, async p => {
    await p.recv('A E+1000:E+1000 ack 2')
  }),
  inTimeWait('RST with the exact number', 'RFC 1337 §3 (F1): ignored', PLAIN, async p => {
    await p.recv('R 2:2')
    await p.recv('FA 1:1 ack 2')
  }),
  inTimeWait('RST in the window', 'RFC 5961 §3.2', PLAIN, async p => {
    await p.recv('R 100:100')
    await p.recv('FA 1:1 ack 2')
  }),
  inTimeWait('SYN with a newer number', 'RFC 9293 §3.6.1 MAY-2: a new connection', PLAIN, async p => {
    await p.recv('S 200000:200000 win 65535 <mss 1460>')
    await p.recv('A 200001:200001 ack 1')
    await p.app('accept')
    await p.app('write 10')
  }),
  inTimeWait('SYN with an older number', 'RFC 9293 §3.10.7.4 first: an ACK', PLAIN, async p => {
    await p.recv('S -5000:-5000 win 65535 <mss 1460>')
  }),
  inTimeWait('SYN with a newer timestamp and an older number', 'RFC 6191 §2: a new connection', TS, async p => {
    await p.recv('S -5000:-5000 win 65535 <mss 1460, ts 5000>')
  }),
  inTimeWait('SYN with an older timestamp and a newer number', 'RFC 6191 §2', TS, async p => {
    await p.recv('S 200000:200000 win 65535 <mss 1460, ts 500>')
  }),
  inTimeWait('SYN with the same timestamp and a newer number', 'RFC 6191 §2: a new connection', TS, async p => {
    await p.recv('S 200000:200000 win 65535 <mss 1460, ts 1002>')
  }),
  inTimeWait('SYN without timestamps and with a newer number', 'RFC 6191 §2: a new connection', TS, async p => {
    await p.recv('S 200000:200000 win 65535 <mss 1460>')
  }),
  inTimeWait('SYN and ACK', 'RFC 5961 §4.2', PLAIN, async p => {
    await p.recv('SA 200000:200000 ack 2 win 65535 <mss 1460>')
  }),
  inTimeWait('FIN with an old timestamp', 'RFC 7323 §5.3 R1', TS, async p => {
    await p.recv('FA 1:1 ack 2 <ts 500>')
  }),
]
