// Owns: TunDevice, the Device over the addon: whole packets in batches, readiness as two callbacks, the NIC's state as a third.
// Read @tun/stack's device.ts and packet-batch.ts first.

import { type Netlink, openNetlink, type Tun } from '@tun/native'
import { BLOCKED, type Device, DOWN, OK, type PacketBatch } from '@tun/stack'
import { pollError } from './errors.js'
import { readWaiting } from './network.js'
import { GROUPS, type Link } from './rtnetlink.js'

/** Datagrams of netlink that one wake-up reads. */
const TURN = 256
const READABLE = 1
const WRITABLE = 2
/** Only where nobody tells of changes. Asking the kernel costs a system call: not at every wake-up. */
const MTU_AGE = 1000 // ms

/** Words of a batch's table that only a device uses; see the addon's batch.h. */
const USED = 2
const REFUSED = 3

export class TunDevice implements Device {
  /** The NIC's; follows it when it is renamed while onChanged() listens. */
  name: string
  readonly kind: 'tun' | 'socket'
  /** GSO rows work on every NIC: where the kernel does not cut them, the addon does. */
  readonly offload = true
  /** The NIC takes and gives virtio-net headers: checksums and segmentation are the kernel's. */
  readonly vnetHeader: boolean
  /** The NIC did not exist before: it goes, with its addresses and routes, when the device is closed. */
  readonly created: boolean
  /** The MTU asked for was not set: the NIC belongs to somebody else, who configures it. */
  readonly mtuDenied: boolean
  /** Rows the NIC would not take (EINVAL, no memory), since opening; they count as written. */
  refused = 0

  private readonly native: Tun
  private lastMtu: number
  private mtuReadAt = performance.now()
  private readable: (() => void) | null = null
  private writable: (() => void) | null = null
  private wantsWritable = false
  private mask = 0
  private links: Netlink | null = null
  private changed: () => void = () => {}
  private wasUp = true
  private closed = false

  constructor(native: Tun) {
    this.native = native
    this.name = native.name
    this.kind = native.kind
    this.vnetHeader = native.offload
    this.created = native.created
    this.mtuDenied = native.mtuDenied
    this.lastMtu = native.mtu
  }

  /** Bytes. Where the kernel does not tell of changes (onChanged), at most a second old while packets come. */
  get mtu(): number {
    return this.lastMtu
  }

  /** The descriptor, for sendTun(); -1 when closed. */
  get fd(): number {
    return this.native.fd
  }

  /** Asked of the kernel now. */
  get isUp(): boolean {
    return !this.closed && this.native.isUp
  }

  read(rx: PacketBatch): number {
    const rows = this.native.read(rx.slab.bytes, rx.used, rx.table, rx.count, rx.capacity)
    rx.count += rows
    rx.used = rx.table[USED]
    return rows
  }

  write(tx: PacketBatch): number {
    const { table } = tx
    const rows = this.native.write(tx.slab.bytes, table, tx.capacity, tx.pieceCapacity, tx.first, tx.count, tx.pieces)
    tx.first += rows
    this.refused += table[REFUSED]
    const status = table[0]
    if (status !== OK) {
      // A NIC that is down becomes writable when it is up again.
      this.wantsWritable = status === BLOCKED || status === DOWN
      this.rearm()
    }
    return rows
  }

  onReadable(fn: () => void): void {
    this.readable = fn
    this.rearm()
  }

  /** Also called once after a write ended DOWN and the NIC is up again. */
  onWritable(fn: () => void): void {
    this.writable = fn
    this.rearm()
  }

  /** Told by the kernel (rtnetlink), in the NIC's own network namespace; sockets have no state to tell of. */
  onChanged(fn: () => void): void {
    this.changed = fn
    if (this.kind === 'socket' || this.closed || this.links !== null || this.native.index === 0) return
    try {
      const links = openNetlink({ groups: GROUPS.link, nic: this.native.fd })
      this.links = links
      links.unref()
      links.watch(() => this.linksChanged(links))
    } catch {
      this.links?.close()
      this.links = null // asked instead, as far as packets come
    }
    this.lastMtu = this.native.mtu // they may have changed before anybody listened
    this.wasUp = this.native.isUp
  }

  /** The NIC is somebody else's now, who got the descriptor: closing leaves its state alone. @internal */
  handedOver(): void {
    this.native.handedOver()
  }

  ref(): void {
    this.native.ref()
  }

  unref(): void {
    this.native.unref()
  }

  close(): void {
    if (this.closed) return
    this.closed = true
    this.readable = null
    this.writable = null
    this.links?.close()
    this.native.close()
  }

  private linksChanged(links: Netlink): void {
    let changed = false
    const follow = (link: Link) => {
      if (link.index !== this.native.index) return
      changed ||= link.mtu !== this.lastMtu || link.up !== this.wasUp
      this.name = link.name
      this.lastMtu = link.mtu
      this.wasUp = link.up
    }
    try {
      const lost = () => follow({ index: this.native.index, name: this.name, mtu: this.native.mtu, up: this.native.isUp, tun: true })
      // That it was deleted is what the next read says.
      readWaiting(links, message => message.type === 'link' && !message.gone && follow(message.link), lost, TURN)
    } catch {
      links.close() // or it would be called again, and again
      this.links = null
    }
    if (changed && !this.closed) this.changed()
  }

  private refreshMtu(): void {
    if (this.links !== null) return
    const now = performance.now()
    if (now - this.mtuReadAt < MTU_AGE) return
    this.mtuReadAt = now
    this.lastMtu = this.native.mtu
  }

  private rearm(): void {
    if (this.closed) return
    const mask = (this.readable ? READABLE : 0) | (this.wantsWritable && this.writable ? WRITABLE : 0)
    if (mask === this.mask) return
    this.mask = mask
    try {
      if (mask === 0) this.native.watch(0)
      else this.native.watch(mask, this.ready)
    } catch (cause) {
      throw pollError(cause, this.name)
    }
  }

  private readonly ready = (events: number): void => {
    this.refreshMtu()
    if (events & WRITABLE && this.wantsWritable) {
      this.wantsWritable = false
      this.rearm()
      this.writable?.()
    }
    if (events & READABLE) this.readable?.()
  }
}
