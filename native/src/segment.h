// Owns: one row of a batch on its way out, as iovecs: with a vnet header, with its checksum completed, or cut into
// segments where the device cannot. Never writes into the row: a row that was blocked is written again from scratch.

#pragma once

#include <cstddef>
#include <cstdint>

#include "batch.h"
#include "vnet.h"

#ifdef _WIN32
/** POSIX' own, which Windows lacks: here nothing but this addon reads it. */
struct iovec {
  void* iov_base;
  size_t iov_len;
};
#else
#include <sys/uio.h>
#endif

namespace tun {

/** Pieces of one row; a row with more is refused. With the iovecs added here it stays below IOV_MAX (1024). */
constexpr size_t MAX_PIECES = 1000;

/** A row to send: parts[0] are the headers, the rest its pieces. */
struct OutRow {
  const iovec* parts;
  size_t partCount;
  size_t total;
  int32_t gsoType;
  size_t gsoSize;
  size_t csumStart;
  size_t csumOffset;
  int32_t flags;

  const uint8_t* headers() const { return static_cast<const uint8_t*>(parts[0].iov_base); }
  size_t headerRoom() const { return parts[0].iov_len; }
};

/** What goes to writev; `scratch` is what its first iovecs point to. */
struct Outgoing {
  iovec vectors[MAX_PIECES + 4];
  size_t count;
  uint8_t scratch[256];
};

/** Bytes of IP and transport header of a row with gsoSize, or 0 if the headers are not what its gsoType says. */
size_t gsoHeaderLength(const OutRow& row);

/** [vnet header][headers][pieces]. False: the row makes no sense. */
bool withVnetHeader(const OutRow& row, size_t vnetLength, Outgoing& out);

/** Headers and pieces as they are, the checksum completed if the row says CSUM_PARTIAL. */
bool withChecksum(const OutRow& row, Outgoing& out);

/** How many packets the row becomes on a device that cannot cut it. */
size_t segmentCount(const OutRow& row, size_t headerLength);

/** The row's segment `index`, complete. RFC 9293 §3.1; linux tcp_gso_segment for the flags. */
void cutSegment(const OutRow& row, size_t headerLength, size_t index, Outgoing& out);

}  // namespace tun
