// Owns: openTun(): a device URL and options become a TunDevice, or one clear TunError.

import { type Ownership, open as openNative } from '@tun/native'
import { openError, TunError } from './errors.js'
import { parseNicAddresses } from './nic-address.js'
import { TunDevice } from './tun.js'
import { parseDeviceUrl } from './url.js'
import { adapterGuid } from './windows.js'

export interface TunOptions {
  /** Bytes of the largest packet, 68 to 65535; undefined leaves the NIC's own. For sockets 1500 if undefined. */
  mtu?: number
  /** Ask for checksum and segmentation offload (Clash's `gso`). */
  offload?: boolean
  /**
   * Whose the descriptor of `fd://N` is. `take`: ours, closed by close(), once opening succeeded. `borrow`: never closed, its O_NONBLOCK
   * restored. `dup`: a duplicate is used and closed; O_NONBLOCK, which duplicates share, is restored.
   */
  ownership?: Ownership
  /**
   * Addresses of the NIC with their prefix lengths, e.g. `198.18.0.1/30`. macOS and Windows, where the NIC did not
   * exist before; on Linux whoever routes to it gives them, and the option is refused.
   */
  addresses?: readonly string[]
  /** Bring the NIC up; a NIC of somebody else is left as it is where that is not permitted. */
  up?: boolean
}

export const DEFAULTS = { offload: true, ownership: 'take', up: true } as const satisfies TunOptions

/**
 * Opens `dev://NAME` (Linux: created if missing, attached if not), `dev://utun` (macOS: the next free number), `dev://NAME` (Windows: a
 * Wintun adapter, created if missing) or, not on Windows, `fd://N` (an inherited TUN, or an AF_UNIX datagram or, on Linux, seqpacket
 * socket with one IP packet each). Throws TunError.
 */
export function openTun(url: string, options: TunOptions = {}): TunDevice {
  const target = parseDeviceUrl(url)
  const { mtu } = options
  const ownership = options.ownership ?? DEFAULTS.ownership
  if (mtu !== undefined && (!Number.isInteger(mtu) || mtu < 68 || mtu > 65535)) {
    throw new TunError('ERR_TUN_MTU', `${url}: mtu is ${String(mtu)}`, { device: url, hint: 'use 1280 to 65535 (IPv4 alone: from 68)' })
  }
  const addresses = parseNicAddresses(url, options.addresses ?? [])
  const native = { offload: options.offload ?? DEFAULTS.offload, mtu, up: options.up ?? DEFAULTS.up, addresses }
  const guid = process.platform === 'win32' && target.kind === 'name' ? adapterGuid(target.name) : undefined
  try {
    return new TunDevice(openNative(target.kind === 'name' ? { name: target.name } : { fd: target.fd, ownership }, { ...native, guid }))
  } catch (cause) {
    throw openError(cause, { url, mtu, ...(target.kind === 'name' ? { name: target.name } : { fd: target.fd }) })
  }
}
