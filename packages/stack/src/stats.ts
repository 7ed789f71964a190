// Owns: the counters, one field for every reason a packet goes no further. Plain numbers, a snapshot is a copy.

import { DOUBLE } from './memory/double.js'

export class Drops {
  /** Too short, or lengths that contradict each other (IP). */
  ipMalformed = 0
  ipChecksum = 0
  /** Source or destination that cannot be: loopback, multicast or unspecified source, mapped IPv6. */
  martian = 0
  /** To a multicast or broadcast address: not forwarded by default. With `multicast` on, what is not UDP. */
  multicast = 0
  /** To a link-local address: not forwarded by default. */
  linkLocal = 0
  /** The hop limit ended here: we are one hop. The sender is told (ICMP time exceeded). */
  ttl = 0
  /** IPv4 options that are a source route. */
  sourceRoute = 0
  ipv6Extension = 0
  /** Datagrams that were never put together: overlap, nonsense, time over, no room. Not rows: those are `fragments`. */
  reassembly = 0
  /** Fragments of such datagrams, and those that came twice. */
  fragments = 0
  /** Neither TCP nor UDP nor ICMP: the sender is told (ICMP protocol unreachable, ICMPv6 parameter problem). */
  protocol = 0
  /** The application's `packet` hook said so. */
  hook = 0
  /** ICMP that is not acted on: neither an echo request nor about a path's MTU. */
  icmp = 0
  icmpMalformed = 0
  icmpChecksum = 0
  /** Echo requests beyond what one turn hands over. */
  icmpOverflow = 0
  tcpMalformed = 0
  tcpChecksum = 0
  /** Resets of flows nobody knows: never answered (RFC 9293 §3.10.7.1). */
  tcpStray = 0
  /** SYN beyond the bounds of pending or half-open connections, or answer to a cookie beyond that of undecided ones. */
  synOverflow = 0
  udpMalformed = 0
  udpChecksum = 0
  /** Rows of datagrams beyond what one turn queues; a train of them is taken whole or not at all. */
  udpOverflow = 0
  /** What the device marked as nonsense: unknown GSO type, checksum offsets out of bounds. */
  deviceRow = 0
  /** Answers (RST, ICMP) beyond the bound of one turn. */
  replyOverflow = 0
  /** Rows the NIC did not take because it was down or gone. */
  deviceDown = 0
  /** Datagrams too large to send, or beyond the bound of the send queue. */
  udpSend = 0
  /** Datagrams to an application that its filter kept out: whoever sent them was not written to. */
  udpFiltered = 0
  /** ICMP messages beyond the bound of the send queue. */
  icmpSend = 0
  /** Packets of the application's own (`write`) beyond that bound. */
  packetSend = 0
}

export class Stats {
  /** Rows taken from the device; each of them is in one other counter: `accounted`. */
  rowsIn = 0
  rowsOut = 0
  bytesIn = DOUBLE
  bytesOut = DOUBLE
  /** Delivered to a connection or to TIME-WAIT, or the beginning of a connection. */
  tcp = 0
  /** Segments of flows nobody knows, answered by a reset or a cookie. */
  tcpAnswered = 0
  /** Delivered: handed over with the turn's drain. */
  udp = 0
  /** Echo requests handed over or answered, and errors that were heeded. */
  icmp = 0
  /** Taken by the `packet` hook. */
  handled = 0
  /** ICMP errors sent; those beyond the rate are `drops.replyOverflow`. */
  icmpErrors = 0
  /** ICMP errors that RFC 1122 and RFC 4443 forbid: about errors, later fragments, multicast. */
  icmpWithheld = 0
  /** Fragments that became part of a datagram; the one that completed it counts as what it completed. */
  fragments = 0
  /** Fragments that wait for the rest: no sum, so many there are. */
  fragmentsWaiting = 0
  /** Flows closed for newer ones: the table was full. */
  udpFlowsEvicted = 0
  tcpRetransmits = 0
  tcpFastRetransmits = 0
  tcpTimeouts = 0
  /** Tail loss probes: RFC 8985 §7. */
  tcpLossProbes = 0
  /** Reductions of the window taken back. */
  tcpUndos = 0
  /** Of those, by timeouts that were none: RFC 5682, RFC 3522. */
  tcpSpuriousTimeouts = 0
  /** Paths on which smaller segments were tried because large ones vanished. */
  tcpBlackHoles = 0
  /** Duplicates that peers told of: RFC 2883. */
  tcpDsacks = 0
  tcpResetsSent = 0
  tcpChallengeAcks = 0
  /** Beyond their rate: RFC 5961 §7. */
  tcpChallengesWithheld = 0
  tcpOutOfOrder = 0
  /** Segments dropped because the receive queues of all connections are over their budget. */
  tcpPruned = 0
  tcpPawsDropped = 0
  tcpAccepted = 0
  tcpRejected = 0
  /** SYNs answered by a cookie, connections that came of it, and ACKs meanwhile that fit no flow and no cookie. */
  tcpCookiesSent = 0
  tcpCookiesAccepted = 0
  tcpCookiesBad = 0
  readonly drops = new Drops()

  constructor() {
    this.bytesIn = 0
    this.bytesOut = 0
  }

  /** What became of all rows: = `rowsIn`, always. Delivered, answered, waiting, dropped. */
  get accounted(): number {
    const { tcp, udp, icmp, handled, tcpAnswered, fragments, fragmentsWaiting } = this
    return tcp + udp + icmp + handled + tcpAnswered + fragments + fragmentsWaiting + this.droppedIn
  }

  /** Σ over the reasons for which a received row is dropped. */
  get droppedIn(): number {
    const d = this.drops
    return (
      d.ipMalformed +
      d.ipChecksum +
      d.martian +
      d.multicast +
      d.linkLocal +
      d.ttl +
      d.sourceRoute +
      d.ipv6Extension +
      d.fragments +
      d.protocol +
      d.hook +
      d.icmp +
      d.icmpMalformed +
      d.icmpChecksum +
      d.icmpOverflow +
      d.tcpMalformed +
      d.tcpChecksum +
      d.tcpStray +
      d.synOverflow +
      d.udpMalformed +
      d.udpChecksum +
      d.udpOverflow +
      d.deviceRow
    )
  }
}
