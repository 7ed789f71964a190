// Owns: the list of situations in which both are right, and we have chosen otherwise.

import type { Listed } from '../compare.js'

export const CHOICES: Listed[] = [
  {
    reason:
      'We negotiate no ECN: the engine’s path is one hop without queues, where nothing marks. RFC 3168 §6.1.1 leaves it to ' +
      'the responder.',
    situations: {
      'ECN offered': [
        { step: '< SEC 0:0 win 65535 <mss 1460>', kernel: ['SAE 0:0 ack 1 win + <mss 1460>'], ours: ['SA 0:0 ack 1 win + <mss 1460>'] },
      ],
    },
  },
  {
    reason:
      'Whether somebody listens is known only once a SYN was decided on: every other segment is answered as in CLOSED (RFC ' +
      '9293 §3.10.7.1), where Linux is in LISTEN and silent (§3.10.7.2).',
    situations: {
      'SYN and FIN to a listening port': [{ step: '< SF 0:0', kernel: [], ours: ['RA 0:0 ack 2'] }],
      'FIN to a listening port': [{ step: '< F 5:5', kernel: [], ours: ['RA 0:0 ack 6'] }],
      'no flag to a listening port': [{ step: '< - 5:5', kernel: [], ours: ['RA 0:0 ack 5'] }],
      'text without flag to a listening port': [{ step: '< - 5:15', kernel: [], ours: ['RA 0:0 ack 15'] }],
      'FIN, PSH and URG to a listening port': [{ step: '< FPU 5:5', kernel: [], ours: ['RA 0:0 ack 6'] }],
      'URG to a listening port': [{ step: '< U 5:5', kernel: [], ours: ['RA 0:0 ack 5'] }],
    },
  },
  {
    reason:
      'Linux: one challenge ACK in 500 ms (tcp_invalid_ratelimit). We: ten in 5 s, the numbers of RFC 5961 §7, for each ' + 'connection.',
    situations: {
      'two SYNs in the window': [{ step: '< S 200:200', kernel: [], ours: ['A 1:1 ack 1 win +'] }],
      'two RSTs in the window': [{ step: '< R 200:200', kernel: [], ours: ['A 1:1 ack 1 win +'] }],
    },
  },
  {
    reason:
      'RFC 9293 §3.10.7.4 seventh: should not occur, ignored. We also say where we are, for text at a place that was ' +
      'acknowledged is a lost ACK.',
    situations: {
      'data behind the FIN': [{ step: '< PA 2:12 ack 1', kernel: [], ours: ['A 1:1 ack 2 win +'] }],
    },
  },
  {
    reason:
      'Linux: <SEQ=SEG.ACK>. We: <SEQ=SND.NXT><ACK=RCV.NXT>, which a peer that checks exactly takes once it has our FIN (RFC ' +
      '5961 §3.2).',
    situations: {
      'data behind a close, in FIN-WAIT-1': [{ step: '< PA 1:11 ack 1', kernel: ['R 1:1'], ours: ['RA 2:2 ack 1'] }],
      'data behind a close, in FIN-WAIT-2': [{ step: '< PA 1:11 ack 2', kernel: ['R 2:2'], ours: ['RA 2:2 ack 1'] }],
      'data and FIN behind a close': [{ step: '< FPA 1:11 ack 2', kernel: ['R 2:2'], ours: ['RA 2:2 ack 1'] }],
      'data out of order behind a close': [{ step: '< PA 101:111 ack 2', kernel: ['R 2:2'], ours: ['RA 2:2 ack 1'] }],
    },
  },
  {
    reason: 'RFC 7323 §3.2: a RST may carry the option. Nobody may drop it for want of one; ours are plain.',
    situations: {
      'abort with timestamps': [{ step: '# abort', kernel: ['RA 1:1 ack 1 <ts ecr 1>'], ours: ['RA 1:1 ack 1'] }],
    },
  },
  {
    reason:
      'RFC 6937 in Linux: three segments and a duplicate are one delivered, and that was spent on the first. Ours counts ' +
      'bytes, and sends the next hole with the partial ACK as RFC 6582 §3.2 asks.',
    situations: {
      'a partial ACK, without SACK': [{ step: '< A 1:1 ack 3001', kernel: [], ours: ['A 3001:4001 ack 1 win +'] }],
    },
  },
]
