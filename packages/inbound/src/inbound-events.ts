// Owns: the events of an inbound, and what becomes of the one whose listener failed.

import type { Uplink } from '@tun/device'
import { type TunDatagram, TunEcho, TunFlow, type TunPacket, TunSocket } from '@tun/stack'

export interface TunInboundEvents {
  /** A connection asks to be accepted. A listener that throws or rejects has it refused. */
  connection: (socket: TunSocket) => unknown
  /** A datagram, unless there are 'flow' listeners. Without either, it is rejected (port unreachable). */
  datagram: (datagram: TunDatagram) => unknown
  /** The first datagram of a source; it follows as the flow's first 'message'. */
  flow: (flow: TunFlow) => unknown
  /**
   * A ping to an address that is neither the NIC's nor served here; those are answered. Without a listener it is refused (administratively
   * prohibited), and a listener that throws has it refused as well.
   */
  icmp: (echo: TunEcho) => unknown
  /**
   * Every packet before the stack sees it, in the middle of its turn: decide at once, do not keep `packet`. Without a listener it costs
   * nothing. A listener that throws has the packet dropped.
   */
  packet: (packet: TunPacket) => unknown
  /** The device failed (the inbound is closed then), or a listener did (`flow` says whose). */
  error: (error: Error & { code?: string; flow?: TunSocket | TunFlow | TunDatagram | TunEcho }) => void
  /** Worth a line in a log: a key that is not acted on, the NIC is down, the machine slept. */
  warning: (message: string) => void
  /** The machine's own way out is another one (undefined: there is none), or has other addresses. networkChanged() was called before. */
  uplink: (uplink: Uplink | undefined) => void
  /** The machine slept for about so many milliseconds. networkChanged() was called before. */
  resumed: (ms: number) => void
  close: () => void
}

/** Ends what its listener threw at: refused, closed, rejected. `error` says whose it was, for 'error'. */
export function endAfterFailure(flow: TunSocket | TunFlow | TunDatagram | TunEcho, error: Error): void {
  if (flow instanceof TunSocket) {
    flow.on('error', () => {}) // the inbound's 'error' tells it
    flow.destroy(error)
  } else if (flow instanceof TunFlow) flow.close()
  else if (flow instanceof TunEcho) flow.unreachable('prohibited')
  else flow.reject()
  Reflect.defineProperty(error, 'flow', { value: flow, configurable: true }) // not enumerable: nobody wants the whole stack in a log
}
