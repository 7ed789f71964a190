// Owns: what a TUN can do on this machine, found out by making one: in namespaces that end with the call, so that nobody sees it.
// Read linux/if_tun.h (TUN_F_*) and native/src/isolate_linux.cc.

import { isolate, open } from '@tun/native'
import { ISOLATE_DEFAULTS } from './isolate.js'
import { isolationError } from './isolation-errors.js'

/** What the kernel took of what openTun() asks for. */
export interface TunTrial {
  /** Packets have a virtio-net header; without it none of the rest. */
  vnetHeader: boolean
  checksum: boolean
  /** Segmentation of TCP over IPv4, IPv6, and of UDP (Linux 6.2). */
  tso4: boolean
  tso6: boolean
  uso: boolean
}

const TUN_F_CSUM = 0x01
const TUN_F_TSO4 = 0x02
const TUN_F_TSO6 = 0x04
const TUN_F_USO4 = 0x20

/**
 * Makes a TUN as isolate() does, in a child that runs no command, and takes it down again. Blocks some milliseconds. Nothing of the
 * machine's own network is touched; opening /dev/net/tun has the kernel load its module if it was not.
 * @throws TunError as isolate(): what keeps a command from being isolated here, and the command that helps
 */
export function tryTun(): TunTrial {
  const { name, mtu, address4, address6 } = ISOLATE_DEFAULTS
  const [ip4, prefix4] = address4.split('/')
  const [ip6, prefix6] = address6.split('/')
  try {
    const isolated = isolate({
      command: ['true'], // it is never started
      env: [],
      stdio: [-1, -1, -1],
      ...{ name, mtu, address4: ip4, prefix4: Number(prefix4), address6: ip6, prefix6: Number(prefix6) },
      masks: [],
      files: [],
    })
    try {
      const tun = open({ fd: isolated.tun, ownership: 'take' }, { offload: true })
      const { offload, offloadSet } = tun
      tun.close()
      const has = (bit: number) => (offloadSet & bit) !== 0
      return { vnetHeader: offload, checksum: has(TUN_F_CSUM), tso4: has(TUN_F_TSO4), tso6: has(TUN_F_TSO6), uso: has(TUN_F_USO4) }
    } finally {
      isolated.close()
    }
  } catch (cause) {
    throw isolationError(cause)
  }
}
