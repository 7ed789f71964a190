// Owns: the packets of a NIC that somebody else serves, as copies. The socket is native's (packet_linux.cc); packet(7).

import { closeSync } from 'node:fs'
import { type NativeError, open, openPacketSocket, packetDrops, type Tun } from '@tun/native'
import { BLOCKED, OK, PacketBatch, Slab } from '@tun/stack'
import { openError, TunError } from './errors.js'

export interface WatchHandlers {
  /** `bytes` are borrowed: they change after the call. */
  packet: (bytes: Uint8Array) => void
  /** Once: the NIC went down or was deleted, and the watch is over. */
  ended: () => void
}

const READABLE = 1
/** Of one turn: the rest of the process has its turn, too. */
const MAX_ROWS = 512
const SLAB = 1 << 20 // bytes

/** Every IP packet of a NIC, from and to its applications; the traffic neither notices nor waits. Close it. */
export class PacketWatch {
  private readonly native: Tun
  private readonly socket: number
  private readonly handlers: WatchHandlers
  private readonly rx = new PacketBatch(new Slab(SLAB), MAX_ROWS)
  private lost = 0

  /** @throws TunError ERR_TUN_PERMISSION without CAP_NET_RAW; ERR_TUN_GONE if there is no such NIC; ERR_TUN_UNSUPPORTED_PLATFORM */
  constructor(nic: string, handlers: WatchHandlers) {
    this.handlers = handlers
    this.native = openWatch(nic)
    this.socket = this.native.fd
    this.native.watch(READABLE, () => this.read())
  }

  /** Packets that came faster than they were read, so far: the kernel threw them away. */
  get missed(): number {
    if (this.native.fd >= 0) {
      try {
        this.lost += packetDrops(this.socket)
      } catch {
        // the NIC has gone; what was counted stays
      }
    }
    return this.lost
  }

  close(): void {
    this.native.close()
  }

  private read(): void {
    const { rx } = this
    rx.reset()
    const rows = this.native.read(rx.slab.bytes, 0, rx.table, 0, rx.capacity)
    for (let row = 0; row < rows; row++) {
      const bytes = rx.slab.bytes.subarray(rx.start[row], rx.start[row] + rx.length[row])
      if (isIp(bytes)) this.handlers.packet(bytes)
    }
    if (rx.status !== OK && rx.status !== BLOCKED) this.handlers.ended()
  }
}

/** Ethernet has ARP and more beside it; none of these begins like IP. */
function isIp(bytes: Uint8Array): boolean {
  const version = bytes.length < 20 ? 0 : bytes[0] >> 4
  return version === 4 || version === 6
}

function openWatch(nic: string): Tun {
  let socket = -1
  try {
    socket = openPacketSocket(nic)
    return open({ fd: socket, ownership: 'take' })
  } catch (cause) {
    if (socket >= 0) closeSync(socket)
    throw watchError(cause, nic)
  }
}

function watchError(cause: unknown, nic: string): TunError {
  const error = cause as NativeError
  const details = { errno: error.errno, syscall: error.syscall, device: nic, cause }
  if (error.code === 'EPERM') {
    const hint = 'run as root, or: sudo setcap cap_net_raw+ep "$(command -v node)"'
    return new TunError('ERR_TUN_PERMISSION', `${nic}: looking at the packets of a NIC is not permitted`, { ...details, hint })
  }
  if (error.syscall === 'if_nametoindex') {
    return new TunError('ERR_TUN_GONE', `${nic}: there is no such NIC here`, { ...details, hint: 'ip -br link shows those that are there' })
  }
  return openError(cause, { url: nic, name: nic })
}
