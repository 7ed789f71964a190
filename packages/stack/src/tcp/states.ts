// Owns: the states of a connection. RFC 9293 §3.3.2. The stack as a whole is the LISTEN state, on every address and port;
// TIME-WAIT has no connection object: see time-wait.ts.

export const CLOSED = 0
/** A SYN arrived that nobody has answered yet: between LISTEN and SYN-RECEIVED, until the application decides. */
export const SYN_PENDING = 1
export const SYN_SENT = 2
export const SYN_RECEIVED = 3
export const ESTABLISHED = 4
export const FIN_WAIT_1 = 5
export const FIN_WAIT_2 = 6
export const CLOSE_WAIT = 7
export const CLOSING = 8
export const LAST_ACK = 9

// What happened to a connection since the last drain, as bits of `connection.events`.
/** A new connection asks to be accepted or rejected. */
export const REQUEST = 1
export const CONNECTED = 2
export const READABLE = 4
/** The send queue has room again. */
export const WRITABLE = 8
/** The peer has sent its FIN and everything before it is in the queue or read. */
export const ENDED = 16
/** The connection is no more; `connection.error` says why, '' if all went well. */
export const GONE_EVENT = 32

// Phases of loss recovery.
/** Nothing is known to be lost. */
export const OPEN = 0
/** Losses were seen by what did arrive. */
export const RECOVERY = 1
/** The retransmission timer fired. */
export const LOSS = 2
