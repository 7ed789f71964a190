// Owns: what createTunInbound takes, and how it becomes options of the device, the stack and the DNS server.

import type { DnsOptions, TunOptions } from '@tun/config'
import type { DnsHandler } from '@tun/dns'
import type { Device, StackOptions } from '@tun/stack'

/** Bounds that may be moved; the defaults are those of @tun/stack. */
export type Limits = Pick<
  StackOptions,
  'rcvBuf' | 'sndBuf' | 'receiveBudget' | 'maxPending' | 'pendingTimeout' | 'maxTimeWait' | 'maxUdpFlows' | 'udpSendBudget'
>

export interface TunInboundOptions {
  /** Clash's `tun:` section, e.g. `{ enable: true, 'device-url': 'dev://tun0', 'dns-listen': '0.0.0.0:53' }`. */
  tun?: Partial<TunOptions>
  /** A device of your own instead of `tun['device-url']`. Closed with the inbound. */
  device?: Device
  /** Clash's `dns:` section, and an own resolver: bytes in and out, null for "not mine". */
  dns?: Partial<DnsOptions> & { handler?: DnsHandler }
  limits?: Limits
  /** Closes the inbound when it aborts. */
  signal?: AbortSignal
}
