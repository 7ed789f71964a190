// Owns: what becomes of the command's pings: this machine's own sockets carry them to the real host, or they are answered as the
// configuration says. Read icmp(7): who may open a ping socket.

import { TunError } from '@tun/device'
import type { Outbound, TunEcho } from '@tun/inbound'

/** `icmp:` of a Clash file, with the words of the example proxy. */
export const PING_MODES = ['forward', 'reject', 'fake', 'drop'] as const
export type PingMode = (typeof PING_MODES)[number]

/** What is needed of a `TunEcho`. */
export interface IncomingPing extends Pick<TunEcho, 'destination' | 'ignore' | 'reply' | 'unreachable'> {
  forward(carry: NonNullable<Outbound['ping']>): Promise<unknown>
}

type Say = (line: string) => void

/** Hosts that a log line was written for; those beyond have none. */
const MAX_LOGGED = 1000

/** @param carry the way out's; undefined: it carries none. @param log gets a line for each host */
export function answerPings(mode: PingMode, carry: Outbound['ping'], say: Say, log: Say): (ping: IncomingPing) => Promise<void> {
  const logged = new Set<string>()
  const said = new Set<string>()
  const way = mode === 'forward' ? (carry ? 'by DIRECT' : 'refused: the proxy carries none') : `answered by icmp: ${mode}`
  return async ping => {
    const { host, address } = ping.destination
    const name = host ?? address
    if (!logged.has(name) && logged.size < MAX_LOGGED) {
      logged.add(name)
      log(`ping ${name} ${way}`)
    }
    if (mode === 'fake') ping.reply()
    else if (mode === 'drop') ping.ignore()
    else if (mode === 'reject' || carry === undefined) ping.unreachable('prohibited')
    else {
      // What keeps all of them from leaving is said once; what the network says of one is told to whoever pinged.
      const failure = await ping.forward(carry)
      if (!(failure instanceof TunError) || said.has(failure.code)) return
      said.add(failure.code)
      const { message, hint = '' } = failure
      say(`pings are refused: ${message.replace(`; ${hint}`, '')}`)
      if (hint !== '') say(hint)
    }
  }
}
