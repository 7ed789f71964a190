// Owns: situations without a connection: a closed port, and what is no SYN at a listening one. RFC 9293 §3.10.7.1 and §3.10.7.2.

import type { Situation } from '../player.js'

const SEGMENTS: [name: string, line: string][] = [
  ['SYN', 'S 0:0'],
  ['SYN with data', 'S 0:10'],
  ['SYN and ACK', 'SA 0:0 ack 7'],
  ['SYN and FIN', 'SF 0:0'],
  ['SYN and RST', 'SR 0:0'],
  ['ACK', 'A 5:5 ack 7'],
  ['ACK with data', 'PA 5:15 ack 7'],
  ['FIN', 'F 5:5'],
  ['FIN and ACK', 'FA 5:5 ack 7'],
  ['RST', 'R 5:5'],
  ['RST and ACK', 'RA 5:5 ack 7'],
  ['no flag', '- 5:5'],
  ['text without flag', '- 5:15'],
  ['FIN, PSH and URG', 'FPU 5:5'],
  ['URG', 'U 5:5'],
]

const at = (port: string, closed: boolean, v6: boolean): Situation[] =>
  SEGMENTS.filter(([name]) => closed || name !== 'SYN').map(([name, line]) => ({
    name: `${name} to a ${port} port${v6 ? ' over IPv6' : ''}`,
    rule: closed ? 'RFC 9293 §3.10.7.1' : 'RFC 9293 §3.10.7.2',
    options: { closed, v6 },
    async play(p) {
      await p.recv(line)
    },
  }))

export const REFUSING: Situation[] = [
  ...at('closed', true, false),
  ...at('listening', false, false),
  ...at('closed', true, true).slice(0, 7),
]
