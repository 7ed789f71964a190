// Owns: the counters, one field for every reason a packet goes no further. Plain numbers, a snapshot is a copy.

export class Drops {
  /** Too short, or lengths that contradict each other (IP). */
  ipMalformed = 0
  ipChecksum = 0
  /** Source or destination that cannot be: loopback, multicast or unspecified source, mapped IPv6. */
  martian = 0
  /** Multicast, broadcast, link-local or unspecified destination: not forwarded by default. */
  multicast = 0
  ipv6Extension = 0
  /** Datagrams that were never put together: overlap, nonsense, time over, no room. Not rows: their fragments count as `fragments`. */
  reassembly = 0
  /** ICMP and everything that is neither TCP nor UDP. */
  protocol = 0
  icmp = 0
  tcpMalformed = 0
  tcpChecksum = 0
  /** SYN beyond the bounds of pending or half-open connections, or answer to a cookie beyond that of undecided ones. */
  synOverflow = 0
  udpMalformed = 0
  udpChecksum = 0
  /** Datagrams beyond what one turn queues. */
  udpOverflow = 0
  /** What the device marked as nonsense: unknown GSO type, checksum offsets out of bounds. */
  deviceRow = 0
  /** Answers (RST, ICMP) beyond the bound of one turn. */
  replyOverflow = 0
  /** Rows the NIC did not take because it was down or gone. */
  deviceDown = 0
  /** Datagrams too large to send, or beyond the bound of the send queue. */
  udpSend = 0
}

export class Stats {
  /** Rows taken from the device: = tcp + udp + icmp + fragments + Σ drops of input. */
  rowsIn = 0
  rowsOut = 0
  bytesIn = 0
  bytesOut = 0
  /** Rows given to the TCP layer (connections, TIME-WAIT, handshakes, or answered by a reset). */
  tcp = 0
  udp = 0
  icmp = 0
  /** Fragments taken in; the one that completes a datagram counts as that. */
  fragments = 0
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

  /** Σ over the reasons for which a received row is dropped. */
  get droppedIn(): number {
    const d = this.drops
    return (
      d.ipMalformed +
      d.ipChecksum +
      d.martian +
      d.multicast +
      d.ipv6Extension +
      d.protocol +
      d.icmp +
      d.tcpMalformed +
      d.tcpChecksum +
      d.udpMalformed +
      d.udpChecksum +
      d.deviceRow
    )
  }
}
