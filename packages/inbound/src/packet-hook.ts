// Owns: 'packet' listeners of an inbound as the stack's hook. It is there only while somebody listens: else a packet costs nothing more.

import { DROP, type PacketHook, TunPacket } from '@tun/stack'

type Failed = (error: Error) => void

/** `tell` shows a packet to the listeners; what one throws has the packet dropped: a filter that breaks lets nothing through. */
export function packetHook(
  tell: (packet: TunPacket, failed: Failed) => void,
  write: (packet: Uint8Array) => boolean,
  failed: Failed,
): PacketHook {
  const packet = new TunPacket(write)
  return (slab, start, length, flags, gsoSize) => {
    let verdict: number | null = null
    packet.show(slab, start, length, flags, gsoSize)
    tell(packet, error => {
      verdict = DROP
      failed(error)
    })
    return verdict ?? packet.verdict
  }
}
