// Owns: UDP headers. RFC 768; over IPv6 RFC 8200 §8.1.

export const UDP_HEADER = 8
export const UDP_CSUM_OFFSET = 6

/** One reused record. */
export class UdpHeader {
  srcPort = 0
  dstPort = 0
  /** Payload: view[data, end). */
  data = 0
  end = 0
  checksum = 0
}

/**
 * Reads the datagram view[at, end). False if it is shorter than its header or its length field lies beyond the packet.
 * `trustLength`: a USO row, many datagrams under one header whose length field counts only the first.
 */
export function readUdp(view: DataView, at: number, end: number, trustLength: boolean, udp: UdpHeader): boolean {
  if (end - at < UDP_HEADER) return false
  const length = view.getUint16(at + 4)
  if (!trustLength && (length < UDP_HEADER || at + length > end)) return false
  udp.srcPort = view.getUint16(at)
  udp.dstPort = view.getUint16(at + 2)
  udp.checksum = view.getUint16(at + 6)
  udp.data = at + UDP_HEADER
  udp.end = trustLength ? end : at + length
  return true
}

/** Writes the header; the checksum field is 0. `length` counts header and payload. */
export function writeUdpHeader(view: DataView, at: number, srcPort: number, dstPort: number, length: number): void {
  view.setUint16(at, srcPort)
  view.setUint16(at + 2, dstPort)
  view.setUint16(at + 4, length)
  view.setUint16(at + 6, 0)
}
