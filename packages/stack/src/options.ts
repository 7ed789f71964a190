// Owns: what can be set on a stack, and the defaults with their reasons, in one place.

import type { UdpFilter } from './udp/contacts.js'

export interface StackOptions {
  /** Bytes of the largest IP packet on the NIC. */
  mtu?: number
  /** The device cuts up to 64 KiB into segments (see Device.offload). */
  offload?: boolean
  /**
   * Receive buffer per connection, bytes: the largest window advertised. It begins at 128 KiB and grows with what the application reads;
   * nothing is allocated for it.
   */
  rcvBuf?: number
  /**
   * Bytes a connection queues for sending, unacknowledged ones included, before it stops being writable. It begins at 128 KiB and grows to
   * twice the congestion window, where the path is long: 1 MiB, and 100 KB for each millisecond of its round trip.
   */
  sndBuf?: number
  /**
   * Bytes in all receive queues together. Beyond, what is out of order is dropped and no window advances; a quarter further, what is in a
   * window already is dropped as well. A connection that has nothing queued goes on with two segments at a time.
   */
  receiveBudget?: number
  /**
   * Connections before ESTABLISHED: their SYN, or our SYN-ACK, is not answered yet. For a SYN beyond, the oldest unanswered SYN-ACK older
   * than 2 s is given up; there being none, the SYN is dropped: the client repeats it.
   */
  maxPending?: number
  /**
   * Of these, connections of one source (an IPv4 address, an IPv6 /64), in force while other sources of its family are heard of: the
   * applications of a host that has the NIC to itself are one source, and have all of `maxPending`. 0: a quarter of `maxPending`.
   * `maxPending` or more: no such bound.
   */
  maxPendingPerSource?: number
  /**
   * Whether a SYN beyond these bounds is answered by a cookie (RFC 4987 §3.6), which makes a connection without the application having
   * been asked: it can reset it only, and window scale and SACK are lost to clients without timestamps. true: always; 'auto': once SYNs
   * have been beyond the bounds for 3 s and a quarter of the connections fell silent, or few of 16 clients answered a cookie that was sent
   * to find out, as it is in a flood and not with clients of a slow application; false: never. As many connections made by cookies as
   * `maxPending` and `maxPendingPerSource` say may be undecided.
   */
  synCookies?: 'auto' | boolean
  /** Milliseconds until a pending connection that nobody decides on is given up, silently. */
  pendingTimeout?: number
  /** Milliseconds FIN-WAIT-2 is kept without any segment, once the application has let go of the connection. */
  finWait2Timeout?: number
  /** Milliseconds without any acknowledgment of data, FIN or probe after which the peer counts as gone. RFC 9293 §3.8.3 (R2). */
  userTimeout?: number
  /** Congestion control: RFC 9438 or RFC 5681. */
  congestion?: 'cubic' | 'newreno'
  /** Selective acknowledgment, RFC 2018, both ways, if the peer offers it; without it RACK-TLP (RFC 8985) is off as well. */
  sack?: boolean
  /** Takes back what a loss did to the window once it proves to have been none: RFC 4015, RFC 5682. Off for comparison only. */
  undo?: boolean
  /** Header prediction: the same outcome with less work. Off for comparison only. */
  prediction?: boolean
  /** Milliseconds of TIME-WAIT. */
  timeWait?: number
  /** Bytes in all send queues: each connection may queue its share of it, 16 KiB at least, however long its path. */
  sendBudget?: number
  /** Entries of the TIME-WAIT table; the oldest leaves first. */
  maxTimeWait?: number
  /** UDP flows (sources); the least recently used is closed for a new one. */
  maxUdpFlows?: number
  /** Milliseconds after which an idle UDP flow ends. */
  udpTimeout?: number
  /** Whose datagrams reach an application's UDP socket: RFC 4787 §5. */
  udpFilter?: UdpFilter
  /** Bytes of datagrams waiting to be sent to the NIC; a quarter of it for one flow, for all ICMP, and for packets written as they are. */
  udpSendBudget?: number
  /** Takes in UDP to multicast, broadcast and link-local addresses, and all else to link-local ones, instead of dropping it. */
  multicast?: boolean
  /** ICMP errors a second, both families together: RFC 4443 §2.4(f). */
  icmpErrorRate?: number
  /** Whom "time exceeded" comes from, and who answers pings: the router that we are. An address nobody else has. */
  gateway4?: string
  gateway6?: string
}

export const DEFAULTS = {
  mtu: 1500,
  offload: true,
  rcvBuf: 4 << 20,
  sndBuf: 4 << 20,
  receiveBudget: 256 << 20,
  sendBudget: 256 << 20,
  maxPending: 4096,
  maxPendingPerSource: 0,
  synCookies: 'auto',
  pendingTimeout: 60_000, // a browser gives up earlier; Linux' own SYN retries end after about 127 s
  finWait2Timeout: 60_000, // Linux tcp_fin_timeout
  userTimeout: 120_000, // RFC 1122 §4.2.3.5: R2 at least 100 s
  congestion: 'cubic',
  sack: true,
  undo: true,
  prediction: true,
  timeWait: 60_000, // Linux TCP_TIMEWAIT_LEN; RFC 9293's 2 MSL of 4 minutes is for paths longer than a TUN
  maxTimeWait: 16_384,
  maxUdpFlows: 16_384,
  udpTimeout: 300_000, // RFC 4787 REQ-5: 5 minutes recommended
  udpFilter: 'endpoint-independent', // RFC 4787 REQ-8, where transparency matters most
  udpSendBudget: 4 << 20,
  multicast: false,
  icmpErrorRate: 1000, // RFC 1812 §4.3.2.8 leaves it to us; Linux' icmp_msgs_per_sec is 1000 as well
  gateway4: '192.0.0.8', // RFC 7600 §4.8: the dummy address for ICMP errors of those who have no IPv4 address
  gateway6: 'fe80::1', // RFC 4443 §2.2 asks for an address of the node on its link: any NIC has a link-local one
} satisfies Required<StackOptions>

/** RFC 7323 §2.2: the shift we offer; 2^7 · 65,535 = 8 MiB is more than any receive buffer here. */
export const RCV_WND_SHIFT = 7
