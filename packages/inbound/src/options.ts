// Owns: what createTunInbound takes, and how it becomes options of the device, the stack and the DNS server.

import type { DnsOptions, HostsOptions, TunOptions } from '@tun/config'
import type { DnsHandler } from '@tun/dns'
import type { Device, StackOptions } from '@tun/stack'
import type { NameserverOutbound } from './nameserver-ways.js'

const LIMITS = [
  'rcvBuf',
  'sndBuf',
  'receiveBudget',
  'sendBudget',
  'maxPending',
  'maxPendingPerSource',
  'pendingTimeout',
  'maxTimeWait',
  'maxUdpFlows',
  'udpSendBudget',
  'icmpErrorRate',
] as const satisfies readonly (keyof StackOptions)[]

/** A window field counts in units of 128 bytes (RFC 7323 §2.2, shift 7): a smaller buffer could never tell that it is empty again. */
const RCV_BUF_LEAST = 128

/** Bounds that may be moved, and what happens beyond those of connections; the defaults are those of @tun/stack. */
export type Limits = Pick<StackOptions, (typeof LIMITS)[number] | 'synCookies'>

/** @throws RangeError ERR_TUN_LIMIT, naming the key */
export function checkLimits(limits: Limits): Limits {
  const checked: Limits = {}
  for (const [key, value] of Object.entries(limits)) {
    if (value === undefined) continue
    if (key === 'synCookies') {
      checked.synCookies = checkCookies(value)
      continue
    }
    const name = LIMITS.find(known => known === key)
    if (name === undefined) throw limitError(`there is no 'limits.${key}': there are ${LIMITS.join(', ')}, synCookies`)
    const least = name === 'rcvBuf' ? RCV_BUF_LEAST : 1
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < least)
      throw limitError(`'limits.${key}' is a whole number from ${least}, not ${value}`)
    checked[name] = value
  }
  return checked
}

function checkCookies(value: unknown): 'auto' | boolean {
  if (value === 'auto' || typeof value === 'boolean') return value
  throw limitError(`'limits.synCookies' is 'auto', true or false, not ${value}`)
}

function limitError(message: string): RangeError & { code: string } {
  return Object.assign(new RangeError(message), { code: 'ERR_TUN_LIMIT' })
}

export interface TunInboundOptions {
  /** Clash's `tun:` section, e.g. `{ enable: true, 'device-url': 'dev://tun0', 'dns-listen': '0.0.0.0:53' }`. */
  tun?: Partial<TunOptions>
  /** A device of your own instead of `tun['device-url']`. Closed with the inbound. */
  device?: Device
  /** Clash's `dns:` section and its `hosts:`, */
  dns?: Partial<DnsOptions> & {
    hosts?: HostsOptions
    /** an own resolver: bytes in and out, null for "not mine", */
    handler?: DnsHandler
    /** and through what nameservers with `#name`, or with `respect-rules` all, are asked. */
    outbound?: NameserverOutbound
  }
  limits?: Limits
  /** Closes the inbound when it aborts. */
  signal?: AbortSignal
}
