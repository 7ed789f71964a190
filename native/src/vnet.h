// Owns: struct virtio_net_hdr of a TUN with IFF_VNET_HDR, read into row fields. Virtio 1.2 §5.1.6; linux/virtio_net.h.
// A TUN gives and takes it in host byte order unless TUNSETVNETLE/BE was used.

#pragma once

#include <cstdint>
#include <cstring>

#include "batch.h"
#include "checksum.h"

namespace tun {

constexpr size_t VNET_HEADER = 10;
/** fd:// may come with a larger one (mergeable buffers, hashes); its tail is skipped, or sent as zeros. */
constexpr size_t VNET_HEADER_MAX = 64;

struct VnetHeader {
  uint8_t flags;
  uint8_t gsoType;
  uint16_t headerLength;
  uint16_t gsoSize;
  uint16_t csumStart;
  uint16_t csumOffset;
};
static_assert(sizeof(VnetHeader) == VNET_HEADER, "struct virtio_net_hdr is 10 bytes");

constexpr uint8_t VNET_NEEDS_CSUM = 1, VNET_DATA_VALID = 2;
constexpr uint8_t VNET_GSO_NONE = 0, VNET_GSO_TCP4 = 1, VNET_GSO_TCP6 = 4, VNET_GSO_UDP_L4 = 5, VNET_GSO_ECN = 0x80;

/** Fills the row's offload fields from what the NIC said; a claim that contradicts the packet makes it ROW_INVALID. */
inline void readVnetHeader(const uint8_t* at, const uint8_t* packet, Batch& batch, size_t row) {
  VnetHeader header;
  std::memcpy(&header, at, VNET_HEADER);
  const size_t length = static_cast<size_t>(batch.length(row));
  const int version = length > 0 ? packet[0] >> 4 : 0;

  // hdr_len is a hint which virtio 1.2 §5.1.6.4.1 tells the receiver not to trust: the stack reads the headers themselves.
  switch (header.gsoType & ~VNET_GSO_ECN) {
    case VNET_GSO_NONE:
      break;
    case VNET_GSO_TCP4:
      batch.gsoType(row) = version == 4 ? GSO_TCP4 : GSO_NONE;
      break;
    case VNET_GSO_TCP6:
      batch.gsoType(row) = version == 6 ? GSO_TCP6 : GSO_NONE;
      break;
    case VNET_GSO_UDP_L4:
      batch.gsoType(row) = GSO_UDP;
      break;
    default:
      break;
  }
  const bool gso = header.gsoType != VNET_GSO_NONE;
  if (gso) {
    const bool checked = header.flags & (VNET_NEEDS_CSUM | VNET_DATA_VALID);
    if (batch.gsoType(row) == GSO_NONE || header.gsoSize == 0 || !checked) {
      batch.gsoType(row) = GSO_NONE;
      batch.flags(row) = ROW_INVALID;
      return;
    }
    batch.gsoSize(row) = header.gsoSize;
  }

  if (header.flags & VNET_NEEDS_CSUM) {
    const size_t field = static_cast<size_t>(header.csumStart) + header.csumOffset;
    if (header.csumStart < 20 || field + 2 > length || isFragment(packet, length)) {
      batch.flags(row) = ROW_INVALID;
      return;
    }
    batch.csumStart(row) = header.csumStart;
    batch.csumOffset(row) = header.csumOffset;
    batch.flags(row) = CSUM_PARTIAL;
  } else if (header.flags & VNET_DATA_VALID) {
    batch.flags(row) = CSUM_GOOD;
  } else {
    // Nobody else checks what was forwarded to the TUN.
    batch.flags(row) = verifyChecksum(packet, length);
  }
}

}  // namespace tun
