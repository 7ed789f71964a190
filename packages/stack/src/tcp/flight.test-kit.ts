// Owns: a flight of segments on a path of 100 ms, for tests of what acknowledgments mean.

import type { StackOptions } from '../options.js'
import { Script } from '../testing/script.js'

export const RTT = 100
export const PEER = 'mss 1000,sackOK'

/** Ten segments of 1,000 bytes are in flight on a path of 100 ms, sent at 0 ms of the script's time from here on. */
export function flight(options: { segments?: number; peer?: string; stack?: StackOptions } = {}): Script {
  const { segments = 10, peer = PEER, stack = {} } = options
  const t = new Script({ stack: { congestion: 'newreno', ...stack } })
  t.recv(`S 1000:1000 win 65535 <${peer}>`)
  t.sent('SA 0:0')
  t.advance(RTT)
  t.recv(`A 1001:1001 ack 1${stamp(peer, RTT)}`)
  t.write(segments * 1000)
  t.drainSent()
  t.advance(RTT)
  return t
}

const stamp = (peer: string, ecr: number): string => (peer.includes('TS') ? ` <TS val ${ecr + 1} ecr ${ecr}>` : '')
export const sent = (t: Script): string[] => t.drainSent().map(line => /\S+ \d+:\d+/.exec(line)?.[0] ?? line)
