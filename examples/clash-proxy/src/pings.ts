// Owns: `icmp:` of the config: what becomes of pings to addresses that are not the TUN's own. No proxy protocol spoken here carries them.

import type { IncomingPing } from './router.js'

export const PING_MODES = ['reject', 'forward', 'fake', 'drop'] as const
/**
 * Refused at once; carried on to the real host, as the rules say; answered at once, whether the host is there or not; left without an
 * answer.
 */
export type PingMode = (typeof PING_MODES)[number]

/** What is needed of a `TunEcho`. */
export interface AnswerablePing extends IncomingPing {
  reply(): unknown
}

export function answerPing(mode: PingMode, ping: AnswerablePing, forward: (ping: IncomingPing) => unknown): unknown {
  switch (mode) {
    case 'forward':
      return forward(ping)
    case 'fake':
      return ping.reply()
    case 'drop':
      return ping.ignore()
    case 'reject':
      return ping.unreachable('prohibited')
  }
}
