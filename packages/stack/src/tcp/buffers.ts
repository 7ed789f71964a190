// Owns: how many bytes a connection may hold each way: its buffers grow with what flows, up to what the path's length explains. More
// would only wait: for its turn on the NIC, where it makes every other connection wait, and out of the processor's cache.
// Read first: RFC 7323 §1.1 (bandwidth × delay), Linux tcp_rcv_space_adjust and tcp_notsent_lowat (tcp(7)).

import type { TcpConnection } from './connection.js'

/** Both buffers begin here: what Linux gives (tcp_rmem[1]); a connection that carries little never needs more. */
export const BUFFER_AT_FIRST = 128 * 1024
/** What each millisecond of round trip adds, both ways: 100 MB/s. */
const LONG_PATH = 100_000

/** Send buffers of a path without length: of one connection, and of all that have something queued, who share; never less than LEAST. */
const SEND_ALONE = 1 << 20
const SEND_TOGETHER = 2 << 20
const SEND_LEAST = 256 * 1024
/** What each may queue, however many they are. */
const SEND_FLOOR = 16 * 1024
const FETCH_LEAST = 4096
/** Receive buffer of a path without length. One size for all that are fast is also what makes them equally fast. */
const RECEIVE = 512 * 1024

/** A round trip for the buffer's sake is at least this: behind a NIC of ours it is a few turns of the event loop. */
const ROUND_MIN = 1 // ms

/** Bytes queued, unacknowledged ones included, from which on the application is to wait: twice the congestion window, within the path's. */
export function sendLimit(c: TcpConnection): number {
  const { senders, options } = c.tcp
  const short = Math.min(SEND_ALONE, Math.max(SEND_LEAST, SEND_TOGETHER / senders))
  const wanted = Math.max(BUFFER_AT_FIRST, Math.min(2 * c.congestion.cwnd, short + pathBytes(c)))
  return Math.floor(Math.min(options.sndBuf, wanted, Math.max(SEND_FLOOR, options.sendBudget / senders)))
}

/** Bytes worth fetching from elsewhere at once to `send` them: little only where memory is short. */
export function fetchSize(c: TcpConnection, most: number): number {
  return c.sndLimit >= BUFFER_AT_FIRST ? most : Math.min(most, Math.max(FETCH_LEAST, c.sendRoom))
}

/**
 * The application took `n` bytes. If that was half a buffer within a round trip, the buffer is what holds the peer up: it becomes twice
 * what was taken (dynamic right-sizing). A buffer that is not read does not grow.
 */
export function took(c: TcpConnection, n: number): void {
  const { now } = c.tcp
  c.tookBytes += n
  if (now - c.roundAt < Math.max(c.rtt.srtt, ROUND_MIN)) return
  if (2 * c.tookBytes >= c.rcvSpace) {
    // Whoever has only received may not know the path's length: a cookie made the connection, or the SYN-ACK went twice.
    const known = c.rack.minRtt < Infinity
    const most = known ? Math.min(c.tcp.options.rcvBuf, Math.floor(RECEIVE + pathBytes(c))) : c.tcp.options.rcvBuf
    c.rcvSpace = Math.max(c.rcvSpace, Math.min(4 * c.tookBytes, 2 * c.rcvSpace, most))
  }
  c.tookBytes = 0
  c.roundAt = now
}

function pathBytes(c: TcpConnection): number {
  const { minRtt } = c.rack
  return minRtt < Infinity ? minRtt * LONG_PATH : 0
}
