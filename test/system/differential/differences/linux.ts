// Owns: the list of situations in which Linux (6.18) departs from the RFCs, or has something of its own, and we do not follow.

import type { Listed } from '../compare.js'

export const LINUX: Listed[] = [
  {
    reason:
      'Linux: quick ACKs: a new peer is in slow start, so its first segments are acknowledged at once. We delay as RFC 9293 ' +
      '§3.8.6.3 lets us.',
    situations: {
      'the first segment of a connection': [
        { step: '< PA 1:101 ack 1', kernel: ['A 1:1 ack 101 win +'], ours: [] },
        { step: '· 100 ms', kernel: [], ours: ['A 1:1 ack 101 win +'] },
      ],
      'three duplicate ACKs that bring a window or data': [
        { step: '< PA 1:11 ack 1 win 50000', kernel: ['A 10001:10001 ack 11 win +'], ours: [] },
      ],
    },
  },
  {
    reason:
      'Linux repeats its SYN at once behind a segment with a wrong ACK, for the peer’s old connection is reset now. RFC 9293 ' +
      '§3.10.7.3 has nothing of it; ours comes behind a second.',
    situations: {
      'SYN-ACK of something else in SYN-SENT': [
        {
          step: '< SA 0:0 ack 1000 win 65535 <mss 1460>',
          kernel: ['R 1000:1000', 'S 0:0 win + <mss 1460, wscale, sackOK, ts>'],
          ours: ['R 1000:1000'],
        },
      ],
      'RST without ACK in SYN-SENT': [{ step: '< RA 0:0 ack 5', kernel: ['S 0:0 win + <mss 1460, wscale, sackOK, ts>'], ours: [] }],
      'ACK alone in SYN-SENT': [
        { step: '< A 500:500 ack 700', kernel: ['R 700:700', 'S 0:0 win + <mss 1460, wscale, sackOK, ts>'], ours: ['R 700:700'] },
      ],
    },
  },
  {
    reason:
      'Linux offers in the SYN-ACK of a simultaneous open what its SYN offered. RFC 7323 §2.2 and §3.2, RFC 2018 §2: only ' +
      'what was in the peer’s SYN.',
    situations: {
      'simultaneous open, their ACK comes alone': [
        {
          step: '< S 0:0 win 65535 <mss 1460>',
          kernel: ['SA 0:0 ack 1 win + <mss 1460, wscale, sackOK, ts>'],
          ours: ['SA 0:0 ack 1 win + <mss 1460>'],
        },
      ],
    },
  },
  {
    reason:
      'Linux takes the SYN-ACK for an old segment as well as for the ACK that it is, and acknowledges it. RFC 9293 figure 7: ' +
      'nothing is due.',
    situations: {
      'simultaneous open, their SYN-ACK comes': [
        {
          step: '< SA 0:0 ack 1 win 65535 <mss 1460, sackOK, ts 1, wscale 7>',
          kernel: ['A 1:1 ack 1 win + <ts ecr 1, sack 0:1>'],
          ours: [],
        },
      ],
    },
  },
  {
    reason: 'Linux takes text on a SYN-ACK only with TCP Fast Open. RFC 9293 §3.10.7.3 fourth: it is taken, or left to be sent ' + 'again.',
    situations: {
      'SYN-ACK with data': [{ step: '< SA 0:10 ack 1 win 65535 <mss 1460>', kernel: ['A 1:1 ack 1 win +'], ours: ['A 1:1 ack 11 win +'] }],
    },
  },
  {
    reason: 'Linux has room for four blocks and forgets the oldest. RFC 2018 §4: as many as there are and fit; we remember all.',
    situations: {
      'five gaps': [
        {
          step: '< PA 501:601 ack 1',
          kernel: ['A 1:1 ack 1 win + <sack 401:701 1001:1101 801:901>'],
          ours: ['A 1:1 ack 1 win + <sack 401:701 1001:1101 801:901 201:301>'],
        },
      ],
    },
  },
  {
    reason:
      'Linux never sends more than half of the largest window in a segment (tcp_bound_to_half_wnd), so that two are in ' +
      'flight. RFC 9293 §3.8.6.2.1: a full segment may go.',
    situations: {
      'a window of one segment': [
        { step: '# write 2000', kernel: ['A 1:501 ack 1 win +', 'A 501:1001 ack 1 win +'], ours: ['A 1:1001 ack 1 win +'] },
        {
          step: '< A 1:1 ack 1001 win 1000',
          kernel: ['A 1001:1501 ack 1 win +', 'PA 1501:2001 ack 1 win +'],
          ours: ['PA 1001:2001 ack 1 win +'],
        },
      ],
    },
  },
  {
    reason: 'Linux resets a half-open connection for any SYN but its own. RFC 5961 §4.2: a challenge ACK, whatever the state.',
    situations: {
      'SYN with another number in SYN-RECEIVED': [
        { step: '< S 5000:5000 win 65535 <mss 1460>', kernel: ['RA 0:0 ack 5001'], ours: ['A 1:1 ack 1 win +'] },
        { step: '< A 1:1 ack 1', kernel: ['R 1:1'], ours: [] },
        { step: '# accept', kernel: ['"nobody"'], ours: ['"accepted"'] },
      ],
    },
  },
  {
    reason: 'Linux (6.17 on) drops the whole segment. RFC 9293 §3.10.7.4 first: it is trimmed to the window.',
    situations: {
      'text of which the end lies beyond the window': [
        { step: '< PA M:M+110 ack 1', kernel: ['A 1:1 ack M win +'], ours: ['A 1:1 ack M+100 win 0'] },
      ],
    },
  },
  {
    reason:
      'Linux takes the segment for an older one, since it changes nothing but makes the window smaller. RFC 9293 §3.10.7.4 ' +
      'fifth: SND.WL1 = SEG.SEQ and SND.WL2 =< SEG.ACK update it.',
    situations: {
      'a smaller window and nothing else new': [
        {
          step: '# write 5000',
          kernel: [
            'A 1:1001 ack 1 win +',
            'A 1001:2001 ack 1 win +',
            'A 2001:3001 ack 1 win +',
            'A 3001:4001 ack 1 win +',
            'PA 4001:5001 ack 1 win +',
          ],
          ours: ['A 1:1001 ack 1 win +', 'A 1001:2001 ack 1 win +'],
        },
        {
          step: '< A 1:1 ack N win 5000',
          kernel: [],
          ours: ['A 2001:3001 ack 1 win +', 'A 3001:4001 ack 1 win +', 'PA 4001:5001 ack 1 win +'],
        },
      ],
    },
  },
  {
    reason: 'Linux takes the byte out of the stream unless SO_OOBINLINE is set. RFC 6093 §3: in line.',
    situations: {
      'urgent data, the application has asked for nothing': [{ step: '# read', kernel: ['"wrong bytes from 0 on"'], ours: ['"10 bytes"'] }],
    },
  },
  {
    reason: 'Linux takes it. RFC 7323 §3.2: dropped in silence (SHOULD).',
    situations: {
      'data without a timestamp where they were agreed on': [
        { step: '< PA 1:11 ack 1 <>', kernel: ['A 1:1 ack 11 win + <ts ecr 1001>'], ours: [] },
        { step: '# read', kernel: ['"10 bytes"'], ours: ['"nothing"'] },
      ],
      'third segment of the handshake without a timestamp': [{ step: '# accept', kernel: ['"accepted"'], ours: ['"nobody"'] }],
    },
  },
  {
    reason: 'Linux echoes the first SYN’s value. RFC 7323 §4.3: TS.Recent is the newest; we echo the SYN that is answered.',
    situations: {
      'SYN again with a newer timestamp': [
        {
          step: '< S 0:0 win 65535 <mss 1460, ts 2000>',
          kernel: ['SA 0:0 ack 1 win + <mss 1460, ts ecr 1000>'],
          ours: ['SA 0:0 ack 1 win + <mss 1460, ts ecr 2000>'],
        },
      ],
    },
  },
  {
    reason: 'Linux ends TIME-WAIT unless tcp_rfc1337 is set. RFC 1337 §3 (F1): ignored.',
    situations: {
      'RST with the exact number in TIME-WAIT': [{ step: '< FA 1:1 ack 2', kernel: ['R 2:2'], ours: ['A 2:2 ack 2 win +'] }],
    },
  },
  {
    reason:
      'Linux also takes a RST behind the last SACK block, a peer’s whose data was lost. RFC 5961 §3.2: only RCV.NXT itself; ' +
      'else a blind attacker has more numbers to hit.',
    situations: {
      'RST at the edge of what is out of order': [
        { step: '< R 201:201', kernel: [], ours: ['A 1:1 ack 1 win + <sack 101:201>'] },
        { step: '< PA 1:101 ack 1', kernel: ['R 1:1'], ours: ['A 1:1 ack 201 win +'] },
        { step: '# read', kernel: ['"ECONNRESET"'], ours: ['"200 bytes"'] },
      ],
    },
  },
  {
    reason:
      'Linux also takes a RST one below RCV.NXT behind a FIN, for peers that do not count theirs. RFC 5961 §3.2: only RCV.NXT ' + 'itself.',
    situations: {
      'RST with the number of the FIN in CLOSE-WAIT': [
        { step: '< A 2:2 ack 1', kernel: ['R 1:1'], ours: [] },
        { step: '# write 10', kernel: ['"EPIPE"'], ours: ['PA 1:11 ack 2 win +'] },
      ],
    },
  },
  {
    reason:
      'Linux answers in FIN-WAIT-2 without an application as in TIME-WAIT, where a SYN that opens nothing is reset. RFC 5961 ' +
      '§4.2: a challenge ACK.',
    situations: {
      'SYN in FIN-WAIT-2': [{ step: '< S 100:100 win 65535 <mss 1460>', kernel: ['RA 0:0 ack 101'], ours: ['A 2:2 ack 1 win +'] }],
    },
  },
  {
    reason: 'Linux says EPIPE for a reset in CLOSE-WAIT, as if we had closed; the application of ours hears what happened.',
    situations: {
      'RST in CLOSE-WAIT': [{ step: '# write 10', kernel: ['"EPIPE"'], ours: ['"ECONNRESET"'] }],
    },
  },
  {
    reason:
      'Linux takes the later of two FINs that contradict each other. RFC 9293 knows no such peer; we hold to the first: ' +
      'nothing comes behind a FIN, and none before its end.',
    situations: {
      'an earlier FIN than the one before': [
        { step: '< FPA 1:6 ack 1', kernel: ['A 1:1 ack 7 win +'], ours: ['A 1:1 ack 6 win +'] },
        { step: '# read', kernel: ['"5 bytes, end"'], ours: ['"5 bytes"'] },
      ],
    },
  },
  {
    reason:
      'As above; and RFC 9293 §3.10.7.4 second, SYN-RECEIVED: what was opened actively "was refused". Linux says that only in SYN-SENT, ' +
      'here ECONNRESET.',
    situations: {
      'RST in SYN-RECEIVED of a simultaneous open': [
        {
          step: '< S 0:0 win 65535 <mss 1460>',
          kernel: ['SA 0:0 ack 1 win + <mss 1460, wscale, sackOK, ts>'],
          ours: ['SA 0:0 ack 1 win + <mss 1460>'],
        },
        { step: '# read', kernel: ['"ECONNRESET"'], ours: ['"ECONNREFUSED"'] },
      ],
    },
  },
]
