// Owns: the list of situations in which the kernel does better than we: what is to be done. An entry leaves with its cure.

import type { Listed } from '../compare.js'

export const OPEN: Listed[] = [
  {
    reason: 'RFC 9293 §3.10.7.1: <ACK=SEG.SEQ+SEG.LEN>, the text counts. Harmless: any ACK above the ISS ends the peer’s SYN-SENT.',
    situations: {
      'SYN with data to a closed port': [{ step: '< S 0:10', kernel: ['RA 0:0 ack 11'], ours: ['RA 0:0 ack 1'] }],
      'SYN with data to a closed port over IPv6': [{ step: '< S 0:10', kernel: ['RA 0:0 ack 11'], ours: ['RA 0:0 ack 1'] }],
    },
  },
  {
    reason:
      'RFC 2883 §4.2 and §4.3: what overlaps text held out of order is a duplicate as well. Ours reports whole segments ' +
      'again, and what overlaps text in order.',
    situations: {
      'overlapping segments out of order': [
        { step: '< PA 151:301 ack 1', kernel: ['A 1:1 ack 1 win + <sack 151:201 101:301>'], ours: ['A 1:1 ack 1 win + <sack 101:301>'] },
        { step: '< PA 1:401 ack 1', kernel: ['A 1:1 ack 401 win + <sack 101:301>'], ours: ['A 1:1 ack 401 win +'] },
      ],
    },
  },
  {
    reason: 'RFC 2018 §3: a block is of sequence numbers, and the FIN has one. The peer sends its FIN again without need.',
    situations: {
      'FIN out of order, with SACK': [
        { step: '< FPA 11:21 ack 1', kernel: ['A 1:1 ack 1 win + <sack 11:22>'], ours: ['A 1:1 ack 1 win + <sack 11:21>'] },
      ],
    },
  },
  {
    reason:
      'RFC 8985 §6.2 step 3: the second block was received before the first (RFC 2018 §4), so it is no reordering. Ours reads ' +
      'them as they stand, sees it below RACK.fack and widens the reordering window. Linux sorts the blocks before.',
    situations: {
      'two holes in one SACK': [
        {
          step: '< A 1:1 ack 1 <sack 3001:10001 1001:2001>',
          kernel: ['A 1:1001 ack 1 win +', 'A 2001:3001 ack 1 win +'],
          ours: ['A 1:1001 ack 1 win +'],
        },
        { step: '< A 1:1 ack 2001 <sack 3001:10001>', kernel: [], ours: ['A 2001:3001 ack 1 win +'] },
      ],
    },
  },
  {
    reason:
      'Linux also challenges an ACK from before the ISS: no more was ever acknowledged than bytes_acked. RFC 5961 §5.2 asks ' +
      'for MAX.SND.WND only; worth doing.',
    situations: {
      'an ACK a little old': [{ step: '< A 1:1 ack -1000', kernel: ['A 1:1 ack 1 win +'], ours: [] }],
      'data with an ACK a little old': [
        { step: '< PA 1:11 ack -1000', kernel: ['A 1:1 ack 1 win +'], ours: ['A 1:1 ack 11 win +'] },
        { step: '< PA 1:11 ack 1', kernel: ['A 1:1 ack 11 win +'], ours: ['A 1:1 ack 11 win + <sack 1:11>'] },
      ],
    },
  },
]
