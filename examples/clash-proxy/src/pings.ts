// Owns: `icmp:` of the config: what becomes of pings to addresses that are not the TUN's own. No proxy protocol spoken here carries them.

export const PING_MODES = ['reject', 'fake', 'drop'] as const
/** Refused at once; answered at once, whether the host is there or not; left without an answer. */
export type PingMode = (typeof PING_MODES)[number]

/** What is needed of a `TunEcho`. */
export interface Ping {
  reply(): unknown
  unreachable(why: 'prohibited'): void
  ignore(): void
}

export function answerPing(mode: PingMode, ping: Ping): void {
  if (mode === 'fake') ping.reply()
  else if (mode === 'drop') ping.ignore()
  else ping.unreachable('prohibited')
}
