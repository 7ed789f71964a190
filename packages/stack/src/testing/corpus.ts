// Owns: the corpus of the fuzz tests: packets and segments that stacks have fallen over (this one or others), and seeds of random worlds
// that reached what few reach. All of it is replayed at every run. A find of a fuzz run goes in here, and becomes a script of its own.

import type { Bytes } from '../memory/slab.js'

/** `# what it is | the counter it must end in (where it is told)`, then the packet. The flow of 10.0.0.1:40000 is that of a Script. */
const PACKETS = `
# nothing but a version nibble | ipMalformed
45
# a header length below 20 | ipMalformed
4400002800010000400667cd0a0000010a0000029c400050000003e8000000005002fffffb670000
# a header length beyond the packet | ipMalformed
4f0000140001000040065ce10a0000010a000002
# a total length below the header | ipMalformed
4500001300010000400666e20a0000010a0000029c400050000003e8000000005002fffffb670000
# a total length beyond the packet | ipMalformed
450003e8000100004006630d0a0000010a0000029c400050000003e8000000005002fffffb670000
# IP version 7 | ipMalformed
7500002800010000400636cd0a0000010a0000029c400050000003e8000000005002fffffb670000
# a bad header checksum | ipChecksum
4500002800010000400612340a0000010a0000029c400050000003e8000000005002fffffb670000
# LAND: the source is the destination | martian
4500002800010000400666cc0a0000020a0000029c400050000003e8000000005002fffffb660000
# from loopback | martian
45000028000100004006f1cc7f0000010a0000029c400050000003e8000000005002ffff86670000
# from broadcast | martian
4500002800010000400670ceffffffff0a0000029c400050000003e8000000005002fffffb670000
# to multicast | multicast
4500002800010000400690cd0a000001e00000019c400050000003e8000000005002fffffb670000
# an unknown protocol | protocol
4500001800010000406366800a0000010a00000261626364
# TCP of 19 bytes | tcpMalformed
4500002700010000400666ce0a0000010a0000029c400050000003e8000000005002fffffb6700
# a data offset of 4 words | tcpMalformed
4500002800010000400666cd0a0000010a0000029c400050000003e8000000004002ffff0b680000
# a data offset beyond the packet | tcpMalformed
4500002800010000400666cd0a0000010a0000029c400050000003e800000000f002ffff5b670000
# a bad TCP checksum | tcpChecksum
4500002800010000400666cd0a0000010a0000029c400050000003e8000000005002ffff43210000
# a SYN whose MSS option has length 0: the reading ends there | tcp
4500002c00010000400666c90a0000010a0000029c400050000003e8000000006002ffffe3af0000020005b4
# a SYN whose last option has a kind and no length | tcp
4500002c00010000400666c90a0000010a0000029c400050000003e8000000006002ffffe960000001010102
# a SYN whose option reaches beyond the header | tcp
4500002c00010000400666c90a0000010a0000029c400050000003e8000000006002ffffe3590000080a0000
# a SYN with MSS 0 | tcp
4500002c00010000400666c90a0000010a0000029c400050000003e8000000006002ffffe95f000002040000
# a SYN with MSS 1 (CVE-2019-11479) | tcp
4500002c00010000400666c90a0000010a0000029c400050000003e8000000006002ffffe95e000002040001
# a SYN with window scale 255 | tcp
4500002c00010000400666c90a0000010a0000029c400050000003e8000000006002ffffe95f00000303ff00
# a SYN with every option twice | tcp
4500004400010000400666b10a0000010a0000029c400050000003e800000000c002ffff636c0000020405b40402080a00000001000000000303070204000104
0203030e
# a SYN with SACK blocks | tcp
4500003400010000400666c10a0000010a0000029c400050000003e8000000008002ffffc55000000101050a00000000ffffffff
# a SYN with text | tcp
4500002d00010000400666c80a0000010a0000029c400050000003e8000000005002ffffb790000068656c6c6f
# all flags | tcp
4500002800010000400666cd0a0000010a0000029c400050000003e80000000050fffffffa6a0000
# no flag | tcp
4500002800010000400666cd0a0000010a0000029c400050000003e8000000005000fffffb690000
# SYN and FIN | tcp
4500002800010000400666cd0a0000010a0000029c400050000003e8000000005003fffffb660000
# SYN and RST | tcp
4500002800010000400666cd0a0000010a0000029c400050000003e8000000005006fffffb630000
# an urgent pointer beyond the text | tcp
4500002900010000400666cc0a0000010a0000029c400050000003e8000000005038ffff8330ffff78
# TCP port 0 to port 0 | tcp
4500002800010000400666cd0a0000010a00000200000000000003e8000000005002ffff97f80000
# ping of death: a fragment that ends beyond 64 KiB
4500002c00011fff401146bf0a0000010a000002000000000000000000000000000000000000000000000000
# a first fragment too short for its header
4500001c00012000400646d90a0000010a0000020000000000000000
# a fragment of 0 bytes
4500001400012001401146d50a0000010a000002
# a fragment whose length is no multiple of 8
4500002100012000401146c90a0000010a00000200000000000000000000000000
# a UDP length of 7 | udpMalformed
4500002000010000401166ca0a0000010a000002138800070007000061626364
# a UDP length beyond the packet | udpMalformed
4500002000010000401166ca0a0000010a0000021388000703e8000061626364
# an ICMP error that quotes nothing | icmp
4500001c00010000400166de0a0000010a0000020304f913000003e8
# an ICMP error that quotes itself | icmp
4500005400010000400166a60a0000010a0000020304fcfb000000004500003800010000400166c20a0000010a00000203046665000000007878787878787878
7878787878787878787878787878787878787878
# ICMP "too big" with an MTU of 0 for a flow that is not | icmp
4500003800010000400166c20a0000010a00000203045c83000000004500002800010000400666cd0a0000020a0000019c400050000003e8
# IPv6 cut in its header | ipMalformed
600000000000064020010db800000000000000000000000120010db80000000000000000000000
# IPv6 whose payload length is beyond the packet | ipMalformed
600000000fa0064020010db800000000000000000000000120010db80000000000000000000000029c400050000003e8000000005002ffffb3f50000
# IPv6 with a jumbo payload length of 0
600000000000004020010db800000000000000000000000120010db80000000000000000000000020600c204000000149c400050000003e8000000005002ffff
b3f50000
# IPv6: a routing header that is no end of itself
6000000000302b4020010db800000000000000000000000120010db80000000000000000000000022b000000000000002b000000000000002b00000000000000
2b000000000000002b000000000000002b00000000000000
# IPv6: a hop-by-hop header longer than the packet
600000000008004020010db800000000000000000000000120010db800000000000000000000000206ff000000000000
# IPv6: a fragment header and nothing behind it
6000000000082c4020010db800000000000000000000000120010db80000000000000000000000020600000100000001
# IPv6: an atomic fragment with a SYN
60000000001c2c4020010db800000000000000000000000120010db800000000000000000000000206000000000000019c400050000003e8000000005002ffff
b3f50000
# IPv6: no next header | protocol
6000000000003b4020010db800000000000000000000000120010db8000000000000000000000002
# IPv6: a mapped IPv4 address on the wire | martian
600000000014064000000000000000000000ffff0a00000120010db80000000000000000000000029c400050000003e8000000005002ffffb3f50000
# IPv6: UDP without a checksum | udpChecksum
60000000000c114020010db800000000000000000000000120010db800000000000000000000000213880007000c000061626364
`

export interface CorpusPacket {
  what: string
  /** A field of Stats or Drops. */
  counter: string | null
  bytes: Bytes
}

export function corpusPackets(): CorpusPacket[] {
  return PACKETS.trim()
    .split('# ')
    .slice(1)
    .map(entry => {
      const [title, ...hex] = entry.trim().split('\n')
      const [what, counter = null] = title.split(' | ')
      const pairs = hex.join('').match(/../g) ?? []
      return { what, counter, bytes: Uint8Array.from(pairs, pair => Number.parseInt(pair, 16)) }
    })
}

/**
 * Segments of an established connection (SACK, timestamps; RCV.NXT 1001, ten segments of ours out) in the notation of scripts, none of
 * which may end it or harm what follows.
 */
export const SEGMENTS: readonly (readonly [what: string, line: string])[] = [
  ['an option of length 0', 'A 1001:1001 ack 1 <raw 05000000>'],
  ['an option of length 1', 'A 1001:1001 ack 1 <raw 05010000>'],
  ['an option that reaches beyond the header', 'A 1001:1001 ack 1 <raw 08280000>'],
  ['a SACK option of no block', 'A 1001:1001 ack 1 <TS val 9 ecr 0,raw 05020101>'],
  ['a SACK option of half a block', 'A 1001:1001 ack 1 <TS val 9 ecr 0,raw 0506000000000101>'],
  ['a SACK block of everything, also of what was never sent', 'A 1001:1001 ack 1 <TS val 9 ecr 0,sack -2000000000:2000000000>'],
  ['an inverted SACK block', 'A 1001:1001 ack 1 <TS val 9 ecr 0,sack 8001:2001>'],
  ['SACK blocks that overlap', 'A 1001:1001 ack 1 <TS val 9 ecr 0,sack 2001:5001 3001:7001 2001:9001>'],
  ['a SACK block inside a segment (CVE-2019-11477)', 'A 1001:1001 ack 1 <TS val 9 ecr 0,sack 1500:1501>'],
  ['a SACK block of SND.UNA itself (reneging)', 'A 1001:1001 ack 1 <TS val 9 ecr 0,sack 1:1001>'],
  ['a DSACK of what was never sent', 'A 1001:1001 ack 1 <TS val 9 ecr 0,sack -9000:-8000>'],
  ['an echo of the future', 'A 1001:1001 ack 1 <TS val 9 ecr 2000000000>'],
  ['an echo of 0', 'A 1001:1001 ack 1 <TS val 9 ecr 0>'],
  ['MSS, window scale and SACK-permitted behind the handshake', 'A 1001:1001 ack 1 <mss 1,wscale 14,sackOK,TS val 9 ecr 0>'],
  ['ten timestamps’ worth of text that begins far below', 'PA -60000:-50000 ack 1 <TS val 9 ecr 0>'],
  ['text that begins below the window and ends in it', 'PA 501:1001 ack 1 <TS val 9 ecr 0>'],
  ['text across the right edge', 'PA 131000:133000 ack 1 <TS val 9 ecr 0>'],
  ['a FIN beyond the window', 'FA 900000:900000 ack 1 <TS val 9 ecr 0>'],
  ['an ACK half the space away', 'A 1001:1001 ack -2147483647 <TS val 9 ecr 0>'],
  ['a window of 0, urgent', 'UA 1001:1001 ack 1 win 0 urg 65535 <TS val 9 ecr 0>'],
  ['all flags but SYN, RST and FIN', 'PAUEC 1001:1001 ack 1 <TS val 9 ecr 0>'],
]

/** Seeds of random worlds: what each of them reached when it was put in. */
const SEEDS = {
  packets: [
    [5, 'the seed of the first fuzz runs: the pair'],
    [99, 'the seed of the first fuzz runs: the packets'],
  ],
  operations: [
    [17, '24 retransmissions, 5 tail loss probes'],
    [18, '10 SYNs beyond the bound, 16 resets'],
    [74, '20 resets'],
    [90, '12 DSACKs, 232 rows out'],
    [139, '122 segments out of order, 480 KB'],
    [177, '7 undone reductions'],
    [226, '9 timeouts, 19 fast retransmits'],
  ],
  simulation: [
    [266, '11 challenge ACKs, three suspected black holes'],
    [280, '26 fast retransmits under PAWS, four suspected black holes'],
    [481, '20 timeouts that were none, all taken back'],
    [187, '27 DSACKs, 18 undone reductions'],
    [34, '24 fast retransmits, 42 timeouts, 9 tail loss probes'],
    [330, '60 timeouts, 93 retransmissions'],
    [398, '7 tail loss probes'],
    [337, '225 segments out of order'],
    [238, '10 segments dropped by PAWS'],
    [218, '5 resets'],
  ],
} satisfies Record<string, [seed: number, what: string][]>

export function corpusSeeds(kind: keyof typeof SEEDS): [seed: number, what: string][] {
  return SEEDS[kind] as [number, string][]
}
